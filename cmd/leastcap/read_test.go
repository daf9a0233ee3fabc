//go:build unix

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the user named is waited for as long as nobody says otherwise, and is no more than
// a definition can be.
func TestReadWhole(t *testing.T) {
	dir := t.TempDir()
	pipe, socket := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	stdin, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	for _, name := range []string{pipe, stdinArg} { // nobody writes to either
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := readWhole(ctx, name, stdin, 10, "it")
			ended <- err
		}()
		select {
		case err := <-ended:
			t.Errorf("%s: did not wait: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: waits on after the end", name)
		}
	}

	write := func(text string) {
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			_, _ = f.WriteString(text) // nobody may read all of it
			f.Close()
		}
	}
	// The reader of above is let go, and may still take what comes: another pipe for others.
	if f, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
		f.Close()
	}
	pipe = filepath.Join(dir, "another")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go write("0123456789")
	if data, err := readWhole(t.Context(), pipe, nil, 10, "it"); err != nil || string(data) != "0123456789" {
		t.Errorf("%q %v", data, err)
	}
	go write("0123456789a")
	if _, err := readWhole(t.Context(), pipe, nil, 10, "it"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too much: %v", err)
	}
	if _, err := readWhole(t.Context(), socket, nil, 10, "it"); err == nil || !strings.Contains(err.Error(), "socket") {
		t.Errorf("a socket: %v", err)
	}
}
