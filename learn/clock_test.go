//go:build linux

package learn_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/learn"
)

// TestClock: learning goes by the time since boot. In a guest, whose clock is nobody else's,
// the time of day jumps by years to and fro meanwhile; elsewhere it does not.
func TestClock(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done, jumps := make(chan struct{}), make(chan int, 1)
	end := sync.OnceFunc(func() { close(done) })
	defer end()
	go func() {
		n := 0
		defer func() { jumps <- n }()
		for years := int64(10); testenv.Guest(); years, n = -years, n+1 {
			select {
			case <-done:
				if n%2 == 0 {
					return // it is as it was
				}
			case <-time.After(30 * time.Millisecond):
			}
			var now unix.Timeval
			if err := unix.Gettimeofday(&now); err != nil {
				t.Error(err)
			}
			now.Sec += years * 365 * 24 * 3600
			if err := unix.Settimeofday(&now); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	opts := learn.Options{Checks: checks("sleep 0.2"), CheckTimeout: 20 * time.Second, Settle: 300 * time.Millisecond}
	got, err := learnCommand(t, "", opts, "sh", "-c", `chown 34 "$0" && exec sleep 600`, file)
	end()
	n := <-jumps
	if err != nil {
		t.Fatal(err)
	}
	if got.Required != caps.Of(caps.Chown) || !got.Proven || !got.Complete {
		t.Errorf("required %v proven %v complete %v lost %v notes %q", got.Required, got.Proven, got.Complete, got.Lost, got.Notes)
	}
	if n == 0 && testenv.Guest() {
		t.Error("the clock never jumped")
	}
	if got.Seconds < 0 || got.Seconds > 300 {
		t.Errorf("it took %v s", got.Seconds)
	}
	for _, tr := range got.Trials {
		if tr.Seconds < 0 || tr.Seconds > 60 {
			t.Errorf("%+v", tr)
		}
	}
	t.Logf("%d jumps in %.1f s", n, got.Seconds)
}
