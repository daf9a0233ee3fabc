package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSummarize reads what the real go test says of small modules.
func TestSummarize(t *testing.T) {
	const head = "package x\n\nimport \"testing\"\n\n"
	for _, tt := range []struct {
		name, src string
		allowed   map[string]bool
		ok        bool
		want      []string // parts of the output
	}{
		{
			name: "pass", ok: true,
			src:  "func TestA(t *testing.T) { t.Run(\"b\", func(*testing.T) {}) }",
			want: []string{"ok  \texample.org/x", "2 passed, 0 failed, 0 skipped\n"},
		},
		{
			name: "fail",
			src:  "func TestA(*testing.T) {}\nfunc TestB(t *testing.T) { t.Error(\"oh no\") }",
			want: []string{"oh no", "1 passed, 1 failed, 0 skipped; 1 of 1 packages failed\n"},
		},
		{
			name: "skip",
			src:  "func TestA(t *testing.T) { t.Skip(\"lazy\") }", allowed: map[string]bool{},
			want: []string{"lazy", "TestA was skipped, and should run here", "0 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "allowed skip", ok: true,
			src: "func TestA(t *testing.T) { t.Skip(\"lazy\") }", allowed: map[string]bool{"example.org/x TestA": true},
			want: []string{"0 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "panic",
			src:  "func TestA(*testing.T) { panic(\"boom\") }",
			want: []string{"boom", "0 passed, 1 failed, 0 skipped; 1 of 1 packages failed\n"},
		},
		{
			name: "exit in the middle",
			src:  "func TestA(*testing.T) { go func() { panic(\"boom\") }(); select {} }",
			want: []string{"boom", "; 1 of 1 packages failed\n"},
		},
		{
			name: "does not build",
			src:  "func TestA(*testing.T) { nonsense }",
			want: []string{"undefined: nonsense", "; 1 of 1 packages failed\n"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"go.mod": "module example.org/x\n\ngo 1.26.0\n", "x_test.go": head + tt.src + "\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("go", "test", "-json", "./...")
			cmd.Dir = dir
			json, _ := cmd.Output() // its status is in what it prints
			var out strings.Builder
			ok, err := summarize(strings.NewReader("make: words\n"+string(json)), &out, tt.allowed)
			if err != nil {
				t.Fatal(err)
			}
			if ok != tt.ok {
				t.Errorf("ok = %v, want %v", ok, tt.ok)
			}
			for _, want := range append(tt.want, "make: words\n") {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, out.String())
				}
			}
		})
	}
}

func TestNothingRan(t *testing.T) {
	var out strings.Builder
	if ok, err := summarize(strings.NewReader("go: no such thing\n"), &out, nil); ok || err != nil {
		t.Errorf("ok = %v, %v; want false", ok, err)
	}
}

func TestSkipsFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "skips.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseSkips(string(text)); err != nil {
		t.Error(err)
	}
	if got, err := parseSkips("# why\n\na/b TestC too old\n"); err != nil || !got["a/b TestC"] {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseSkips("a/b TestC\n"); err == nil {
		t.Error("a skip without a reason is accepted")
	}
}
