package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	goccy "github.com/goccy/go-yaml"
	sigs "sigs.k8s.io/yaml"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/formattest"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
)

func corpus(t testing.TB) map[string][]byte { return testenv.Corpus(t, "kubernetes/*.y*ml") }

// count counts containers in what a parser of another family reads: every list under a
// key that ends in ontainers, of every document.
func count(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			list, ok := value.([]any)
			if ok && (key == "containers" || key == "initContainers" || key == "ephemeralContainers") {
				n += len(list)
				continue
			}
			n += count(value)
		}
	case []any:
		for _, value := range v {
			n += count(value)
		}
	}
	return n
}

// templates of the corpus are no YAML until something fills them in: an engine that is
// not Kubernetes' reads them differently, or not at all.
var notRendered = []byte("{{")

func TestCorpus(t *testing.T) {
	containers, edits := 0, 0
	for name, data := range corpus(t) {
		src := manifest.Source{Name: name, Data: data}
		list, err := Parse(src)
		if err != nil {
			t.Logf("%v", err)
		}
		containers += len(list)
		if !bytes.Contains(data, notRendered) {
			want := 0
			for _, part := range strings.Split("\n"+string(data), "\n---") {
				var v any
				if err := goccy.Unmarshal([]byte(part), &v); err != nil {
					if err := sigs.Unmarshal([]byte(part), &v); err != nil {
						t.Errorf("%s: neither of two other parsers reads it: %v", name, err)
					}
				}
				want += count(v)
			}
			if len(list) != want {
				t.Errorf("%s: %d containers, the other parser sees %d", name, len(list), want)
			}
			if want > 0 && Recognise(name, data) != manifest.Sure {
				t.Errorf("%s: not recognised", name)
			}
		}
		for _, eol := range []string{"\n", "\r\n"} {
			text := bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte(eol))
			edits += editAll(t, manifest.Source{Name: name, Data: text})
		}
	}
	t.Logf("%d containers, %d edits", containers, edits)
}

// TestCorpusAsJSON has the documents of each file as JSON objects one behind the other, which
// are to have the same containers, and edits them.
func TestCorpusAsJSON(t *testing.T) {
	containers, edits := 0, 0
	for name, data := range corpus(t) {
		if bytes.Contains(data, notRendered) {
			continue
		}
		var lines, pretty bytes.Buffer
		docs := 0
		for _, part := range strings.Split("\n"+string(data), "\n---") {
			doc, err := sigs.YAMLToJSON([]byte(part))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if string(doc) == "null" {
				continue
			}
			docs++
			lines.Write(append(doc, '\n'))
			if err := json.Indent(&pretty, doc, "", "    "); err != nil { // as kubectl get -o json
				t.Fatalf("%s: %v", name, err)
			}
			if docs%2 == 0 {
				pretty.WriteByte('\n')
			}
		}
		names := func(data []byte) (list []string) {
			parsed, err := Parse(manifest.Source{Name: name, Data: data})
			if err != nil {
				t.Logf("%v", err)
			}
			for _, c := range parsed {
				list = append(list, fmt.Sprint(c.Owner.Kind, "/", c.Owner.Name, " ", c.Kind, " ", c.Name, " ", c.Image.V))
			}
			return list
		}
		want := names(data)
		containers += len(want)
		for _, text := range [][]byte{lines.Bytes(), pretty.Bytes()} {
			if got := names(text); !slices.Equal(got, want) {
				t.Errorf("%s as JSON: %q, want %q", name, got, want)
			}
			if len(want) > 0 && Recognise("f", text) < manifest.Likely {
				t.Errorf("%s as JSON: not recognised", name)
			}
		}
		edits += editAll(t, manifest.Source{Name: name, Data: lines.Bytes()})
	}
	if t.Logf("%d containers, %d edits", containers, edits); containers == 0 || edits == 0 {
		t.Error("nothing was looked at")
	}
}

// editAll gives every container of a file a set, and looks at what became of the file.
func editAll(t *testing.T, src manifest.Source) int {
	list, _ := Parse(src)
	var changes []manifest.Change
	for _, c := range list {
		changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: set(caps.Chown, caps.NetBindService), NoNewPrivs: true, Unprivileged: true}})
	}
	files, refused := formattest.EditAll(t, &Format, src, changes)
	for _, r := range refused {
		if !bytes.Contains(src.Data, notRendered) {
			t.Error(r)
		}
	}
	if len(files) == 0 {
		return 0
	}
	for _, part := range strings.Split("\n"+string(files[0].After), "\n---") {
		var v any
		if err := sigs.Unmarshal([]byte(part), &v); err != nil && !bytes.Contains(src.Data, notRendered) {
			t.Errorf("%s: kubectl's parser does not read it any more: %v", src.Name, err)
		}
	}
	return len(files[0].Edits)
}

// BenchmarkParse is a run over the corpus; ns/file is what one takes.
func BenchmarkParse(b *testing.B) {
	files := corpus(b)
	var sources []manifest.Source
	size := 0
	for name, data := range files {
		sources = append(sources, manifest.Source{Name: name, Data: data})
		size += len(data)
	}
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		for _, src := range sources {
			Parse(src)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sources)), "ns/file")
}

// BenchmarkRewrite is everything that `fix` does with the corpus but reading and writing
// it: edits, and all that makes them trusted.
func BenchmarkRewrite(b *testing.B) {
	var sources []manifest.Source
	for name, data := range corpus(b) {
		if !bytes.Contains(data, notRendered) {
			sources = append(sources, manifest.Source{Name: name, Data: data})
		}
	}
	for b.Loop() {
		for _, src := range sources {
			list, _ := Parse(src)
			var changes []manifest.Change
			for _, c := range list {
				changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: set(caps.Chown), NoNewPrivs: true, Unprivileged: true}})
			}
			if _, _, err := manifest.Rewrite(&Format, src, changes); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(sources)), "ns/file")
}

// BenchmarkMany is the same for a file of many pods: each takes as long as in a file of few.
func BenchmarkMany(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var text strings.Builder
			for i := range n {
				fmt.Fprintf(&text, "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec:\n  containers:\n  - name: a\n    image: x\n    securityContext: {privileged: true}\n", i)
			}
			src := manifest.Source{Name: "f", Data: []byte(text.String())}
			for b.Loop() {
				list, _ := Parse(src)
				var changes []manifest.Change
				for _, c := range list {
					changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: set(caps.Chown), Unprivileged: true}})
				}
				if files, refusals, err := manifest.Rewrite(&Format, src, changes); err != nil || len(refusals) > 0 || len(files) != 1 {
					b.Fatal(len(files), len(refusals), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/pod")
		})
	}
}
