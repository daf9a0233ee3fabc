package proc

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestSweepTemp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nothing is swept elsewhere")
	}
	dir := t.TempDir()
	mine, err := os.CreateTemp(dir, TempPattern())
	if err != nil {
		t.Fatal(err)
	}
	mine.Close()
	bundle, err := os.MkdirTemp(dir, TempPattern())
	if err != nil {
		t.Fatal(err)
	}
	// The first has no process that began so late, the others no owner at all.
	dead := filepath.Join(dir, ".leastcap-1-99999999999.123")
	others := []string{mine.Name(), bundle}
	for _, n := range []string{".leastcap-", ".leastcap-profile", ".leastcap-1-2", ".leastcap-1-2.x", "leastcap-1-2.3", "notes"} {
		others = append(others, filepath.Join(dir, n))
	}
	if err := os.MkdirAll(filepath.Join(dead, "rootfs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, n := range others[2:] {
		if err := os.WriteFile(n, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	SweepTemp(dir)
	if _, err := os.Lstat(dead); err == nil {
		t.Error("what a dead process left is still there")
	}
	for _, n := range others {
		if _, err := os.Lstat(n); err != nil {
			t.Errorf("%s is gone", filepath.Base(n))
		}
	}
}
