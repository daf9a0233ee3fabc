package yaml

import (
	"bytes"
	"sort"
	"unicode/utf8"

	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
)

// Pos is where the node is written: of a scalar the word with its quotes, of an alias
// the reference, of a collection from its first to its last byte. Anchors and tags
// before it are no part of it.
func (n Node) Pos() manifest.Pos {
	if n.n == nil {
		return manifest.Pos{}
	}
	start, end := n.span()
	return n.doc.file.Lines().Pos(start, end)
}

// lineStart is the offset of a line that the parser counts, from 1, in the document.
func (d *Document) lineStart(line int) int {
	f := d.file
	if d.line < 0 {
		f.countOdd()
		if f.isOdd {
			d.line = sort.SearchInts(f.odd, d.Start+1) - 1
		} else {
			d.line = f.Lines().Pos(d.Start, d.Start).Line - 1
		}
	}
	if line == 1 {
		if bytes.HasPrefix(f.Data[d.Start:], []byte("\ufeff")) {
			return d.Start + 3 // the parser's columns do not count it
		}
		return d.Start
	}
	line += d.line
	if f.isOdd {
		if line > len(f.odd) {
			return len(f.Data)
		}
		return f.odd[line-1]
	}
	return f.Lines().Start(line)
}

// countOdd indexes lines as YAML 1.1 ends them (is_break in yaml/v3 yamlprivateh.go),
// where that differs from what everybody else calls a line.
func (f *File) countOdd() {
	if f.odd != nil {
		return
	}
	f.odd = []int{0}
	d := f.Data
	for i := range d {
		if d[i] == '\r' && (i+1 == len(d) || d[i+1] != '\n') || wideBreak(d[i:]) > 0 {
			f.isOdd = true
			break
		}
	}
	if !f.isOdd {
		return
	}
	for i := 0; i < len(d); i++ {
		switch {
		case d[i] == '\n', d[i] == '\r' && (i+1 == len(d) || d[i+1] != '\n'):
			f.odd = append(f.odd, i+1)
		case wideBreak(d[i:]) > 0:
			f.odd = append(f.odd, i+wideBreak(d[i:]))
		}
	}
}

// wideBreak is the length of a line end that is no ASCII: NEL, LS, PS; 0 if there is none.
func wideBreak(b []byte) int {
	switch {
	case len(b) >= 2 && b[0] == 0xc2 && b[1] == 0x85:
		return 2
	case len(b) >= 3 && b[0] == 0xe2 && b[1] == 0x80 && (b[2] == 0xa8 || b[2] == 0xa9):
		return 3
	}
	return 0
}

// offset is where the parser says that a node begins.
func (d *Document) offset(n *v3.Node) int {
	at := d.lineStart(n.Line)
	data := d.file.Data
	for i := 1; i < n.Column && at < len(data); i++ {
		if data[at] < utf8.RuneSelf {
			at++
			continue
		}
		_, size := utf8.DecodeRune(data[at:])
		at += size
	}
	return min(at, d.End)
}

// column is where a block collection is indented to, from 1; that of its first key or
// dash, which is not always where the node begins: properties stand before it.
func (n Node) column() int {
	switch {
	case n.n == nil || n.IsFlow() || len(n.n.Content) == 0:
		return n.indent + 1
	case n.n.Kind == v3.MappingNode:
		return n.n.Content[0].Column
	case n.n.Anchor == "" && n.n.Style&v3.TaggedStyle == 0:
		return n.n.Column
	}
	start, _ := n.properties()
	d := n.doc
	line := start
	for line > d.Start && !isBreak(d.file.Data[line-1]) {
		line--
	}
	return utf8.RuneCount(d.file.Data[line:start]) + 1
}

func isBreak(b byte) bool { return b == '\n' || b == '\r' }

// properties skips anchor and tag: where the content begins, and where the last property
// ends (the same, if there is none).
func (n Node) properties() (content, end int) {
	at := n.doc.offset(n.n)
	data := n.doc.file.Data[:n.doc.End]
	end = at
	if n.n.Kind == v3.MappingNode && !n.IsFlow() && n.n.Anchor == "" && n.n.Style&v3.TaggedStyle == 0 {
		return at, at // what stands there is the first key's
	}
	nothing := n.n.Kind == v3.ScalarNode && n.n.Value == "" && n.IsPlain()
	var first byte // of what is skipped already: there is one of each
	for at < len(data) && (data[at] == '&' || data[at] == '!') && data[at] != first {
		if first = data[at]; first == '&' {
			at = min(at+1+len(n.n.Anchor), len(data))
		} else {
			for at < len(data) && !isSpace(data[at]) && !(nothing && isFlowEnd(data[at])) {
				at++
			}
		}
		end = at
		at = skipBlank(data, at)
		if n.n.Kind == v3.MappingNode && !n.IsFlow() && len(n.n.Content) > 0 && at >= n.doc.offset(n.n.Content[0]) {
			return n.doc.offset(n.n.Content[0]), end
		}
	}
	return at, end
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' || b == '\r' }

func isFlowEnd(b byte) bool { return b == ',' || b == ']' || b == '}' }

// skipBlank goes over white space, line ends and comments.
func skipBlank(data []byte, at int) int {
	for at < len(data) {
		switch {
		case isSpace(data[at]):
			at++
		case wideBreak(data[at:]) > 0:
			at += wideBreak(data[at:])
		case data[at] == '#' && (at == 0 || isSpace(data[at-1]) || isFlowMark(data[at-1])):
			for at < len(data) && !isBreak(data[at]) {
				at++
			}
		default:
			return at
		}
	}
	return at
}

// isFlowMark: behind brackets and commas, parsers of the libyaml family take a # for a
// comment without a space before it.
func isFlowMark(b byte) bool { return b == ',' || b == '[' || b == '{' || b == ']' || b == '}' }

// span is where the node's content begins and ends.
func (n Node) span() (start, end int) {
	d := n.doc
	data := d.file.Data[:d.End]
	start, props := n.properties()
	switch n.n.Kind {
	case v3.AliasNode:
		end = start + 1 + len(n.n.Value)
	case v3.ScalarNode:
		switch {
		case n.n.Style&v3.SingleQuotedStyle != 0:
			end = quoted(data, start, '\'')
		case n.n.Style&v3.DoubleQuotedStyle != 0:
			end = quoted(data, start, '"')
		case n.n.Style&(v3.LiteralStyle|v3.FoldedStyle) != 0:
			end = n.blockScalar(data, start)
		case n.n.Value == "":
			return props, props
		default:
			end = plain(data, start, n.n.Value)
		}
	case v3.MappingNode, v3.SequenceNode:
		end = n.collection(data, start)
	default:
		end = start
	}
	return start, min(max(end, start), len(data))
}

// quoted is the end of a scalar in quotes.
func quoted(data []byte, at int, quote byte) int {
	for at++; at < len(data); at++ {
		switch {
		case data[at] == '\\' && quote == '"':
			at++
		case data[at] == quote && quote == '\'' && at+1 < len(data) && data[at+1] == quote:
			at++
		case data[at] == quote:
			return at + 1
		}
	}
	return at
}

// plain is the end of a scalar without quotes: it follows the value through the source,
// where folded white space may be more than in the value.
func plain(data []byte, at int, value string) int {
	for i := 0; i < len(value) && at < len(data); {
		if value[i] == data[at] {
			i++
			at++
			continue
		}
		if w := wideBreak(data[at:]); w > 0 || isSpace(data[at]) {
			at += max(w, 1)
			continue
		}
		if isSpace(value[i]) || wideBreak([]byte(value[i:])) > 0 {
			i += max(wideBreak([]byte(value[i:])), 1)
			continue
		}
		return at
	}
	return at
}

// blockScalar is the end of a literal or folded scalar: of its last line with content,
// without the line end. Its lines are indented more than what is around it.
func (n Node) blockScalar(data []byte, at int) int {
	end := at
	for end < len(data) && !isBreak(data[end]) {
		end++
	}
	header := bytes.TrimRight(data[at:end], " \t")
	if i := bytes.IndexByte(header, '#'); i >= 0 {
		header = bytes.TrimRight(header[:i], " \t")
	}
	indent, first := n.parentIndent(), -1
	if i := bytes.IndexAny(header, "123456789"); i > 0 {
		first = max(indent, 0) + int(header[i]-'0')
	}
	end = at + len(header)
	for line := nextLine(data, end); line < len(data); line = nextLine(data, line) {
		text := line
		for text < len(data) && data[text] == ' ' {
			text++
		}
		if text == len(data) || isBreak(data[text]) {
			continue
		}
		if first < 0 && text-line > indent {
			first = text - line // without an indicator, the first line with content says
		}
		if text-line <= indent || text-line < first || indent < 0 && (isMarker(data[line:], "---") || isMarker(data[line:], "...")) {
			break
		}
		end = text
		for end < len(data) && !isBreak(data[end]) {
			end++
		}
	}
	return end
}

// parentIndent is how far the collection around a node is indented.
func (n Node) parentIndent() int {
	if n.indent != unknownIndent {
		return n.indent
	}
	// Reached through an alias: the line that the anchor stands in tells.
	data := n.doc.file.Data
	at := n.doc.offset(n.n)
	line := at
	for line > n.doc.Start && !isBreak(data[line-1]) {
		line--
	}
	indent := 0
	for line < at && (data[line] == ' ' || data[line] == '-' && isSpace(data[line+1])) {
		line++
		indent++
	}
	return indent
}

func nextLine(data []byte, at int) int {
	for at < len(data) {
		if w := wideBreak(data[at:]); w > 0 {
			return at + w
		}
		if data[at] == '\n' || data[at] == '\r' && (at+1 == len(data) || data[at+1] != '\n') {
			return at + 1
		}
		at++
	}
	return at
}

// collection is the end of a mapping or sequence that begins at start.
func (n Node) collection(data []byte, start int) int {
	end := start
	if n.IsFlow() {
		end++
	}
	if len(n.n.Content) > 0 {
		if n.n.Kind == v3.MappingNode {
			end = n.Entry(n.Len() - 1).end()
		} else {
			last := n.Item(n.Len() - 1)
			_, end = last.span()
			if !n.IsFlow() && last.IsNull() && last.n.Value == "" && last.n.Kind == v3.ScalarNode && last.n.Anchor == "" {
				end = n.dash(n.Len()-1) + 1
			}
		}
	}
	if !n.IsFlow() {
		return end
	}
	for end < len(data) {
		end = skipBlank(data, end)
		if end < len(data) && (data[end] == ']' || data[end] == '}') {
			return end + 1
		}
		end++ // a comma, the colon of a value that is nothing
	}
	return end
}

// end is where the entry ends: its value, or its colon if that is nothing.
func (e Entry) end() int {
	_, key := e.Key.span()
	if v := e.Value; v.n.Kind == v3.ScalarNode && v.n.Value == "" && v.IsPlain() {
		if v.n.Anchor != "" || v.n.Style&v3.TaggedStyle != 0 {
			_, end := v.span()
			return max(end, key)
		}
		return max(e.colon(), key)
	}
	_, end := e.Value.span()
	return max(end, key)
}

// colon is the offset behind the entry's colon; the key's end, if it has none.
func (e Entry) colon() int {
	data := e.Key.doc.file.Data[:e.Key.doc.End]
	_, key := e.Key.span()
	if at := skipBlank(data, key); at < len(data) && data[at] == ':' {
		return at + 1
	}
	return key
}

// dash is the offset of the i-th item's dash in a block sequence.
func (n Node) dash(i int) int {
	data := n.doc.file.Data[:n.doc.End]
	at, _ := n.properties()
	if i > 0 {
		prev := n.Item(i - 1)
		var start int
		start, at = prev.span()
		if prev.n.Value == "" && start == at && prev.n.Kind == v3.ScalarNode && prev.n.Anchor == "" && prev.IsPlain() {
			at = n.dash(i-1) + 1
		}
	}
	return skipBlank(data, at)
}
