package shell

import (
	"bytes"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// FuzzEdit: what is read has places in the file; without a want nothing changes; with
// one, what was not refused is as wanted, and a second time changes nothing, which
// [manifest.Rewrite] holds.
func FuzzEdit(f *testing.F) {
	for i, tt := range readings {
		f.Add([]byte(tt.in), uint8(i), uint64(1<<i))
	}
	for i, s := range []string{"$A run x", "docker run ${A[@]", "docker run `x` y", "a:\n\tdocker run \\\n", "```\n$ docker run <x\n> y\n", "docker run {a,b} c",
		"A=(1 2)\ndocker run ${A[@]} $A ${A[1]}", "docker run \\\n\\\n a", "docker run $'a\\x' b", "docker run --cap-add \"$A\"'b'c d"} {
		f.Add([]byte(s), uint8(i), uint64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8, bits uint64) {
		format := []manifest.Format{Format, Makefile, Markdown}[which%3]
		src := manifest.Source{Name: "f", Data: data}
		list, _ := format.Parse(src)
		set := caps.Set(bits) & caps.All()
		var changes, none []manifest.Change
		for _, c := range list {
			if c.At.Start < 0 || c.At.End > len(data) || c.At.Start >= c.At.End {
				t.Fatalf("%s stands at %+v", c.Path, c.At)
			}
			for _, r := range c.Caps {
				// In the line, or where a variable of it is set.
				if r.Word.At.Start < 0 || r.Word.At.Start > r.Word.At.End || r.Word.At.End > len(data) {
					t.Fatalf("%s: %s stands at %+v, outside %+v", c.Path, r.Word.Raw, r.Word.At, c.At)
				}
			}
			changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: &set, NoNewPrivs: bits&1 != 0, Unprivileged: bits&2 != 0}})
			none = append(none, manifest.Change{Container: c})
		}
		if edits, refusals := format.Edit(src, none); len(edits)+len(refusals) > 0 {
			t.Fatalf("nothing is wanted, and there are %v, %v", edits, refusals)
		}
		files, _, err := manifest.Rewrite(&format, src, changes)
		if err != nil && !bytes.ContainsRune(data, '`') { // what `…` does to backslashes and comments, only Verify knows
			t.Fatalf("%q: %v", data, err)
		}
		for _, file := range files {
			if bytes.Equal(file.Before, file.After) {
				t.Fatal("an edit that changes nothing")
			}
		}
	})
}

// BenchmarkParse: a script of the size that people write, with and without an engine.
func BenchmarkParse(b *testing.B) {
	for name, line := range map[string]string{"docker": "docker run -d --cap-add NET_ADMIN -v /a:/b \\\n  nginx\n", "none": "echo \"$x\" | grep y\n"} {
		data := []byte("#!/bin/sh\n" + strings.Repeat("if a; then echo b; fi\n", 100) + strings.Repeat(line, 10))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Format.Parse(manifest.Source{Name: "f", Data: data}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
