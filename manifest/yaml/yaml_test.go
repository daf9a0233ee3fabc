package yaml

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
)

func read(t *testing.T, text string) *Document {
	t.Helper()
	f, err := Read(manifest.Source{Name: "f", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	d := &f.Documents()[0]
	if _, err := d.Parse(); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocuments(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"a: 1\n", []string{"a: 1\n"}},
		{"---\na: 1\n---\nb: 2\n", []string{"---\na: 1\n", "---\nb: 2\n"}},
		{"# head\n\n---\na: 1\n", []string{"# head\n\n---\na: 1\n"}},
		{"a: |\n  x\n---x: y\n  z\n--- b\n", []string{"a: |\n  x\n---x: y\n  z\n", "--- b\n"}},
		{"%YAML 1.1\n---\na\n...\n%YAML 1.1\n---\nb\n", []string{"%YAML 1.1\n---\na\n...\n", "%YAML 1.1\n---\nb\n"}},
		{"a\r\n---\r\nb\r\n", []string{"a\r\n", "---\r\nb\r\n"}},
		{"---\n---\n---", []string{"---\n", "---\n", "---"}},
		{"a\n...\n# c\nb\n", []string{"a\n...\n# c\n", "b\n"}},
		{"\ufeff---\na\n", []string{"\ufeff---\na\n"}},
	} {
		f, err := Read(manifest.Source{Data: []byte(tt.text)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range f.Documents() {
			got = append(got, string(d.Bytes()))
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestStream(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
		errs []string // in the order of the documents that have one
	}{
		{"{\"a\":1}", []string{"{\"a\":1}"}, nil},
		{"{\"a\":1}{\"b\":2}", []string{"{\"a\":1}", "{\"b\":2}"}, nil},
		{"\ufeff{\"a\":1}\r\n{\"b\":2}\r\n\t", []string{"\ufeff{\"a\":1}\r\n", "{\"b\":2}\r\n\t"}, nil},
		{"{\"a\": \"}\\\"{\"}\t{\"b\":[{}]} \n{}", []string{"{\"a\": \"}\\\"{\"}\t", "{\"b\":[{}]} \n", "{}"}, nil},
		{"{\"a\":1}\n# c\n", []string{"{\"a\":1}\n# c\n"}, nil},
		{"{\"a\":1}\n---\n{\"b\":2}\n", []string{"{\"a\":1}\n", "---\n{\"b\":2}\n"}, nil},
		{"{\"a\":1}\n# c\n---\nb: 2\n---\n", []string{"{\"a\":1}\n", "# c\n---\nb: 2\n", "---\n"}, nil},
		{"{\"a\":1} b: 2\nc: 3\n", []string{"{\"a\":1} ", "b: 2\nc: 3\n"}, nil},
		{"{\"a\":1}{\"b\":2}\n--- # c\n{\"c\":3}\n---\nd: 4\n", []string{"{\"a\":1}", "{\"b\":2}\n", "--- # c\n{\"c\":3}\n", "---\nd: 4\n"},
			[]string{`f:2:1: a line of "---" behind several JSON objects`}},
		{"{\"a\":1}\n{\"b\":2}\n{\"c\":}\n", []string{"{\"a\":1}\n", "{\"b\":2}\n", "{\"c\":}\n"}, []string{"f:3:6: not JSON, behind several JSON objects, where kubectl reads no further: invalid character '}'"}},
		{"{\"a\":1}\n{\"b\":2}\n{\"c\":", []string{"{\"a\":1}\n", "{\"b\":2}\n", "{\"c\":"}, []string{"f:3:5: not JSON, behind several JSON objects"}},
		{"{\"a\":1}\n{\"b\":", []string{"{\"a\":1}\n", "{\"b\":"}, []string{"f:2:5: neither JSON nor YAML, behind a JSON object: did not find expected node content"}},
		{"{\"a\":1} garbage\n", []string{"{\"a\":1} ", "garbage\n"}, []string{"f:1:9: no object, behind a JSON object"}},
		{"{\"a\":1},\n{\"b\":2}\n", []string{"{\"a\":1}", ",\n{\"b\":2}\n"}, []string{"f:1:8: neither JSON nor YAML"}},
		{"{\"a\":1}\n[{}]\nnull\n", []string{"{\"a\":1}\n", "[{}]\n", "null\n"}, []string{"f:2:1: no object, behind a JSON object"}},
		{"---\n{\"a\":1}\n{\"b\":2}\n", []string{"---\n{\"a\":1}\n{\"b\":2}\n"}, []string{"f:3:1: the document ends before this"}},
		{"{a: 1}\n{\"b\":2}\n", []string{"{a: 1}\n{\"b\":2}\n"}, []string{"f:2:1: the document ends before this"}},
		{"{'a': '}'}\n", []string{"{'a': '}'}\n"}, nil},
	} {
		f, err := ReadStream(manifest.Source{Name: "f", Data: []byte(tt.text)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		var errs []error
		for i := range f.Documents() {
			d := &f.Documents()[i]
			got = append(got, string(d.Bytes()))
			if _, err := d.Parse(); err != nil {
				errs = append(errs, err)
			}
			if d.Number != i+1 {
				t.Errorf("%q: document %d is called %d", tt.text, i+1, d.Number)
			}
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
		if !slices.EqualFunc(errs, tt.errs, func(err error, want string) bool { return strings.HasPrefix(err.Error(), want) }) {
			t.Errorf("%q: %v, want %q", tt.text, errs, tt.errs)
		}
	}
}

// TestStreamPos: documents that begin in the middle of a line, also where YAML and others
// count lines differently.
func TestStreamPos(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"{\"a\": 1}{\"b\": \"x\"}", "1:15"},
		{"{\"a\": 1}{\n\"b\": \"x\"}", "2:6"},
		{"{\"a\":\n1} {\"c\": 1,\n \"b\": \"x\"}", "3:7"},
		{"{\"a\": \"\u2028\"} {\"c\": [\n], \"b\": \"x\"}", "2:9"},
		{"{\"a\": \"\u2028\"}\r{\"c\": 1,\n\"b\": \"x\"}", "2:6"},
		{"{\"a\": 1}\r\n{\"b\":\t\"x\"}", "2:7"},
		{"{\"a\": 1} c: é\nb: \"x\"", "2:4"},
	} {
		f, err := ReadStream(manifest.Source{Name: "f", Data: []byte(tt.text)})
		if err != nil || len(f.Documents()) != 2 {
			t.Errorf("%q: %d documents, %v", tt.text, len(f.Documents()), err)
			continue
		}
		root, err := f.Documents()[1].Parse()
		p := root.At("b").Pos()
		if got := fmt.Sprintf("%d:%d", p.Line, p.Column); err != nil || got != tt.want || tt.text[p.Start:p.End] != `"x"` {
			t.Errorf("%q: %q at %s, want %s: %v", tt.text, tt.text[p.Start:p.End], got, tt.want, err)
		}
	}
}

func TestPos(t *testing.T) {
	for _, tt := range []struct {
		text string
		keys []string // of the node
		want string   // what stands there, as it is written
		at   string   // line:column
	}{
		{"a: b", []string{"a"}, "b", "1:4"},
		{"a:  'b''c'  # d\n", []string{"a"}, "'b''c'", "1:5"},
		{"a: \"b\\\"c\" \n", []string{"a"}, `"b\"c"`, "1:4"},
		{"ä:\r\n  漢: &x !!str 字 # c\r\n", []string{"ä", "漢"}, "字", "2:15"},
		{"\ufeffa: b\n", []string{"a"}, "b", "1:4"},
		{"\ufeffa: b\nc: d\n", []string{"c"}, "d", "2:4"},
		{"a: one\n  two\n\n  three # x\nb: c\n", []string{"a"}, "one\n  two\n\n  three", "1:4"},
		{"a: |\n  x\n   y\n\n\nb: c\n", []string{"a"}, "|\n  x\n   y", "1:4"},
		{"a: >-  # folded\n  x\n # c\nb: c\n", []string{"a"}, ">-  # folded\n  x", "1:4"},
		{"a: |2\n    x\nb: c\n", []string{"a"}, "|2\n    x", "1:4"},
		{"a:\n- |\n x\n-\n- c\nb: d\n", []string{"a"}, "- |\n x\n-\n- c", "2:1"},
		{"a: {b: [c, {d: e}, ], f: } # x\n", []string{"a"}, "{b: [c, {d: e}, ], f: }", "1:4"},
		{"a: {b: [c, # ]\n  d]}\n", []string{"a", "b"}, "[c, # ]\n  d]", "1:8"},
		{"a: &x\n  b: c\n  d:\ne: f\n", []string{"a"}, "b: c\n  d:", "2:3"},
		{"a: &x\n\n  # c\n  - b\n  -\ne: f\n", []string{"a"}, "- b\n  -", "4:3"},
		{"x: &y 1\na: *y\n", []string{"a"}, "*y", "2:4"},
		{"{\"a\":\t\"b\"}", []string{"a"}, `"b"`, "1:7"},
		{"{\n\t\"a\": [\n\t\t\"b\"\n\t]\n}", []string{"a"}, "[\n\t\t\"b\"\n\t]", "2:7"},
		{"a: b\rc: d\r", []string{"c"}, "d", "1:9"},
		{"x: \"\u2028\"\na: b\n", []string{"a"}, "b", "2:4"},
		{"? a\n: b\n", []string{"a"}, "b", "2:3"},
	} {
		n, _ := read(t, tt.text).Parse()
		for _, k := range tt.keys {
			n = n.Own(k).Value
		}
		if !n.Exists() {
			t.Errorf("%q: no such node", tt.text)
			continue
		}
		p := n.Pos()
		if got := tt.text[p.Start:p.End]; got != tt.want || fmt.Sprintf("%d:%d", p.Line, p.Column) != tt.at {
			t.Errorf("%q: %q at %d:%d, want %q at %s", tt.text, got, p.Line, p.Column, tt.want, tt.at)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"UTF-16", "\xff\xfea\x00", "UTF-16"},
		{"NUL", "a: b\nc: \x00\n", "f:2:4: a NUL byte"},
		{"huge", strings.Repeat("a", manifest.MaxSize+1), "16 MiB"},
	} {
		if _, err := Read(manifest.Source{Name: "f", Data: []byte(tt.text)}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	keys, items, objects := "", strings.Repeat("- a\n", 2000), strings.Repeat("{\"a\": 1},\n", 1000)
	for i := range 2000 {
		keys += fmt.Sprintf("  k%d: v\n", i)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"syntax", "a: b\n---\na: b\n  c: d\n", "f:4:1: mapping values are not allowed"},
		{"deep", strings.Repeat("[", 300) + strings.Repeat("]", 300), "f:1:201: nested more than 200 deep"},
		{"very deep", strings.Repeat("[", 100000), "max depth"},
		{"not UTF-8", "a: \xc3\x28\n", "f:1:4: invalid trailing UTF-8"},
		{"not UTF-8, far on", "# é\n" + items + "b: é\xff\n", "f:2002:5: invalid leading UTF-8"},
		{"a control character", items + "b: \x01\n", "f:2001:4: control characters"},
		// A collection's error is where it is, and not where the collection begins.
		{"no key", "a:\n" + keys + "  b: {c: d}\n   e: f\n" + keys, "f:2003:1: did not find expected key"},
		{"no key, in a second document", "x: y\n---\na:\n" + keys + "  b: {c: d}\n\n# c\n   e: f\n" + keys, "f:2007:1: did not find expected key"},
		{"no dash", "a:\n" + items + "b: c\n- d\n", "f:2003:1: did not find expected key"},
		{"no dash, in a list", "a:\n" + items + "  b\n  c: d\n  - e\n" + items, "f:2003:1: mapping values are not allowed"},
		{"no comma", items + "- [a,\n  b: c d: e]\n", "f:2001:1: did not find expected ',' or ']'"},
		{"never closed", items + "- [a,\n  b\n", "f:2001:1: did not find expected ',' or ']'"},
		{"a tag", items + "- !x!y z\n", "f:2001:1: found undefined tag handle"},
		{"an alias", items + "- '*y'\n- a: *y2\n# *y\n- {b: *y}\n" + items, "f:2002:6: unknown anchor"},
		{"JSON", "[\n" + objects + "{\"a\": \"b\" \"c\": 1}\n]\n", "f:1002:11: did not find expected ',' or '}'"},
		{"JSON that is cut off", "[\n" + objects, "f:1001:10: did not find expected node content"},
		{"JSON in a second document", "a: b\n---\n[\n" + objects + "{\"a\": }}\n]\n", "f:1004:7: "},
		// The parser says nothing of what follows a root.
		{"JSON behind JSON", "{\"a\": 1}\n{\"b\": 2}\n", "f:2:1: the document ends before this, which would not be read"},
		{"a word behind a mapping", "x: y\n---\n{a: b} # c\n\n  c\n", "f:5:3: the document ends before this"},
		{"a mapping behind a word", "'a'\nb: c\n", "f:2:1: the document ends before this"},
		{"lines that end as on no system of today", "a: b\r---\rc: d\r", "f:1:6: the document ends before this"},
		{"a marker that is none elsewhere", "a: b\n---\u2028c: d", "f:2:1: the document ends before this"},
		{"no JSON", "{a: b,\n c: {d: e]\n}\n", "f:2:1: did not find expected ',' or '}'"},
	} {
		f, err := Read(manifest.Source{Name: "f", Data: []byte(tt.text)})
		if err != nil {
			t.Fatal(err)
		}
		docs := f.Documents()
		if _, err := docs[len(docs)-1].Parse(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A bomb is small as it is written, and costs nothing as long as nobody takes it apart.
const bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
	"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n"

func TestBombs(t *testing.T) {
	d := read(t, bomb)
	if _, err := second(d); err == nil || !strings.Contains(err.Error(), "aliases stand for more") {
		t.Errorf("bomb: %v", err)
	}
	circle := read(t, "a: &a\n  <<: [*a, *a, *a]\n  x: 1\n")
	root, _ := circle.Parse()
	if e := root.At("a").Get("nothing"); e.Exists() {
		t.Error("found nothing")
	}
	if _, err := second(circle); err == nil {
		t.Error("a circle was read to its end")
	}
}

func TestMerge(t *testing.T) {
	d := read(t, "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 0\n")
	root, _ := d.Parse()
	z := root.At("z")
	for key, want := range map[string]string{"a": "0", "b": "2", "c": "4"} {
		e := z.Get(key)
		if e.Value.Value() != want || e.Merged != (key != "a") {
			t.Errorf("%s: %q, merged %v", key, e.Value.Value(), e.Merged)
		}
	}
}

// seeds are what the tests above look at, and more of the same kind.
var seeds = []string{
	"a: b", "a:\n- b\n- c: d\n  e: |\n    f\n\n- - g\n  - h\n", "{a: [b, 'c', \"d\\n\"], e: {f: g}}", "a: &x {b: c}\nd: *x\ne:\n  <<: *x\n",
	"\ufeffa:\r\n  b: 'ä'\r\n", "a: one\n two\n  three\n", "? a\n: b\n", "a: !!str &x\nb: &y\n", "# c\na: # d\n  # e\n  b: c # f\n", bomb,
	"a: >+\n x\n\n\nb: |-\n  y\n", "- |2\n    a\n- >1-\n  b\n", "a: {b: , c}\n", "[a, [b, ], {c: d, }, ]", "a: 'b\n\n  c'\nd: \"e\\\n  f\"\n", "- !t [a]\n- &b\n- - -\n",
	"a: [\n  b, # c\n  d # e\n]\n", "{\n\t\"a\": {\"b\": [\"c\"]}\n}\n",
	"{\"a\": 1}{\"b\": [\"}\"]}\n", "{\"a\": 1}\n{\"b\": 2}\n---\nc: d\n", "{\"a\": 1} b: c\nd: |\n  e\n", "{\"a\": 1}\n# c\n---\n{b: c} d\n", "{\"a\": \"\u2028\"} {\"b\": 2}\r[]",
}

// FuzzPos: what stands where a node is said to be means the same by itself.
func FuzzPos(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
		f.Add(bytes.ReplaceAll([]byte(s), []byte("\n"), []byte("\r\n")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func(manifest.Source) (*File, error){Read, ReadStream} {
			file, err := read(manifest.Source{Name: "f", Data: data})
			if err != nil {
				return
			}
			at := 0
			for i := range file.docs {
				d := &file.docs[i]
				if d.Start != at {
					t.Fatalf("document %d starts at %d, the last ended at %d", i, d.Start, at)
				}
				at = d.End
				root, err := d.Parse()
				if err != nil || !root.Exists() {
					continue
				}
				checkPos(t, root, map[*v3.Node]bool{})
				Verify(manifest.Source{Data: data}, manifest.Source{Data: data}, func(int, []string) bool { return false })
			}
			if at != len(data) {
				t.Fatalf("documents end at %d of %d", at, len(data))
			}
		}
	})
}

func checkPos(t *testing.T, n Node, seen map[*v3.Node]bool) {
	if seen[n.n] {
		return
	}
	seen[n.n] = true
	p := n.Pos()
	text := string(n.doc.file.Data[p.Start:p.End])
	if p.Start < n.doc.Start || p.End > n.doc.End || p.Start > p.End {
		t.Fatalf("%+v is outside of the document", p)
	}
	block := n.n.Style&(v3.LiteralStyle|v3.FoldedStyle) != 0
	switch {
	case n.n.Kind == v3.AliasNode:
		if text != "*"+n.n.Value {
			t.Fatalf("alias %q at %q", n.n.Value, text)
		}
	case n.n.Kind == v3.ScalarNode && block:
		if text[0] != '|' && text[0] != '>' {
			t.Fatalf("a block scalar at %q", text)
		}
	case n.n.Kind == v3.ScalarNode && !(n.n.Value == "" && n.IsPlain()):
		// By itself, or in the simplest surroundings that allow it, it must be the same.
		ok := false
		for _, wrap := range []string{"%s", "- %s", "[%s]", "  %s", "{a: %s}", "%s:", "{%s:}"} {
			var again v3.Node
			if v3.Unmarshal(fmt.Appendf(nil, wrap, text), &again) != nil || len(again.Content) != 1 {
				continue
			}
			ok = ok || has(&again, n.n.Value)
		}
		if !ok {
			t.Fatalf("%q at %q", n.n.Value, text)
		}
	case n.IsFlow():
		if strings.IndexByte("[{", text[0]) < 0 && len(n.n.Content) != 2 || text == "" {
			t.Fatalf("a flow collection at %q", text)
		}
	}
	if n.n.Kind == v3.MappingNode {
		for i := range n.Len() {
			e := n.Entry(i)
			checkPos(t, e.Key, seen)
			checkPos(t, e.Value, seen)
		}
	}
	if n.n.Kind == v3.SequenceNode {
		for i := range n.Len() {
			checkPos(t, n.Item(i), seen)
		}
	}
}

// has says that a scalar of that value is in the tree.
func has(n *v3.Node, value string) bool {
	return n.Kind == v3.ScalarNode && n.Value == value ||
		slices.ContainsFunc(n.Content, func(c *v3.Node) bool { return has(c, value) })
}
