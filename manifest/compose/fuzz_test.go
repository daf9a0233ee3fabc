package compose

import (
	"bytes"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

var seeds = []string{
	"services:\n  web:\n    image: x\n    cap_add: [NET_ADMIN, 'chown'] # c\n    cap_drop:\n    - ALL\n",
	"x-a: &a {cap_add: [A], security_opt: [label:disable]}\nservices:\n  web: &w\n    <<: *a\n    build: .\n  b: {<<: [*w, *a], cap_drop: }\n  c: *w\n",
	"services:\n  a: {image: x, extends: b, cap_add: !override [KILL]}\n  b: {image: y, cap_add: &l [A, B], privileged: \"yes\"}\n  c: {extends: {service: a}, cap_drop: *l}\n",
	"{\n\t\"services\": {\"web\": {\"image\": \"${X:-y}$$\", \"ports\": [\"1-2:3-4/udp\", {\"target\": 1}]}}\n}\n",
	"include: [a.yml]\nservices:\n  web:\n    volumes: [\"${A}:/b:ro\", 'c:\\d:/e']\n    devices: [/dev/x]\n    pre_start: [{image: x, privileged: true}]\n    labels: [a=b]",
	"services:\n  web:\n    cap_add:\n    - A\n",
}

// FuzzEdit is kube's, for Compose.
func FuzzEdit(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(0), false)
		f.Add(bytes.ReplaceAll([]byte(s), []byte("\n"), []byte("\r\n")), uint64(1<<caps.Chown|1<<caps.Kill), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, mask uint64, more bool) {
		src := manifest.Source{Name: "compose.yaml", Data: data}
		Recognise(src.Name, data)
		list, err := Parse(src)
		for _, e := range manifest.Errors(err) {
			if e.At.Start > len(data) || e.At.End > len(data) {
				t.Fatalf("%v is behind the end", e)
			}
		}
		exactly := caps.Set(mask).Intersect(caps.All())
		want := manifest.Want{NoNewPrivs: more, Unprivileged: more, Exactly: &exactly}
		var none, all []manifest.Change
		for _, c := range list {
			for _, r := range c.Caps {
				p := r.Word.At
				if text := string(data[p.Start:p.End]); r.Word.State == manifest.Known && r.Word.V == r.Word.Raw && strings.Trim(r.Word.V, "ABC_abc") == "" &&
					strings.Trim(text, `"'`) != r.Word.V && !strings.ContainsAny(text, "\\*|>") {
					t.Fatalf("%q is at %q", r.Word.V, text)
				}
			}
			none = append(none, manifest.Change{Container: c})
			all = append(all, manifest.Change{Container: c, Want: want})
			c.Given("")
		}
		if files, _, err := manifest.Rewrite(&Format, src, none); len(files) > 0 || err != nil {
			t.Fatalf("no wants, and %d files change: %v", len(files), err)
		}
		files, refused, err := manifest.Rewrite(&Format, src, all)
		if err != nil {
			t.Logf("not made: %v", err)
			return
		}
		if len(files) == 0 {
			return
		}
		is, _ := Parse(manifest.Overlay(src, files))
		for i, c := range is {
			mine := false
			for _, r := range refused {
				mine = mine || r.Container == list[i]
			}
			if mine {
				continue
			}
			if got, err := c.Given("docker"); err == nil && !manifest.Is(c.Privileged, true) && got.Set != exactly {
				t.Fatalf("%s gets %v, not %v", c.Path, got.Set, exactly)
			}
		}
	})
}
