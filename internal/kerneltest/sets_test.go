//go:build linux && cgo

package kerneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == host.LaunchVerb {
		os.Exit(host.Launch(os.Args[2], os.Stderr))
	}
	code := m.Run()
	if staticDir != "" {
		os.RemoveAll(staticDir)
	}
	os.Exit(code)
}

// needs is what a record shows of a workload: the sets that decide.
type needs struct{ granted, denied, capset, exec caps.Set }

func needsOf(r *usage.Record) needs {
	all := r.All()
	return needs{all.Granted, all.Denied, all.Capset, r.FileCaps()}
}

func (n needs) String() string {
	return fmt.Sprintf("granted %v, denied %v, set by capset %v, by executables' capabilities %v", n.granted, n.denied, n.capset, n.exec)
}

// corpus are small static workloads and what each needs with Docker's default
// capabilities, on every kernel, with every way in, and whoever starts it. In words
// ROOT stands for where the root file system is.
var corpus = []struct {
	name  string
	words []string
	want  needs
}{
	{"nothing", []string{"ROOT/bin/workload", "getpid"}, needs{}},
	{"drops root", []string{"ROOT/bin/workload", "setgroups", "33", ",", "setgid", "33", ",", "setuid", "33"},
		needs{granted: caps.Of(caps.Setgid, caps.Setuid)}},
	{"child and thread", []string{"ROOT/bin/workload", "fork", "{", "setgid", "33", "}", ",", "thread", "{", "setuid", "33", "}", ",", "vfork", "{", "setgid", "33", "}"},
		needs{granted: caps.Of(caps.Setgid, caps.Setuid)}},
	{"chown", []string{"ROOT/bin/workload", "chown", "ROOT/foreign", "34", "34"}, needs{granted: caps.Of(caps.Chown)}},
	{"searches a closed directory", []string{"ROOT/bin/workload", "open", "ROOT/closed/file"},
		needs{granted: caps.Of(caps.DacOverride), denied: caps.Of(caps.DacReadSearch)}},
	{"is in a closed directory", []string{"ROOT/closed/workload", "getpid"},
		needs{granted: caps.Of(caps.DacOverride), denied: caps.Of(caps.DacReadSearch)}},
	{"memory", []string{"ROOT/bin/workload", "memory", "ROOT/bin/workload"}, needs{}},
	{"an executable's capability", []string{"ROOT/bin/workload", "fork", "{", "exec", "ROOT/bin/ping", "}", ",", "memory", "ROOT/bin/workload"}, needs{exec: caps.Of(caps.NetRaw)}},
	{"keeps one by capset", []string{"ROOT/bin/workload", "capset", "3", "0x400", "0x400", "0"}, needs{capset: caps.Of(caps.NetBindService)}},
	{"inherits beyond what it has", []string{"ROOT/bin/workload", "capset", "3", "0x100", "0x100", "0", ",", "capset", "3", "0x100", "0x100", "0x2000"},
		needs{granted: caps.Of(caps.Setpcap), capset: caps.Of(caps.Setpcap, caps.NetRaw)}},
	{"filters system calls", []string{"ROOT/bin/workload", "seccomp"}, needs{denied: caps.Of(caps.SysAdmin)}},
	{"is named like a runtime", []string{"ROOT/bin/workload", "comm", "runc:[2:INIT]", ",", "setgid", "33"}, needs{granted: caps.Of(caps.Setgid)}},
}

// privileged are workloads that need more, and what they need in containers that are given
// all capabilities, no seccomp, and a cgroup file system that can be written.
var privileged = []struct {
	name  string
	words []string
	want  needs
}{
	{"mounts", []string{"ROOT/bin/workload", "mount-tmpfs", "ROOT/tmp"}, needs{granted: caps.Of(caps.SysAdmin)}},
	{"sets the clock", []string{"ROOT/bin/workload", "settimeofday"}, needs{granted: caps.Of(caps.SysTime)}},
	{"has a cgroup below its own", []string{"ROOT/bin/workload", "fork", "{", "mkdir", "ROOT/sys/fs/cgroup/CONTROLLER/below", ",", "cgroup", "ROOT/sys/fs/cgroup/CONTROLLER/below", ",", "setgid", "33", "}"},
		needs{granted: caps.Of(caps.Setgid)}},
	{"searches a closed directory", []string{"ROOT/bin/workload", "open", "ROOT/closed/file"}, needs{granted: caps.Of(caps.DacReadSearch)}},
	{"filters system calls", []string{"ROOT/bin/workload", "seccomp"}, needs{granted: caps.Of(caps.SysAdmin)}},
}

// starter prepares a workload, with all that is in root.
type starter func(t testing.TB, h proc.Hierarchy, root string, c *bundle.Container) started

// runtimes start the corpus.
var runtimes = []struct {
	name  string
	needs []testenv.Requirement
	run   starter
}{
	{"host", nil, startHost},
	{"embedded", nil, startEmbedded},
	{"crun", []testenv.Requirement{testenv.Command("crun")}, func(t testing.TB, h proc.Hierarchy, root string, c *bundle.Container) started {
		return startOCI(t, h, "crun", root, c)
	}},
	{"runc", []testenv.Requirement{testenv.Command("runc")}, func(t testing.TB, h proc.Hierarchy, root string, c *bundle.Container) started {
		return startOCI(t, h, "runc", root, c)
	}},
}

// started is a workload that is about to run in a scope.
type started struct {
	scope proc.ScopeRef
	run   func() (code int, output string, err error)
	end   func() // removes what is left of it
}

// preemptsVar is set in guests whose kernel preempts itself.
const preemptsVar = "LEASTCAP_TEST_PREEMPTS"

// dockers are Docker's default capabilities.
const dockers = caps.Set(0xa80425fb)

// TestSets: the same workloads have the same needs, whoever starts them, on this
// kernel and with this way in. internal/kerneltest runs it on others, and makes
// docs/kernels.md of it.
func TestSets(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	p, err := probe.Open(probe.Options{Hook: os.Getenv(testenv.HookVar)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	t.Setenv("LEASTCAP_ROOT", filepath.Join(t.TempDir(), "state"))
	for _, rt := range runtimes {
		t.Run(rt.name, func(t *testing.T) {
			testenv.Need(t, rt.needs...)
			for _, c := range corpus {
				t.Run(c.name, func(t *testing.T) { measure(t, p, rt.run, container(t, rules.Request{}, c.words), dockers, c.want) })
			}
		})
	}
}

// TestPrivileged: the same for containers with all capabilities that there are, which are
// all that the kernel has in a guest.
func TestPrivileged(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	all := proc.Available()
	if all == nil {
		t.Fatal("what this process has cannot be read")
	}
	if testenv.Guest() && !all.Has(caps.SysResource) {
		t.Fatalf("a guest has %v", *all)
	}
	p, err := probe.Open(probe.Options{Hook: os.Getenv(testenv.HookVar)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	t.Setenv("LEASTCAP_ROOT", filepath.Join(t.TempDir(), "state"))
	for _, rt := range runtimes {
		if rt.name == "host" {
			continue
		}
		t.Run(rt.name, func(t *testing.T) {
			testenv.Need(t, rt.needs...)
			for _, w := range privileged {
				t.Run(w.name, func(t *testing.T) {
					c := container(t, rules.Request{Privileged: true, Available: all}, w.words)
					for i := range c.Args {
						c.Args[i] = strings.ReplaceAll(c.Args[i], "CONTROLLER", p.Hierarchy().Controller)
					}
					c.Privileged = true
					if p.Hierarchy().V2() {
						// As engines have it there: /sys/fs/cgroup is the whole tree otherwise,
						// and a cgroup below it none of the container's.
						c.Cgroupns = "private"
					}
					measure(t, p, rt.run, c, *all, w.want)
				})
			}
		})
	}
}

// TestAgain: a run that was incomplete can be made again at once.
func TestAgain(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	p, err := probe.Open(probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	t.Setenv("LEASTCAP_ROOT", filepath.Join(t.TempDir(), "state"))
	for _, rt := range runtimes {
		testenv.Need(t, rt.needs...)
		for range 2 {
			record(t, p, rt.run, container(t, rules.Request{}, corpus[0].words))
		}
	}
}

// measure runs a container with that bounding set, and compares what it needs.
func measure(t *testing.T, p *probe.Probe, run starter, c *bundle.Container, bounding caps.Set, want needs) {
	t.Helper()
	var r *usage.Record
	for again := 0; ; again++ {
		if r = record(t, p, run, c); len(r.Lost) == 0 {
			break
		}
		// What the kernel preempted is counted; a probe cannot help it.
		if t.Logf("incomplete: lost %v", r.Lost); again == 4 || r.Lost["events"] == 0 || os.Getenv(preemptsVar) == "" {
			t.Fatal("no run was complete")
		}
	}
	if r.Launch == nil || r.Launch.Bounding != bounding {
		t.Errorf("started with %+v, want a bounding set of %v", r.Launch, bounding)
	}
	if got := needsOf(r); got != want {
		t.Errorf("got  %v\nwant %v", got, want)
		for _, k := range r.Checks {
			t.Logf("%+v", k)
		}
	}
}

// record runs a workload once.
func record(t *testing.T, p *probe.Probe, run starter, c *bundle.Container) *usage.Record {
	t.Helper()
	s := run(t, p.Hierarchy(), rootFS(t), c)
	defer s.end()
	w, err := p.Watch(s.scope)
	if err != nil {
		t.Fatal(err)
	}
	defer w.End()
	code, output, err := s.run()
	if err != nil || code != 0 {
		t.Fatalf("exit status %d, %v\n%s", code, err, output)
	}
	r, err := w.Record()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// hybridWithControllers says whether crun would refuse: libcrun/cgroup.c takes such a
// host for a mistake.
func hybridWithControllers(h proc.Hierarchy) bool {
	if h.V2() {
		return false
	}
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return len(bytes.TrimSpace(data)) > 0
		}
	}
	return false
}

// rootFS makes a root file system for one container.
func rootFS(t testing.TB) string {
	t.Helper()
	// Not t.TempDir: every user has to come in.
	root, err := os.MkdirTemp("", "leastcap-sets-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(os.Chmod(root, 0o755))
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "tmp"} {
		try(os.Mkdir(filepath.Join(root, d), 0o755))
	}
	try(os.Mkdir(filepath.Join(root, "closed"), 0o700))
	put := func(name string, data []byte, mode os.FileMode) string {
		path := filepath.Join(root, name)
		try(os.WriteFile(path, data, mode))
		return path
	}
	workload, err := os.ReadFile(static(t, "workload"))
	try(err)
	exit, err := os.ReadFile(static(t, "exit"))
	try(err)
	put("bin/workload", workload, 0o755)
	put("closed/workload", workload, 0o755)
	put("etc/passwd", []byte("root:x:0:0::/:/bin/sh\n"), 0o644)
	put("etc/group", []byte("root:x:0:\n"), 0o644)
	attr, err := caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true}.Marshal()
	try(err)
	try(unix.Setxattr(put("bin/ping", exit, 0o755), "security.capability", attr, 0))
	for _, name := range []string{put("foreign", nil, 0o600), put("closed/file", nil, 0o644), filepath.Join(root, "closed")} {
		try(os.Chown(name, 1000, 1000))
	}
	return root
}

var staticDir string // the test process's; TestMain removes it

// static is one of the probe's test programs.
func static(t testing.TB, name string) string {
	t.Helper()
	if path, ok := testenv.Prebuilt(name); ok {
		return path
	}
	if staticDir == "" {
		dir, err := os.MkdirTemp("", "leastcap-sets-")
		if err != nil {
			t.Fatal(err)
		}
		staticDir = dir
	}
	path := filepath.Join(staticDir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	buildStatic(t, filepath.Join("..", "..", "probe", "testdata", name+".c"), path)
	return path
}

// inside gives the words with ROOT replaced.
func inside(words []string, root string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(bytes.Replace([]byte(w), []byte("ROOT"), []byte(root), 1))
	}
	return out
}

// instance runs one that an engine prepared.
func instance(t testing.TB, w engine.Workload, g engine.Grant) started {
	t.Helper()
	inst, err := w.Prepare(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	run := func() (int, string, error) {
		if err := inst.Start(t.Context()); err != nil {
			return 0, "", err
		}
		select {
		case <-inst.Exited():
		case <-t.Context().Done():
			return 0, "", t.Context().Err()
		}
		e := inst.Exit()
		return e.Code, inst.Logs(t.Context(), 20), e.Err
	}
	return started{inst.Scope(), run, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(inst.Remove(ctx), w.Clean(ctx)); err != nil {
			t.Error(err)
		}
	}}
}

func startHost(t testing.TB, h proc.Hierarchy, root string, c *bundle.Container) started {
	w, err := host.New(inside(c.Args, root), "", h)
	if err != nil {
		t.Fatal(err)
	}
	return instance(t, w, engine.Grant{Set: dockers})
}

// container is what is started, with what Docker gives for the request. ROOT stands for
// where its root file system is.
func container(t testing.TB, r rules.Request, words []string) *bundle.Container {
	t.Helper()
	docker, err := rules.For("docker")
	if err != nil {
		t.Fatal(err)
	}
	result, err := docker.Apply(r)
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Container{Args: slices.Clone(words), State: result.Runtime, Network: "none", Hostname: "sets", StopTimeout: -1}
}

// contained is the container as it is started, whose root is /.
func contained(c *bundle.Container) *bundle.Container {
	in := *c
	in.Args = inside(c.Args, "")
	return &in
}

func startEmbedded(t testing.TB, _ proc.Hierarchy, root string, c *bundle.Container) started {
	w, err := embedded.New(embedded.Request{Container: contained(c), RootFS: root, Baseline: c.State})
	if err != nil {
		t.Fatal(err)
	}
	return instance(t, w, engine.Grant{Baseline: true})
}

// startOCI gives a bundle to a runtime's command.
func startOCI(t testing.TB, h proc.Hierarchy, command, root string, c *bundle.Container) started {
	spec, err := bundle.Spec(contained(c), bundle.Process{}, root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	id := fmt.Sprintf("leastcap-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	spec.Linux.CgroupsPath = "/" + id
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return started{proc.ScopeRef{Name: id}, func() (int, string, error) {
		argv := []string{command, "--root", filepath.Join(dir, "state"), "run", "--bundle", dir, id}
		if command == "crun" && hybridWithControllers(h) {
			// It refuses where it sees that tree.
			argv = append([]string{"unshare", "--mount", "sh", "-c", `umount -l /sys/fs/cgroup/unified && exec "$@"`, "sh"}, argv...)
		}
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState != nil && err != nil {
			return cmd.ProcessState.ExitCode(), string(out), nil
		}
		return 0, string(out), err
	}, func() {}}
}
