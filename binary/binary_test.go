package binary_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leastcap/leastcap/binary"
)

const goProgram = `package main

import (
	"os"
	"syscall"
)

func main() {
	if len(os.Args) > 5 {
		_ = syscall.Chroot("/")
		_ = os.Chown("f", 1, 1)
	}
}
`

// TestGo: a Go program that is stripped still shows which system calls it has.
func TestGo(t *testing.T) {
	dir := t.TempDir()
	src, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "main")
	if err := os.WriteFile(src, []byte(goProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"exe", "pie"} {
		cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-buildmode", mode, "-o", out, src)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, text)
		}
		f := read(t, out)
		if !slices.Contains(f.Functions, "chroot") || f.Mute {
			t.Errorf("%s: functions %q, mute %t: want chroot", mode, f.Functions, f.Mute)
		}
		if slices.Contains(f.Functions, "mount") {
			t.Errorf("%s: mount, which is not in it", mode)
		}
		// One that says that it has four billion functions ends where its table does.
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		e, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		table := e.Section(".gopclntab")
		if table == nil {
			table = e.Section(".data.rel.ro.gopclntab")
		}
		copy(data[table.Offset+8:], bytes.Repeat([]byte{0xff}, 4))
		cost(t, data, 1)
	}
}

const cProgram = `#include <unistd.h>
int main(int n, char **a) { return n > 5 ? setgid(1) || chown("f", 1, 1) : 0; }
`

func TestC(t *testing.T) {
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Fatal("gcc is missing: make setup")
	}
	dir := t.TempDir()
	src, out := filepath.Join(dir, "main.c"), filepath.Join(dir, "main")
	if err := os.WriteFile(src, []byte(cProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	build := func(flags ...string) *binary.File {
		t.Helper()
		if text, err := exec.Command(cc, append(flags, "-o", out, src)...).CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, text)
		}
		return read(t, out)
	}
	f := build("-s", "-Wl,-rpath,/opt/lib")
	if !slices.Contains(f.Functions, "setgid") || !slices.Contains(f.Functions, "chown") || f.Mute || f.Interpreter == "" {
		t.Errorf("dynamic: %+v", f)
	}
	if !slices.Contains(f.Libraries, "libc.so.6") || !slices.Contains(f.RunPath, "/opt/lib") {
		t.Errorf("libraries %q, run path %q", f.Libraries, f.RunPath)
	}
	if f = build("-static"); !slices.Contains(f.Functions, "setgid") || f.Mute || f.Interpreter != "" {
		t.Errorf("static: mute %t, %d functions", f.Mute, len(f.Functions))
	}
	if f = build("-static", "-s"); !f.Mute {
		t.Errorf("static and stripped: %q, and it is not mute", f.Functions)
	}
}

func read(t *testing.T, name string) *binary.File {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := binary.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNoBinary(t *testing.T) {
	if _, err := binary.Read([]byte("#!/bin/sh\n")); !errors.Is(err, binary.ErrNotBinary) {
		t.Errorf("%v", err)
	}
	if got := binary.Script([]byte("#! /usr/bin/env python3\nimport os\n")); !slices.Equal(got, []string{"/usr/bin/env", "python3"}) {
		t.Errorf("%q", got)
	}
	if got := binary.Script([]byte("import os\n")); got != nil {
		t.Errorf("%q", got)
	}
	want := []string{"os.setuid", "setuid", "33", "exec", "/usr/sbin/nginx", "x"}
	if got := binary.Words("os.setuid(33); exec '/usr/sbin/nginx' x x"); !slices.Equal(got, want) {
		t.Errorf("words %q, want %q", got, want)
	}
}

// FuzzRead: no file makes it panic, take for ever, or take more memory than it may.
func FuzzRead(f *testing.F) {
	self, err := os.Executable()
	if err == nil {
		if data, err := os.ReadFile(self); err == nil {
			f.Add(data[:min(len(data), 4096)])
		}
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	for _, l := range layouts {
		f.Add(l.file(f, "/lib/ld.so", l.parts(f)...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cost(t, data, 64)
		binary.Words(string(data))
	})
}
