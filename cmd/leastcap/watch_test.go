package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
	"github.com/leastcap/leastcap/watch"
)

// stream is a leastcap watch -o json under way.
type stream struct {
	*testing.T
	cmd    *exec.Cmd
	events chan watch.Event
	stderr safeBuffer
}

// safeBuffer is written to while it is read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newStream(t *testing.T, args ...string) *stream {
	t.Helper()
	s := &stream{T: t, events: make(chan watch.Event, 1000)}
	s.cmd = exec.Command(testenv.Leastcap(t), append([]string{"watch", "-o", "json"}, args...)...)
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e watch.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("%v: %s", err, lines.Text())
			}
			s.events <- e
		}
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

// expect waits for an event of a subject, "use chown", and gives those before it.
func (s *stream) expect(label, what string) watch.Event {
	s.Helper()
	var before []string
	for limit := time.After(time.Minute); ; {
		select {
		case e, ok := <-s.events:
			if !ok {
				s.Fatalf("%s %s: the stream ended; before: %q\n%s", label, what, before, &s.stderr)
			}
			text := e.Event
			if e.Capability != nil {
				text += " " + e.Capability.String()
			}
			if e.Subject != nil && e.Subject.Label() == label && text == what {
				return e
			}
			before = append(before, text)
		case <-limit:
			s.Fatalf("%s %s: did not come; before: %q\n%s", label, what, before, &s.stderr)
		}
	}
}

func (s *stream) end(sig syscall.Signal) int {
	s.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.Fatal(err)
	}
	for range s.events { // to the end
	}
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

func runDocker(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
}

func profileOf(t *testing.T, file string) *usage.Profile {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	p, err := usage.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestWatchRestarts: a container that runs already, that is restarted, that is made anew
// under its name; and a leastcap that is killed, begins again and goes on with the profile.
func TestWatchRestarts(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	name := fmt.Sprintf("leastcap-test-watch-%d", os.Getpid())
	run := func() { runDocker(t, "run", "-d", "--name", name, "leastcap-test/tiny", "sleep", "600") }
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", name).Run() })
	dir := t.TempDir()
	file := filepath.Join(dir, name+".json")
	run()

	s := newStream(t, "--profile", dir, name)
	if e := s.expect(name, "begin"); !e.Running || e.Subject.Image != "leastcap-test/tiny" || e.Subject.Engine != "docker" || e.Subject.Granted == nil || *e.Subject.Granted != caps.Set(0xa80425fb) {
		t.Errorf("begin: %+v, %+v", e, e.Subject)
	}
	runDocker(t, "exec", name, "chown", "33", "/tmp")
	if e := s.expect(name, "use chown"); e.How != "check" || e.Check == nil || e.Check.Path != "/tmp" {
		t.Errorf("use: %+v", e)
	}
	waitFor(t, "a profile without a start", func() bool {
		p := profileOf(t, file)
		return p != nil && p.Used.Has(caps.Chown) && !p.Complete && !p.Observed.StartSeen && p.Recommended == p.Baseline
	})
	runDocker(t, "restart", "-t", "0", name)
	s.expect(name, "end")
	if e := s.expect(name, "begin"); e.Running {
		t.Errorf("begin after a restart: %+v", e)
	}
	runDocker(t, "exec", name, "chmod", "700", "/tmp") // another's by now
	s.expect(name, "use fowner")
	want := caps.Of(caps.Chown, caps.Fowner)
	waitFor(t, "a profile with the start", func() bool {
		p := profileOf(t, file)
		return p != nil && p.Used == want && p.Observed.StartSeen && p.Recommended == want && !p.Proven
	})
	if code := s.end(syscall.SIGKILL); code != -1 {
		t.Errorf("killed: exit status %d", code)
	}

	s = newStream(t, "--profile", dir, name)
	s.expect(name, "begin")
	// Another container of that name and image is the same workload.
	runDocker(t, "rm", "-f", name)
	s.expect(name, "end")
	run()
	s.expect(name, "begin")
	runDocker(t, "exec", name, "mknod", "/tmp/null", "c", "1", "3")
	s.expect(name, "use mknod")
	if code := s.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("SIGTERM: exit status %d: %s", code, &s.stderr)
	}
	p := profileOf(t, file)
	if want = want.With(caps.Mknod); p == nil || p.Used != want || !p.Complete || p.Proven || p.Subject.ImageID == "" || p.Observed.Looks < 2 {
		t.Errorf("the profile at the end: %+v, %+v", p, p.Observed)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	hidden, herr := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || herr != nil || len(left) != 1 || len(hidden) != 0 {
		t.Errorf("files: %v %v", left, hidden)
	}
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

// TestWatchEverything: containers that come and go are each told apart, and what the
// engine does for them is not theirs.
func TestWatchEverything(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	s := newStream(t, "--for", "5m")
	waitFor(t, "it looks", func() bool { return strings.Contains(s.stderr.String(), "Ctrl-C ends") })
	name := fmt.Sprintf("leastcap-test-all-%d", os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", name).Run() })
	runDocker(t, "run", "--name", name, "leastcap-test/tiny", "chown", "33", "/tmp")
	if e := s.expect(name, "begin"); e.Running {
		t.Errorf("%+v", e)
	}
	s.expect(name, "use chown")
	if e := s.expect(name, "end"); e.Total.Used != caps.Of(caps.Chown) || !e.Total.StartSeen {
		t.Errorf("%+v", e.Total)
	}
	if code := s.end(syscall.SIGINT); code != exitOK {
		t.Errorf("exit status %d: %s", code, &s.stderr)
	}
}

// TestWatchUnitRestarts: of a unit that is asked for by its name all is seen after a restart, too,
// for which systemd makes its cgroup anew, and it is the same unit.
func TestWatchUnitRestarts(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	h, err := proc.FindHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	slice := filepath.Join(h.Mount, fmt.Sprintf("leastcaptest%d.slice", os.Getpid()))
	name := fmt.Sprintf("leastcap-test-%d.service", os.Getpid())
	dir := filepath.Join(slice, name)
	t.Cleanup(func() {
		waitFor(t, slice+" is removed", func() bool {
			_ = os.Remove(dir)
			return os.Remove(slice) == nil
		})
	})
	file := filepath.Join(t.TempDir(), "file")
	set(t, file, "")
	run := func(script string) *exec.Cmd {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", `echo $$ >"$0/cgroup.procs" && `+script, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	first := run("exec sleep 60")
	waitFor(t, "it runs", func() bool { pids, err := proc.Procs(dir); return err == nil && len(pids) > 0 })
	s := newStream(t, name)
	if e := s.expect(name, "begin"); !e.Running || e.Subject.Cgroup != "/"+filepath.Base(slice)+"/"+name {
		t.Errorf("%+v, %+v", e, e.Subject)
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	waitFor(t, "the cgroup is removed", func() bool { return os.Remove(dir) == nil })
	s.expect(name, "end")
	if err := run("exec chown 1 " + file).Wait(); err != nil {
		t.Fatal(err)
	}
	if e := s.expect(name, "begin"); e.Running || e.Subject.Cgroup != "/"+filepath.Base(slice)+"/"+name {
		t.Errorf("%+v, %+v", e, e.Subject)
	}
	s.expect(name, "use chown")
	if code := s.end(syscall.SIGINT); code != exitOK {
		t.Errorf("exit status %d: %s", code, &s.stderr)
	}
}

// TestWatchRenamed: docker rename changes a container's name, what was asked for by its old
// name stays, and so does the file of its profile.
func TestWatchRenamed(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	name := fmt.Sprintf("leastcap-test-renamed-%d", os.Getpid())
	out, err := exec.Command("docker", "run", "-d", "--name", name, "leastcap-test/tiny", "sleep", "600").Output()
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", id).Run() })
	names := newNamer(t.Context(), io.Discard)
	names.ask([]string{id}, true)
	l := &lookout{names: names, targets: []watch.Target{{Container: name}}, matched: make(map[string]bool)}
	subject := func() *watch.Tracked {
		s := watch.Tracked{Subject: watch.Subject{Kind: watch.Container, ID: id, Cgroup: "/docker/" + id}}
		if !l.wanted(s.Cgroup, &s.Subject) {
			t.Errorf("%s is not wanted", s.Name)
		}
		return &s
	}
	dir := t.TempDir()
	files := newProfileFiles(dir, "")
	before := subject()
	if before.Name != name {
		t.Fatalf("%+v", before)
	}
	if err := files.write(before, time.Now()); err != nil {
		t.Error(err)
	}
	runDocker(t, "rename", id, name+"-b")
	names.refresh([]string{id})
	waitFor(t, "the new name", func() bool { return subject().Name == name+"-b" })
	if err := files.write(subject(), time.Now()); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != name+".json" {
		t.Errorf("files: %v %v", left, err)
	}
}

// TestWatchRetires: of what ended long ago nothing is kept in memory but that there was one,
// and its profile is gone on with when it comes back.
func TestWatchRetires(t *testing.T) {
	dir := t.TempDir()
	names := newNamer(t.Context(), io.Discard)
	names.busy = true // no engine is asked
	w := &watching{watchFlags: &watchFlags{}, stderr: io.Discard, tracker: watch.NewTracker(watch.Of), steady: map[uint64]bool{},
		lookout:  &lookout{names: names, matched: map[string]bool{}},
		profiles: newProfileFiles(dir, "")}
	const n = 3
	place := func(i int) probe.Place {
		return probe.Place{ID: uint64(i), Path: "/docker/" + strings.Repeat(fmt.Sprint(i), 64), Launched: true}
	}
	look := func(i int, c caps.Cap) *watch.Tracked {
		p := place(i)
		s := watch.Of(p.Path)
		record := &usage.Record{Sets: map[usage.Phase]usage.Sets{usage.Steady: {Granted: caps.Of(c)}}}
		for _, suffix := range []string{"", watch.Gone} {
			w.tracker.Look(time.Now(), map[string]*probe.Group{s.Key() + suffix: {Places: []probe.Place{p}, Record: record}}, func(s *watch.Subject) bool {
				names.known[s.ID] = engine.Running{Engine: "docker", Name: fmt.Sprintf("c%d", i), Image: "x"}
				names.images[s.ID], names.asked[s.ID], w.matched[s.ID] = "sha256:1", true, true
				return names.complete(s)
			}, false)
		}
		return w.tracker.Get(s.Key())
	}
	var list []*watch.Tracked
	for i := range n {
		list = append(list, look(i, caps.Chown))
	}
	w.flush()
	if len(w.profiles.files) != n || len(w.tracker.Subjects()) != n {
		t.Fatalf("%v, %d", w.profiles.files, len(w.tracker.Subjects()))
	}
	w.retire(list[:2])
	for what, left := range map[string]int{
		"files": len(w.profiles.files), "their names": len(w.profiles.names), "known": len(names.known), "images": len(names.images),
		"asked": len(names.asked), "matched": len(w.matched), "subjects": len(w.tracker.Subjects()),
	} {
		if left != 1 {
			t.Errorf("%s: %d are left, want one", what, left)
		}
	}
	look(0, caps.Setgid)
	w.flush()
	if p := profileOf(t, filepath.Join(dir, "c0.json")); p == nil || p.Used != caps.Of(caps.Chown, caps.Setgid) || p.Observed.Looks != 2 {
		t.Errorf("%+v", p)
	}
	if w.retired != 2 {
		t.Errorf("retired %d", w.retired)
	}
}

// TestWatchNamesFile: a profile is not called by a container's id while its engine, which failed,
// is asked for the name.
func TestWatchNamesFile(t *testing.T) {
	dir := t.TempDir()
	names := newNamer(t.Context(), io.Discard)
	w := &watching{watchFlags: &watchFlags{}, stderr: io.Discard, tracker: watch.NewTracker(watch.Of), lookout: &lookout{names: names},
		profiles: newProfileFiles(dir, "")}
	id := strings.Repeat("1", 64)
	group := &probe.Group{Places: []probe.Place{{ID: 7, Path: "/docker/" + id, Launched: true}}, Record: &usage.Record{Sets: map[usage.Phase]usage.Sets{}}}
	w.tracker.Look(time.Now(), map[string]*probe.Group{"container:" + id: group}, func(*watch.Subject) bool { return true }, false)
	files := func() string {
		w.flush()
		list, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range list {
			list[i] = filepath.Base(f)
		}
		return strings.Join(list, " ")
	}
	names.pending[id] = true
	if got := files(); got != "" {
		t.Errorf("while it is asked: %s", got)
	}
	delete(names.pending, id)
	names.vain[id], names.asked[id] = 2, true
	if got := files(); got != "" {
		t.Errorf("while it is asked again: %s", got)
	}
	names.known[id] = engine.Running{Engine: "docker", Name: "web"}
	w.rename()
	if got := files(); got != "web.json" {
		t.Errorf("named: %s", got)
	}
	// At the end nothing is waited for.
	other := strings.Repeat("2", 64)
	group.Places[0] = probe.Place{ID: 8, Path: "/docker/" + other, Launched: true}
	w.tracker.Look(time.Now(), map[string]*probe.Group{"container:" + other: group}, func(*watch.Subject) bool { return true }, false)
	names.pending[other] = true
	names.end()
	if got := files(); got != other[:12]+".json web.json" {
		t.Errorf("at the end: %s", got)
	}
}

// TestWatchAnew: a container that is made anew under its name, again and again, has one
// profile, also at the end of the watch.
func TestWatchAnew(t *testing.T) {
	dir := t.TempDir()
	w := &watching{watchFlags: &watchFlags{}, stderr: io.Discard, tracker: watch.NewTracker(watch.Of), steady: map[uint64]bool{},
		lookout:  &lookout{names: newNamer(t.Context(), io.Discard), matched: map[string]bool{}},
		profiles: newProfileFiles(dir, "")}
	for i := range 3 {
		place := probe.Place{ID: uint64(i), Path: "/docker/" + strings.Repeat(fmt.Sprint(i), 64), Launched: true}
		s := watch.Of(place.Path)
		record := &usage.Record{Sets: map[usage.Phase]usage.Sets{usage.Steady: {Granted: caps.Of(caps.Cap(i))}}}
		for _, suffix := range []string{"", watch.Gone} {
			if suffix != "" && i == 2 {
				break // the last one runs yet
			}
			w.tracker.Look(time.Now(), map[string]*probe.Group{s.Key() + suffix: {Places: []probe.Place{place}, Record: record}}, func(s *watch.Subject) bool {
				s.Name, s.Image, s.ImageID = "web", "x", "sha256:1"
				return true
			}, false)
		}
		w.flush()
	}
	w.flushAll()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files: %v %v", left, err)
	}
	if p := profileOf(t, filepath.Join(dir, "web.json")); p == nil || p.Used != caps.Of(0, 1, 2) || p.Observed.Looks != 3 {
		t.Errorf("%+v", p)
	}
}

// TestWatchUnwritten: a profile that could not be written is tried again, also of what has
// ended meanwhile, and that it could not is said once.
func TestWatchUnwritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone") // as good as full
	var stderr strings.Builder
	w := &watching{watchFlags: &watchFlags{}, stderr: &stderr, tracker: watch.NewTracker(watch.Of), steady: map[uint64]bool{},
		lookout:  &lookout{names: newNamer(t.Context(), io.Discard), matched: map[string]bool{}},
		profiles: newProfileFiles(dir, "")}
	place := probe.Place{ID: 1, Path: "/docker/" + strings.Repeat("a", 64), Launched: true}
	s := watch.Of(place.Path)
	record := &usage.Record{Sets: map[usage.Phase]usage.Sets{usage.Steady: {Granted: caps.Of(caps.Chown)}}}
	for _, suffix := range []string{"", watch.Gone} {
		w.tracker.Look(time.Now(), map[string]*probe.Group{s.Key() + suffix: {Places: []probe.Place{place}, Record: record}}, func(s *watch.Subject) bool {
			s.Name, s.Image, s.ImageID = "web", "x", "sha256:1"
			return true
		}, false)
		w.flush()
	}
	if n := strings.Count(stderr.String(), "warning:"); n != 1 || !w.profiles.failed {
		t.Errorf("%d warnings, failed %v: %s", n, w.profiles.failed, &stderr)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.flushAll()
	if p := profileOf(t, filepath.Join(dir, "web.json")); p == nil || p.Used != caps.Of(caps.Chown) || w.profiles.failed {
		t.Errorf("at the end: %+v, failed %v", p, w.profiles.failed)
	}
	s2 := w.tracker.Get(s.Key())
	s2.Changed = true
	w.names.busy = true
	if w.retire([]*watch.Tracked{s2}); !w.profiles.lost {
		t.Error("what is forgotten before it was written is not lost")
	}
}

// TestWatchBlind: the exit status says that something was lost, also where that is of one
// container alone, of which a process left its cgroup.
func TestWatchBlind(t *testing.T) {
	w := &watching{tracker: watch.NewTracker(watch.Of)}
	key := "container:" + strings.Repeat("1", 64)
	group := &probe.Group{Places: []probe.Place{{ID: 7, Path: "/docker/" + strings.Repeat("1", 64)}}, Record: &usage.Record{Sets: map[usage.Phase]usage.Sets{}}}
	look := func() {
		w.tracker.Look(time.Now(), map[string]*probe.Group{key: group}, func(*watch.Subject) bool { return true }, false)
	}
	if look(); w.blind(nil) || !w.blind(map[string]uint64{"sets": 1}) {
		t.Error("nothing was lost of it")
	}
	group.Record.Lost = map[string]uint64{"moved": 1}
	if look(); !w.blind(nil) {
		t.Error("a process left its cgroup")
	}
}

// TestWatchUnnamed: one of whom it is not known yet whether anybody asked for it is not
// forgotten when it ends, and one that nobody asked for is.
func TestWatchUnnamed(t *testing.T) {
	names := newNamer(t.Context(), io.Discard)
	names.busy = true // no engine is asked
	l := &lookout{names: names, targets: []watch.Target{{Container: "web"}}, matched: make(map[string]bool)}
	id := strings.Repeat("a", 64)
	place := probe.Place{ID: 7, Path: "/docker/" + id, Dead: true}
	if name := l.group(place); name != "" || len(l.gone) != 0 || l.unnamed != 1 {
		t.Errorf("before its engine answers: %q, %v, %v", name, l.gone, l.unnamed)
	}
	for engineSays, want := range map[string]string{"web": "container:" + id + watch.Gone, "db": ""} {
		names.known[id], names.asked[id] = engine.Running{Engine: "docker", Name: engineSays}, true
		clear(l.matched)
		l.begin()
		if name := l.group(place); name != want || len(l.gone) != 1 || l.unnamed != 0 || len(l.ended) != 1 {
			t.Errorf("%s: %q, %v, %v, %v", engineSays, name, l.gone, l.unnamed, l.ended)
		}
	}
	// While engines do not answer, not more wait than there is room for.
	l.begin()
	for i := range mostUnnamed + 5 {
		l.group(probe.Place{ID: uint64(i), Path: fmt.Sprintf("/docker/%064x", i), Dead: true})
	}
	if l.unnamed != mostUnnamed || len(l.gone) != 5 {
		t.Errorf("%d wait, %d are gone", l.unnamed, len(l.gone))
	}
}

// TestWatchLost: what was lost of one alone is said of that one.
func TestWatchLost(t *testing.T) {
	w := &watching{watchFlags: &watchFlags{}}
	rows := w.totals(time.Now(), []*watch.Tracked{
		{Subject: watch.Of("/docker"), Record: &usage.Record{Lost: map[string]uint64{"moved": 1, "sets": 2}}},
		{Subject: watch.Of("/lxc"), Record: &usage.Record{}},
	}, map[string]uint64{"sets": 3})
	for i, want := range []string{
		"1 process left its cgroup and was not seen from then on, lost 3 of the sets: something may be missing here",
		"lost 3 of the sets: something may be missing here",
	} {
		if rows[i].Incomplete != want {
			t.Errorf("%s: %q", rows[i].Label, rows[i].Incomplete)
		}
	}
}
