// Package dockerfile changes Dockerfiles. BuildKit's own parser says what is in one;
// here is only where, so that an edit keeps every other byte.
package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/leastcap/leastcap/manifest"
)

// Label is a label of an image.
type Label struct{ Name, Value string }

// Error is a Dockerfile that cannot be changed, and at which of its lines, from 1; 0 is
// all of it.
type Error struct {
	Line   int
	Reason string
	Err    error // the parser's, or nil
}

func (e *Error) Error() string {
	text := e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s", e.Line, text)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// SetLabels sets labels in the last build stage. One of that name is replaced where it
// stands; another is put behind the stage's last LABEL, or at its end. A label that has
// the value already is left as it is written, so that twice is once. Values are written
// so that the builder expands nothing in them. Errors are [*Error].
func SetLabels(data []byte, labels ...Label) ([]byte, error) {
	for _, l := range labels {
		var err error
		if data, err = setLabel(data, l); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func setLabel(data []byte, l Label) ([]byte, error) {
	switch {
	case !labelName().MatchString(l.Name):
		return nil, &Error{Reason: fmt.Sprintf("label name %q: letters, digits and . _ - are known", l.Name)}
	case strings.ContainsFunc(l.Value, unicode.IsControl) || !utf8.ValidString(l.Value):
		return nil, &Error{Reason: fmt.Sprintf("label %s: a value of one line is needed", l.Name)}
	}
	f, err := parse(data)
	if err != nil {
		return nil, err
	}
	old, err := f.find(l.Name)
	if err != nil {
		return nil, err
	}
	e, err := f.edit(l)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return data, nil
	}
	out, err := manifest.Apply(data, []manifest.Edit{*e})
	if err != nil {
		return nil, err
	}
	return out, f.verify(out, l, old)
}

var labelName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
})

// quote writes a value between double quotes, where the builder's shell words have only
// these three as special characters (shell/lex.go processDoubleQuote).
func quote(value string, escape rune) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range value {
		if r == '"' || r == '$' || r == escape {
			b.WriteRune(escape)
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}

// file is a Dockerfile, parsed.
type file struct {
	data   []byte
	lines  []int // where each line begins, and the end
	nodes  []*parser.Node
	stage  int // the index of the last FROM
	escape rune
}

func parse(data []byte) (*file, error) {
	if bytes.ContainsRune(data, 0) || !utf8.Valid(data) {
		return nil, &Error{Reason: "not a Dockerfile: it is no text"}
	}
	r, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, &Error{Reason: "not a Dockerfile that can be read", Err: err}
	}
	f := &file{data: data, nodes: r.AST.Children, stage: -1, escape: r.EscapeToken, lines: []int{0}}
	for i, c := range data {
		if c == '\n' {
			f.lines = append(f.lines, i+1)
		}
	}
	if f.lines[len(f.lines)-1] != len(data) {
		f.lines = append(f.lines, len(data))
	}
	for i, n := range f.nodes {
		if strings.EqualFold(n.Value, "from") {
			f.stage = i
		}
	}
	if f.stage < 0 {
		return nil, &Error{Reason: "not a whole Dockerfile: it has no FROM"}
	}
	return f, nil
}

// pair is one NAME=VALUE of a LABEL.
type pair struct {
	node       int // its index
	key        string
	value      string // as written
	start, end int    // in the file
}

// find returns the stage's last label of that name, nil if there is none.
func (f *file) find(name string) (*pair, error) {
	var found *pair
	for i := f.stage; i < len(f.nodes); i++ {
		if !strings.EqualFold(f.nodes[i].Value, "label") {
			continue
		}
		named := false
		for n := f.nodes[i].Next; n != nil && n.Next != nil && n.Next.Next != nil; n = n.Next.Next.Next {
			named = named || f.is(n.Value, name)
		}
		if !named {
			continue
		}
		pairs, err := f.pairs(i)
		if err != nil {
			return nil, err
		}
		for _, p := range pairs {
			if f.is(p.key, name) {
				found = &p
			}
		}
	}
	return found, nil
}

// is says whether a word as written means this text whatever variables there are.
func (f *file) is(written, text string) bool {
	got, _, err := shell.NewLex(f.escape).ProcessWord(written, marked{})
	return err == nil && got == text
}

// marked is an environment where every variable has a value that no label has.
type marked struct{}

func (marked) Get(string) (string, bool) { return "\x00", true }
func (marked) Keys() []string            { return nil }

// logical is an instruction in one line, as the parser makes it: without
// continuations, and the comments and empty lines between them.
type logical struct {
	text string
	at   []int // where each byte stands in the file
}

func (f *file) logical(n *parser.Node) logical {
	s := string(regexp.QuoteMeta(string(f.escape)))
	continuation := regexp.MustCompile(`(^|[^` + s + `])` + s + `[ \t]*$`)
	var l logical
	var b strings.Builder
	for i := n.StartLine - 1; i < n.EndLine && i+1 < len(f.lines); i++ {
		start := f.lines[i]
		line := bytes.TrimRight(f.data[start:f.lines[i+1]], "\r\n")
		if i == n.StartLine-1 {
			if i == 0 {
				line = bytes.TrimPrefix(line, []byte("\ufeff"))
			}
			line = bytes.TrimLeftFunc(line, unicode.IsSpace)
			start = f.lines[i] + len(bytes.TrimRight(f.data[start:f.lines[i+1]], "\r\n")) - len(line)
		} else if trimmed := bytes.TrimLeftFunc(line, unicode.IsSpace); len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		if m := continuation.FindSubmatchIndex(line); m != nil {
			line = line[:m[3]]
		}
		for j := range line {
			b.WriteByte(line[j])
			l.at = append(l.at, start+j)
		}
	}
	l.text = b.String()
	return l
}

// pairs finds where the labels of an instruction stand, and holds that against what the
// parser read.
func (f *file) pairs(node int) ([]pair, error) {
	n := f.nodes[node]
	cannot := &Error{Line: n.StartLine, Reason: "this LABEL is written in a way that leastcap cannot change: write it as LABEL NAME=VALUE"}
	l := f.logical(n)
	from := len("label")
	if len(l.text) < from || !strings.EqualFold(l.text[:from], "label") {
		return nil, cannot
	}
	from += len(l.text[from:]) - len(strings.TrimLeftFunc(l.text[from:], unicode.IsSpace))
	to := max(from, len(strings.TrimRightFunc(l.text, unicode.IsSpace)))
	var pairs []pair
	add := func(start, end int, key, value string) {
		pairs = append(pairs, pair{node: node, key: key, value: value, start: l.at[start], end: l.at[end-1] + 1})
	}
	spans := labelWords(l.text[from:to], f.escape)
	switch {
	case len(spans) == 0:
		return nil, cannot
	case !strings.Contains(l.text[from:from+spans[0][1]], "="): // LABEL NAME VALUE
		key := strings.FieldsFunc(l.text[from:to], isSpace)[0]
		add(from, to, key, strings.TrimLeftFunc(l.text[from+len(key):to], isSpace))
	default:
		for _, s := range spans {
			key, value, ok := strings.Cut(l.text[from+s[0]:from+s[1]], "=")
			if !ok {
				return nil, cannot
			}
			add(from+s[0], from+s[1], key, value)
		}
	}
	i := 0
	for v := n.Next; v != nil && v.Next != nil && v.Next.Next != nil; v = v.Next.Next.Next {
		if i >= len(pairs) || pairs[i].key != v.Value || pairs[i].value != v.Next.Value {
			return nil, cannot
		}
		i++
	}
	if i != len(pairs) {
		return nil, cannot
	}
	return pairs, nil
}

// isSpace is the parser's reWhitespace.
func isSpace(r rune) bool { return strings.ContainsRune(" \t\v\f\r", r) }

// labelWords finds NAME=VALUE words: parser/line_parsers.go parseWords.
func labelWords(text string, escape rune) (spans [][2]int) {
	start, quote := -1, rune(0)
	skip := false
	for i, r := range text {
		switch {
		case skip:
			skip = false
		case start < 0:
			if unicode.IsSpace(r) {
				continue
			}
			start = i
			fallthrough
		case quote == 0:
			switch {
			case unicode.IsSpace(r):
				spans = append(spans, [2]int{start, i})
				start = -1
			case r == '\'' || r == '"':
				quote = r
			case r == escape:
				skip = true
			}
		case r == quote:
			quote = 0
		case r == escape && quote != '\'':
			skip = true
		}
	}
	if start >= 0 {
		spans = append(spans, [2]int{start, len(text)})
	}
	return spans
}

// insertion is how an instruction is put behind the stage's last LABEL, or at its end.
func (f *file) insertion(instruction string) (at int, text string) {
	after := f.nodes[len(f.nodes)-1]
	for _, n := range f.nodes[f.stage:] {
		if strings.EqualFold(n.Value, "label") {
			after = n
		}
	}
	eol := "\n"
	if bytes.HasSuffix(f.data[:f.lines[1]], []byte("\r\n")) {
		eol = "\r\n"
	}
	at = f.lines[min(after.EndLine, len(f.lines)-1)]
	if at == 0 || f.data[at-1] != '\n' {
		return at, eol + instruction
	}
	return at, instruction + eol
}

// verify holds that the edit did what it was to do, and nothing else.
func (f *file) verify(out []byte, l Label, old *pair) error {
	fail := func(reason string) error {
		return &Error{Reason: "the label " + l.Name + " cannot be put in: " + reason}
	}
	g, err := parse(out)
	if err != nil {
		return fail(err.Error())
	}
	now, err := g.find(l.Name)
	if err != nil {
		return err
	}
	if now == nil || !g.is(now.value, l.Value) {
		return fail("the result has another value")
	}
	before, after := f.nodes, g.nodes
	if old == nil {
		after = slices.Delete(slices.Clone(after), now.node, now.node+1)
	} else if now.node != old.node {
		return fail("the result has it elsewhere")
	}
	if len(before) != len(after) {
		return fail("the result has other instructions")
	}
	for i := range before {
		if old != nil && i == old.node {
			if err := f.sameBut(g, i, l.Name); err != nil {
				return fail(err.Error())
			}
		} else if before[i].Dump() != after[i].Dump() {
			return fail(fmt.Sprintf("line %d would change", before[i].StartLine))
		}
	}
	return nil
}

// sameBut holds that an instruction has the same labels but for one name.
func (f *file) sameBut(g *file, node int, name string) error {
	a, err := f.pairs(node)
	if err != nil {
		return err
	}
	b, err := g.pairs(node)
	if err != nil {
		return err
	}
	if len(a) != len(b) {
		return errors.New("other labels would change")
	}
	for i := range a {
		if !f.is(a[i].key, name) && (a[i].key != b[i].key || a[i].value != b[i].value) {
			return fmt.Errorf("the label %s would change", a[i].key)
		}
	}
	return nil
}
