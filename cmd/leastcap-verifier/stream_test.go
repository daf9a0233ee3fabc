package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigs "sigs.k8s.io/yaml"

	"github.com/leastcap/leastcap/manifest"
	own "github.com/leastcap/leastcap/manifest/yaml"
)

// streams are files with more than one JSON value, or with something behind one.
var streams = []struct {
	text string
	// ignored says that kubectl passes over a part without a word.
	ignored bool
}{
	{text: `{"a":1}`}, {text: `{"a":1}{"b":2}`}, {text: "{\"a\":1}\n{\"b\":2}\n{\"c\":[{}]}\n"}, {text: "\ufeff {\"a\":1}\r\n\r\n\t{\"b\":2}\r\n"},
	{text: "{\"a\": \"}\\\"{\"}\t{\"b\":[{}]} "}, {text: "{\n  \"a\": 1\n}\n{\n  \"b\": 2\n}\n"}, {text: "{\"a\":1}\nnull\n{\"b\":2}"},
	{text: "{\"a\":1}\n---\n{\"b\":2}\n"}, {text: "{\"a\":1}\n# c\n---\nd: e\n---\nf: g\n"}, {text: "{\"a\":1}\n# comment\n"}, {text: "{\"a\":1}---\nb: c\n"},
	{text: "{\"a\":1}\n a: b\n"}, {text: "{\"a\":1} a: b\nc: d\n"}, {text: "{\"a\":1}\n{b: 2}\n"}, {text: "{a: 1}\n---\n{\"b\":2}\n"}, {text: "{'a': '}'}\n"},
	{text: "{\"a\":1} trailing"}, {text: "{\"a\":1}\n]\n"}, {text: "{\"a\":1},{\"b\":2}"}, {text: "{\"a\":1}\n...\n---\nb: c\n"}, {text: "{\"a\":1}\n[1]\n"},
	{text: "{\"a\":1}{\"b\":2}\n---\n{\"c\":3}\n"}, {text: "{\"a\":1}{\"b\":2}\n# comment\n"}, {text: "{\"a\":1}\n{\"b\":2}\n{\"c\":"}, {text: "{\"a\":1}\n{\"b\":2}\nc: d\n"},
	{text: "{\"a\":1}\n{\"b\":2}\n{\"c\":3,}\n"}, {text: "{\"a\":1}\n{\"b\":2"},
	{text: "---\n{\"a\":1}\n{\"b\":2}\n", ignored: true}, {text: "# c\n{\"a\":1}\n{\"b\":2}\n", ignored: true}, {text: "{a: 1}{b: 2}\n", ignored: true},
	{text: "{a: b} c\n", ignored: true}, {text: "{\"a\":1}\n---\n{\"b\":2}\n{\"c\":3}\n", ignored: true}, {text: "a: b\r---\rc: d\r", ignored: true},
	{text: strings.Repeat(" ", 5000) + "{\"a\":1}\n{\"b\":2}\n", ignored: true}, {text: strings.Repeat(" ", 4000) + "{\"a\":1}\n{\"b\":2}\n"},
	{text: strings.Repeat("{\"a\":1}\n", 300)},
}

// TestStream holds what is a document here, and for leastcap, against kubectl's reader.
func TestStream(t *testing.T) {
	for _, tt := range streams {
		name := tt.text[:min(len(tt.text), 40)]
		kubectl, kubectlErr := byKubectl([]byte(tt.text))

		list, err := documents([]byte(tt.text))
		var here []string
		for _, doc := range list {
			here = append(here, asJSON(doc)...)
		}
		if kubectlErr == nil && (err != nil || !slices.Equal(here, kubectl)) {
			t.Errorf("%q: %q, %v; kubectl reads %q", name, here, err, kubectl)
		}
		if err != nil && kubectlErr == nil {
			t.Errorf("%q: %v, and kubectl takes it", name, err)
		}

		file, err := own.ReadStream(manifest.Source{Name: "f", Data: []byte(tt.text)})
		if err != nil {
			t.Fatal(err)
		}
		var ours []string
		var errs []error
		for i := range file.Documents() {
			d := &file.Documents()[i]
			if _, err := d.Parse(); err != nil {
				errs = append(errs, err)
				continue
			}
			ours = append(ours, asJSON(d.Bytes())...)
		}
		switch refused := kubectlErr != nil || tt.ignored; {
		case refused != (len(errs) > 0):
			t.Errorf("%q: %v; kubectl: %v", name, errs, kubectlErr)
		case !refused && !slices.Equal(ours, kubectl):
			t.Errorf("%q: leastcap reads %q, kubectl %q", name, ours, kubectl)
		}
		for _, err := range errs {
			if e := manifest.Errors(err)[0]; e.At.Line == 0 || e.Hint == "" {
				t.Errorf("%q: no line, or no next step: %v", name, err)
			}
		}
	}
}

// byKubectl are the objects of a file as JSON, without those that are null, as
// k8s.io/cli-runtime pkg/resource StreamVisitor reads them. What is no object is refused there
// (mapper.infoForData).
func byKubectl(data []byte) (list []string, err error) {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))), 4096)
	for {
		var ext runtime.RawExtension
		switch err := d.Decode(&ext); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return list, err
		case len(ext.Raw) == 0 || string(ext.Raw) == "null":
			continue
		case ext.Raw[0] != '{':
			return list, fmt.Errorf("%s is no object", ext.Raw)
		}
		list = append(list, compact(ext.Raw))
	}
}

// asJSON is a document as JSON, none if it is null.
func asJSON(doc []byte) []string {
	data, err := sigs.YAMLToJSON(bytes.TrimSpace(doc))
	switch {
	case err != nil:
		return []string{err.Error()}
	case string(data) == "null":
		return nil
	}
	return []string{compact(data)}
}

func compact(data []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return err.Error()
	}
	return b.String()
}
