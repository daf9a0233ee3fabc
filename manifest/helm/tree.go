package helm

import (
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// A node is a key of a mapping, or an item of a list, in a drawn template. What branches
// write in two ways is there twice.
type node struct {
	key      string // "" of an item, and of a document
	item     bool
	indent   int
	value    string // the scalar behind it, marks and all
	marks    []int
	children []*node
	at       manifest.Pos
}

// read makes trees of the drawn text by its indentation, a tree for each document. It is no
// YAML parser: a template is no YAML, and what it cannot be told from is not told.
func (d *drawing) read() []*node {
	doc := &node{indent: -1}
	docs := []*node{doc}
	stack := []*node{doc}
	skip := -1 // what is deeper is a block scalar's text
	for start := 0; start < len(d.out); {
		end := start
		for end < len(d.out) && d.out[end].c != '\n' {
			end++
		}
		line := d.out[start:end]
		start = end + 1
		indent := 0
		for indent < len(line) && line[indent].c == ' ' {
			indent++
		}
		text := string(bytesOf(line[indent:]))
		text = strings.TrimRight(text, " \t\r")
		switch {
		case text == "" || text[0] == '#':
			continue
		case skip >= 0 && indent > skip:
			continue
		case indent == 0 && (text == "---" || strings.HasPrefix(text, "--- ")):
			doc = &node{indent: -1}
			docs = append(docs, doc)
			stack, skip = []*node{doc}, -1
			continue
		}
		skip = -1
		for { // the items that the line begins, one in another
			if text != "-" && !strings.HasPrefix(text, "- ") {
				break
			}
			for len(stack) > 1 && (top(stack).indent > indent || top(stack).indent == indent && top(stack).item) {
				stack = stack[:len(stack)-1]
			}
			n := &node{item: true, indent: indent, at: place(line[indent:])}
			top(stack).children = append(top(stack).children, n)
			stack = append(stack, n)
			rest := strings.TrimLeft(text[1:], " ")
			indent += len(text) - len(rest)
			text = rest
			if text == "" {
				break
			}
		}
		if text == "" {
			continue
		}
		for len(stack) > 1 && top(stack).indent >= indent {
			stack = stack[:len(stack)-1]
		}
		key, value, ok := splitKey(text)
		if !ok { // a block that an expression puts there, or an item's value
			n := top(stack)
			n.marks = append(n.marks, marksOf(text)...)
			if n.item && n.value == "" {
				n.value = text
			}
			continue
		}
		n := &node{key: key, indent: indent, value: value, marks: marksOf(value), at: place(line[indent:])}
		top(stack).children = append(top(stack).children, n)
		stack = append(stack, n)
		if v := strings.TrimLeft(value, " "); v != "" && (v[0] == '|' || v[0] == '>') {
			skip = indent
		}
	}
	return docs
}

func top(stack []*node) *node { return stack[len(stack)-1] }

func bytesOf(line []char) []byte {
	out := make([]byte, len(line))
	for i, c := range line {
		out[i] = c.c
	}
	return out
}

func place(line []char) manifest.Pos {
	if len(line) == 0 || line[0].in == nil {
		return manifest.Pos{}
	}
	return line[0].in.lines.Pos(line[0].at, line[0].at)
}

// splitKey takes KEY: VALUE apart.
func splitKey(text string) (key, value string, ok bool) {
	if text[0] == '"' || text[0] == '\'' {
		end := strings.IndexByte(text[1:], text[0])
		if end < 0 || !strings.HasPrefix(text[end+2:], ":") {
			return "", "", false
		}
		return text[1 : end+1], strings.TrimSpace(text[end+3:]), true
	}
	for i := range len(text) {
		if text[i] == ':' && (i+1 == len(text) || text[i+1] == ' ' || text[i+1] == markByte) {
			return text[:i], strings.TrimSpace(text[i+1:]), true
		}
	}
	return "", "", false
}

// marksOf are the numbers of the marks in a text.
func marksOf(text string) []int {
	var list []int
	for {
		_, rest, ok := strings.Cut(text, string(rune(markByte)))
		if !ok {
			return list
		}
		number, rest, _ := strings.Cut(rest, string(rune(markByte)))
		if n, err := strconv.Atoi(number); err == nil {
			list = append(list, n)
		}
		text = rest
	}
}

// plain is a scalar without quotes and comment.
func plain(value string) string {
	if value, _, ok := strings.Cut(value, " #"); ok {
		return strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return strings.Trim(value, `"'`)
}
