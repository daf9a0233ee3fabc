package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/watch"
)

// fakeEngine is a docker that calls its containers by what the files names/ID say, and whose
// daemon fails while there is a file busy. It writes what it was asked into asked. No other
// engine is installed beside it.
func fakeEngine(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "names"), 0o755); err != nil {
		t.Fatal(err)
	}
	const script = `#!/bin/sh
cd %q && echo "$*" >>asked
[ "$3" != --format ] || exit 0
if [ -e busy ]; then echo "Error response from daemon: the store is locked" >&2; exit 1; fi
shift 2; comma=; echo '['
for id; do
	if [ -e "names/$id" ]; then
		echo "$comma"'{"Id":"'"$id"'","Name":"/'"$(cat "names/$id")"'","Config":{"Image":"x"},"HostConfig":{"CapAdd":[]}}'; comma=,
	else
		echo "Error response from daemon: No such container: $id" >&2
	fi
done
echo ']'`
	for name, text := range map[string]string{"docker": fmt.Sprintf(script, dir), "podman": "#!/bin/sh\nexit 1", "nerdctl": "#!/bin/sh\nexit 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

// set makes a file of a fake engine's.
func set(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// inspections is how often a fake engine was asked about a container's name.
func inspections(dir, id string) (n int) {
	data, _ := os.ReadFile(filepath.Join(dir, "asked"))
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "container inspect "+id) {
			n++
		}
	}
	return n
}

// TestNamesAskedAgain: an engine that fails is asked again, not for ever, and it is said when
// a container stays without a name.
func TestNamesAskedAgain(t *testing.T) {
	was := pauses
	t.Cleanup(func() { pauses = was })
	dir := fakeEngine(t)
	busy, id := filepath.Join(dir, "busy"), strings.Repeat("1", 64)
	set(t, busy, "")
	set(t, filepath.Join(dir, "names", id), "web")
	subject := func() *watch.Subject { return &watch.Subject{Kind: watch.Container, ID: id, Cgroup: "/docker/" + id} }

	t.Run("named", func(t *testing.T) {
		// So many that none is the last, however late this is.
		pauses = append([]time.Duration{10 * time.Millisecond, 10 * time.Millisecond}, slices.Repeat([]time.Duration{500 * time.Millisecond}, 100)...)
		var stderr safeBuffer
		l := &lookout{names: newNamer(t.Context(), &stderr), targets: []watch.Target{{Container: "web"}}, matched: make(map[string]bool)}
		if l.wanted("/docker/"+id, subject()) {
			t.Error("wanted before it has a name")
		}
		waitFor(t, "three look-ups", func() bool { return inspections(dir, id) >= 3 })
		if err := l.names.await(id); err == nil || err.Error() != "docker inspect: the store is locked" {
			t.Error(err)
		}
		told := l.names.told()
		if !l.names.complete(subject()) {
			t.Error("what it does is held back") // by its id
		}
		if err := os.Remove(busy); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "it is wanted", func() bool { return l.wanted("/docker/"+id, subject()) })
		if l.names.told() == told {
			t.Error("nobody looks again")
		}
		n := inspections(dir, id)
		if time.Sleep(100 * time.Millisecond); inspections(dir, id) != n || stderr.String() != "" {
			t.Errorf("asked %d times, then %d: %s", n, inspections(dir, id), &stderr)
		}
	})
	t.Run("given up", func(t *testing.T) {
		set(t, busy, "")
		pauses = []time.Duration{10 * time.Millisecond, 10 * time.Millisecond}
		var stderr safeBuffer
		n := newNamer(t.Context(), &stderr)
		before := inspections(dir, id)
		n.ask([]string{id}, true)
		waitFor(t, "a warning", func() bool { return stderr.String() != "" })
		time.Sleep(100 * time.Millisecond)
		if got := inspections(dir, id) - before; got != 3 {
			t.Errorf("asked %d times, want 3", got)
		}
		const want = "leastcap: warning: docker inspect: the store is locked: the name of 111111111111 is not known: "
		if got := stderr.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, want) {
			t.Errorf("%s\nwant: %s…", got, want)
		}
	})
	t.Run("end", func(t *testing.T) {
		pauses = was
		var stderr bytes.Buffer
		n := newNamer(t.Context(), &stderr)
		n.ask([]string{id}, true)
		n.end()
		n.end()
		n.drop(id)
		if strings.Count(stderr.String(), "is not known") != 1 {
			t.Error(&stderr)
		}
		n.ask([]string{id}, true)
		n.take([]string{strings.Repeat("3", 64)}, nil, nil, nil, false) // another is answered for meanwhile
		n.drop(id)                                                      // it has ended
		n.end()
		if strings.Count(stderr.String(), "docker inspect: the store is locked: the name of 111111111111 is not known") != 2 {
			t.Error(&stderr)
		}
	})
	t.Run("imageless", func(t *testing.T) { // who has a name is told at once
		pauses = was
		var stderr bytes.Buffer
		n := newNamer(t.Context(), &stderr)
		found := map[string]engine.Running{id: {ID: id, Engine: "docker", Name: "web"}}
		n.pending[id] = true
		n.take([]string{id}, found, nil, nil, true)
		if s := subject(); !n.complete(s) || s.Name != "web" || n.vain[id] != 1 {
			t.Errorf("%+v, %v", s, n.vain)
		}
		n.take([]string{id}, nil, nil, errors.New("it is busy"), false)
		n.end()
		if s := subject(); !n.complete(s) || s.Name != "web" || stderr.Len() > 0 {
			t.Errorf("%+v: %s", s, &stderr)
		}
		n.vain[id] = 1
		n.take([]string{id}, found, map[string]string{id: "sha256:1"}, nil, false)
		if s := subject(); !n.complete(s) || s.ImageID != "sha256:1" || len(n.vain) > 0 {
			t.Errorf("%+v, %v", s, n.vain)
		}
	})
	t.Run("not ours", func(t *testing.T) { // a container of no engine is not asked about again
		if err := os.Remove(busy); err != nil {
			t.Fatal(err)
		}
		pauses = []time.Duration{10 * time.Millisecond, 10 * time.Millisecond}
		var stderr safeBuffer
		n, other := newNamer(t.Context(), &stderr), strings.Repeat("2", 64)
		n.ask([]string{other}, true)
		time.Sleep(100 * time.Millisecond)
		if got := inspections(dir, other); got != 1 || stderr.String() != "" || n.await(other) != nil {
			t.Errorf("asked %d times: %s", got, &stderr)
		}
	})
}

// inCgroup makes a container's cgroup with one process in it, and gives what ends both.
func inCgroup(t *testing.T, id string) (end func()) {
	t.Helper()
	h, err := proc.FindHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(h.Mount, id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo $$ >"$0/cgroup.procs" && exec sleep 60`, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ended bool
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		waitFor(t, dir+" is removed", func() bool { return syscall.Rmdir(dir) == nil })
	}
	t.Cleanup(end)
	return end
}

// TestWatchNamedLate: a container whose engine fails while it starts is watched once the engine
// has named it, though it does nothing more.
func TestWatchNamedLate(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	dir := fakeEngine(t)
	name := fmt.Sprintf("leastcap-test-late-%d", os.Getpid())
	first, second := fmt.Sprintf("%064x", os.Getpid()), fmt.Sprintf("a%063x", os.Getpid())
	for _, id := range []string{first, second} {
		set(t, filepath.Join(dir, "names", id), name)
	}
	busy := filepath.Join(dir, "busy")
	set(t, busy, "")
	end := inCgroup(t, first)
	out, err := exec.Command(testenv.Leastcap(t), "watch", name).CombinedOutput()
	var exit *exec.ExitError
	if text := fmt.Sprintf("known as %q, but an engine failed: docker inspect: the store is locked", name); !errors.As(err, &exit) || exit.ExitCode() != exitBlind || !strings.Contains(string(out), text) {
		t.Errorf("%v: %s", err, out)
	}
	time.AfterFunc(500*time.Millisecond, func() { _ = os.Remove(busy) })
	s := newStream(t, name)
	if e := s.expect(name, "begin"); e.Subject.ID != first {
		t.Errorf("%+v", e.Subject)
	}
	set(t, busy, "")
	end()
	s.expect(name, "end")
	inCgroup(t, second)
	waitFor(t, "it was asked about in vain", func() bool { return inspections(dir, second) > 0 })
	time.Sleep(300 * time.Millisecond)
	if err := os.Remove(busy); err != nil {
		t.Fatal(err)
	}
	if e := s.expect(name, "begin"); e.Subject.ID != second {
		t.Errorf("%+v", e.Subject)
	}
	if code := s.end(syscall.SIGINT); code != exitOK {
		t.Errorf("exit status %d: %s", code, &s.stderr)
	}
}

// TestWatchIdle: what was seen before a watch ends by itself is in what it says, also where
// something still waited, for an engine's answer, say.
func TestWatchIdle(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	dir := fakeEngine(t)
	set(t, filepath.Join(dir, "docker"), "#!/bin/sh\nexec sleep 5")
	id := fmt.Sprintf("c%063x", os.Getpid())
	inCgroup(t, id)
	s := newStream(t, "--until-idle", "600ms")
	s.expect(id[:12], "begin")
	if e := s.expect(id[:12], "summary"); e.Total == nil {
		t.Errorf("%+v", e)
	}
}
