//go:build linux

package image

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// What a killed process left goes, what is in use and what is not leastcap's stays.
func TestTempDir(t *testing.T) {
	parent := t.TempDir()
	o := Options{TempDir: parent}
	var used Image
	inUse, err := used.tempDir(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"leastcap-image-1/sub", "other"} {
		if err := os.MkdirAll(filepath.Join(parent, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(parent, "other"), filepath.Join(parent, "leastcap-image-link")); err != nil {
		t.Fatal(err)
	}
	var m Image
	dir, err := m.tempDir(o)
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[string]bool{
		inUse: true, dir: true, filepath.Join(parent, "leastcap-image-1"): false,
		filepath.Join(parent, "other"): true, filepath.Join(parent, "leastcap-image-link"): true,
	} {
		if _, err := os.Lstat(d); (err == nil) != want {
			t.Errorf("%s is there: %v, want %t", d, err, want)
		}
	}
	for _, i := range []*Image{&m, &used} {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	if left := names(t, parent); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// Many at once do not remove each other's.
func TestTempDirRace(t *testing.T) {
	parent := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				var m Image
				dir, err := m.tempDir(Options{TempDir: parent})
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left := names(t, parent); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
