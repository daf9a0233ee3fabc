package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/internal/testenv"
)

// newCgroup makes one in the v2 tree.
func newCgroup(t *testing.T) string {
	t.Helper()
	testenv.Need(t, testenv.Root)
	h, err := findHierarchy("/", nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(h.Mount, "leastcap-test-proc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := RemoveCgroup(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestThreaded: a workload may make threaded cgroups below its own, whose processes are listed
// above them alone, and which go with it.
func TestThreaded(t *testing.T) {
	dir := newCgroup(t)
	threaded := filepath.Join(dir, "threads")
	if err := os.Mkdir(threaded, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo $$ >"$0/cgroup.procs" && echo threaded >"$0/threads/cgroup.type" && echo $$ >"$0/threads/cgroup.threads" && echo there && exec sleep 60`, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if n, err := out.Read(make([]byte, 10)); err != nil || n != len("there\n") {
		t.Fatal(n, err)
	}
	if pids, err := Procs(dir); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("%v, %v, want %d", pids, err, cmd.Process.Pid)
	}
	go func() { _ = cmd.Wait() }() // a zombie would hold it
	if err := RemoveCgroup(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestVanishing: what a workload removes meanwhile hides nothing that stays.
func TestVanishing(t *testing.T) {
	dir := newCgroup(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			below := filepath.Join(dir, fmt.Sprint(i%3))
			_, _ = unix.Mkdir(below, 0o755), unix.Rmdir(below)
		}
	})
	for range 1000 {
		if _, err := Procs(dir); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	wg.Wait()
	if _, err := Procs(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of one that is not there: %v", err)
	}
	for range 50 {
		top := filepath.Join(dir, "top")
		const n = 10
		for i := range n {
			if err := os.MkdirAll(filepath.Join(top, fmt.Sprint(i)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			for i := range n {
				_ = unix.Rmdir(filepath.Join(top, fmt.Sprint(i)))
			}
		})
		err := RemoveCgroup(top)
		wg.Wait()
		if _, serr := os.Stat(top); err != nil || !errors.Is(serr, fs.ErrNotExist) {
			t.Fatalf("removed: %v; there: %v", err, serr)
		}
	}
}
