package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestCorpusBeside(t *testing.T) {
	Need(t, Command("git"))
	// A caller's (a hook's) repository is not meant.
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	main, other := filepath.Join(top, "main"), filepath.Join(top, "trees", "other")
	for _, args := range [][]string{
		{"init", "-q", main},
		{"-C", main, "-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"},
		{"-C", main, "worktree", "add", "-q", other},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	for _, root := range []string{main, other, top} {
		if dir, err := corpusBeside(root); err == nil {
			t.Errorf("of %s it is %s, which is not there", root, dir)
		}
	}
	if err := os.Mkdir(filepath.Join(top, "shared"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{main, other} {
		if dir, err := corpusBeside(root); err != nil || dir != filepath.Join(top, "shared", "corpus") {
			t.Errorf("of %s it is %q, %v", root, dir, err)
		}
	}
}
