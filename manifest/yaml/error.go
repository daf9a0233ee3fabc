package yaml

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/usage"
)

// TemplateHint is that of an error in what looks like a template.
const TemplateHint = "this looks like a template: give what it renders to (helm template, for a chart)"

var errorLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^yaml: (?:line (\d+): )?`) })

// parserError says in the file's terms what the parser says in the document's.
func (d *Document) parserError(err error) error {
	text := err.Error()
	n := 0
	if m := errorLine().FindStringSubmatch(text); m != nil {
		n, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	e := d.errorAt(d.errorOffset(err, text, n), text)
	if bytes.Contains(d.Bytes(), []byte("{{")) {
		e.Hint = TemplateHint
	} else if strings.Contains(text, "tab") || strings.Contains(text, "cannot start any token") {
		e.Hint = "YAML allows no tabs in indentation"
	}
	return e
}

// inner are the errors of the parser proper (go.yaml.in/yaml/v3 parserc.go). Their lines are
// counted from 0, the scanner's from 1 (decode.go, fail()), and are where the collection
// begins that is wrong somewhere, unless that is the document's first line.
var inner = []string{
	"did not find expected", "found undefined tag handle", "found duplicate %", "found incompatible YAML document",
}

// errorOffset is where in the file an error is; n is the line that the parser names, 0 for none.
func (d *Document) errorOffset(err error, text string, n int) int {
	last := max(d.End-1, d.Start)
	switch {
	case !slices.ContainsFunc(inner, func(s string) bool { return strings.HasPrefix(text, s) }):
		if n > 0 {
			return min(d.lineStart(n), last)
		}
		return min(d.unnumbered(text), last)
	case strings.HasSuffix(text, "expected key"), strings.HasSuffix(text, "expected '-' indicator"):
		n = max(n, d.wrongLine(err)-1)
	}
	from := d.lineStart(n + 1)
	if at, ok := d.wrongJSON(); ok && at >= from {
		return min(at, last)
	}
	return min(from, last)
}

// wrongLine is the line, from 1, of the first token that has no place in a block collection:
// the first that makes the parser fail in this way if nothing follows. It is behind none that
// the parser has read by then.
func (d *Document) wrongLine(err error) int {
	r := &lineReader{left: d.Bytes()}
	if v3.NewDecoder(r).Decode(&v3.Node{}) == nil {
		return 0
	}
	data := d.Bytes()
	ends := r.ends
	const most = 8 // what the parser looks ahead is the end of a line, and then blanks
	for tried := 0; len(ends) > 1 && tried < most; {
		at := ends[len(ends)-2]
		if blank(data[at:ends[len(ends)-1]]) { // has no token
			ends = ends[:len(ends)-1]
			continue
		}
		if again := v3.Unmarshal(data[:at], &v3.Node{}); again == nil || again.Error() != err.Error() {
			break
		}
		ends = ends[:len(ends)-1]
		tried++
	}
	return len(ends)
}

// lineReader gives one line at a time, and knows where those ended that were asked for.
type lineReader struct {
	left []byte
	ends []int
	at   int
	part []byte // of a line, what is left of it
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.part) == 0 {
		if len(r.left) == 0 {
			return 0, io.EOF
		}
		n := bytes.IndexByte(r.left, '\n') + 1
		if n == 0 {
			n = len(r.left)
		}
		r.part, r.left = r.left[:n], r.left[n:]
		r.at += n
		r.ends = append(r.ends, r.at)
	}
	n := copy(p, r.part)
	r.part = r.part[n:]
	return n, nil
}

// wrongJSON is where a document that looks like JSON is none.
func (d *Document) wrongJSON() (offset int, ok bool) {
	data := bytes.TrimPrefix(d.Bytes(), []byte("\ufeff"))
	data = bytes.TrimPrefix(data, []byte("---"))
	if text := bytes.TrimLeft(data, " \t\r\n"); len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return 0, false
	}
	var raw json.RawMessage
	at, ok := usage.JSONOffset(data, json.Unmarshal(data, &raw))
	return d.End - len(data) + at, ok
}

var unknownAnchor = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^unknown anchor '(.+)' referenced$`)
})

// unnumbered is where an error is of which the parser does not say it.
func (d *Document) unnumbered(text string) int {
	data := d.Bytes()
	if m := unknownAnchor().FindStringSubmatch(text); m != nil {
		alias := []byte("*" + m[1])
		next := d.Start
		for line := range bytes.Lines(data) {
			start := next
			next += len(line)
			i := bytes.Index(line, alias)
			if i < 0 || blank(line) || i > 0 && !strings.ContainsRune(" \t[{,", rune(line[i-1])) {
				continue
			}
			if end := i + len(alias); end == len(line) || strings.ContainsRune(" \t\r\n,]}", rune(line[end])) {
				return start + i
			}
		}
		return d.Start
	}
	// The reader refuses bytes and characters, the same as yaml_parser_update_buffer() of
	// go.yaml.in/yaml/v3 readerc.go.
	if strings.Contains(text, "UTF-8") || strings.Contains(text, "control characters") || strings.Contains(text, "Unicode character") {
		for i := 0; i < len(data); {
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 || !printable(r) {
				return d.Start + i
			}
			i += size
		}
	}
	return d.Start
}

// printable are the characters that YAML allows (YAML 1.2.2, 5.1).
func printable(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r', r == 0x85, r >= ' ' && r <= '~':
		return true
	}
	return r >= 0xa0 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000
}

// unread is the error of a document with something behind its end.
func (d *Document) unread(root *v3.Node) error {
	at := d.Start
	if len(root.Content) > 0 {
		_, at = Node{root.Content[0], d, -1}.span()
	}
	e := d.errorAt(skipBlank(d.file.Data[:d.End], at), "the document ends before this, which would not be read")
	e.Hint = "take it out, or give it a file of its own"
	if d.file.stream {
		e.Hint = `take it out, or make it a document of its own with a line of "---" before it`
	}
	return e
}

func (d *Document) errorAt(offset int, reason string) *manifest.Error {
	return &manifest.Error{At: d.file.Lines().Pos(offset, offset), Reason: reason}
}
