package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
)

// TestTwice: two that learn at the same time, and one that watches everything meanwhile, do
// not see each other's work as their own, and do not clear it away.
func TestTwice(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	bin, dir := testenv.Leastcap(t), t.TempDir()
	name := func(n int) string { return fmt.Sprintf("leastcap-test-twice-%d-%d", os.Getpid(), n) }
	s := newStream(t)
	waitFor(t, "watch looks", func() bool { return strings.Contains(s.stderr.String(), "Ctrl-C") })
	var wg sync.WaitGroup
	for n, c := range []struct {
		command []string
		want    caps.Set
	}{
		{[]string{"chown", "33", "/tmp"}, caps.Of(caps.Chown)},
		{[]string{"busybox", "chroot", "/", "true"}, caps.Of(caps.SysChroot)},
	} {
		wg.Go(func() {
			file := filepath.Join(dir, fmt.Sprintf("%d.json", n))
			args := append([]string{"learn", "-q", "--no-save", "--profile", file, "--", "docker", "run", "--name", name(n), "leastcap-test/tiny"}, c.command...)
			if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
				t.Errorf("%v: %v: %s", c.command, err, out)
				return
			}
			p := profileOf(t, file)
			if p.Required != c.want || !p.Proven || !p.Complete {
				t.Errorf("%v: required %v, want %v; proven %v complete %v lost %v notes %q", c.command, p.Required, c.want, p.Proven, p.Complete, p.Lost, p.Notes)
			}
		})
	}
	wg.Wait()
	if code := s.end(syscall.SIGINT); code != 0 {
		t.Errorf("watch: exit status %d: %s", code, &s.stderr)
	}
}

// TestStopped: a leastcap that is stopped for a while in the midst of its runs learns what
// it would have learned.
func TestStopped(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	dir := t.TempDir()
	file, mine := filepath.Join(dir, "p.json"), filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// It is refused chown and goes on, so that a run whose check comes too late looks like
	// one that failed for it, and chown like something that is required. The check passes
	// when it is tried again.
	cmd := exec.Command(testenv.Leastcap(t), "learn", "--no-save", "--profile", file, "--settle", "100ms", "--check-timeout", "6s", "--keep", "required",
		"--check", fmt.Sprintf("sleep 0.4; if test -e %[1]s; then rm %[1]s; else touch %[1]s; false; fi", filepath.Join(dir, "tried")),
		"--", "sh", "-c", `chown 33 "$0"; exec sleep 60`, mine)
	var out safeBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	// The run after these is the one without it.
	waitFor(t, "three runs passed", func() bool { return strings.Count(out.String(), ": passed") >= 3 })
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(7 * time.Second)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	p := profileOf(t, file)
	if p.Required != 0 || !p.Optional.Has(caps.Chown) || !p.Proven || !p.Complete {
		t.Errorf("required %v optional %v proven %v complete %v notes %q", p.Required, p.Optional, p.Proven, p.Complete, p.Notes)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
