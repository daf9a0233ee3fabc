package actions

import (
	"bytes"
	"regexp"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/manifest/words"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// expression is GitHub's ${{ … }}, which is filled in before a shell sees the text.
var expression = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{\{.*?\}\}`) })

// scalarText is the shell text of a scalar, with the place of every byte: of a plain or
// quoted one that is written as it means, and of a literal block. ok is false of all
// others (escapes, folded lines), whose text has no such places.
func scalarText(data []byte, n yaml.Node) (t words.Text, ok bool) {
	at := n.Deref().Pos()
	raw := data[at.Start:at.End]
	value := n.Value()
	switch {
	case len(raw) == 0:
		return words.Text{}, false
	case raw[0] == '|':
		return literal(data, at.Start, at.End, value)
	case string(raw) == value:
		return masked(data, at.Start, at.End), true
	case len(raw) >= 2 && (raw[0] == '"' || raw[0] == '\'') && string(raw[1:len(raw)-1]) == value:
		return masked(data, at.Start+1, at.End-1), true
	}
	return words.Text{}, false
}

// literal is the text of a block that begins with "|" (YAML 1.2.2, 8.1.2): its lines
// without their common indentation.
func literal(data []byte, start, end int, value string) (words.Text, bool) {
	i := bytes.IndexByte(data[start:end], '\n')
	if i < 0 {
		return words.Text{}, false
	}
	indent := -1
	var b words.Builder
	for at := start + i + 1; at < end; {
		next := end
		if j := bytes.IndexByte(data[at:end], '\n'); j >= 0 {
			next = at + j + 1
		}
		line := data[at:next]
		content := bytes.TrimLeft(line, " ")
		if indent < 0 && len(bytes.TrimSpace(content)) > 0 {
			indent = len(line) - len(content)
		}
		n := min(max(indent, 0), len(line)-len(content))
		b.Add(line[n:], at+n)
		at = next
	}
	t := b.Text()
	clean := func(s string) string { return strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\r\n ") }
	if clean(strings.TrimLeft(string(t.Bytes), "\r\n")) != clean(strings.TrimLeft(value, "\n")) {
		return words.Text{}, false
	}
	return mask(t), true
}

// masked is a part of the file with expressions put out of the shell's sight.
func masked(data []byte, start, end int) words.Text {
	return mask(words.Whole(data[start:end], start))
}

func mask(t words.Text) words.Text {
	for _, m := range expression().FindAllIndex(t.Bytes, -1) {
		t = t.Mask(m[0], m[1])
	}
	return t
}
