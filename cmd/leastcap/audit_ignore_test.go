package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/internal/testenv"
)

// What is left out of a tree is what Git leaves out of it.
func TestIgnoredAsGit(t *testing.T) {
	testenv.Need(t, testenv.Command("git"))
	dir := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "ab", "a.b", "b", "c", "#c", "!d", "{a,b}", "a b", "a ", "[x]", "x", "éé", "ö.yaml", "build", "out", "log.txt", "a\\b"} {
		for _, in := range []string{"", "p", "p/q", "p/q/r", "s", "s/build", "s/out", "t/u/v/w", "t/log.txt.d", "k/keep", "k/drop"} {
			if in != "s" || name != "build" && name != "out" {
				write(filepath.Join(in, name), "x")
			}
		}
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "core.excludesFile=/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	git("init", "-q")
	for _, patterns := range []string{
		"a", "/a", "a/", "build/", "/build/", "p/a", "p/q/", "/p/*", "p/**", "**/q", "**/q/a", "p/**/a", "t/**/w/ab", "**", "*", "*.b", "a*", "a**b", "?", "[ab]",
		"[!ab]", "[^ab]", "[a-b]*", "#c", "\\#c", "\\!d", "{a,b}", "\\{a,b}", "a ", "a\\ ", "a b", "\\[x]", "[x]", "éé", "*.yaml", "a\\\\b", "[", "a[", "", "/", "!", "//a",
		"*\n!a", "*\n!*/\n!a", "/k/*\n!/k/keep", "k/\n!k/keep/a", "p\n!p/a", "/*\n!/s\n/s/*\n!/s/out", "a\r\nb\r\n", "*/a", "p/*/a", "p/q/r/../a", "./a",
	} {
		for _, at := range []string{"", "p", "s"} {
			file := filepath.Join(at, ".gitignore")
			write(file, patterns+"\n")
			var got []string
			files, errs := findFiles([]string{dir}, nil, func(string, string) {})
			for _, f := range files {
				rel, err := filepath.Rel(dir, f.name)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, rel)
			}
			want := strings.FieldsFunc(git("ls-files", "-z", "--others", "--exclude-standard"), func(r rune) bool { return r == 0 })
			slices.Sort(got)
			slices.Sort(want)
			if len(errs) > 0 || !slices.Equal(got, want) {
				more := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return slices.Contains(want, s) })
				less := slices.DeleteFunc(want, func(s string) bool { return slices.Contains(got, s) })
				t.Errorf("%q in %q: Git ignores %q, and not %q; %v", patterns, file, more, less, errs)
			}
			if err := os.Remove(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
