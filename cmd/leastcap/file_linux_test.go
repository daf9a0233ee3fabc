//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o751|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", link); err != nil {
		t.Fatal(err)
	}
	attrs := unix.Setxattr(name, "user.leastcap", []byte("kept\x00"), 0) == nil
	// What a killed one left goes; what is somebody's stays.
	dead, other := filepath.Join(dir, ".leastcap-999999999-1.2"), filepath.Join(dir, ".leastcap-x")
	for _, f := range []string{dead, other} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := replaceFile(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	info, serr := os.Lstat(name)
	if err != nil || serr != nil || string(data) != "new" || info.Mode() != 0o751|os.ModeSetgid {
		t.Errorf("%q %v %v %v", data, err, info.Mode(), serr)
	}
	if target, err := os.Readlink(link); err != nil || target != "f" {
		t.Errorf("the link: %q %v", target, err)
	}
	if attrs {
		b := make([]byte, 10)
		if n, err := unix.Getxattr(name, "user.leastcap", b); err != nil || string(b[:n]) != "kept\x00" {
			t.Errorf("the extended attribute: %q %v", b[:max(n, 0)], err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".leastcap*"))
	if len(left) != 1 || left[0] != other {
		t.Errorf("left: %q", left)
	}

	if err := os.Link(name, filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(name, []byte("newer")); err == nil {
		t.Error("a file with hard links was replaced")
	}
	if data, _ := os.ReadFile(name); string(data) != "new" {
		t.Errorf("%q", data)
	}
}
