package probe_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/probe"
)

// TestNewsIsThere: what the news tell is in its map by then. A look that begins with them would
// else miss it until something else is new.
func TestNewsIsThere(t *testing.T) {
	const rounds = 200
	p := runningProbe(t, probe.Options{Refusals: true})
	deep := filepath.Join(tempDir(t), strings.Repeat("d/", 25)) // finding its path takes a while
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	file(t, filepath.Join(deep, "mine"), 0, 0o600)
	// Calls that are refused, of which the map has one entry, told once.
	for name, call := range map[string][]string{
		"evidences": {"capset", "3", "0x1000", "0x1000", "0"},
		"refusals":  {"chown", "mine", "1", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := containerIn(t, newScope(t, theProbe(t)), "a")
			news := func() uint64 {
				n, err := p.News()
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			var st unix.Stat_t
			if err := unix.Stat(s.dir, &st); err != nil {
				t.Fatal(err)
			}
			keys := func() []string { // of the container's cgroup
				list, err := p.Keys(name)
				if err != nil {
					t.Fatal(err)
				}
				return slices.DeleteFunc(list, func(k string) bool { return binary.NativeEndian.Uint64([]byte(k)) != st.Ino })
			}
			w := s.steps(0, slices.Concat([]string{"chdir", deep, ",", "say", "up", ",", "repeat", strconv.Itoa(rounds + 1), "wait", ","},
				call, []string{",", "say", "done"})...)
			w.hear()
			apart(t, w.cmd.Process.Pid)
			before := keys()
			w.tell()
			w.hear()
			added := slices.DeleteFunc(keys(), func(k string) bool { return slices.Contains(before, k) })
			if len(added) != 1 {
				t.Fatalf("%d entries for one call", len(added))
			}
			key, value := []byte(added[0]), make([]byte, p.ValueSize(name))
			clear, missed := 0, 0
			for range rounds {
				if err := p.Delete(name, key); err != nil {
					t.Fatal(err)
				}
				was := news()
				w.tell()
				for n := 0; news() == was; n++ {
					if n > 1<<26 { // for a minute
						t.Fatal("nothing is told")
					}
				}
				there := p.Has(name, key, value)
				w.hear()
				if news() != was+1 {
					continue // another's, on this machine, may have been first
				}
				clear++
				if !there {
					missed++
				}
			}
			if err := w.cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			if clear < rounds/2 {
				t.Errorf("%d of %d rounds were disturbed", rounds-clear, rounds)
			}
			if missed > 0 {
				t.Errorf("%d of %d times the news came before what they tell", missed, clear)
			}
		})
	}
}

// apart puts the caller and a process on different processors, where there are two: on one they
// could only take turns.
func apart(t *testing.T, pid int) {
	t.Helper()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	var alone [2]unix.CPUSet
	n := 0
	for cpu := 0; n < len(alone) && cpu < 1024; cpu++ {
		if all.IsSet(cpu) {
			alone[n].Set(cpu)
			n++
		}
	}
	if n < len(alone) {
		return
	}
	runtime.LockOSThread() // and it ends with the test
	if err := unix.SchedSetaffinity(0, &alone[0]); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedSetaffinity(pid, &alone[1]); err != nil {
		t.Fatal(err)
	}
}

// TestNewsOfKnown: an executable that is known already may be launched by something new, and as
// somebody new.
func TestNewsOfKnown(t *testing.T) {
	p := theProbe(t)
	s := newScope(t, p)
	exe := program(t, "workload")
	s.steps(bounding(t), "getpid").ends() // known

	grows := func(what string, do func()) {
		t.Helper()
		was, err := p.News()
		if err != nil {
			t.Fatal(err)
		}
		do()
		if now, err := p.News(); err != nil || now <= was {
			t.Errorf("%s: news %d, then %d, %v", what, was, now, err)
		}
	}
	granted := func() caps.Set { return s.record().All().Granted }

	// What a runtime asks for with the container's credentials counts from the exec on.
	all := strconv.FormatUint(uint64(bounding(t)), 10)
	w := s.start(exec.Command(exe, "cgroup", s.dir, ",", "capset", "3", all, all, "0", ",", "settimeofday", ",",
		"say", "up", ",", "wait", ",", "exec", exe, "getpid"))
	w.hear()
	wantOut(t, "before the exec", granted(), caps.SysTime)
	grows("launch", func() {
		w.tell()
		w.ends()
	})
	wantIn(t, "after it", granted(), caps.SysTime)

	w = s.steps(bounding(t), "nnp", ",", "say", "up", ",", "wait", ",", "exec", exe, "getpid")
	w.hear()
	grows("identity", func() {
		w.tell()
		w.ends()
	})
}
