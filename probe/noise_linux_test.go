package probe_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// TestMemoryAccounting: security_vm_enough_memory_mm() asks for sys_admin at
// every mmap, brk, fork, exec and fault that accounts memory, and that is never
// a need (KERNEL.md 1.6, 1.9).
func TestMemoryAccounting(t *testing.T) {
	all := bounding(t)
	self := program(t, "workload")
	for _, c := range []struct {
		name string
		set  caps.Set
	}{{"with sys_admin", all}, {"without", all.Without(caps.SysAdmin)}} {
		t.Run(c.name, func(t *testing.T) {
			r := once(t, c.set, nil, "memory", self, ",", "thread", "{", "memory", self, "}")
			sets := r.All()
			wantSet(t, "granted", sets.Granted, 0)
			wantSet(t, "denied", sets.Denied, 0)
			// Elsewhere the compiler may have put the question inline: no noise, then.
			if c.set.Has(caps.SysAdmin) && theProbe(t).Hook() == "tp_btf/cap_capable" {
				wantIn(t, "a plain trace without the set-up", sets.PlainOwn, caps.SysAdmin)
				if r.ChecksSeen < 1000 {
					t.Errorf("only %d checks were seen", r.ChecksSeen)
				}
			}
			if t.Failed() {
				t.Log(asJSON(t, r.Checks))
			}
		})
	}
}

// TestForkNeeds: what a fork asks of sys_admin beside memory accounting is a need, also in
// a thread whose forks were plain before: a new namespace, and more processes than
// RLIMIT_NPROC allows, after sys_resource was denied (kernel/fork.c copy_process()).
func TestForkNeeds(t *testing.T) {
	const newNamespace = "0x20000" // CLONE_NEWNS
	admin := "0x200000"
	plain := []string{"clone", "0", ",", "clone", "0", ","}
	user := []string{"keepcaps", ",", "setuid", "54322", ",", "capset", "3", admin, admin, "0", ","}
	for _, c := range []struct {
		name    string
		steps   []string
		granted caps.Set
		denied  caps.Set
	}{
		{"plain", append(slices.Clone(plain), "clone", "0"), 0, 0},
		{"a namespace", append(slices.Clone(plain), "clone", newNamespace), caps.Of(caps.SysAdmin), 0},
		{"plain, as another user", slices.Concat(user, plain, []string{"getpid"}), caps.Of(caps.Setuid), 0},
		{"too many", slices.Concat(user, plain, []string{"processes", "1", ",", "clone", "0"}), caps.Of(caps.Setuid, caps.SysAdmin), caps.Of(caps.SysResource)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := once(t, bounding(t), nil, c.steps...)
			wantSet(t, "granted", r.All().Granted, c.granted)
			wantSet(t, "denied", r.All().Denied, c.denied)
			if t.Failed() {
				t.Log(asJSON(t, r.Checks))
			}
		})
	}
}

// hiddenVar is set where this test runs with an empty /proc/kallsyms; to "all" where the
// kernel has no other list of its symbols either.
const hiddenVar = "LEASTCAP_PROBE_TEST_HIDDEN"

// TestHiddenSymbols: where /proc/kallsyms hides addresses (kernel.kptr_restrict=2) the kernel
// lists them by BPF, and nothing is different. Before 6.0 it does not: then the system call
// alone has to tell memory accounting, and of needs all are seen.
func TestHiddenSymbols(t *testing.T) {
	theProbe(t)
	if os.Getenv(hiddenVar) != "" {
		t.Skip("this is the inner run")
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	_, err = kernel.AnyTypeByName("bpf_iter__ksym")
	for _, c := range []struct{ hidden, run string }{
		{"there", "TestMemoryAccounting|TestCounted"},
		{"all", "TestMemoryAccounting|TestThreads|TestPhases|TestForkNeeds"},
	} {
		if c.hidden == "there" && errors.Is(err, btf.ErrNotFound) {
			continue
		}
		t.Run(c.hidden, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", `mount --bind /dev/null /proc/kallsyms && exec /proc/self/fd/3 "$@"`, "sh",
				"-test.run=^("+c.run+")$", "-test.count=1")
			self, err := os.Open("/proc/self/exe")
			if err != nil {
				t.Fatal(err)
			}
			defer self.Close()
			cmd.ExtraFiles = []*os.File{self}
			cmd.Env = append(os.Environ(), hiddenVar+"="+c.hidden)
			// A mount namespace of its own: nobody else sees the mount.
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestUserNamespace: power over a user namespace that the workload made itself
// is no need of a capability, whether it comes from a bit or from being its owner
// (KERNEL.md 1.1 rule 3, 2.7).
func TestUserNamespace(t *testing.T) {
	dir := tempDir(t)
	inside := []string{"unshare-user", ",", "sethostname", "inner", ",", "mount-tmpfs", dir, ",", "dropbound", "13"}
	for _, c := range []struct {
		name    string
		set     caps.Set
		steps   []string
		granted caps.Set
	}{
		{"with all capabilities", bounding(t), inside, 0},
		{"without any", 0, inside, 0},
		{"by another user", bounding(t), append([]string{"setresuid", "1000", "1000", "1000", ","}, inside...), caps.Of(caps.Setuid)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := once(t, c.set, nil, c.steps...)
			sets := r.All()
			wantSet(t, "granted", sets.Granted, c.granted)
			wantSet(t, "denied", sets.Denied, 0)
			wantIn(t, "a plain trace without the set-up", sets.PlainOwn, caps.SysAdmin, caps.Setpcap)
			if t.Failed() {
				t.Log(asJSON(t, r.Checks))
			}
		})
	}
	// What is asked of an outer namespace from within cannot be granted there;
	// the workload itself could have had it outside, but that is another run.
	r := once(t, bounding(t), []string{"chroot EPERM"}, "unshare-user", ",", "capset", "3", "0", "0", "0", ",", "chroot", dir)
	wantOut(t, "granted", r.All().Granted, caps.SysChroot)
	wantOut(t, "denied", r.All().Denied, caps.SysChroot)
}

// TestNotInScope: what other cgroups do is not counted, nor what the test does
// that made the workload.
func TestNotInScope(t *testing.T) {
	p := theProbe(t)
	s, other := newScope(t, p), newScope(t, p)
	w := s.steps(bounding(t), "setgid", "33", ",", "say", "x", ",", "wait")
	w.hear()
	other.steps(bounding(t), "setuid", "33").ends()
	f := file(t, filepath.Join(tempDir(t), "f"), 1000, 0o600)
	if err := os.Chown(f, 33, 33); err != nil {
		t.Fatal(err)
	}
	w.tell()
	w.ends()
	wantSet(t, "granted", s.record().All().Granted, caps.Of(caps.Setgid))
	wantSet(t, "granted in the other", other.record().All().Granted, caps.Of(caps.Setuid))
}

// container is one of Docker's that is watched from before its first moment.
type container struct {
	*scope
	id string
}

const (
	tiny     = "leastcap-test/tiny"
	services = "leastcap-test/services"
)

// create gives `docker create`'s arguments to the engine.
func create(t *testing.T, args ...string) *container {
	t.Helper()
	testenv.Need(t, testenv.Docker, testenv.Image(tiny), testenv.Image(services))
	p := theProbe(t)
	id := docker(t, append([]string{"create", "--label", "leastcap-probe-test"}, args...)...)
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", id).Run() })
	w, err := p.Watch(proc.ScopeRef{Name: id})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.End)
	return &container{&scope{TB: t, Watch: w, p: p}, id}
}

func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			out = append(out, e.Stderr...)
		}
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return string(trimNewline(out))
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}

// run waits until the container ended, and gives its record. The file
// capabilities of a container's only executable may be unknown, when it runs for
// a millisecond and takes the container's file systems with it.
func (c *container) run() *usage.Record {
	c.Helper()
	docker(c, "start", "-a", c.id)
	r, err := c.Record()
	if err != nil {
		c.Fatal(err)
	}
	if len(r.Lost) > 0 {
		c.Errorf("lost: %v", r.Lost)
	}
	return r
}

// TestRuntime: what runc does in the container's cgroup before it executes the
// entry point is not the container's need (KERNEL.md 2.9), also for an exec later.
func TestRuntime(t *testing.T) {
	t.Parallel()
	const dockers = caps.Set(0xa80425fb) // Docker's default set
	dir := filepath.Dir(program(t, "exit"))
	c := create(t, "-v", dir+":/w:ro", tiny, "sleep", "1000")
	docker(t, "start", c.id)
	setup := []caps.Cap{caps.Setpcap, caps.SysAdmin, caps.Mknod}
	check := func(when string) *usage.Record {
		t.Helper()
		r, err := c.Record()
		if err != nil {
			t.Fatal(err)
		}
		wantSet(t, "granted "+when, r.All().Granted, 0)
		wantSet(t, "denied "+when, r.All().Denied, 0)
		wantIn(t, "a plain trace "+when, r.All().PlainAll, setup...)
		wantOut(t, "a plain trace without the set-up "+when, r.All().PlainOwn, caps.Mknod, caps.NetAdmin, caps.Setpcap)
		if r.Launch == nil || r.Launch.Bounding != dockers || r.Launch.Effective != dockers || r.Launch.Permitted != dockers {
			t.Errorf("launch %s: got %+v, want Docker's default %v", when, r.Launch, dockers)
		}
		if t.Failed() {
			t.Log(asJSON(t, r.Checks))
		}
		return r
	}
	before := check("after the start")
	if err := c.SetPhase(usage.Steady); err != nil {
		t.Fatal(err)
	}
	docker(t, "exec", c.id, "true")
	after := check("after an exec")
	if after.ChecksSeen <= before.ChecksSeen {
		t.Error("the exec made no checks: it was not seen")
	}
	wantIn(t, "a plain trace of the exec", after.Sets[usage.Steady].PlainAll, caps.Setpcap)
	docker(t, "exec", "--user", "33", c.id, "/w/exit") // busybox would ask itself
	check("after an exec by another user")
	// An exec is the workload's from its first own step on.
	docker(t, "exec", c.id, "chown", "33", "/tmp")
	r, err := c.Record()
	if err != nil {
		t.Fatal(err)
	}
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Chown))
	if ch := evidence(t, r, caps.Chown, usage.Granted, "chown"); ch.Path != "/tmp" || ch.Phase != usage.Steady || ch.Launch {
		t.Errorf("got %+v", ch)
	}
}

// TestCopyUp: overlayfs asks with the mounter's credentials (KERNEL.md 2.5).
func TestCopyUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  []string
		plain caps.Set // what the mounter is asked for
	}{
		{"by root", []string{tiny, "sh", "-c", "echo x >>/etc/passwd; chmod 600 /etc/group; echo y >/new"},
			caps.Of(caps.DacReadSearch, caps.SysAdmin)},
		// With the mounter's file system user id 0 it needs even more here.
		{"by the file's owner", []string{"--user", "33:4", "-v", filepath.Dir(program(t, "workload")) + ":/w:ro", services,
			"/w/workload", "append", "/var/log/nginx/error.log", "x"},
			caps.Of(caps.DacReadSearch, caps.SysAdmin, caps.Fowner, caps.Chown)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := create(t, append([]string{"--cap-drop", "all"}, c.args...)...).run()
			wantSet(t, "granted", r.All().Granted, 0)
			wantSet(t, "denied", r.All().Denied, 0)
			wantIn(t, "a plain trace", r.All().PlainOwn, c.plain.Caps()...)
			if t.Failed() {
				t.Log(asJSON(t, r.Checks))
			}
		})
	}
}

// TestLastSteps: what the runtime does after its last capset(2), with the
// container's own credentials, is the container's need: KERNEL.md EXP-7.
func TestLastSteps(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	capable(t, program(t, "exit"), filepath.Join(closed, "entry"), caps.FileCaps{})
	if err := os.Chown(closed, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	args := []string{"-v", dir + ":/srv", "--entrypoint", "/srv/closed/entry"}
	t.Run("starts", func(t *testing.T) {
		r := create(t, append(args, tiny)...).run()
		wantSet(t, "granted", r.All().Granted, caps.Of(caps.DacOverride))
		wantSet(t, "denied", r.All().Denied, caps.Of(caps.DacReadSearch))
		n := 0
		for _, c := range r.Checks {
			if !c.Launch {
				t.Errorf("not a check at launch: %+v", c)
			}
			if c.Verdict == usage.Granted && c.Path == "/srv/closed/entry" {
				n++
			}
		}
		if n == 0 {
			t.Errorf("no check of /srv/closed/entry: %s", asJSON(t, r.Checks))
		}
	})
	t.Run("does not start", func(t *testing.T) {
		c := create(t, append(append([]string{"--cap-drop", "DAC_OVERRIDE"}, args...), tiny)...)
		if err := exec.Command("docker", "start", c.id).Run(); err == nil {
			t.Error("the container started")
		}
		r := c.record()
		wantSet(t, "granted", r.All().Granted, 0)
		wantSet(t, "denied", r.All().Denied, caps.Of(caps.DacOverride, caps.DacReadSearch))
	})
}

// TestNoLaunch holds a limit: what enters the cgroup and never calls capset(2),
// as every container runtime and host.Launch do last, is taken for a runtime at
// work. Nothing of it is counted, and Launch is nil, which tells.
func TestNoLaunch(t *testing.T) {
	s := newScope(t, theProbe(t))
	self := program(t, "workload")
	f := file(t, filepath.Join(tempDir(t), "foreign"), 1000, 0o600)
	s.start(exec.Command(self, "cgroup", s.dir, ",", "exec", self, "chown", f, "33", "33")).ends()
	r := s.record()
	wantSet(t, "granted", r.All().Granted, 0)
	wantIn(t, "a plain trace", r.All().PlainAll, caps.Chown)
	if r.Launch != nil || r.ChecksSeen == 0 {
		t.Errorf("launch %+v, %d checks seen", r.Launch, r.ChecksSeen)
	}
}
