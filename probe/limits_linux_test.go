package probe_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// TestLoss: what does not fit is named, and makes the record incomplete.
func TestLoss(t *testing.T) {
	all := bounding(t)
	self, brief := program(t, "workload"), program(t, "exit")
	steps := []string{
		"bind", "tcp", "817", ",", "bind", "udp", "818", ",", "dropbound", "13", ",",
		"fork", "{", "setgid", "33", ",", "setuid", "33", ",", "chroot", "/tmp", ",", "exec", self, "getpid", "}", ",",
		"fork", "{", "exec", brief, "}", ",",
		"say", "x", ",", "wait", ",", "setgroups",
	}
	needs := caps.Of(caps.NetBindService, caps.Setpcap, caps.Setgid, caps.Setuid)
	for _, c := range []struct {
		mapName string
		n       uint32
		lost    string
		exact   bool // the masks are
	}{
		{"evidences", 2, "evidence", true},
		{"identities", 1, "identities", true},
		{"exes", 1, "executables", true},
		{"ports", 1, "ports", true},
		{"tasks", 1, "tasks", false},
		{"sums", 1, "sets", false},
		{"scopes", 1, "scopes", false},
		{"inflight", 1, "", true},
	} {
		t.Run(c.mapName, func(t *testing.T) {
			p := ownProbe(t, map[string]uint32{c.mapName: c.n})
			if c.mapName == "scopes" {
				newScope(t, p) // takes the only place
			}
			s := newScope(t, p)
			w := s.steps(all, steps...)
			w.hear()
			if err := s.SetPhase(usage.Steady); err != nil {
				t.Fatal(err)
			}
			w.tell()
			w.ends("chroot EPERM")
			r, err := s.Record()
			if err != nil {
				t.Fatal(err)
			}
			if c.lost == "" {
				if !r.Complete() {
					t.Errorf("lost: %v", r.Lost)
				}
			} else if r.Lost[c.lost] == 0 || r.Complete() {
				t.Errorf("lost: %v, complete: %t; want %s lost", r.Lost, r.Complete(), c.lost)
			}
			if c.exact {
				wantSet(t, "granted", r.All().Granted, needs)
				wantSet(t, "granted in the phase steady", r.Sets[usage.Steady].Granted, caps.Of(caps.Setgid))
				wantSet(t, "denied", r.All().Denied, caps.Of(caps.SysChroot))
				wantSet(t, "bounding set dropped", r.All().BoundDropped, caps.Of(caps.NetRaw))
			}
			// Another workload's watch that begins now has lost nothing yet.
			later, err := p.Watch(s.ref)
			if err != nil {
				t.Fatal(err)
			}
			defer later.End()
			if r, err := later.Record(); err != nil || len(r.Lost) > 0 && c.mapName != "scopes" {
				t.Errorf("a later watch lost %v, %v", r.Lost, err)
			}
		})
	}
}

// TestMoved: a process that leaves the workload's cgroup is seen no more, and
// that is said; one that makes a cgroup in its own stays.
func TestMoved(t *testing.T) {
	p := theProbe(t)
	all := bounding(t)
	other, bystander := newScope(t, p), newScope(t, p)
	for _, c := range []struct {
		name, dir string
	}{{"another workload's", other.dir}, {"one that is older than the probe", p.Hierarchy().Mount}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScope(t, p)
			s.steps(all, "setgid", "33", ",", "cgroup", c.dir, ",", "setuid", "33").ends()
			r, err := s.Record()
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost["moved"] != 1 || len(r.Lost) != 1 || r.Complete() {
				t.Errorf("lost: %v, complete: %t; want one moved", r.Lost, r.Complete())
			}
			wantSet(t, "granted", r.All().Granted, caps.Of(caps.Setgid))
			later, err := p.Watch(s.ref)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := later.Record(); err != nil || !r.Complete() {
				t.Errorf("a later watch lost %v, %v", r.Lost, err)
			}
			later.End()
		})
	}
	t.Run("a child's child", func(t *testing.T) {
		s := newScope(t, p)
		s.steps(all, "fork", "{", "fork", "{", "exec", program(t, "workload"), "cgroup", other.dir, "}", "}").ends()
		if r, err := s.Record(); err != nil || r.Lost["moved"] != 1 {
			t.Errorf("lost: %v, %v; want one moved", r.Lost, err)
		}
	})
	t.Run("its own", func(t *testing.T) {
		s := newScope(t, p)
		// As systemd does: init.scope, then a service, and back up.
		a, b := filepath.Join(s.dir, "init.scope"), filepath.Join(s.dir, "system.slice")
		c := filepath.Join(b, "x.service")
		s.steps(all, "mkdir", a, ",", "mkdir", b, ",", "mkdir", c, ",", "cgroup", a, ",", "setgid", "33", ",",
			"fork", "{", "cgroup", c, ",", "exec", program(t, "workload"), "setuid", "0", ",", "cgroup", a, ",",
			"setgroups", ",", "cgroup", s.dir, ",", "bind", "tcp", "817", "}").ends()
		wantSet(t, "granted", s.record().All().Granted, caps.Of(caps.Setgid, caps.Setuid, caps.NetBindService))
	})
	bystander.record() // is not told of the others' losses
}

// TestClosed: what cannot be read is said to be so.
func TestClosed(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	p, err := probe.Open(probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Watch(proc.ScopeRef{Name: "nonesuch"})
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	_, watch := p.Watch(proc.ScopeRef{ID: 1})
	_, record := w.Record()
	_, identities := w.Identities()
	for what, err := range map[string]error{
		"Watch": watch, "SetPhase": w.SetPhase(usage.Steady), "Record": record, "Identities": identities,
	} {
		if !errors.Is(err, probe.ErrUnavailable) {
			t.Errorf("%s: %v; want an error that wraps ErrUnavailable", what, err)
		}
	}
}

func TestUnknownLimit(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	if p, err := probe.Open(probe.Options{Limits: map[string]uint32{"nonesuch": 1}}); err == nil {
		p.Close()
		t.Error("an unknown map's limit was taken")
	}
}

// TestFlood: checks by several threads at once are all counted.
func TestFlood(t *testing.T) {
	const n = 200_000
	s := newScope(t, theProbe(t))
	before, err := s.p.ChecksSeen()
	if err != nil {
		t.Fatal(err)
	}
	s.steps(bounding(t).Without(caps.SysAdmin), "flood", "setgid", "4", strconv.Itoa(n), ",", "flood", "sethostname", "4", "8").ends()
	after, err := s.p.ChecksSeen()
	if err != nil {
		t.Fatal(err)
	}
	r := s.record()
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Setgid))
	wantSet(t, "denied", r.All().Denied, caps.Of(caps.SysAdmin))
	if c := evidence(t, r, caps.Setgid, usage.Granted, "setgid"); c.Count != n {
		t.Errorf("evidence of %d checks, want %d", c.Count, n)
	}
	if c := evidence(t, r, caps.SysAdmin, usage.Denied, "sethostname"); c.Count != 8 || c.Failed != 8 || c.Errno != "EPERM" {
		t.Errorf("got %+v, want 8 denied and failed", c)
	}
	// Where the kernel preempts itself some program may have been: what the record
	// needs of it was not.
	if missed, err := s.p.Missed(); err != nil || missed > 0 && !probe.Preempts() {
		t.Errorf("programs missed %d events, %v", missed, err)
	}
	if after-before < n || r.ChecksSeen < n {
		t.Errorf("checks seen: %d by the probe, %d by the watch, want %d at least", after-before, r.ChecksSeen, n)
	}
}

// TestFirstAtOnce: threads that make the first check of a kind at the same time
// are both counted.
func TestFirstAtOnce(t *testing.T) {
	for range 20 {
		s := newScope(t, theProbe(t))
		s.steps(bounding(t), "flood", "setgid", "32", "32").ends()
		r := s.record()
		if c := evidence(t, r, caps.Setgid, usage.Granted, "setgid"); c.Count != 32 {
			t.Fatalf("evidence of %d checks, want 32", c.Count)
		}
		s.End()
	}
}

// TestClose: no program and no map stays.
func TestClose(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	var objects map[string]func() (bool, error)
	t.Run("use", func(t *testing.T) {
		p := ownProbe(t, nil)
		var err error
		if objects, err = p.Objects(); err != nil {
			t.Fatal(err)
		}
		if len(objects) < 15 {
			t.Errorf("only %d programs and maps", len(objects))
		}
		newScope(t, p).steps(bounding(t), "setgid", "33").ends()
	})
	for name, alive := range objects {
		until(t, name+" is unloaded", func() bool {
			// The kernel frees them in its own time, and variables are mapped until
			// the garbage is collected.
			runtime.GC()
			there, err := alive()
			if err != nil {
				t.Fatal(err)
			}
			return !there
		})
	}
}

// TestEnd: a workload's entries go with its watch, also those of cgroups that
// came and went unwatched, so that a busy host does not fill the maps.
func TestEnd(t *testing.T) {
	p := ownProbe(t, nil)
	count := func() map[string]int {
		t.Helper()
		n := map[string]int{}
		for _, name := range probe.MapNames {
			var err error
			if n[name], err = p.Entries(name); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	s := newScope(t, p)
	child := filepath.Join(s.dir, "child")
	w := s.steps(bounding(t), "mkdir", child, ",", "setgid", "33", ",", "bind", "tcp", "817", ",",
		"fork", "{", "cgroup", child, ",", "setuid", "33", ",", "open", "/", "}", ",", "say", "x", ",", "wait")
	w.hear()
	if err := s.SetPhase(usage.Stop); err != nil {
		t.Fatal(err)
	}
	full := count()
	w.tell()
	w.ends()
	for _, name := range []string{"scopes", "phases", "sums", "evidences", "tasks", "exes", "identities", "ports"} {
		if full[name] == 0 {
			t.Errorf("the map %s is empty in the midst", name)
		}
	}
	removeCgroup(t, s.dir)
	for i := range 200 {
		dir := filepath.Join(p.Hierarchy().Mount, fmt.Sprintf("probetest-%d-brief-%d", os.Getpid(), i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	if n := count()["scopes"]; n < 200 {
		t.Errorf("%d scopes after 200 cgroups", n)
	}
	s.End()
	// Other workloads of this machine may have cgroups and tasks of their own.
	for name, n := range count() {
		if n > 20 {
			t.Errorf("%d entries are left in the map %s", n, name)
		}
		if n > 0 {
			t.Logf("%d entries are left in the map %s", n, name)
		}
	}
	r, err := s.Record()
	if err != nil || len(r.Checks)+len(r.Execs)+len(r.Identities)+len(r.Ports)+len(r.Sets) > 0 {
		t.Errorf("after the end: %s, %v", asJSON(t, r), err)
	}
}

// TestEndOfOne: one watch's end leaves the others' alone.
func TestEndOfOne(t *testing.T) {
	p := theProbe(t)
	a, b := newScope(t, p), newScope(t, p)
	for _, s := range []*scope{a, b} {
		s.steps(bounding(t), "setgid", "33").ends()
		removeCgroup(t, s.dir)
	}
	a.End()
	wantSet(t, "granted", b.record().All().Granted, caps.Of(caps.Setgid))
}

// TestUnprivileged: who may not load BPF programs is told what is missing.
func TestUnprivileged(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	cmd := exec.Command("/proc/self/exe", openVerb)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	var e *exec.ExitError
	if !errors.As(err, &e) || e.ExitCode() != 3 {
		t.Fatalf("%v: %s; want an error that wraps ErrUnavailable", err, out)
	}
	for _, word := range []string{"the kernel cannot be watched", "CAP_BPF", "CAP_PERFMON"} {
		if !strings.Contains(string(out), word) {
			t.Errorf("the error does not say %q: %s", word, out)
		}
	}
}

// TestFewFiles: that there are too few open files is said, wherever loading meets it, and not
// taken for a way in that is missing or for a program that the verifier refuses.
func TestFewFiles(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	for _, limit := range []string{"12", "24", "40"} {
		cmd := exec.Command("sh", "-c", "ulimit -n "+limit+" && exec /proc/self/fd/3 "+openVerb)
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{self}
		out, err := cmd.Output()
		self.Close()
		if err == nil || !strings.Contains(string(out), "missing: open files") {
			t.Errorf("%s open files: %v: %s", limit, err, out)
		}
	}
}

// TestRefusedToRoot: whom a machine refuses a way although it may load programs is not told
// to become root, but to take another way.
func TestRefusedToRoot(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	for _, way := range []string{"tp_btf/cap_capable", "fexit/cap_capable", "fexit/security_capable", "kprobe/cap_capable"} {
		p, err := probe.Open(probe.Options{Hook: way})
		if err == nil {
			p.Close()
			continue
		}
		var f *probe.FeatureError
		if !errors.As(err, &f) || !strings.Contains(f.Hint, "leave --hook out") || strings.Contains(f.Hint, "sudo") || !strings.Contains(f.Missing, "way in") || !strings.Contains(f.Detail, way) ||
			strings.Contains(f.Detail, "MEMLOCK") { // a library's advice, which is not the reason since 5.11
			t.Errorf("%s: %v, %+v", way, err, f)
		}
	}
}

// nanoseconds runs a flood and gives what it says.
func nanoseconds(b *testing.B, s *scope, call string, threads, n int) float64 {
	b.Helper()
	w := s.steps(bounding(b), "flood", call, strconv.Itoa(threads), strconv.Itoa(n))
	ns, err := strconv.ParseFloat(w.hear(), 64)
	if err != nil {
		b.Fatal(err)
	}
	w.ends()
	return ns
}

func median(v []float64) float64 {
	sort.Float64s(v)
	return v[len(v)/2]
}

// BenchmarkCheck compares a system call that makes one check without a probe,
// with one but in a cgroup that it does not know, and in one that it watches.
// sethostname is the cheapest such call, and sys_admin the dearest check, since
// its kernel stack is looked at.
func BenchmarkCheck(b *testing.B) {
	testenv.Need(b, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	const calls, rounds = 200_000, 7
	for _, call := range []string{"setgid", "sethostname"} {
		b.Run(call, func(b *testing.B) {
			var without, outside, inside []float64
			for range b.N {
				for range rounds {
					p, err := probe.Open(probe.Options{})
					if err != nil {
						b.Fatal(err)
					}
					in := newScope(b, p)
					inside = append(inside, nanoseconds(b, in, call, 1, calls)/calls)
					in.End() // forgotten from here on
					outside = append(outside, nanoseconds(b, in, call, 1, calls)/calls)
					p.Close()
					without = append(without, nanoseconds(b, in, call, 1, calls)/calls)
				}
			}
			base := median(without)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(base, "ns/check-without")
			b.ReportMetric(median(outside), "ns/check-outside")
			b.ReportMetric(median(inside), "ns/check-inside")
			b.ReportMetric(median(outside)/base, "x-outside")
			b.ReportMetric(median(inside)/base, "x-inside")
		})
	}
}

// BenchmarkFlood is a million checks by four threads, of which none is lost.
func BenchmarkFlood(b *testing.B) {
	testenv.Need(b, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	const n, threads = 1_000_000, 4
	var without, with []float64
	for range b.N {
		for range 3 {
			p, err := probe.Open(probe.Options{})
			if err != nil {
				b.Fatal(err)
			}
			s := newScope(b, p)
			with = append(with, nanoseconds(b, s, "setgid", threads, n))
			r := s.record()
			if c := evidence(b, r, caps.Setgid, usage.Granted, "setgid"); c.Count != n {
				b.Errorf("evidence of %d checks, want %d", c.Count, n)
			}
			s.End()
			p.Close()
			without = append(without, nanoseconds(b, s, "setgid", threads, n))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/median(without)*1e9, "checks/s-without")
	b.ReportMetric(n/median(with)*1e9, "checks/s-with")
	b.ReportMetric(median(with)/median(without), "x-time")
}

// TestMemory: what the maps take is known before they are made, and does not grow.
func TestMemory(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	for _, o := range []probe.Options{{}, {Running: true}, {Running: true, Refusals: true}, {Limits: map[string]uint32{"evidences": 1}}} {
		want, err := probe.Memory(o)
		if err != nil {
			t.Fatal(err)
		}
		p, err := probe.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Memory()
		p.Close()
		// What the loader adds for the programs is some pages.
		if diff := int64(got) - int64(want); err != nil || max(diff, -diff) > 1<<16 {
			t.Errorf("%+v: %d bytes, %v; %d were said", o, got, err, want)
		}
	}
	if _, err := probe.Memory(probe.Options{Limits: map[string]uint32{"nonesuch": 1}}); err == nil {
		t.Error("an unknown map's limit was taken")
	}
}

// TestPhasesFull: a phase that cannot be said to have begun is an error, and no record of a
// phase that it was not.
func TestPhasesFull(t *testing.T) {
	p := ownProbe(t, map[string]uint32{"phases": 1})
	a, b := newScope(t, p), newScope(t, p)
	if err := a.SetPhase(usage.Steady); err != nil {
		t.Fatal(err)
	}
	if err := b.SetPhase(usage.Steady); !errors.Is(err, probe.ErrUnavailable) {
		t.Errorf("%v; want an error that wraps ErrUnavailable", err)
	}
}

// TestNoMemory: maps that the kernel has no memory for are called that, and not a kernel
// that lacks something.
func TestNoMemory(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		t.Fatal(err)
	}
	// An entry takes more than a kilobyte, so that this is more than the machine has: mm/vmalloc.c
	// __vmalloc_node_range() refuses at once.
	const most = 1 << 27 // kernel/bpf/hashtab.c htab_map_alloc()
	memory := machine.Totalram * uint64(machine.Unit)
	if memory>>10 > most*3/2 {
		t.Skip("this machine may have the memory for as many entries as a map may have")
	}
	p, err := probe.Open(probe.Options{Limits: map[string]uint32{"evidences": uint32(min(memory>>10, most))}})
	if err == nil {
		p.Close()
		t.Fatal("a map was made that is larger than the machine's memory")
	}
	var f *probe.FeatureError
	if !errors.Is(err, probe.ErrUnavailable) || !errors.As(err, &f) || !strings.Contains(f.Missing, "memory") || !strings.Contains(f.Detail, "evidences") || !strings.Contains(f.Hint, "memory limit") {
		t.Errorf("%v, %+v", err, f)
	}
}
