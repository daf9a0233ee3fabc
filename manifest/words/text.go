// Package words finds the words of the commands in shell text, with the place of every
// byte of them in the file that the text stands in: a script, a recipe of a Makefile, an
// instruction of a Dockerfile, a string of a YAML file. Nothing is run. What depends on
// a run (a variable that is not set in the text, the output of a command) is marked as
// unknown.
package words

import "slices"

// A Text is shell text that was taken out of a file.
type Text struct {
	Bytes []byte
	// places are the offsets in the file of each byte, and of the end. Nil means that the
	// text is the file's from base on.
	places []int
	base   int
	opaque bool
	shown  []byte // what stands there, if Bytes has placeholders
}

// Placeholder is a byte that stands for one of an expression that the host fills in, or
// that the reader is to: ${{ x }}, <image>. A word with it is not known.
const Placeholder = 0x01

// Mask is the text with placeholders from one byte to another.
func (t Text) Mask(from, to int) Text {
	if t.shown == nil {
		t.shown, t.Bytes = t.Bytes, slices.Clone(t.Bytes)
	}
	for i := from; i < to; i++ {
		t.Bytes[i] = Placeholder
	}
	return t
}

// show is what is written in a part of the text.
func (t Text) show(from, to int) []byte {
	if t.shown != nil {
		return t.shown[from:to]
	}
	return t.Bytes[from:to]
}

// Whole is a text that stands in the file as it is, from an offset on.
func Whole(data []byte, base int) Text { return Text{Bytes: data, base: base} }

// Place is the offset in the file of a byte of the text, or of its end.
func (t Text) Place(i int) int {
	if t.places == nil {
		return t.base + i
	}
	return t.places[min(max(i, 0), len(t.places)-1)]
}

// A Builder makes a text out of pieces of a file: without what the host's own syntax
// puts between them.
type Builder struct {
	text []byte
	at   []int
	end  int
}

// Add appends bytes of a file that stand at the offset.
func (b *Builder) Add(data []byte, offset int) {
	for i := range data {
		b.at = append(b.at, offset+i)
	}
	b.text = append(b.text, data...)
	b.end = offset + len(data)
}

// Put appends a byte that stands for what is at the offset, such as $ for a Makefile's
// $$; width is how many bytes of the file it takes.
func (b *Builder) Put(c byte, offset, width int) {
	b.text = append(b.text, c)
	b.at = append(b.at, offset)
	b.end = offset + width
}

// Len is how many bytes there are so far.
func (b *Builder) Len() int { return len(b.text) }

// Text is what was put together.
func (b *Builder) Text() Text {
	return Text{Bytes: b.text, places: append(slices.Clip(b.at), b.end)}
}

// A Word is one of a command, with its quotes taken away.
type Word struct {
	// Text is what it means. Where it is not known it is as written.
	Text string
	// Raw is the word as written, quotes and all.
	Raw string
	// Why says why the word is not known, "" if it is.
	Why string
	// Many says of an unknown word that it can be several words, or none.
	Many bool
	// From is the variable or array that the word is a part of, "" if it is written here.
	// Start and End are then where the variable is used.
	From       string
	Start, End int // offsets in the file
	// places are the offsets of each byte of Text, nil if From is.
	places []int
	// Set is where the word stands in what From is set to, if that is set once and for all,
	// and used here alone: then it can be changed there. Nil in all other cases.
	Set *Setting
	// Kept says of a word of a variable that the file around sets why it cannot be changed
	// there, "" if it can or there is none.
	Kept string
}

// A Setting is the place of a word in the value of a variable.
type Setting struct {
	Start, End int // offsets in the file, with its quotes if it is an array's
	Array      bool
	places     []int
}

// Range is where a part of the word's text stands.
func (s *Setting) Range(from, to int) (start, end int) {
	if from >= to || to > len(s.places) {
		return s.Start, s.End
	}
	return s.places[from], s.places[to-1] + 1
}

// New makes a word for hosts that have words of their own: places are the offsets of
// each byte of text.
func New(text, raw string, start, end int, places []int) Word {
	return Word{Text: text, Raw: raw, Start: start, End: end, places: places}
}

// Written says that the word stands in the file byte for byte where Range says, so that
// a part of it can be replaced there.
func (w *Word) Written() bool { return w.From == "" && len(w.places) == len(w.Text) }

// Range is where a part of Text stands in the file. For a word that comes from a
// variable it is where that is used.
func (w *Word) Range(from, to int) (start, end int) {
	if !w.Written() || from >= to || to > len(w.places) {
		return w.Start, w.End
	}
	return w.places[from], w.places[to-1] + 1
}

// Script makes shell text of a part of a word: sh -c 'docker run x'. ok is false if it
// does not stand in the file byte for byte.
func (w *Word) Script() (Text, bool) {
	if !w.Written() || w.Why != "" || len(w.places) == 0 {
		return Text{}, false
	}
	return Text{Bytes: []byte(w.Text), places: append(slices.Clip(w.places), w.places[len(w.places)-1]+1)}, true
}

// Cut is the word without its first n bytes.
func (w *Word) Cut(n int) Word {
	c := *w
	c.Text, c.Start, c.places = w.Text[n:], w.places[n-1]+1, w.places[n:]
	return c
}

// Opaque is a text that does not stand in the file byte for byte: all of it is from start
// to end, and no part of a word has a place of its own.
func Opaque(text string, start, end int) Text {
	t := Text{Bytes: []byte(text), places: make([]int, len(text)+1), opaque: true}
	for i := range t.places {
		t.places[i] = start
	}
	t.places[len(text)] = end
	return t
}
