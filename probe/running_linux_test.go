package probe_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/usage"
)

// runningProbe is one that looks at what runs already.
func runningProbe(t testing.TB, o probe.Options) *probe.Probe {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	o.Running, o.Hook = true, os.Getenv(testenv.HookVar)
	p, err := probe.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// groupOf surveys one cgroup, with those below it.
func groupOf(t testing.TB, p *probe.Probe, path string) *probe.Group {
	t.Helper()
	groups, err := p.Survey(func(place probe.Place) string {
		if place.Path == path || strings.HasPrefix(place.Path, path+"/") {
			return "it"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	if groups["it"] == nil {
		t.Fatalf("%s is not known", path)
	}
	return groups["it"]
}

// TestAdopt: what runs before the probe is opened is the workload at once, of a container
// and of the host's own.
func TestAdopt(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		name, dir string
		host      bool
	}{{"host", "", true}, {"container", id, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScope(t, theProbe(t))
			dir := s.dir
			if c.dir != "" {
				dir = filepath.Join(s.dir, c.dir)
				if err := unix.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			s.dir = dir
			w := s.steps(bounding(t), "say", "up", ",", "wait", ",", "setgid", "33", ",", "fork", "{", "setuid", "33", "}")
			w.hear()

			p := runningProbe(t, probe.Options{})
			path := strings.TrimPrefix(dir, p.Hierarchy().Mount)
			if err := p.Adopt(path); err != nil {
				t.Fatal(err)
			}
			g := groupOf(t, p, path)
			if len(g.Places) != 1 || g.Places[0].Host != c.host || !g.Places[0].Adopted || g.Places[0].Launched || g.Places[0].Path != path {
				t.Errorf("places: %+v", g.Places)
			}
			news, err := p.News()
			if err != nil {
				t.Fatal(err)
			}
			w.tell()
			w.ends()
			r := groupOf(t, p, path).Record
			wantSet(t, "granted", r.Sets[usage.Steady].Granted, caps.Of(caps.Setgid, caps.Setuid))
			e := evidence(t, r, caps.Setgid, usage.Granted, "setgid")
			if want := program(t, "workload"); e.Process.Exe != want || e.Phase != usage.Steady {
				t.Errorf("%+v: want the program %s", e, want)
			}
			if after, err := p.News(); err != nil || after <= news {
				t.Errorf("news: %d, then %d, %v", news, after, err)
			}
		})
	}
}

// TestAdoptGone: a cgroup that is removed before it is adopted, as that of a container which its
// engine restarts again and again, is seen when it comes back.
func TestAdoptGone(t *testing.T) {
	s := newScope(t, theProbe(t))
	p := runningProbe(t, probe.Options{})
	s.dir = filepath.Join(s.dir, "it")
	path := strings.TrimPrefix(s.dir, p.Hierarchy().Mount)
	if err := p.Adopt(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.steps(bounding(t), "setgid", "33").ends()
	g := groupOf(t, p, path)
	if len(g.Places) != 1 || !g.Places[0].Host || g.Places[0].Adopted || g.Places[0].Path != path {
		t.Errorf("places: %+v", g.Places)
	}
	wantIn(t, "granted", g.Record.All().Granted, caps.Setgid)
}

// TestRuntimeComes: a process of the host's that was seen before, and comes into a container's
// cgroup, is the runtime, also between its arrival there and the tracepoint that tells of it.
func TestRuntimeComes(t *testing.T) {
	const moves = 100
	s := newScope(t, theProbe(t))
	w := s.steps(bounding(t), "say", "up", ",", "repeat", "1000000000", "setgid", "0")
	w.hear()
	p := runningProbe(t, probe.Options{})
	path := strings.TrimPrefix(s.dir, p.Hierarchy().Mount)
	if err := p.Adopt(path); err != nil {
		t.Fatal(err)
	}
	apart(t, w.cmd.Process.Pid)
	move := func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(w.cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range moves {
		dir := filepath.Join(s.dir, fmt.Sprintf("%064x", i))
		if err := unix.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		move(dir)
		move(s.dir)
	}
	wantIn(t, "the host's", groupOf(t, p, path).Record.All().Granted, caps.Setgid)
	var places []string
	groups, err := p.Survey(func(place probe.Place) string {
		if !strings.HasPrefix(place.Path, path+"/") {
			return ""
		}
		return place.Path
	})
	if err != nil || len(groups) != moves {
		t.Fatalf("%d containers, %v", len(groups), err)
	}
	for place, g := range groups {
		if !g.Record.All().Granted.Empty() {
			places = append(places, place)
		}
	}
	if len(places) > 0 {
		t.Errorf("in %d of %d containers what the runtime uses is theirs", len(places), moves)
	}
}

// containerIn makes a cgroup with a container's name in another.
func containerIn(t testing.TB, s *scope, digit string) *scope {
	t.Helper()
	dir := filepath.Join(s.dir, strings.Repeat(digit, 64))
	if err := unix.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &scope{TB: t, p: s.p, dir: dir}
}

// TestChurn: ten thousand processes that live for a millisecond are each counted where
// they are, and none leaves a mark behind that would be another's.
func TestChurn(t *testing.T) {
	const n = 2500
	p := runningProbe(t, probe.Options{})
	if err := p.Adopt("/"); err != nil {
		t.Fatal(err)
	}
	s := newScope(t, theProbe(t))
	a, b := containerIn(t, s, "a"), containerIn(t, s, "b")
	count := strconv.Itoa(n)
	workloads := []*task{
		a.steps(bounding(t), "churn", "setgid", count), b.steps(bounding(t), "churn", "setuid", count),
		a.steps(bounding(t), "churn", "setgid", count), b.steps(bounding(t), "churn", "setuid", count),
	}
	for _, w := range workloads {
		w.ends()
	}
	for _, c := range []struct {
		*scope
		cap     caps.Cap
		syscall string
	}{{a, caps.Setgid, "setgid"}, {b, caps.Setuid, "setuid"}} {
		g := groupOf(t, p, strings.TrimPrefix(c.dir, p.Hierarchy().Mount))
		wantSet(t, "granted", g.Record.All().Granted, caps.Of(c.cap))
		wantSet(t, "denied", g.Record.All().Denied, 0)
		if e := evidence(t, g.Record, c.cap, usage.Granted, c.syscall); e.Count != 2*n {
			t.Errorf("%d checks, want %d", e.Count, 2*n)
		}
		if g.Places[0].Host || g.Places[0].Adopted || !g.Places[0].Launched {
			t.Errorf("%+v", g.Places[0])
		}
	}
	if lost, err := p.Lost(); err != nil || len(lost) > 0 {
		t.Errorf("lost %v, %v", lost, err)
	}
	// Threads that end between the two lists are no leftovers.
	left := func() []int {
		tids, err := p.Marked()
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(tids, func(tid int) bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d", tid))
			return err == nil
		})
	}
	until(t, "no mark is left of what has ended", func() bool { return len(left()) == 0 })
}

// TestRuntimeOfHost: where the engine itself is looked at too, what its runtime does for a
// container is still not the container's.
func TestRuntimeOfHost(t *testing.T) {
	testenv.Need(t, testenv.Docker, testenv.Image(tiny))
	p := runningProbe(t, probe.Options{})
	if err := p.Adopt("/"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(program(t, "exit"))
	id := docker(t, "run", "-d", "-v", dir+":/w:ro", tiny, "sleep", "1000")
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", id).Run() })
	groups := func() *probe.Group {
		all, err := p.Survey(func(place probe.Place) string {
			if strings.Contains(place.Path, id) {
				return "it"
			}
			return ""
		})
		if err != nil || all["it"] == nil {
			t.Fatalf("%v, %v", all, err)
		}
		return all["it"]
	}
	g := groups()
	wantSet(t, "granted by the start", g.Record.All().Granted, 0)
	wantIn(t, "a plain trace", g.Record.All().PlainAll, caps.Setpcap, caps.SysAdmin)
	if g.Places[0].Host || !g.Places[0].Launched {
		t.Errorf("%+v", g.Places[0])
	}
	docker(t, "exec", id, "chown", "33", "/tmp")
	docker(t, "exec", "--user", "33", id, "/w/exit")
	r := groups().Record
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Chown))
	wantSet(t, "denied", r.All().Denied, 0)
	if t.Failed() {
		t.Log(asJSON(t, r.Checks))
	}
}

// TestRefusals: calls that were refused are kept with what they were asked for, those
// that seccomp stopped are told apart, and what was not refused is not there.
func TestRefusals(t *testing.T) {
	p := runningProbe(t, probe.Options{Refusals: true})
	s := newScope(t, theProbe(t))
	c := containerIn(t, s, "c")
	inside := foreignDir(t)
	mine := file(t, filepath.Join(tempDir(t), "mine"), 0, 0o600)
	set := caps.Of(caps.Setuid, caps.Setgid)
	c.steps(set, "seccomp", ",", "setgid", "33", ",", "chown", mine, "1", "1", ",", "chown", mine, "1", "1", ",",
		"open", inside, ",", "open", "/absent", ",", "capset", "3", "0x1000", "0x1000", "0", ",", "access", inside).
		ends("seccomp EACCES", "chown EPERM", "chown EPERM", "open EACCES", "open ENOENT", "capset EPERM", "access EACCES")
	list, err := p.Refusals(func(place probe.Place) string {
		if strings.Contains(place.Path, strings.Repeat("c", 64)) {
			return "it"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprintf("%s %s %s denied=%v granted=%v asked=%v ×%d %s", r.Syscall, r.Path, r.Errno, r.Denied, r.Granted, r.Asked, r.Count, r.Begun))
		if r.Group != "it" || r.Process.Exe != program(t, "workload") || r.State.Bounding != set || r.Process.UID != 0 || r.UserNamespace {
			t.Errorf("%+v", r)
		}
	}
	dac := caps.Of(caps.DacOverride, caps.DacReadSearch)
	want := []string{
		fmt.Sprintf("prctl  EACCES denied=%v granted=%v asked=%v ×1 yes", caps.Of(caps.SysAdmin), caps.Set(0), caps.Set(0)),
		fmt.Sprintf("fchownat %s EPERM denied=%v granted=%v asked=%v ×2 yes", mine, caps.Of(caps.Chown), caps.Set(0), caps.Set(0)),
		fmt.Sprintf("openat %s EACCES denied=%v granted=%v asked=%v ×1 yes", inside, dac, caps.Set(0), caps.Set(0)),
		fmt.Sprintf("capset  EPERM denied=%v granted=%v asked=%v ×1 yes", caps.Set(0), caps.Set(0), caps.Of(caps.NetAdmin)),
		fmt.Sprintf("faccessat %s EACCES denied=%v granted=%v asked=%v ×1 yes", inside, dac, caps.Set(0), caps.Set(0)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedInside: with a user namespace of its own making a workload is refused for want of
// a capability there, or of one that nobody can have there. Neither is a need of its own.
func TestRefusedInside(t *testing.T) {
	p := runningProbe(t, probe.Options{Refusals: true})
	s := newScope(t, theProbe(t))
	c := containerIn(t, s, "d")
	c.steps(bounding(t), "unshare-user", ",", "settimeofday", ",", "capset", "3", "0", "0", "0", ",", "sethostname", "x").
		ends("settimeofday EPERM", "sethostname EPERM")
	ours := func(place probe.Place) string {
		if strings.Contains(place.Path, strings.Repeat("d", 64)) {
			return "it"
		}
		return ""
	}
	list, err := p.Refusals(ours)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprintf("%s denied=%v beyond=%v inside=%v", r.Syscall, r.Denied, r.Beyond, r.UserNamespace))
	}
	want := []string{
		fmt.Sprintf("settimeofday denied=%v beyond=%v inside=true", caps.Set(0), caps.Of(caps.SysTime)),
		fmt.Sprintf("sethostname denied=%v beyond=%v inside=true", caps.Of(caps.SysAdmin), caps.Set(0)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	groups, err := p.Survey(ours)
	if err != nil {
		t.Fatal(err)
	}
	if all := groups["it"].Record.All(); !all.Denied.Intersect(caps.Of(caps.SysAdmin, caps.SysTime)).Empty() || all.Beyond.Has(caps.SysTime) {
		t.Errorf("needs: %+v", all)
	}
}

// TestRefusedBySeccomp: Docker's default profile stops mount(2) before the kernel asks. Where
// there is no room to know that a thread's calls begin, it is not known.
func TestRefusedBySeccomp(t *testing.T) {
	testenv.Need(t, testenv.Docker, testenv.Image(tiny))
	p := runningProbe(t, probe.Options{Refusals: true})
	full := runningProbe(t, probe.Options{Refusals: true, Limits: map[string]uint32{"entered": 1}})
	dir := filepath.Dir(program(t, "workload"))
	made := func(args ...string) string {
		t.Helper()
		id := docker(t, append([]string{"create", "-v", dir + ":/w:ro"}, args...)...)
		t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", id).Run() })
		return id
	}
	docker(t, "start", made(tiny, "sleep", "1000")) // takes the only place, unless another did
	for _, c := range []struct {
		name       string
		args       []string
		begun, few usage.Begun
		set        caps.Set
	}{
		{"default", nil, usage.BegunNo, usage.BegunUnknown, 0},
		{"unconfined", []string{"--security-opt", "seccomp=unconfined"}, usage.BegunYes, usage.BegunYes, caps.Of(caps.SysAdmin)},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := made(slices.Concat(c.args, []string{tiny, "/w/workload", "getpid", ",", "mount-tmpfs", "/tmp"})...)
			docker(t, "start", "-a", id)
			for p, begun := range map[*probe.Probe]usage.Begun{p: c.begun, full: c.few} {
				list, err := p.Refusals(func(place probe.Place) string {
					if strings.Contains(place.Path, id) {
						return "it"
					}
					return ""
				})
				if err != nil {
					t.Fatal(err)
				}
				n := slices.IndexFunc(list, func(r usage.Refusal) bool { return r.Syscall == "mount" })
				if n < 0 {
					t.Fatalf("the mount is not there: %+v", list)
				}
				if r := list[n]; r.Begun != begun || r.Denied != c.set || r.Errno != "EPERM" || r.Path != "/tmp" {
					t.Errorf("%+v; want begun %v", r, begun)
				}
			}
		})
	}
}

// TestRefusalsLost: a map that is full is said to be.
func TestRefusalsLost(t *testing.T) {
	p := runningProbe(t, probe.Options{Refusals: true, Limits: map[string]uint32{"refusals": 1}})
	s := newScope(t, theProbe(t))
	c := containerIn(t, s, "d")
	mine := file(t, filepath.Join(tempDir(t), "mine"), 0, 0o600)
	c.steps(0, "chown", mine, "1", "1", ",", "setgid", "33", ",", "setuid", "33").ends("chown EPERM", "setgid EPERM", "setuid EPERM")
	lost, err := p.Lost()
	if err != nil || lost["refusals"] < 2 {
		t.Errorf("lost %v, %v; want two refusals at least", lost, err)
	}
}

// TestRefusalsForgotten: what a cgroup that is gone was refused makes room for others'.
func TestRefusalsForgotten(t *testing.T) {
	p := runningProbe(t, probe.Options{Refusals: true, Limits: map[string]uint32{"refusals": 30}})
	s := newScope(t, theProbe(t))
	mine := file(t, filepath.Join(tempDir(t), "mine"), 0, 0o600)
	for digit := range strings.SplitSeq("0123456789abcdef", "") { // 48 at least
		c := containerIn(t, s, digit)
		c.steps(0, "chown", mine, "1", "1", ",", "setgid", "33", ",", "setuid", "33").ends("chown EPERM", "setgid EPERM", "setuid EPERM")
		var id uint64
		list, err := p.Refusals(func(place probe.Place) string {
			if !strings.Contains(place.Path, strings.Repeat(digit, 64)) {
				return ""
			}
			id = place.ID
			return "it"
		})
		if err != nil || len(list) < 3 {
			t.Fatalf("%s: %v, %+v", digit, err, list)
		}
		p.Forget(id)
	}
	if lost, err := p.Lost(); err != nil || len(lost) > 0 {
		t.Errorf("lost %v, %v", lost, err)
	}
}
