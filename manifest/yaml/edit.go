package yaml

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"

	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
)

// An Editor gathers edits of one document. What it cannot do without touching more than
// was asked is an error, and then nothing of that call is kept.
type Editor struct {
	doc    *Document
	reason string
	ops    []op
}

// op is an edit, and what decides between two insertions at one place.
type op struct {
	manifest.Edit
	indent int // of the lines that are inserted
}

// inline is the indent of what is inserted into a line, which comes before all lines.
const inline = 1 << 30

// NewEditor edits a document that is parsed.
func NewEditor(d *Document) *Editor { return &Editor{doc: d} }

// Because is the reason that the next edits carry.
func (e *Editor) Because(reason string) { e.reason = reason }

func (e *Editor) add(start, end int, text string, indent int) {
	e.ops = append(e.ops, op{manifest.Edit{File: e.doc.file.Name, Start: start, End: end, New: text, Reason: e.reason}, indent})
}

// Edits are all of them, in order. Insertions at one place are one: deeper lines belong
// to what ends there, and come first.
func (e *Editor) Edits() []manifest.Edit {
	ops := slices.Clone(e.ops)
	slices.SortStableFunc(ops, func(a, b op) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(min(a.End-a.Start, 1), min(b.End-b.Start, 1)), cmp.Compare(b.indent, a.indent))
	})
	var list []manifest.Edit
	for _, o := range ops {
		if n := len(list); n > 0 && o.New == "" && list[n-1].New == "" && o.Start < list[n-1].End {
			// The last lines of a file without an end of line, each with the end before it.
			list[n-1].End = max(list[n-1].End, o.End)
			continue
		}
		if n := len(list); n > 0 && o.Start == o.End && o.Start < list[n-1].End {
			// Lines that come where the last ones go, again without an end of line.
			last := &list[n-1]
			if gap := string(e.data()[last.Start:o.Start]); strings.Trim(gap, "\r\n") == "" {
				last.New += gap + strings.TrimSuffix(o.New, gap)
				last.Reason += ", " + o.Reason
				continue
			}
		}
		if n := len(list); n > 0 && list[n-1].Start == list[n-1].End && list[n-1].Start == o.Start {
			last := &list[n-1]
			last.New += o.New
			last.End = o.End
			if !strings.Contains(last.Reason, o.Reason) {
				last.Reason += ", " + o.Reason
			}
			continue
		}
		list = append(list, o.Edit)
	}
	return list
}

func (e *Editor) data() []byte { return e.doc.file.Data }

// lineStart is the offset of the first byte of the line that at is in.
func (e *Editor) lineStart(at int) int {
	data := e.data()
	for at > e.doc.Start && data[at-1] != '\n' {
		at--
	}
	if at == 0 && bytes.HasPrefix(data, []byte("\ufeff")) {
		return 3
	}
	return at
}

// nextLine is the offset behind the line that at is in; ok says that between the two is
// nothing but white space and a comment. ended: the line has an end.
func (e *Editor) nextLine(at int) (next int, ended, ok bool) {
	data := e.data()[:e.doc.End]
	end := at
	for end < len(data) && data[end] != '\n' {
		end++
	}
	rest := bytes.TrimLeft(data[at:end], " \t")
	rest = bytes.TrimRight(rest, "\r")
	ok = len(rest) == 0 || rest[0] == '#' && (len(rest) < end-at || at == 0 || isSpace(data[at-1]))
	if bytes.IndexByte(rest, '\r') >= 0 {
		ok = false // a line end for YAML, in what is one line for us
	}
	if end < len(data) {
		return end + 1, true, ok
	}
	return end, false, ok
}

// indentation is what stands before at in its line; ok says that it is white space.
func (e *Editor) indentation(at int) (string, bool) {
	text := string(e.data()[e.lineStart(at):at])
	return text, strings.TrimLeft(text, " \t") == ""
}

var (
	errShared  = errors.New("it is written elsewhere, and only referred to here")
	errRefer   = errors.New("its anchor is referred to elsewhere")
	errLayout  = errors.New("the lines are laid out in a way that this does not know how to edit")
	errComplex = errors.New("its key is written with a question mark")
)

// Insert puts entries into a mapping, behind the first of the named keys that is there,
// else at its end.
func (e *Editor) Insert(m Node, after []string, pairs ...Pair) error {
	if m.IsAlias() {
		return errShared
	}
	if !m.IsMapping() {
		return errLayout
	}
	if m.IsFlow() {
		return e.insertFlow(m, pairs)
	}
	s := styleOf(m, manifest.Newline(e.data(), m.doc.offset(m.n)))
	s.quote = e.quoteNear(m)
	indent := m.column() - 1
	if e.explicit(m.Entry(0)) {
		return errComplex
	}
	var b strings.Builder
	for _, p := range pairs {
		s.block(&b, indent, p)
	}
	// A comment in the next line may well be about the entry before it.
	for _, commented := range []bool{false, true} {
		for _, entry := range e.neighbours(m, after) {
			next, ended, ok := e.nextLine(entry.end())
			if !ok || endsInBlockScalar(entry.Value) || !commented && e.isComment(next) {
				continue
			}
			if !ended {
				e.add(next, next, s.newline+strings.TrimSuffix(b.String(), s.newline), indent)
				return nil
			}
			e.add(next, next, b.String(), indent)
			return nil
		}
	}
	// All of them end in text that may be as long as it likes: before the first, then.
	first, _ := m.Entry(0).Key.span()
	if at, _ := m.Entry(0).Key.properties(); at != m.doc.offset(m.Entry(0).Key.n) {
		return errLayout
	}
	if _, ok := e.indentation(first); ok {
		e.add(e.lineStart(first), e.lineStart(first), b.String(), indent)
		return nil
	}
	e.add(first, first, strings.TrimLeft(b.String(), " ")+strings.Repeat(" ", indent), indent)
	return nil
}

// isComment says that the line at an offset is a comment and nothing else.
func (e *Editor) isComment(at int) bool {
	return bytes.HasPrefix(bytes.TrimLeft(e.data()[at:e.doc.End], " \t"), []byte("#"))
}

// neighbours are a mapping's own entries, the preferred ones first, then from the last
// to the first.
func (e *Editor) neighbours(m Node, after []string) []Entry {
	var list []Entry
	for _, key := range after {
		if entry := m.Own(key); entry.Exists() {
			list = append(list, entry)
		}
	}
	for i := m.Len() - 1; i >= 0; i-- {
		list = append(list, m.Entry(i))
	}
	return list
}

// explicit says that an entry is written as "? key".
func (e *Editor) explicit(entry Entry) bool {
	if !entry.Exists() {
		return false
	}
	start := e.doc.offset(entry.Key.n)
	before := bytes.TrimRight(e.data()[e.lineStart(start):start], " \t")
	return bytes.HasSuffix(before, []byte("?"))
}

// endsInBlockScalar says that the last thing in a node is a literal or folded scalar:
// lines behind it could become its own, or take blank lines from it.
func endsInBlockScalar(n Node) bool {
	for n.n != nil && len(n.n.Content) > 0 && !n.IsFlow() && n.n.Kind != v3.AliasNode {
		n = Node{n.n.Content[len(n.n.Content)-1], n.doc, 0}
	}
	return n.n != nil && n.n.Style&(v3.LiteralStyle|v3.FoldedStyle) != 0
}

// quoteNear is how words of lists in this mapping are quoted.
func (e *Editor) quoteNear(m Node) string {
	for i := range m.Len() {
		if v := m.Entry(i).Value.Deref(); v.IsSequence() && v.Len() > 0 && allCapability(v) {
			return quoteOf(v.Item(0))
		}
	}
	return ""
}

// allCapability says that a list may well be one of capabilities.
func allCapability(list Node) bool {
	for i := range list.Len() {
		w := list.Item(i).Value()
		if w == "" || strings.ContainsAny(w, " /:.=") {
			return false
		}
	}
	return true
}

func quoteOf(n Node) string {
	d := n.Deref()
	switch {
	case d.n == nil:
	case d.n.Style&v3.DoubleQuotedStyle != 0:
		return `"`
	case d.n.Style&v3.SingleQuotedStyle != 0:
		return "'"
	}
	return ""
}

func (e *Editor) insertFlow(m Node, pairs []Pair) error {
	s := styleOf(m, manifest.Newline(e.data(), m.doc.offset(m.n)))
	start, end := m.span()
	if m.Len() == 0 {
		words := make([]string, len(pairs))
		for i, p := range pairs {
			words[i] = s.pair(p)
		}
		e.add(start+1, start+1, strings.Join(words, ", "), 0)
		return nil
	}
	last := m.Entry(m.Len() - 1)
	s.json = last.Key.n.Style&v3.DoubleQuotedStyle != 0
	separator := " "
	key, _ := last.Key.span()
	if space, ok := e.indentation(key); ok && e.lineStart(key) > start {
		separator = s.newline + space
	}
	at := last.end()
	comma := ","
	if next := skipBlank(e.data()[:end], at); next < end && e.data()[next] == ',' {
		at, comma = next+1, ""
	}
	var b strings.Builder
	if comma != "" {
		b.WriteString(e.colonSpace(at))
	}
	for _, p := range pairs {
		b.WriteString(comma + separator + s.pair(p))
		comma = ","
	}
	e.add(at, at, b.String(), 0)
	return nil
}

// SetNothing gives a value to an entry that has none: nothing behind its colon, null or
// an empty collection.
func (e *Editor) SetNothing(entry Entry, v Value) error {
	n := entry.Value
	if n.IsAlias() {
		return errShared
	}
	if n.isReferred() {
		return errRefer
	}
	s := styleOf(entry.In, manifest.Newline(e.data(), e.doc.offset(entry.Key.n)))
	start, end := n.span()
	switch {
	case (n.IsMapping() || n.IsSequence()) && n.Len() == 0, n.IsNull() && n.n.Value != "":
		if n.IsFlow() && skipBlank(e.data()[:end], start+1) != end-1 {
			return errLayout
		}
		s.json = s.json || entry.In.IsFlow() && entry.Key.n.Style&v3.DoubleQuotedStyle != 0
		e.add(start, end, s.flow(v), 0)
		return nil
	case !n.IsNull() || n.n.Style != 0:
		return errLayout
	}
	at := entry.colon()
	if _, key := entry.Key.span(); at == key || e.explicit(entry) {
		return errComplex
	}
	if entry.In.IsFlow() || v.kind == v3.ScalarNode {
		e.add(at, at, " "+s.flow(v), inline)
		return nil
	}
	next, ended, ok := e.nextLine(at)
	if !ok {
		return errLayout
	}
	indent := entry.In.column() - 1
	var b strings.Builder
	if v.kind == v3.SequenceNode {
		for _, w := range v.list {
			b.WriteString(strings.Repeat(" ", indent+s.list) + "- " + w + s.newline)
		}
	}
	for _, p := range v.keys {
		s.block(&b, indent+s.step, p)
	}
	text := b.String()
	if !ended {
		text = s.newline + strings.TrimSuffix(text, s.newline)
	}
	e.add(next, next, text, indent+s.step)
	return nil
}

// ReplaceAlias writes a value in the place of an alias, which only this entry loses.
func (e *Editor) ReplaceAlias(entry Entry, v Value) error {
	if !entry.Value.IsAlias() {
		return errLayout
	}
	s := styleOf(entry.In, manifest.Newline(e.data(), e.doc.offset(entry.Key.n)))
	start, end := entry.Value.span()
	e.add(start, end, s.flow(v), 0)
	return nil
}

// Tag puts a tag before an entry's value.
func (e *Editor) Tag(entry Entry, tag string) error {
	at := entry.colon()
	if _, key := entry.Key.span(); at == key || e.explicit(entry) || entry.Value.n.Style&v3.TaggedStyle != 0 {
		return errComplex
	}
	e.add(at, at, " "+tag, inline)
	return nil
}

// SetWord writes another word in the place of a scalar, in the same quotes.
func (e *Editor) SetWord(n Node, word string) error {
	if n.IsAlias() {
		return errShared
	}
	if n.n.Kind != v3.ScalarNode || n.n.Style&(v3.LiteralStyle|v3.FoldedStyle) != 0 || n.n.Value == "" && n.IsPlain() {
		return errLayout
	}
	start, end := n.span()
	q := quoteOf(n)
	e.add(start, end, q+word+q, 0)
	return nil
}

// SetPlain is SetWord without quotes, for what must be no string.
func (e *Editor) SetPlain(n Node, word string) error {
	if err := e.SetWord(n, word); err != nil {
		return err
	}
	e.ops[len(e.ops)-1].New = word
	return nil
}

// Remove takes an entry out of its mapping. One that is alone in it cannot be taken:
// what is left would be another type.
func (e *Editor) Remove(entry Entry) error {
	if entry.Value.isReferred() {
		return errRefer
	}
	i := 0
	for ; i < entry.In.Len() && !entry.In.Entry(i).Key.Same(entry.Key); i++ {
	}
	if entry.In.Len() == 1 {
		return errLayout
	}
	if entry.In.IsFlow() {
		return e.removeFlow(entry.In.Len(), i, func(i int) (int, int) {
			f := entry.In.Entry(i)
			return e.doc.offset(f.Key.n), f.end()
		})
	}
	if e.explicit(entry) {
		return errComplex
	}
	start := e.doc.offset(entry.Key.n)
	if _, first := e.indentation(start); !first {
		if i != 0 || e.explicit(entry.In.Entry(1)) {
			return errLayout
		}
		next := e.doc.offset(entry.In.Entry(1).Key.n)
		e.add(start, next, "", 0)
		return nil
	}
	if endsInBlockScalar(entry.Value) {
		return errLayout
	}
	return e.removeLines(start, entry.end())
}

// Replace puts entries in the place of one.
func (e *Editor) Replace(entry Entry, pairs ...Pair) error {
	if entry.Value.isReferred() {
		return errRefer
	}
	s := styleOf(entry.In, manifest.Newline(e.data(), e.doc.offset(entry.Key.n)))
	start, end := e.doc.offset(entry.Key.n), entry.end()
	if entry.In.IsFlow() {
		s.json = entry.Key.n.Style&v3.DoubleQuotedStyle != 0
		words := make([]string, len(pairs))
		for i, p := range pairs {
			words[i] = s.pair(p)
		}
		e.add(start, end, strings.Join(words, ", "), 0)
		return nil
	}
	next, ended, ok := e.nextLine(end)
	if !ok || endsInBlockScalar(entry.Value) || e.explicit(entry) {
		return errLayout
	}
	s.quote = e.quoteNear(entry.In)
	indent := entry.In.column() - 1
	var b strings.Builder
	for _, p := range pairs {
		s.block(&b, indent, p)
	}
	text := b.String()[indent:]
	if !ended {
		text = strings.TrimSuffix(text, s.newline)
	}
	e.add(start, next, text, indent)
	return nil
}

// removeLines takes away the lines from start to end, with their end.
func (e *Editor) removeLines(start, end int) error {
	next, ended, ok := e.nextLine(end)
	if !ok {
		return errLayout
	}
	from := e.lineStart(start)
	if !ended && from > e.doc.Start {
		from-- // the last line of the file: the end of the one before goes instead
		if from > e.doc.Start && e.data()[from-1] == '\r' {
			from--
		}
	}
	e.add(from, next, "", 0)
	return nil
}
