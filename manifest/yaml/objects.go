package yaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/usage"
)

// ReadStream is [Read] for files that may be a stream of JSON objects, one behind the other,
// as Kubernetes' tools read them: each is a document.
func ReadStream(src manifest.Source) (*File, error) {
	return newFile(src, true)
}

// jsonWithin is how far into a file kubectl looks for what makes it JSON (the size that
// k8s.io/cli-runtime pkg/resource StreamVisitor gives to NewYAMLOrJSONDecoder).
const jsonWithin = 4096

// objects cuts a stream of JSON values where k8s.io/apimachinery pkg/util/yaml
// YAMLOrJSONDecoder does, and returns where YAML goes on: behind no value or one, anything
// else than another is YAML; behind several it is an error.
func (f *File) objects() (next int) {
	bom := f.bom()
	data := f.Data[bom:]
	if text := trimJSON(data[:min(len(data), jsonWithin)]); len(text) == 0 || text[0] != '{' || isSingle(data) {
		return 0
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	for len(f.docs) <= maxDocuments {
		end := int(dec.InputOffset())
		at := len(data) - len(trimJSON(data[end:])) // of the next value
		var value json.RawMessage
		err := dec.Decode(&value)
		n := len(f.docs)
		if n > 0 {
			f.docs[n-1].End = bom + at
		}
		switch {
		case errors.Is(err, io.EOF):
			f.docs[n-1].End = len(f.Data)
			return len(f.Data)
		case err != nil && n == 0:
			return 0
		case err != nil && n == 1:
			// White space goes with the value up to and with the first end of a line
			// (YAMLOrJSONDecoder.consumeWhitespace).
			if i := bytes.IndexByte(data[end:at], '\n'); i >= 0 {
				at = end + i + 1
			}
			f.docs[0].End = bom + at
			return bom + at
		case err != nil:
			f.broken = f.notJSON(data[at:], bom+at, err)
			return bom + at
		}
		d := Document{Number: n + 1, Start: bom + at, file: f, line: -1, json: true}
		if n == 0 {
			d.Start = 0
		}
		if value[0] != '{' && string(value) != "null" { // which kubectl passes over
			d.err = f.noObject(bom + at)
		}
		f.docs = append(f.docs, d)
	}
	return len(f.Data)
}

// notJSON is the error of what follows several JSON values, at an offset.
func (f *File) notJSON(rest []byte, at int, err error) error {
	if line, _, _ := bytes.Cut(rest, []byte{'\n'}); isMarker(line, "---") {
		return &manifest.Error{At: f.Lines().Pos(at, at), Reason: `a line of "---" behind several JSON objects, where kubectl reads no further`,
			Hint: "put one between all of the objects, or take it out"}
	}
	if wrong, ok := usage.JSONOffset(f.Data[f.bom():], err); ok {
		at = f.bom() + wrong
	}
	return &manifest.Error{At: f.Lines().Pos(at, at), Reason: "not JSON, behind several JSON objects, where kubectl reads no further", Err: err,
		Hint: `mend it or take it out, or put a line of "---" between all of the objects`}
}

// behind looks at the document that begins where the JSON of a stream ends.
func (f *File) behind(d *Document) {
	if f.broken != nil {
		d.err = f.broken
		return
	}
	if line, _, _ := bytes.Cut(d.Bytes(), []byte{'\n'}); isMarker(line, "---") {
		return // as any other
	}
	// Whatever it is, it is not passed over.
	switch root, err := d.Parse(); {
	case err != nil:
		e := *manifest.Errors(err)[0]
		e.Reason = "neither JSON nor YAML, behind a JSON object: " + e.Reason
		if e.Hint == "" {
			e.Hint = "mend it or take it out: kubectl refuses it"
		}
		d.err = &e
	case root.Exists() && !root.IsMapping() && !root.IsNull():
		d.err = f.noObject(root.Pos().Start)
	}
}

func (f *File) noObject(at int) error {
	return &manifest.Error{At: f.Lines().Pos(at, at), Reason: "no object, behind a JSON object", Hint: "take it out: kubectl refuses it"}
}

// isSingle says that nothing follows the object that data begins with, if it is JSON: its
// brackets are matched, and nothing else is looked at.
func isSingle(data []byte) bool {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = quoted(data, i, '"') - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return len(trimJSON(data[i+1:])) == 0
			}
		}
	}
	return true
}

// trimJSON takes away leading white space, as JSON has it (RFC 8259, 2).
func trimJSON(data []byte) []byte { return bytes.TrimLeft(data, " \t\r\n") }
