package probe_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// TestCounted runs steps with a bounding set and compares the masks.
func TestCounted(t *testing.T) {
	p := theProbe(t)
	all := bounding(t)
	none := []string(nil)
	dir := tempDir(t)
	own := file(t, filepath.Join(dir, "own"), 0, 0o600)
	foreign := file(t, filepath.Join(dir, "foreign"), 1000, 0o600)
	closed := foreignDir(t)
	for _, c := range []struct {
		name            string
		set             caps.Set
		steps           []string
		failed          []string
		granted, denied caps.Set
	}{
		// The runtime's set-up (here: host.Launch's) asks for setpcap and more,
		// and is no need of what it starts: KERNEL.md 2.9.
		{"nothing", all, []string{"getpid"}, none, 0, 0},

		// fs/attr.c chown_ok()
		{"chown", all, []string{"chown", foreign, "1000", "1000"}, none, caps.Of(caps.Chown), 0},
		{"chown, without", all.Without(caps.Chown), []string{"chown", foreign, "33", "33"}, []string{"chown EPERM"}, 0, caps.Of(caps.Chown)},

		// kernel/sys.c __sys_setuid(), __sys_setgid(); kernel/groups.c may_setgroups():
		// all ask first, whatever the ids are (KERNEL.md 1.9).
		{"setuid", all, []string{"setuid", "33"}, none, caps.Of(caps.Setuid), 0},
		{"setgid", all, []string{"setgid", "33"}, none, caps.Of(caps.Setgid), 0},
		{"setgroups", all, []string{"setgroups", "4", "5"}, none, caps.Of(caps.Setgid), 0},
		{"ids, without", all.Without(caps.Setuid, caps.Setgid), []string{"setuid", "33", ",", "setgid", "33", ",", "setgroups"},
			[]string{"setuid EPERM", "setgid EPERM", "setgroups EPERM"}, 0, caps.Of(caps.Setuid, caps.Setgid)},
		// kernel/sys.c __sys_setresuid(): since 6.1 it asks only for an id that is new.
		{"own ids again", all, []string{"setresuid", "0", "0", "0", ",", "setresgid", "0", "0", "0"}, none, 0, 0},

		// net/ipv4/af_inet.c __inet_bind(): the host's ip_unprivileged_port_start is 1024.
		{"bind", all, []string{"bind", "tcp", "817"}, none, caps.Of(caps.NetBindService), 0},
		{"bind, without", all.Without(caps.NetBindService), []string{"bind", "tcp", "817"}, []string{"bind EACCES"}, 0, caps.Of(caps.NetBindService)},
		{"bind above", all, []string{"bind", "tcp", "18731"}, none, 0, 0},

		// fs/namei.c generic_permission(): the weaker one is asked first (KERNEL.md 1.8).
		{"search", all, []string{"open", closed}, none, caps.Of(caps.DacReadSearch), 0},
		{"search, the stronger one", all.Without(caps.DacReadSearch), []string{"open", closed}, none,
			caps.Of(caps.DacOverride), caps.Of(caps.DacReadSearch)},
		{"search, neither", all.Without(caps.DacReadSearch, caps.DacOverride), []string{"open", closed}, []string{"open EACCES"},
			0, caps.Of(caps.DacReadSearch, caps.DacOverride)},
		{"read", all, []string{"open", foreign}, none, caps.Of(caps.DacReadSearch), 0},
		{"read one's own", all, []string{"open", own}, none, 0, 0},

		// fs/open.c access_override_creds(): root's own set is asked, without a copy
		// of the credentials or with one that is the same (KERNEL.md 2.6).
		{"access as root", all, []string{"access", closed}, none, caps.Of(caps.DacReadSearch), 0},
		// Judged with the real ids and no capability.
		{"access by another real id", all, []string{"setresuid", "33", "0", "0", ",", "access", closed}, []string{"access EACCES"},
			caps.Of(caps.Setuid), caps.Of(caps.DacReadSearch, caps.DacOverride)},
		{"access with AT_EACCESS", all, []string{"setresuid", "33", "0", "0", ",", "eaccess", closed}, none,
			caps.Of(caps.Setuid, caps.DacReadSearch), 0},

		// security/commoncap.c cap_inh_is_capped(): asked at every capset, and the
		// answer matters only where inheritable grows beyond what is permitted.
		{"capset", all, []string{"capset", "3", "1", "1", "0"}, none, 0, 0},
		{"capset, version 1", all, []string{"capset", "1", "1", "1", "0"}, none, 0, 0},
		{"capset, inheritable from permitted", all, []string{"capset", "3", "1", "1", "1"}, none, 0, 0},
		{"capset, inheritable from bounding", all, []string{"capset", "3", "0x100", "0x100", "0", ",", "capset", "3", "0x100", "0x100", "0x2000"}, none,
			caps.Of(caps.Setpcap), 0},
		{"capset, inheritable from bounding, without", all, []string{"capset", "3", "0", "0", "0", ",", "capset", "3", "0", "0", "0x2000"},
			[]string{"capset EPERM"}, 0, caps.Of(caps.Setpcap)},
		{"bounding set", all, []string{"dropbound", "13"}, none, caps.Of(caps.Setpcap), 0},

		// kernel/seccomp.c seccomp_prepare_filter(): NOAUDIT and needed all the same (KERNEL.md 1.6).
		{"seccomp", all, []string{"seccomp"}, none, caps.Of(caps.SysAdmin), 0},
		{"seccomp, without", all.Without(caps.SysAdmin), []string{"seccomp"}, []string{"seccomp EACCES"}, 0, caps.Of(caps.SysAdmin)},
		{"seccomp after no_new_privs", all.Without(caps.SysAdmin), []string{"nnp", ",", "seccomp"}, none, 0, 0},

		// What clones of the workload do is the workload's.
		{"child", all, []string{"fork", "{", "setgid", "33", "}"}, none, caps.Of(caps.Setgid), 0},
		{"vfork", all, []string{"vfork", "{", "setgid", "33", "}"}, none, caps.Of(caps.Setgid), 0},
		{"thread", all, []string{"thread", "{", "setgid", "33", "}"}, none, caps.Of(caps.Setgid), 0},

		// io_uring's workers are threads of the process (io_uring/io-wq.c
		// create_io_thread()) that are in no system call; io_uring_setup(2) asks
		// for ipc_lock.
		{"io_uring", all, []string{"uring-open", closed}, none, caps.Of(caps.IpcLock, caps.DacReadSearch), 0},
		{"io_uring, without", all.Without(caps.IpcLock, caps.DacReadSearch, caps.DacOverride), []string{"uring-open", closed},
			[]string{"uring-open EACCES"}, 0, caps.Of(caps.IpcLock, caps.DacReadSearch, caps.DacOverride)},

		// A name proves nothing: ARCHITECTURE.md, invariants.
		{"named like the runtime", all, []string{"comm", "runc:[2:INIT]", ",", "setgid", "33"}, none, caps.Of(caps.Setgid), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScope(t, p)
			s.steps(c.set, c.steps...).ends(c.failed...)
			r := s.record()
			sets := r.All()
			wantSet(t, "granted", sets.Granted, c.granted)
			wantSet(t, "denied", sets.Denied, c.denied)
			wantSet(t, "beyond", sets.Beyond, 0)
			if t.Failed() {
				t.Log(asJSON(t, r.Checks))
			}
			if r.Launch == nil || r.Launch.Bounding != c.set || r.Launch.Effective != c.set {
				t.Errorf("launch: got %+v, want %v bounding and effective", r.Launch, c.set)
			}
			for _, check := range r.Checks {
				if check.Function == "" {
					t.Errorf("no kernel function for %+v", check)
				}
			}
		})
	}
}

func sinceBoot(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// TestEvidence holds what is known of a check beside its capability.
func TestEvidence(t *testing.T) {
	dir := tempDir(t)
	f := file(t, filepath.Join(dir, "foreign"), 1000, 0o600)
	asker := regexp.MustCompile(`^(chown_ok|chgrp_ok|setattr_prepare)$`)
	for _, c := range []struct {
		name, syscall string
		steps         []string
		call          string
	}{
		{"absolute", "fchownat", []string{"chown", f, "33", "34"}, `fchownat("` + f + `", 33, 34)`},
		{"relative to the working directory", "fchownat", []string{"chdir", dir, ",", "chown", "foreign", "33", "34"}, `fchownat("` + f + `", 33, 34)`},
		{"relative to a directory", "fchownat", []string{"chownat", dir, "../" + filepath.Base(dir) + "/foreign", "33", "34"}, `fchownat("` + f + `", 33, 34)`},
		{"chown(2)", "chown", []string{"chdir", filepath.Dir(dir), ",", "oldchown", filepath.Base(dir) + "/foreign", "33", "34"}, `chown("` + f + `", 33, 34)`},
		{"by descriptor", "fchown", []string{"fchown", f, "33", "34"}, `fchown("` + f + `", 33, 34)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.syscall == "chown" && runtime.GOARCH != "amd64" {
				t.Skip("this architecture has no such system call")
			}
			s := newScope(t, theProbe(t))
			steps := append([]string{"comm", "changer", ",", "setresgid", "0", "5", "0", ",", "setresuid", "0", "0", "7", ","}, c.steps...)
			before := sinceBoot(t)
			w := s.steps(bounding(t), steps...)
			w.ends()
			got := evidence(t, s.record(), caps.Chown, usage.Granted, c.syscall)
			if got.Since <= before || got.Since >= sinceBoot(t) {
				t.Errorf("since %v, began %v", got.Since, before)
			}
			want := usage.Check{
				Cap: caps.Chown, Verdict: usage.Granted, Phase: usage.Start, Syscall: c.syscall, Call: c.call, Path: f,
				Function: got.Function, Count: got.Count, Since: got.Since,
				Process: usage.Process{
					PID: w.cmd.Process.Pid, ParentPID: os.Getpid(), Comm: "changer", Exe: program(t, "workload"),
					UID: 0, EUID: 0, GID: 0, EGID: 5,
				},
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if !asker.MatchString(got.Function) || got.Count == 0 {
				t.Errorf("kernel function %q, count %d", got.Function, got.Count)
			}
		})
	}
}

// TestDenied: what a denied check's system call returned is known.
func TestDenied(t *testing.T) {
	f := file(t, filepath.Join(tempDir(t), "foreign"), 1000, 0o600)
	all := bounding(t)
	r := once(t, all.Without(caps.Chown), []string{"chown EPERM"}, "chown", f, "33", "33")
	got := evidence(t, r, caps.Chown, usage.Denied, "fchownat")
	if got.Errno != "EPERM" || got.Failed != 1 || got.Count != 1 || got.Path != f {
		t.Errorf("got %+v; want EPERM, failed 1 of 1", got)
	}
	// Denied and yet successful: without ipc_lock the ring's memory is only
	// accounted (io_uring/io_uring.c, KERNEL.md 1.6).
	r = once(t, all.Without(caps.IpcLock, caps.DacReadSearch), nil, "uring-open", f)
	got = evidence(t, r, caps.IpcLock, usage.Denied, "io_uring_setup")
	if got.Errno != "" || got.Failed != 0 {
		t.Errorf("got %+v; want a denial without an error", got)
	}
	// Each check that a call is denied has its result, not only the last.
	closed := foreignDir(t)
	r = once(t, all.Without(caps.DacOverride, caps.DacReadSearch), []string{"open EACCES"}, "open", closed)
	for _, c := range []caps.Cap{caps.DacReadSearch, caps.DacOverride} {
		if got := evidence(t, r, c, usage.Denied, "openat"); got.Errno != "EACCES" || got.Failed != 1 {
			t.Errorf("got %+v; want EACCES", got)
		}
	}
	// Outside any system call there is no result.
	r = once(t, all.Without(caps.DacReadSearch, caps.DacOverride), []string{"uring-open EACCES"}, "uring-open", f)
	got = evidence(t, r, caps.DacOverride, usage.Denied, "")
	if got.Call != "" || got.Path != "" || got.Errno != "" || got.Failed != 0 || got.Process.Exe != program(t, "workload") {
		t.Errorf("got %+v; want no system call", got)
	}
}

// TestBeyond: a container in a user namespace of its own cannot be given what
// the kernel asks of the initial one (KERNEL.md 2.7, cap_capable() rule 2).
func TestBeyond(t *testing.T) {
	s := newScope(t, theProbe(t))
	all := bounding(t)
	cmd := s.launcher(all, program(t, "workload"), "sethostname", "x", ",", "setgid", "0")
	// The launcher is in the new namespace, as runc is at its last steps.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
		GidMappingsEnableSetgroups: true,
	}
	s.start(cmd).ends("sethostname EPERM")
	r := s.record()
	sets := r.All()
	wantSet(t, "granted", sets.Granted, caps.Of(caps.Setgid))
	wantSet(t, "denied", sets.Denied, 0)
	wantSet(t, "beyond", sets.Beyond, caps.Of(caps.SysAdmin))
	if c := evidence(t, r, caps.SysAdmin, usage.Denied, "sethostname"); !c.Beyond || c.Errno != "EPERM" {
		t.Errorf("got %+v; want it beyond", c)
	}
}

// TestPhases: a phase begins for all of the workload's cgroups, and one that
// it makes later is in the phase of that moment.
func TestPhases(t *testing.T) {
	s := newScope(t, theProbe(t))
	child := filepath.Join(s.dir, "child")
	w := s.steps(bounding(t),
		"setgid", "33", ",", "say", "started", ",", "wait", ",",
		"setuid", "0", ",", "mkdir", child, ",", "cgroup", child, ",", "setgroups", ",", "say", "moved", ",", "wait", ",",
		"bind", "tcp", "817", ",", "fork", "{", "dropbound", "13", "}")
	phase := func(p usage.Phase) {
		t.Helper()
		w.hear()
		if err := s.SetPhase(p); err != nil {
			t.Fatal(err)
		}
		w.tell()
	}
	phase(usage.Steady)
	phase(usage.Stop)
	w.ends()
	r := s.record()
	for p, want := range map[usage.Phase]caps.Set{
		usage.Start:  caps.Of(caps.Setgid),
		usage.Steady: caps.Of(caps.Setuid, caps.Setgid),
		usage.Stop:   caps.Of(caps.NetBindService, caps.Setpcap),
	} {
		wantSet(t, "granted in the phase "+string(p), r.Sets[p].Granted, want)
	}
	wantSet(t, "bounding set dropped at the end", r.Sets[usage.Stop].BoundDropped, caps.Of(caps.NetRaw))
	// The child cgroup's process runs what was executed in the outer one.
	if c := evidence(t, r, caps.Setgid, usage.Granted, "setgroups"); c.Process.Exe != program(t, "workload") || c.Phase != usage.Steady {
		t.Errorf("got %+v; want it in the phase steady, by %s", c, program(t, "workload"))
	}
	if len(r.Ports) != 1 || r.Ports[0].String() != "817/tcp" {
		t.Errorf("ports: got %v, want 817/tcp", r.Ports)
	}
	for _, i := range r.Identities {
		if i.Exe != program(t, "workload") {
			t.Errorf("identity of an unknown executable: %v", i)
		}
	}
}

// TestThreads: credentials are a thread's own (credentials(7), KERNEL.md 2.8).
func TestThreads(t *testing.T) {
	dir := tempDir(t)
	f := file(t, filepath.Join(dir, "foreign"), 1000, 0o600)
	s := newScope(t, theProbe(t))
	s.steps(bounding(t),
		"thread", "{", "comm", "weak", ",", "capset", "3", "0", "0", "0", ",", "chown", f, "33", "33", "}", ",",
		"comm", "strong", ",", "chown", f, "34", "34").ends("chown EPERM")
	r := s.record()
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Chown))
	wantSet(t, "denied", r.All().Denied, caps.Of(caps.Chown))
	denied := evidence(t, r, caps.Chown, usage.Denied, "fchownat")
	granted := evidence(t, r, caps.Chown, usage.Granted, "fchownat")
	if denied.Process.Comm != "weak" || denied.Count != 1 || denied.Failed != 1 || denied.Errno != "EPERM" {
		t.Errorf("denied: got %+v", denied)
	}
	if granted.Process.Comm != "strong" || denied.Process.PID != granted.Process.PID {
		t.Errorf("granted: got %+v", granted)
	}
}

// TestExecByThread: a thread that executes takes its process's id, and the
// tracepoint's old_pid is its own (fs/exec.c de_thread(), begin_new_exec()).
func TestExecByThread(t *testing.T) {
	self, closed := program(t, "workload"), foreignDir(t)
	s := newScope(t, theProbe(t))
	w := s.steps(bounding(t), "setgid", "33", ",",
		"thread", "{", "comm", "second", ",", "exec", self, "say", "here", ",", "wait", ",", "open", closed, ",", "fork", "{", "setuid", "33", "}", "}")
	w.hear()
	w.tell()
	w.ends()
	r := s.record()
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Setgid, caps.DacReadSearch, caps.Setuid))
	c := evidence(t, r, caps.DacReadSearch, usage.Granted, "openat")
	if c.Process.PID != w.cmd.Process.Pid || c.Process.Exe != self {
		t.Errorf("got %+v, want process %d", c, w.cmd.Process.Pid)
	}
	for _, i := range r.Identities {
		if i.Exe != self {
			t.Errorf("identity of an unknown executable: %v", i)
		}
	}
}

// TestCompat: the 32-bit table's numbers mean other calls (here 212 is chown32;
// in the 64-bit table it is another), and must not be read as those.
func TestCompat(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("int $0x80 is x86's")
	}
	f := file(t, filepath.Join(tempDir(t), "foreign"), 1000, 0o600)
	r := once(t, bounding(t), nil, "chown32", f, "33", "33")
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Chown))
	if c := evidence(t, r, caps.Chown, usage.Granted, "syscall_212 (32-bit)"); c.Path != "" || c.Call != "" || c.Function == "" {
		t.Errorf("got %+v; want no arguments", c)
	}
	r = once(t, bounding(t).Without(caps.Chown), []string{"chown32 EPERM"}, "chown32", f, "33", "33")
	if c := evidence(t, r, caps.Chown, usage.Denied, "syscall_212 (32-bit)"); c.Errno != "EPERM" || c.Failed != 1 {
		t.Errorf("got %+v; want EPERM", c)
	}
	// The same number and capability in both tables: each has its own evidence.
	dir := filepath.Dir(foreignDir(t))
	r = once(t, bounding(t), nil, "mkdir", filepath.Join(dir, "d"), ",", "symlink32", filepath.Join(dir, "l"))
	if c := evidence(t, r, caps.DacOverride, usage.Granted, "mkdir"); c.Path != filepath.Join(dir, "d") || c.Count != 1 {
		t.Errorf("got %+v; want the directory", c)
	}
	if c := evidence(t, r, caps.DacOverride, usage.Granted, "syscall_83 (32-bit)"); c.Path != "" || c.Call != "" || c.Count != 1 {
		t.Errorf("got %+v; want no arguments", c)
	}
}

// TestOddNames: names are bytes to the kernel, and text in a record.
func TestOddNames(t *testing.T) {
	dir := filepath.Join(tempDir(t), "a\xff\nb")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f := file(t, filepath.Join(dir, "c\xc3\n"), 1000, 0o600)
	exe := capable(t, program(t, "workload"), filepath.Join(dir, "prog\xfe\t"), caps.FileCaps{})
	long := filepath.Join(dir, strings.Repeat("long", 40)) // beyond what is kept of one component
	if err := os.Mkdir(long, 0o755); err != nil {
		t.Fatal(err)
	}
	file(t, filepath.Join(long, "f"), 1000, 0o600)
	s := newScope(t, theProbe(t))
	script := filepath.Join(tempDir(t), "script")
	words := []string{"fork", "{", "exec", exe, "setuid", "0", "}", ",",
		"comm", "\xff\n\x1b[31m\xf0\x9f", ",", "chdir", dir, ",", "chown", filepath.Base(f), "33", "33", ",",
		"chroot", dir, ",", "fork", "{", "setgid", "33", "}", ",", "chdir", "/" + filepath.Base(long), ",", "chown", "f", "33", "33", ""}
	if err := os.WriteFile(script, []byte(strings.Join(words, "\x00")), 0o644); err != nil {
		t.Fatal(err)
	}
	s.steps(bounding(t), "script", script).ends()
	r := s.record()
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Chown, caps.SysChroot, caps.Setgid, caps.Setuid))
	b, err := json.Marshal(r)
	if err != nil || !utf8.Valid(b) {
		t.Fatalf("the record is not JSON: %v", err)
	}
	var back usage.Record
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&back)
	if err != nil || string(again) != string(b) {
		t.Errorf("%v: reading the JSON back changed\n%s to\n%s", err, b, again)
	}
	c := evidence(t, r, caps.Chown, usage.Granted, "fchownat")
	if want := strings.ToValidUTF8(f, "\uFFFD"); c.Path != want {
		t.Errorf("path: got %q, want %q", c.Path, want)
	}
	for _, s := range []string{c.Path, c.Call, c.Process.Comm, c.Process.Exe} {
		if !utf8.ValidString(s) {
			t.Errorf("%q is not text", s)
		}
	}
}

// TestIdentities: a process that lives for a millisecond is seen, as it was at
// its exit, and what it executed as it was then.
func TestIdentities(t *testing.T) {
	root, exe := tempDir(t), program(t, "workload")
	brief := program(t, "exit")
	s := newScope(t, theProbe(t))
	s.steps(bounding(t),
		"fork", "{", "setgroups", "4", "70000", ",", "setresgid", "33", "34", "35", ",", "setresuid", "33", "33", "33", "}", ",",
		"fork", "{", "nnp", ",", "seccomp", ",", "chroot", root, ",", "chdir", "/", "}", ",",
		"fork", "{", "setgid", "7", ",", "exec", brief, "}").ends()
	r := s.record()
	groups := supplementary(t)
	same := func(n uint32) usage.IDs { return usage.IDs{n, n, n, n} }
	for _, want := range []usage.Identity{
		{Exe: exe, Groups: groups, Root: "/"},
		{Exe: exe, UIDs: same(33), GIDs: usage.IDs{33, 34, 35, 34}, Groups: []uint32{4, 70000}, Root: "/"},
		{Exe: exe, Groups: groups, NoNewPrivs: true, Seccomp: unix.SECCOMP_MODE_FILTER, Root: root},
		{Exe: brief, GIDs: same(7), Groups: groups, Root: "/"},
	} {
		if _, ok := r.IdentitySet()[want.Key()]; !ok {
			t.Errorf("no identity %s", want.Key())
		}
	}
	live, err := s.Identities()
	if err != nil || len(live) != len(r.Identities) {
		t.Errorf("Identities gives %v, %v; the record has %v", live, err, r.Identities)
	}
	if t.Failed() {
		t.Log(asJSON(t, r.Identities))
	}
}

func supplementary(t *testing.T) []uint32 {
	t.Helper()
	list, err := unix.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	groups := []uint32{}
	for _, g := range list {
		groups = append(groups, uint32(g))
	}
	slices.Sort(groups)
	return groups
}

// TestChildCgroup: what the workload puts into a cgroup that it made itself is
// still its own, also when the process moves back.
func TestChildCgroup(t *testing.T) {
	s := newScope(t, theProbe(t))
	a, b := filepath.Join(s.dir, "a"), filepath.Join(s.dir, "a", "b")
	s.steps(bounding(t), "mkdir", a, ",", "mkdir", b, ",",
		"fork", "{", "cgroup", b, ",", "setgid", "33", ",", "fork", "{", "setuid", "33", "}", ",", "cgroup", s.dir, ",", "dropbound", "13", "}").ends()
	wantSet(t, "granted", s.record().All().Granted, caps.Of(caps.Setgid, caps.Setuid, caps.Setpcap))
}
