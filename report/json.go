package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"

	"github.com/leastcap/leastcap/usage"
)

// jsonObject is an indented object that is written field by field, a list element by
// element. The first error stays.
type jsonObject struct {
	w     *bufio.Writer
	value bytes.Buffer
	lines []byte // of the value, indented
	begun bool
	err   error
}

func newJSONObject(w io.Writer) *jsonObject { return &jsonObject{w: bufio.NewWriterSize(w, 64<<10)} }

// key begins a field.
func (o *jsonObject) key(name string) {
	if o.begun {
		o.write(",\n  ")
	} else {
		o.write("{\n  ")
	}
	o.begun = true
	o.encode(name, "")
	o.write(": ")
}

func (o *jsonObject) field(name string, value any) {
	o.key(name)
	o.encode(value, "  ")
}

func (o *jsonObject) write(s string) {
	if o.err == nil {
		_, o.err = o.w.WriteString(s)
	}
}

// encode writes a value whose further lines begin with prefix.
func (o *jsonObject) encode(value any, prefix string) {
	if o.err != nil {
		return
	}
	o.value.Reset()
	if o.err = json.NewEncoder(&o.value).Encode(value); o.err == nil {
		o.lines = appendIndented(o.lines[:0], usage.EscapeJSON(bytes.TrimSuffix(o.value.Bytes(), []byte("\n"))), prefix)
		_, o.err = o.w.Write(o.lines)
	}
}

// appendIndented does what [json.Indent] does, to what encoding/json has written itself and so
// need not be checked: that takes longer than writing it.
func appendIndented(to, compact []byte, prefix string) []byte {
	depth := 0
	line := func() {
		to = append(append(to, '\n'), prefix...)
		for range depth {
			to = append(to, "  "...)
		}
	}
	for i := 0; i < len(compact); i++ {
		switch c := compact[i]; c {
		case '"':
			from := i
			i++
			for {
				i += bytes.IndexByte(compact[i:], '"')
				escapes := 0
				for compact[i-1-escapes] == '\\' {
					escapes++
				}
				if escapes%2 == 0 {
					break
				}
				i++
			}
			to = append(to, compact[from:i+1]...)
		case '{', '[':
			to = append(to, c)
			if next := compact[i+1]; next == '}' || next == ']' {
				to = append(to, next)
				i++
				continue
			}
			depth++
			line()
		case '}', ']':
			depth--
			line()
			to = append(to, c)
		case ',':
			to = append(to, c)
			line()
		case ':':
			to = append(to, ": "...)
		default:
			to = append(to, c)
		}
	}
	return to
}

func (o *jsonObject) end() error {
	o.write("\n}\n")
	if o.err == nil {
		o.err = o.w.Flush()
	}
	return o.err
}

// listField writes a field that is a list, never null.
func listField[T, J any](o *jsonObject, name string, list []T, element func(*T) J) {
	o.key(name)
	if len(list) == 0 {
		o.write("[]")
		return
	}
	for i := range list {
		if i == 0 {
			o.write("[\n    ")
		} else {
			o.write(",\n    ")
		}
		o.encode(element(&list[i]), "    ")
	}
	o.write("\n  ]")
}
