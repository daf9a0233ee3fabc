//go:build linux

package stress

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

func TestChecks(t *testing.T) { checks(t, 32, 40_000) }

// BenchmarkChecks is a million checks as fast as they come.
func BenchmarkChecks(b *testing.B) {
	for b.Loop() {
		checks(b, 64, 1_000_000)
	}
}

func TestContainers(t *testing.T) { containers(t, 130) }

func BenchmarkContainers(b *testing.B) {
	for b.Loop() {
		containers(b, 2000)
	}
}

func TestStarts(t *testing.T) { starts(t, 1000) }

func BenchmarkStarts(b *testing.B) {
	for b.Loop() {
		starts(b, 50_000)
	}
}

// The probe's own tests fill the others, with less.
func TestPressure(t *testing.T) { pressure(t, 70, "sums", "evidences") }

func BenchmarkPressure(b *testing.B) {
	for b.Loop() {
		pressure(b, 1000, "scopes", "sums", "evidences", "exes", "identities", "tasks", "inflight")
	}
}

// BenchmarkTricks are the longest chains of processes and of executions.
func BenchmarkTricks(b *testing.B) {
	for b.Loop() {
		m := newMachine(b, probe.Options{Running: true})
		execs, forks := m.container("a"), m.container("b")
		m.workload("contain", execs, "comm", "runc:[2:INIT]", ",", "again", "10000", "setgid", "33")
		m.workload("contain", forks, "deep", "300", "setuid", "0")
		m.wait()
		groups := m.survey()
		for dir, c := range map[string]caps.Cap{execs: caps.Setgid, forks: caps.Setuid} {
			r := m.record(groups, dir)
			if got := r.All(); got.Granted != caps.Of(c) || got.Denied != 0 || len(r.Checks) != 1 || r.Checks[0].Count != 1 {
				b.Errorf("granted %v, denied %v, want %v once: %+v", got.Granted, got.Denied, c, r.Checks)
			}
		}
		m.nothingLost()
	}
}

// checks has many threads in two containers make n checks, granted in the one and denied in
// the other, of which every one is counted where it is.
func checks(t testing.TB, threads, n int) {
	m := newMachine(t, probe.Options{Running: true})
	a, b := m.container("a"), m.container("b")
	half := strconv.Itoa(n / 2)
	began := time.Now()
	m.workload("contain", a, "flood", "setgid", strconv.Itoa(threads), half)
	m.workload("contain", b, "capset", "3", "0", "0", "0", ",", "flood", "settimeofday", strconv.Itoa(threads), half)
	m.wait()
	report(t, "checks/s", float64(n)/time.Since(began).Seconds())
	groups := m.survey()
	for _, c := range []struct {
		dir, syscall    string
		granted, denied caps.Set
	}{{a, "setgid", caps.Of(caps.Setgid), 0}, {b, "settimeofday", 0, caps.Of(caps.SysTime)}} {
		r := m.record(groups, c.dir)
		if got := r.All(); got.Granted != c.granted || got.Denied != c.denied {
			t.Errorf("%s: granted %v, denied %v", c.syscall, got.Granted, got.Denied)
		}
		var sum uint64
		for _, k := range r.Checks {
			if k.Syscall == c.syscall {
				sum += k.Count
			}
		}
		if want := uint64(n / 2 / threads * threads); sum != want {
			t.Errorf("%s: %d checks counted, want %d", c.syscall, sum, want)
		}
	}
	m.nothingLost()
}

// containers makes many, each with needs of its own.
func containers(t testing.TB, n int) {
	m := newMachine(t, probe.Options{Running: true})
	began := time.Now()
	m.workload("containers", m.dir, "0", strconv.Itoa(n/2))
	m.workload("containers", m.dir, strconv.Itoa(n/2), strconv.Itoa(n))
	m.wait()
	report(t, "containers/s", float64(n)/time.Since(began).Seconds())
	began = time.Now()
	groups := m.survey()
	report(t, "ms/survey", float64(time.Since(began).Microseconds())/1000)
	for i := range n {
		r := m.record(groups, m.number(i))
		granted, denied := needs(i)
		if got := r.All(); got.Granted != granted || got.Denied != denied || !r.Complete() {
			t.Errorf("container %d: granted %v, want %v; denied %v, want %v; lost %v", i, got.Granted, granted, got.Denied, denied, r.Lost)
		}
	}
	m.nothingLost()
}

// starts runs many short programs in two containers; each makes a check.
func starts(t testing.TB, n int) {
	m := newMachine(t, probe.Options{Running: true})
	a, b := m.container("a"), m.container("b")
	began := time.Now()
	m.workload("contain", a, "starts", strconv.Itoa(n/2), m.program, "setgid", "0")
	m.workload("contain", b, "starts", strconv.Itoa(n/2), m.program, "setuid", "0")
	m.wait()
	report(t, "starts/s", float64(n)/time.Since(began).Seconds())
	groups := m.survey()
	for dir, c := range map[string]caps.Cap{a: caps.Setgid, b: caps.Setuid} {
		r := m.record(groups, dir)
		if got := r.All(); got.Granted != caps.Of(c) || got.Denied != 0 {
			t.Errorf("granted %v, denied %v, want %v", got.Granted, got.Denied, c)
		}
		if len(r.Checks) != 1 || r.Checks[0].Count != uint64(n/2) {
			t.Errorf("%d checks counted, want one kind %d times: %+v", len(r.Checks), n/2, r.Checks)
		}
		if len(r.Identities) != 1 {
			t.Errorf("identities: %v", r.Identities)
		}
	}
	m.nothingLost()
}

// room is how many entries a map has under pressure.
const room = 16

// pressure gives each of the maps in turn too little room for n containers. What a record has is
// right all the same, and it is whole or says what is lost.
func pressure(t testing.TB, n int, maps ...string) {
	for _, c := range []struct {
		mapName, lost string
		atLeast       int // is lost
	}{
		{"scopes", "scopes", n - room},
		{"sums", "sets", n - room},
		{"evidences", "evidence", n - room},
		{"exes", "executables", n - room},
		{"identities", "identities", n - room},
		{"tasks", "tasks", 1},
		{"inflight", "", 0}, // a thread's alone, and only until its call returns
	} {
		if !slices.Contains(maps, c.mapName) {
			continue
		}
		m := newMachine(t, probe.Options{Limits: map[string]uint32{c.mapName: room}})
		m.workload("containers", m.dir, "0", strconv.Itoa(n/2))
		m.workload("containers", m.dir, strconv.Itoa(n/2), strconv.Itoa(n))
		if c.mapName == "tasks" { // a mark goes with its process: the others are too few at a time
			m.workload("contain", m.container("a"), "deep", strconv.Itoa(2*room), "setgid", "0")
		}
		m.wait()
		// Without a look at the host these are all scopes that there are.
		groups := m.survey()
		exact, seen := 0, 0
		for i := range n {
			g := groups[filepath.Base(m.number(i))]
			if g == nil {
				continue
			}
			seen++
			granted, denied := needs(i)
			switch got := g.Record.All(); {
			case got.Granted == granted && got.Denied == denied:
				exact++
			case g.Record.Complete():
				t.Errorf("%s: container %d: granted %v, want %v; denied %v, want %v, and it says that it is complete", c.mapName, i, got.Granted, granted, got.Denied, denied)
			case !got.Granted.SubsetOf(granted) || !got.Denied.SubsetOf(denied):
				t.Errorf("%s: container %d has what it never used: granted %v, denied %v", c.mapName, i, got.Granted, got.Denied)
			}
		}
		lost, err := m.p.Lost()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("room for %d %s: %d of %d containers seen, %d exact, lost %v", room, c.mapName, seen, n, exact, lost)
		if c.lost == "" {
			if len(lost) > 0 || exact != n {
				t.Errorf("%s: lost %v, %d of %d exact", c.mapName, lost, exact, n)
			}
			continue
		}
		if lost[c.lost] < uint64(c.atLeast) || len(lost) != 1 {
			t.Errorf("%s: lost %v, want at least %d %s", c.mapName, lost, c.atLeast, c.lost)
		}
		// Every set fits where only what explains it does not.
		if whole := !slices.Contains([]string{"scopes", "sums", "tasks"}, c.mapName); whole && exact != n {
			t.Errorf("%s: only %d of %d containers are exact", c.mapName, exact, n)
		}
		m.close()
	}
}

// needs are a container's, as need() in workload.c has them.
func needs(i int) (granted, denied caps.Set) {
	for bit, c := range []caps.Cap{caps.Setgid, caps.Setuid, caps.SysChroot, caps.SysAdmin, caps.SysTime} {
		if i>>bit&1 != 0 {
			granted = granted.With(c)
		}
	}
	if i&32 != 0 {
		denied = caps.Of(caps.SysNice)
	}
	return granted, denied
}

// machine is a probe, and a cgroup for what it looks at.
type machine struct {
	testing.TB
	p            *probe.Probe
	dir, program string
	close        func()

	running []*exec.Cmd
	output  []*bytes.Buffer
}

var number int // of machines

func newMachine(t testing.TB, o probe.Options) *machine {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	m := &machine{TB: t, program: workloadProgram(t)}
	var err error
	if m.p, err = probe.Open(o); err != nil {
		t.Fatal(err)
	}
	if o.Running {
		if err := m.p.Adopt("/"); err != nil {
			t.Fatal(err)
		}
	}
	number++
	m.dir = filepath.Join(m.p.Hierarchy().Mount, fmt.Sprintf("stress-%d-%d", os.Getpid(), number))
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m.close = sync.OnceFunc(func() {
		m.wait()
		m.p.Close()
		dirs, _ := filepath.Glob(m.dir + "/*/")
		for _, dir := range append(dirs, m.dir) {
			if err := proc.RemoveCgroup(strings.TrimSuffix(dir, "/")); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(m.close)
	return m
}

// container makes a cgroup with a container's name.
func (m *machine) container(digit string) string {
	m.Helper()
	dir := filepath.Join(m.dir, strings.Repeat(digit, 64))
	if err := os.Mkdir(dir, 0o755); err != nil {
		m.Fatal(err)
	}
	return dir
}

// number is the cgroup of one that workload.c makes.
func (m *machine) number(i int) string { return filepath.Join(m.dir, fmt.Sprintf("%064x", i)) }

// workload starts one of workload.c's steps.
func (m *machine) workload(words ...string) {
	m.Helper()
	var out bytes.Buffer
	cmd := exec.Command(m.program, words...)
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.running, m.output = append(m.running, cmd), append(m.output, &out)
}

// wait is until all of them ended, and well.
func (m *machine) wait() {
	m.Helper()
	for i, cmd := range m.running {
		if err := cmd.Wait(); err != nil || m.output[i].Len() > 0 {
			m.Errorf("%v: %v, %s", cmd.Args, err, m.output[i])
		}
	}
	m.running, m.output = nil, nil
}

// survey gives what was seen of each container, by its cgroup's name.
func (m *machine) survey() map[string]*probe.Group {
	m.Helper()
	groups, err := m.p.Survey(func(place probe.Place) string {
		if name := filepath.Base(place.Path); len(name) == 64 && !place.Host {
			return name
		}
		return ""
	})
	if err != nil {
		m.Fatal(err)
	}
	return groups
}

func (m *machine) record(groups map[string]*probe.Group, dir string) *usage.Record {
	m.Helper()
	g := groups[filepath.Base(dir)]
	if g == nil {
		m.Fatalf("%s was not seen; %d others were", filepath.Base(dir), len(groups))
	}
	return g.Record
}

// nothingLost holds that, and says how much memory it took.
func (m *machine) nothingLost() {
	m.Helper()
	lost, err := m.p.Lost()
	if err != nil || len(lost) > 0 {
		m.Errorf("lost %v, %v", lost, err)
	}
	bytes, err := m.p.Memory()
	if err != nil {
		m.Fatal(err)
	}
	report(m.TB, "MiB/maps", float64(bytes)/(1<<20))
}

// report gives a number to a benchmark; a test has none.
func report(t testing.TB, unit string, n float64) {
	if b, ok := t.(*testing.B); ok {
		b.ReportMetric(n, unit)
	}
}

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "leastcap-stress-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "workload")
	msg, err := exec.Command("gcc", "-O1", "-static", "-pthread", "-o", out, "../../probe/testdata/workload.c").CombinedOutput()
	if err != nil {
		os.RemoveAll(dir)
		err = fmt.Errorf("gcc: %w\n%s", err, msg)
	}
	return out, err
})

func workloadProgram(t testing.TB) string {
	t.Helper()
	if path, ok := testenv.Prebuilt("workload"); ok {
		return path
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := built(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}
