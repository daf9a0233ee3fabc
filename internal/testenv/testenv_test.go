//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// recorder stands for the test that calls Need.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper()                   {}
func (r *recorder) Skip(args ...any)          { r.skipped = fmt.Sprint(args...) }
func (r *recorder) Fatalf(f string, a ...any) { r.failed = fmt.Sprintf(f, a...) }

var (
	met   = Requirement{"met", func() error { return nil }}
	unmet = Requirement{"a pony", func() error { return errors.New("none here; buy one") }}
)

func TestNeed(t *testing.T) {
	t.Setenv("CI", "")
	const want = "this test needs a pony (none here; buy one)"

	t.Setenv("LEASTCAP_TEST", "")
	r := &recorder{TB: t}
	Need(r, met)
	if r.skipped != "" || r.failed != "" {
		t.Errorf("met: skipped %q, failed %q; want neither", r.skipped, r.failed)
	}
	Need(r, met, unmet)
	if r.skipped != want || r.failed != "" {
		t.Errorf("unmet: skipped %q, failed %q; want a skip: %q", r.skipped, r.failed, want)
	}

	t.Setenv("LEASTCAP_TEST", "1")
	r = &recorder{TB: t}
	Need(r, unmet, met)
	if r.skipped != "" || !strings.HasPrefix(r.failed, want) {
		t.Errorf("unmet, strict: skipped %q, failed %q; want a failure: %q", r.skipped, r.failed, want)
	}
}

func TestStrict(t *testing.T) {
	for _, tt := range []struct {
		goos, leastcapTest, ci string
		want                   bool
	}{
		{"linux", "", "", false},
		{"linux", "1", "", true},
		{"linux", "", "true", true},
		{"linux", "0", "true", false},
		{"darwin", "", "true", false},
		{"darwin", "1", "", true},
	} {
		env := map[string]string{"LEASTCAP_TEST": tt.leastcapTest, "CI": tt.ci}
		if got := strict(tt.goos, func(k string) string { return env[k] }); got != tt.want {
			t.Errorf("strict(%s, %v) = %v, want %v", tt.goos, env, got, tt.want)
		}
	}
}

func TestRequirements(t *testing.T) {
	Need(t, Root, BPF, Docker, Image("leastcap-test/services"), Image("leastcap-test/tiny"), Command("go"))
}

func TestRequirementNamesTheNextStep(t *testing.T) {
	Need(t, Docker)
	err := Image("leastcap-test/absent").check()
	if err == nil || !strings.Contains(err.Error(), "scripts/test-image.sh leastcap-test/absent") {
		t.Errorf("an absent image: %v; want it to name scripts/test-image.sh", err)
	}
	if err := Command("leastcap-absent").check(); err == nil {
		t.Error("an absent command is not missed")
	}
}

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.org/x\n\ngo 1.26.0\n")
	write("main.go", "package main\n\nfunc main() { print(\"hello\") }\n")
	out := filepath.Join(dir, "bin", "x")
	path, err := build(dir, ".", out)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := exec.Command(path).CombinedOutput(); err != nil || string(got) != "hello" {
		t.Errorf("the command printed %q, %v", got, err)
	}
	if _, err := build(dir, ".", out); err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(first, second) {
		t.Error("a command that is up to date was written again")
	}

	write("main.go", "package main\n\nfunc main() { nonsense }\n")
	if _, err := build(dir, ".", out); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("a build that fails: %v; want the compiler's words", err)
	}
}

func TestModuleRoot(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "internal", "testenv", "testenv.go")); err != nil {
		t.Error(err)
	}
}
