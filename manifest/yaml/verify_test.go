package yaml

import (
	"strings"
	"testing"

	"github.com/leastcap/leastcap/manifest"
)

func TestVerify(t *testing.T) {
	const before = "a: {b: [1, 2], c: x}\nd: &d {e: f}\ng: *d\n---\nh: i\n"
	for _, tt := range []struct {
		name, after string
		want        string // in the error, "" for none
	}{
		{"nothing", before, ""},
		{"layout", "# c\na:\n  b:\n  - 1\n  - 2\n  c: 'x'\nd: &d\n  e: \"f\"\ng: *d\n---\nh: i\n", ""},
		{"what is allowed", strings.Replace(before, "c: x", "c: [y]", 1), ""},
		{"what is allowed goes", strings.Replace(before, ", c: x", "", 1), ""},
		{"another value", strings.Replace(before, "1, 2", "1, 3", 1), "document 1: a.b.1 would change"},
		{"one more", strings.Replace(before, "1, 2", "1, 2, 3", 1), "a.b would change"},
		{"another type", strings.Replace(before, "1, 2", "1, '2'", 1), "a.b.1"},
		{"a new key", strings.Replace(before, "c: x", "c: x, z: 1", 1), "a.z"},
		{"a key that goes", strings.Replace(before, "b: [1, 2], ", "", 1), "a.b"},
		{"behind an alias", strings.Replace(before, "e: f", "e: g", 1), "d.e"},
		{"another document", strings.Replace(before, "h: i", "h: j", 1), "document 2: h"},
		{"fewer documents", strings.Replace(before, "---\n", "", 1), "2 documents have become 1"},
		{"broken", strings.Replace(before, "[1, 2]", "[1, 2", 1), "did not find"},
	} {
		err := Verify(manifest.Source{Name: "f", Data: []byte(before)}, manifest.Source{Name: "f", Data: []byte(tt.after)}, func(doc int, path []string) bool {
			return doc == 1 && strings.Join(path, ".") == "a.c"
		})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// What an edit does to one style is in the formats' tests; here is what it leaves alone.
func TestEditorRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		do         func(e *Editor, root Node) error
	}{
		{"an alias's word", "a: &a x\nb: *a\n", func(e *Editor, r Node) error { return e.SetWord(r.Own("b").Value, "y") }},
		{"a text", "a: |\n  x\n", func(e *Editor, r Node) error { return e.SetWord(r.Own("a").Value, "y") }},
		{"a key with a question mark", "? a\n: [b]\nc: d\n", func(e *Editor, r Node) error { return e.Remove(r.Own("a")) }},
		{"the only key", "a: {b: c}\n", func(e *Editor, r Node) error { return e.Remove(r.Own("a").Value.Own("b")) }},
		{"what others refer to", "a: &a [b]\nc: *a\n", func(e *Editor, r Node) error { return e.Remove(r.Own("a")) }},
		{"all items", "a: [b]\n", func(e *Editor, r Node) error { return e.SetItems(r.Own("a").Value, []int{0}, nil) }},
		{"an alias of a list", "a: &a [b]\nc: *a\n", func(e *Editor, r Node) error { return e.SetItems(r.Own("c").Value, nil, []string{"d"}) }},
		{"a list in a list's line", "a:\n- - b\n  - c\n", func(e *Editor, r Node) error { return e.SetItems(r.Own("a").Value.Item(0), []int{0}, nil) }},
	} {
		d := read(t, tt.text)
		root, _ := d.Parse()
		e := NewEditor(d)
		if err := tt.do(e, root); err == nil && len(e.Edits()) > 0 {
			after, err := manifest.Apply([]byte(tt.text), e.Edits())
			t.Errorf("%s: made %q, %v", tt.name, after, err)
		} else if len(e.Edits()) > 0 {
			t.Errorf("%s: refused, and something is left of it", tt.name)
		}
	}
}
