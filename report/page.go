package report

import (
	"bytes"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Style says for what kind of place a text is.
type Style struct {
	// Color allows colours, that is escape sequences. Without it the text has
	// no control character but the newline.
	Color bool
	// Width in columns; 0 is 80. It is kept between 40 and 120.
	Width int
}

const (
	standardWidth = 80
	minWidth      = 40
	maxWidth      = 120 // longer lines are hard to read
)

func (s Style) width() int {
	if s.Width == 0 {
		return standardWidth
	}
	return min(max(s.Width, minWidth), maxWidth)
}

// ink is how a piece of text stands out. On a page without colour all inks
// look alike, so the words have to say it too.
type ink uint8

const (
	plain ink = iota
	strong
	faint
	good
	caution
	alarm
)

var inks = [...]ansi.Style{
	strong:  ansi.NewStyle().Bold(),
	faint:   ansi.NewStyle().Faint(),
	good:    ansi.NewStyle().Bold().ForegroundColor(ansi.Green),
	caution: ansi.NewStyle().ForegroundColor(ansi.Yellow),
	alarm:   ansi.NewStyle().Bold().ForegroundColor(ansi.Red),
}

// span is text in one ink. Whatever its origin, it is cleaned when it is put
// on a page.
type span struct {
	text string
	ink  ink
}

func text(s string) span { return span{text: s} }

// longest is the most characters of one span that a page takes.
const longest = 400

// page is a text that is being laid out.
type page struct {
	b     bytes.Buffer
	run   []byte // not yet written, so that a run of one ink is one sequence
	ran   ink
	color bool
	width int

	spans []span // of the paragraph at hand
	words []word
}

// word is a part of a page's spans: a word can be of several inks.
type word struct{ from, to int }

func newPage(s Style) *page { return &page{color: s.Color, width: s.width()} }

func (p *page) writeTo(w io.Writer) error {
	p.flush()
	_, err := w.Write(p.b.Bytes())
	return err
}

// drain writes what a long page has so far, now and then.
func (p *page) drain(w io.Writer) error {
	if p.b.Len() < 32<<10 {
		return nil
	}
	_, err := p.b.WriteTo(w)
	return err
}

// blank ends a line.
func (p *page) blank() {
	p.flush()
	p.b.WriteByte('\n')
}

// ink writes a cleaned text.
func (p *page) ink(s span) {
	if s.ink != p.ran {
		p.flush()
		p.ran = s.ink
	}
	p.run = append(p.run, s.text...)
}

// space writes spaces, in the ink of what is before them.
func (p *page) space(n int) {
	for range n {
		p.run = append(p.run, ' ')
	}
}

func (p *page) flush() {
	if p.color && p.ran != plain && len(p.run) > 0 {
		p.b.WriteString(inks[p.ran].Styled(string(p.run)))
	} else {
		p.b.Write(p.run)
	}
	p.run, p.ran = p.run[:0], plain
}

// para writes a paragraph: a label, and from column col on the spans, wrapped
// at spaces. A label that reaches that column has the paragraph below it.
func (p *page) para(label span, col int, spans ...span) {
	label.text = strings.TrimRight(indentOf(label.text)+Clean(label.text, longest), " ")
	p.ink(label)
	at := widthOf(label.text)
	p.split(spans)
	if at > 0 && at >= col && len(p.words) > 0 {
		p.blank()
		at = 0
	}
	limit := p.width - col
	used := 0
	room := func() { // the spaces in front of a line's first word
		if used == 0 {
			p.flush()
			p.space(col - at)
		}
	}
	next := func() {
		p.blank()
		at, used = 0, 0
	}
	for _, word := range p.words {
		width := 0
		for _, s := range p.spans[word.from:word.to] {
			width += widthOf(s.text)
		}
		switch {
		case used == 0:
		case used+1+width > limit:
			next()
		default:
			p.space(1)
			used++
		}
		for _, s := range p.spans[word.from:word.to] {
			for s.text != "" {
				part := s.text
				if widthOf(part) > limit-used {
					part = ansi.Truncate(part, limit-used, "")
				}
				if part == "" {
					next()
					continue
				}
				room()
				p.ink(span{part, s.ink})
				used += widthOf(part)
				s.text = s.text[len(part):]
			}
		}
	}
	p.blank()
}

// widthOf is how wide a cleaned text is. Most is plain ASCII, where every byte is one.
func widthOf(s string) int {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return ansi.StringWidth(s)
		}
	}
	return len(s)
}

// lines writes text that is to be copied: as it stands, nothing wrapped. It
// must have been quoted or cleaned.
func (p *page) lines(indent string, lines ...string) {
	for _, line := range lines {
		p.ink(text(indent))
		p.ink(span{line, strong})
		p.blank()
	}
}

// indentOf returns the spaces that s begins with.
func indentOf(s string) string { return s[:len(s)-len(strings.TrimLeft(s, " "))] }

// split parts spans at spaces into the page's words.
func (p *page) split(spans []span) {
	p.spans, p.words = p.spans[:0], p.words[:0]
	joined := false // the next piece belongs to the last word
	for _, s := range spans {
		if strings.HasPrefix(s.text, " ") {
			joined = false
		}
		before := len(p.spans)
		for piece := range strings.FieldsSeq(Clean(s.text, longest)) {
			first := len(p.spans) == before
			p.spans = append(p.spans, span{piece, s.ink})
			if first && joined {
				p.words[len(p.words)-1].to++
			} else {
				p.words = append(p.words, word{len(p.spans) - 1, len(p.spans)})
			}
		}
		joined = (joined || len(p.spans) > before) && !strings.HasSuffix(s.text, " ")
	}
}
