package verifier

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastcap/leastcap/manifest/reading"
)

// fakeVar makes this program a leastcap-verifier that behaves as it says.
const fakeVar = "LEASTCAP_TEST_FAKE_VERIFIER"

func TestMain(m *testing.M) {
	if how := os.Getenv(fakeVar); how != "" {
		fake(how)
		return
	}
	if os.Getenv(fakeVersionVar) != "" || filepath.Base(os.Args[0]) == "docker" {
		if err := fakeCompose(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

func fake(how string) {
	say := func(v any) { _ = json.NewEncoder(os.Stdout).Encode(v) }
	hello := reading.Hello{Protocol: reading.Protocol, Version: "fake", Tools: map[string]string{"compose": "a fake"}}
	switch how {
	case "silent":
		time.Sleep(time.Hour)
	case "garbage":
		fmt.Println("Usage: something else entirely")
		return
	case "ends":
		fmt.Fprintln(os.Stderr, "fatal error: something is missing\nand more")
		return
	case "skewed":
		hello.Protocol++
	}
	say(hello)
	if how == "deaf" {
		time.Sleep(time.Hour)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var req reading.Request
		if err := json.Unmarshal(lines.Bytes(), &req); err != nil {
			panic(err)
		}
		go func() {
			time.Sleep(time.Millisecond)
			switch name := req.Files[0].Name; {
			case strings.Contains(name, "crash"):
				panic("it cannot bear " + name)
			case strings.Contains(name, "hang"):
				time.Sleep(time.Hour)
			case strings.Contains(name, "garbage"):
				fmt.Println("what?")
			case strings.Contains(name, "another"):
				say(reading.Answer{ID: req.ID + 1000})
			case strings.Contains(name, "error"):
				say(reading.Answer{ID: req.ID, Err: "it does not like it"})
			case name == "PWD":
				say(reading.Answer{ID: req.ID, Before: reading.Reading{Containers: []reading.Container{{Name: os.Getenv(name)}}}})
			case strings.Contains(name, "flood"):
				for {
					if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<16)); err != nil {
						return
					}
				}
			default:
				say(reading.Answer{ID: req.ID, Before: reading.Reading{Containers: []reading.Container{{Name: name}}}})
			}
		}()
	}
}

// opened is the fake, running.
func opened(t *testing.T, how string) (*Verifier, error) {
	t.Helper()
	return openedIn(t.Context(), t, how)
}

func openedIn(ctx context.Context, t *testing.T, how string) (*Verifier, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakeVar, how)
	t.Setenv("TMPDIR", t.TempDir())
	v, err := Open(ctx, self)
	if err != nil {
		if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		return nil, err
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return v, nil
}

func ask(t *testing.T, v *Verifier, name string) error {
	t.Helper()
	a, err := v.Ask(t.Context(), reading.Request{Format: "compose", Files: []reading.File{{Name: name, Role: reading.Main}}})
	if err == nil && a.Before.Containers[0].Name != name {
		t.Errorf("the answer to %s is of %s", name, a.Before.Containers[0].Name)
	}
	return err
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct{ how, want string }{
		{"garbage", "it does not speak the protocol"},
		{"ends", "it ended: fatal error: something is missing"},
		{"skewed", fmt.Sprintf("speaks version %d of the protocol, and this leastcap %d", reading.Protocol+1, reading.Protocol)},
	} {
		t.Run(tt.how, func(t *testing.T) {
			if _, err := opened(t, tt.how); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		defer func(d time.Duration) { startTime = d }(startTime)
		startTime = 100 * time.Millisecond
		if _, err := opened(t, "silent"); err == nil || !strings.Contains(err.Error(), "did not say hello within 100ms") {
			t.Error(err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := openedIn(ctx, t, "silent"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("outlived", func(t *testing.T) { // by a child that is as silent, until its input ends
		path := filepath.Join(t.TempDir(), Program)
		if err := os.WriteFile(path, []byte("#!/bin/sh\nexec 3<&0; cat <&3 2>&- & wait\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		ended := make(chan error)
		go func() { _, err := Open(ctx, path); ended <- err }()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("it waits for a child's output")
		}
	})
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What ends it, or keeps it from answering, is told of that question; all others, asked at
// the same time, are answered.
func TestBadQuestions(t *testing.T) {
	v, err := opened(t, "good")
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"crash": "it ended: panic: it cannot bear crash", "hang": late, "garbage": "its answer cannot be understood",
		"another": "it answers what was not asked", "error": "it does not like it", "flood": "its answer cannot be read",
	}
	// The one that has to be waited for comes last: for all others there is time enough.
	for _, turn := range []struct {
		names []string
		time  time.Duration
	}{
		{[]string{"crash", "garbage", "another", "error", "flood"}, time.Minute},
		{[]string{"hang"}, time.Second},
	} {
		v.AskTime = turn.time
		names := turn.names
		for i := range 30 {
			names = append(names, fmt.Sprint("good", i))
		}
		slices.Sort(names)
		var wg sync.WaitGroup
		slots := make(chan bool, 8)
		for _, name := range names {
			wg.Go(func() {
				slots <- true
				defer func() { <-slots }()
				want, isBad := bad[name]
				err := ask(t, v, name)
				for range 5 { // a machine that stands still is nobody's answer
					if isBad || err == nil || !strings.Contains(err.Error(), late) {
						break
					}
					err = ask(t, v, name)
				}
				if isBad != (err != nil) || isBad && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
	}
}

// late is what is said of a question that took too long.
const late = "it did not answer within 1s"

// A definition's variables are those of who asks, also the one that says where that is.
func TestEnvironment(t *testing.T) {
	t.Setenv("PWD", "/where/it/is")
	v, err := opened(t, "good")
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Ask(t.Context(), reading.Request{Files: []reading.File{{Name: "PWD"}}})
	if err != nil || a.Before.Containers[0].Name != "/where/it/is" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestGiveUp(t *testing.T) {
	v, err := opened(t, "good")
	if err != nil {
		t.Fatal(err)
	}
	for range maxFailures {
		if err := ask(t, v, "crash"); err == nil {
			t.Fatal("no error")
		}
	}
	if err := ask(t, v, "good"); err == nil || !strings.Contains(err.Error(), "is not started again") {
		t.Error(err)
	}
}

// One that does not even read is no reason to wait, however much is to be written.
func TestDeaf(t *testing.T) {
	v, err := opened(t, "deaf")
	if err != nil {
		t.Fatal(err)
	}
	v.AskTime = 200 * time.Millisecond
	_, err = v.Ask(t.Context(), reading.Request{Files: []reading.File{{Name: "x", Before: make([]byte, 100<<10)}}})
	if err == nil {
		t.Error("no error")
	}
	if err := ask(t, v, strings.Repeat("x", maxQuestion)); err == nil || !strings.Contains(err.Error(), "too much") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	v.AskTime = time.Minute
	if _, err = v.Ask(ctx, reading.Request{Files: []reading.File{{Name: "x"}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	program := func(name string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	program(Program)
	t.Setenv("PATH", ".:"+string(filepath.ListSeparator)+"bin:/nowhere")
	program("bin/" + Program)
	if path, err := Find(); !errors.Is(err, ErrAbsent) {
		t.Errorf("%s, %v: it was taken from the current directory", path, err)
	}
	t.Setenv("PATH", ".:"+dir+"/bin")
	if path, err := Find(); err != nil || path != dir+"/bin/"+Program {
		t.Errorf("%s, %v", path, err)
	}
	if err := os.Chmod("bin/"+Program, 0o600); err != nil {
		t.Fatal(err)
	}
	if path, err := Find(); !errors.Is(err, ErrAbsent) {
		t.Errorf("%s, %v", path, err)
	}
	// Beside the running program, and in its libexec.
	exe := filepath.Join(dir, "usr/bin/leastcap")
	for _, place := range []string{"usr/libexec/leastcap/", "usr/bin/"} { // the nearer one second
		program(filepath.Join(dir, place, Program))
		if path, ok := look(Program, besides(exe)); !ok || path != filepath.Join(dir, place, Program) {
			t.Errorf("%s, %v", path, ok)
		}
	}
	// Where everybody may put one, a stranger may have.
	if err := os.Chmod(filepath.Join(dir, "usr/bin"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if path, ok := look(Program, besides(exe)); !ok || path != filepath.Join(dir, "usr/libexec/leastcap", Program) {
		t.Errorf("%s, %v", path, ok)
	}
}
