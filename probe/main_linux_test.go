package probe_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// openVerb is this test executing itself to see what [probe.Open] says.
const openVerb = "__open"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case host.LaunchVerb:
			os.Exit(host.Launch(os.Args[2], os.Stderr))
		case openVerb:
			os.Exit(tellOpen())
		}
	}
	if os.Getenv(hiddenVar) == "all" {
		probe.HideSymbols()
	}
	code := m.Run()
	if shared.p != nil {
		shared.p.Close()
	}
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// shared is the probe of all tests that need no special one: loading takes
// longer than most of them.
var shared struct {
	once sync.Once
	p    *probe.Probe
	err  error
}

func theProbe(t testing.TB) *probe.Probe {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	shared.once.Do(func() { shared.p, shared.err = probe.Open(probe.Options{Hook: os.Getenv(testenv.HookVar)}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.p
}

// ownProbe is one with limits, for this test alone.
func ownProbe(t testing.TB, limits map[string]uint32) *probe.Probe {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	p, err := probe.Open(probe.Options{Limits: limits, Hook: os.Getenv(testenv.HookVar)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

var built struct {
	once sync.Once
	dir  string
	err  error
}

// program compiles testdata/NAME.c, statically, so that it runs anywhere.
func program(t testing.TB, name string) string {
	t.Helper()
	if path, ok := testenv.Prebuilt(name); ok {
		return path
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "leastcap-probe-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		for name, flags := range map[string][]string{
			"workload": {"-static", "-pthread"},
			"exit":     {"-static", "-nostdlib"},
		} {
			args := append([]string{"-O1", "-Wall", "-Werror", "-o", filepath.Join(built.dir, name), "testdata/" + name + ".c"}, flags...)
			if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
				built.err = fmt.Errorf("gcc %s.c: %w\n%s", name, err, out)
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, name)
}

// tempDir is one that every user may enter, unlike t.TempDir's.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "leastcap-probe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// file makes an empty file of a user.
func file(t testing.TB, path string, uid int, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
	return path
}

// foreignDir makes DIR/closed, that only user 1000 may enter, with a file in it.
func foreignDir(t testing.TB) (inside string) {
	t.Helper()
	dir := filepath.Join(tempDir(t), "closed")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	inside = file(t, filepath.Join(dir, "file"), 1000, 0o644)
	if err := os.Chown(dir, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	return inside
}

// capable copies a program and gives the copy file capabilities.
func capable(t testing.TB, from, to string, fc caps.FileCaps) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
	attr, err := fc.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(to, "security.capability", attr, 0); err != nil {
		t.Fatal(err)
	}
	return to
}

func bounding(t testing.TB) caps.Set {
	t.Helper()
	set, err := proc.Bounding(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// scope is a cgroup that is watched.
type scope struct {
	testing.TB
	*probe.Watch
	p   *probe.Probe
	dir string
	ref proc.ScopeRef
}

var scopeNumber atomic.Int64

// newScope makes a cgroup and watches it. Its name is none that engine/host
// would sweep away.
func newScope(t testing.TB, p *probe.Probe) *scope {
	t.Helper()
	dir := filepath.Join(p.Hierarchy().Mount, fmt.Sprintf("probetest-%d-%d", os.Getpid(), scopeNumber.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroup(t, dir) })
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	ref := proc.ScopeRef{ID: st.Ino}
	w, err := p.Watch(ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.End)
	return &scope{t, w, p, dir, ref}
}

// until repeats what has no event to wait for.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("after a minute still not so: %s", what)
			return
		}
	}
}

// removeCgroup kills what is left in a cgroup, and removes it and those below.
func removeCgroup(t testing.TB, dir string) {
	until(t, dir+" is removed", func() bool {
		pids, _ := proc.Procs(dir)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		var dirs []string
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, d := range slices.Backward(dirs) {
			_ = unix.Rmdir(d)
		}
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// task is a running workload.
type task struct {
	*scope
	cmd    *exec.Cmd
	in     *os.File
	out    *bufio.Reader
	stderr bytes.Buffer
}

// launch starts a program through the launcher of host commands, which does
// what a container's runtime does: into the cgroup, capset(2), execve(2).
func (s *scope) launch(set caps.Set, argv ...string) *task {
	s.Helper()
	return s.start(s.launcher(set, argv...))
}

func (s *scope) launcher(set caps.Set, argv ...string) *exec.Cmd {
	s.Helper()
	words := make([][]byte, len(argv))
	for i, word := range argv {
		words[i] = []byte(word)
	}
	spec, err := json.Marshal(host.LaunchSpec{Cgroup: []byte(s.dir), Path: words[0], Argv: words, Bounding: uint64(set)})
	if err != nil {
		s.Fatal(err)
	}
	return exec.Command("/proc/self/exe", host.LaunchVerb, base64.RawURLEncoding.EncodeToString(spec))
}

func (s *scope) start(cmd *exec.Cmd) *task {
	s.Helper()
	t := &task{scope: s, cmd: cmd}
	inR, inW, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	t.in, t.out = inW, bufio.NewReader(outR)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, &t.stderr
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	inR.Close()
	outW.Close()
	s.Cleanup(func() {
		inW.Close()
		outR.Close()
	})
	return t
}

// steps starts testdata/workload.c.
func (s *scope) steps(set caps.Set, steps ...string) *task {
	s.Helper()
	return s.launch(set, append([]string{program(s, "workload")}, steps...)...)
}

// hear waits for a line of output.
func (t *task) hear() string {
	t.Helper()
	line, err := t.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the workload said no more: %v\n%s", err, &t.stderr)
	}
	return strings.TrimSuffix(line, "\n")
}

// tell ends a step "wait".
func (t *task) tell() {
	t.Helper()
	if _, err := t.in.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the end, and compares which steps failed ("chown EPERM").
func (t *task) ends(failed ...string) {
	t.Helper()
	err := t.cmd.Wait()
	got := strings.Split(strings.TrimSpace(t.stderr.String()), "\n")
	if len(failed) == 0 {
		failed = []string{""}
	}
	if err != nil || !slices.Equal(got, failed) {
		t.Fatalf("the workload ended with %v, and these steps failed: %q; want: %q", err, got, failed)
	}
}

// record is everything that was seen, which has to be complete.
func (s *scope) record() *usage.Record {
	s.Helper()
	r, err := s.Record()
	if err != nil {
		s.Fatal(err)
	}
	if !r.Complete() {
		s.Errorf("the record is not complete: lost %v, executables %+v", r.Lost, r.Execs)
	}
	return r
}

// once runs steps to their end.
func once(t testing.TB, set caps.Set, failed []string, steps ...string) *usage.Record {
	t.Helper()
	s := newScope(t, theProbe(t))
	s.steps(set, steps...).ends(failed...)
	return s.record()
}

// evidence is the one check of a capability, verdict and system call.
func evidence(t testing.TB, r *usage.Record, c caps.Cap, v usage.Verdict, syscall string) usage.Check {
	t.Helper()
	var found []usage.Check
	for _, check := range r.Checks {
		if check.Cap == c && check.Verdict == v && check.Syscall == syscall {
			found = append(found, check)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d checks are %v %s in %q, want one; all: %s", len(found), c, v, syscall, asJSON(t, r.Checks))
	}
	return found[0]
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantSet(t testing.TB, what string, got, want caps.Set) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// wantIn and wantOut say of single capabilities that a set has them or not.
func wantIn(t testing.TB, what string, got caps.Set, cs ...caps.Cap) {
	t.Helper()
	if missing := caps.Of(cs...).Minus(got); !missing.Empty() {
		t.Errorf("%s: %v is missing in %v", what, missing, got)
	}
}

func wantOut(t testing.TB, what string, got caps.Set, cs ...caps.Cap) {
	t.Helper()
	if wrong := caps.Of(cs...).Intersect(got); !wrong.Empty() {
		t.Errorf("%s: %v should not be in %v", what, wrong, got)
	}
}

// tellOpen is what openVerb does.
func tellOpen() int {
	p, err := probe.Open(probe.Options{})
	if err == nil {
		p.Close()
		fmt.Println("opened")
		return 0
	}
	fmt.Println(err)
	if errors.Is(err, probe.ErrUnavailable) {
		return 3
	}
	return 1
}
