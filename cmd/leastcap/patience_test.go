package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastcap/leastcap/internal/testenv"
)

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		done := waiting(&out, slow, "docker")
		time.Sleep(slow - time.Second)
		done()
		time.Sleep(2 * time.Second)
		if out.Len() > 0 {
			t.Errorf("it answered in time: %s", &out)
		}
		done = waiting(&out, slow, "docker")
		time.Sleep(slow + time.Second)
		synctest.Wait()
		done()
		if want := "leastcap: docker has not answered for 10s; Ctrl-C ends this\n"; out.String() != want {
			t.Errorf("got %q, want %q", &out, want)
		}
	})
	for name, told := range map[string]bool{"quick": false, "slow": true} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			ctx, cancel := context.WithCancel(t.Context())
			first := false
			done := ending(ctx, &out, slowEnd, func() { first = true })
			time.Sleep(time.Hour) // a run is as long as it is
			cancel()
			if told {
				time.Sleep(slowEnd + time.Second)
			}
			done()
			synctest.Wait()
			if got := strings.Contains(out.String(), "a second signal ends"); got != told || first != told {
				t.Errorf("%s: told %v, first %v: %s", name, got, first, &out)
			}
		})
	}
}

// TestSilentEngine: an engine that takes connections and never answers is left at a signal,
// and not waited for again to remove what was never started.
func TestSilentEngine(t *testing.T) {
	testenv.Need(t, testenv.Command("docker"))
	bin := testenv.Leastcap(t)
	dir, err := os.MkdirTemp("", "leastcap-test-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for i, args := range [][]string{
		{"learn", "--hook", "none", "--check", "true", "--", "docker", "run", "leastcap-test/tiny"},
		{"learn", "--hook", "none", "--check", "true", "--engine", "api", "--", "docker", "run", "leastcap-test/tiny"},
		{"run", "leastcap-test/tiny", "true"},
		{"audit", "docker"},
	} {
		path := filepath.Join(dir, strconv.Itoa(i))
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+path)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) // it would wait for 30
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		conn.Close()
		l.Close()
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
			t.Errorf("%s: exit status %d, want %d: %s", args, code, exitInterrupted, &out)
		}
	}
}
