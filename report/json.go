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
	begun bool
	err   error
}

func newJSONObject(w io.Writer) *jsonObject { return &jsonObject{w: bufio.NewWriter(w)} }

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
	e := json.NewEncoder(usage.JSONWriter(&o.value))
	e.SetIndent(prefix, "  ")
	if o.err = e.Encode(value); o.err == nil {
		_, o.err = o.w.Write(bytes.TrimSuffix(o.value.Bytes(), []byte("\n")))
	}
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
