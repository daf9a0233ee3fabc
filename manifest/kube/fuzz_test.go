package kube

import (
	"bytes"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

var seeds = []string{
	podOf("image: x\nsecurityContext:\n  capabilities:\n    add: [NET_ADMIN, 'CHOWN'] # c\n    drop:\n    - ALL\n"),
	podOf("image: x\nsecurityContext: {capabilities: {add: [A, ], drop: }, privileged: true}"),
	podOf("image: x\nargs: [\"\\\"\", |\n"), podOf("image: |+\n  x\n\n"), podOf("securityContext:\n  capabilities:\n    add:\n    - # c\n      KILL\n    -\n"),
	"apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  spec:\n    template:\n      spec:\n        initContainers:\n        - {image: a, restartPolicy: Always}\n        containers:\n        - &c\n          name: b\n          securityContext: &s {runAsUser: 0}\n        - <<: *c\n          name: d\n        - *c\n",
	"{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\n\t\"containers\": [{\n\t\t\"image\": \"x\",\n\t\t\"securityContext\": {}\n\t}]\n}}\n",
	"apiVersion: x/v1\nkind: Rollout\nspec:\n  a:\n  - container: {image: x}\n  - steps:\n    - image: y\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: x}]}\n",
	"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - securityContext:\n      capabilities:\n        add:\n        - A\n    image: x\n  - image: y\n    securityContext:",
}

// FuzzEdit: whatever the file, nothing breaks; without wants it is the same; an edit
// makes the containers what they should be and changes no line that is not its own; a
// second run changes nothing ([manifest.Rewrite] says so, or makes no edit).
func FuzzEdit(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(0), false)
		f.Add(bytes.ReplaceAll([]byte(s), []byte("\n"), []byte("\r\n")), uint64(1<<caps.Chown|1<<caps.Kill), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, mask uint64, more bool) {
		src := manifest.Source{Name: "f.yaml", Data: data}
		Recognise(src.Name, data)
		list, err := Parse(src)
		for _, e := range manifest.Errors(err) {
			if e.At.Start > len(data) || e.At.End > len(data) {
				t.Fatalf("%v is behind the end", e)
			}
		}
		want := manifest.Want{NoNewPrivs: more, Unprivileged: more}
		exactly := caps.Set(mask).Intersect(caps.All())
		want.Exactly = &exactly
		var none, all []manifest.Change
		for _, c := range list {
			checkPlaces(t, data, c)
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
			if got, err := c.Given("containerd"); err == nil && !manifest.Is(c.Privileged, true) && got.Set != exactly {
				t.Fatalf("%s gets %v, not %v", c.Path, got.Set, exactly)
			}
		}
	})
}

// checkPlaces: every place is in the file, and a word is where it is said to be.
func checkPlaces(t *testing.T, data []byte, c *manifest.Container) {
	for _, r := range c.Caps {
		p := r.Word.At
		if p.Start < r.List.Start && !bytes.Contains(data, []byte("*")) || p.End > len(data) || p.Start > p.End {
			t.Fatalf("%+v is outside of its list %+v", p, r.List)
		}
		text := string(data[p.Start:p.End])
		if isName(r.Word.V) && strings.Trim(text, `"'`) != r.Word.V && !strings.ContainsAny(text, "\\*|>") {
			t.Fatalf("%q is at %q", r.Word.V, text)
		}
	}
}

// isName says that it is spelled like a capability.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}
