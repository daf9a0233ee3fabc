package probe_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

var netRaw = caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true}

// execOf is the one entry of an executable.
func execOf(t testing.TB, r *usage.Record, path string) usage.Exec {
	t.Helper()
	var found []usage.Exec
	for _, e := range r.Execs {
		if e.Path == path {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d entries for %s; all: %s", len(found), path, asJSON(t, r.Execs))
	}
	return found[0]
}

func wantCaps(t testing.TB, e usage.Exec, want caps.FileCaps) {
	t.Helper()
	if e.Caps == nil || e.Caps.Permitted != want.Permitted || e.Caps.Effective != want.Effective || e.Unknown != "" {
		t.Errorf("%s: got %v, %q; want %v", e.Path, e.Caps, e.Unknown, want)
	}
}

// TestFileCaps: execve(2) needs an executable's file capabilities without any
// check (security/commoncap.c bprm_caps_from_vfs_caps(), KERNEL.md 2.1).
func TestFileCaps(t *testing.T) {
	dir := tempDir(t)
	all := bounding(t)
	for _, c := range []struct {
		name   string
		caps   caps.FileCaps
		set    caps.Set
		direct bool // by the launcher, with nothing of the workload left to look through
		failed bool
	}{
		{"by the launcher", netRaw, all, true, false},
		{"by a child", netRaw, all, false, false},
		{"not effective", caps.FileCaps{Permitted: caps.Of(caps.NetRaw, caps.Kill)}, all.Without(caps.Kill), false, false},
		{"refused", netRaw, all.Without(caps.NetRaw), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			exe := capable(t, program(t, "exit"), filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")), c.caps)
			s := newScope(t, theProbe(t))
			var r *usage.Record
			if c.direct {
				s.launch(c.set, exe).ends()
				r = s.record()
			} else {
				w := s.steps(c.set, "fork", "{", "exec", exe, "}", ",", "say", "done", ",", "wait")
				w.hear()
				r = s.record()
				w.tell()
				if c.failed {
					w.ends("exec EPERM")
				} else {
					w.ends()
				}
			}
			wantSet(t, "granted", r.All().Granted, 0)
			wantSet(t, "denied", r.All().Denied, 0)
			e := execOf(t, r, exe)
			wantCaps(t, e, c.caps)
			if e.Failed != c.failed {
				t.Errorf("failed: got %t, want %t", e.Failed, c.failed)
			}
			if want := caps.Of(caps.NetRaw); c.caps.Effective && r.FileCaps() != want {
				t.Errorf("the record's file capabilities: got %v, want %v", r.FileCaps(), want)
			}
		})
	}
}

// TestFileCapsOfBrief: two hundred executables, each run once and for less than
// a millisecond; none may be unknown, also when all their processes are gone.
func TestFileCapsOfBrief(t *testing.T) {
	dir := tempDir(t)
	steps := []string{"runall"}
	for i := range 200 {
		steps = append(steps, capable(t, program(t, "exit"), filepath.Join(dir, fmt.Sprint("brief", i)), netRaw))
	}
	r := once(t, bounding(t), nil, steps...)
	for _, exe := range steps[1:] {
		wantCaps(t, execOf(t, r, exe), netRaw)
	}
}

// TestFileCapsOfSameInode: a file system gives a deleted file's inode to the
// next one.
func TestFileCapsOfSameInode(t *testing.T) {
	dir := tempDir(t)
	s := newScope(t, theProbe(t))
	first := capable(t, program(t, "exit"), filepath.Join(dir, "first"), caps.FileCaps{Permitted: caps.Of(caps.Kill)})
	second := filepath.Join(dir, "second")
	w := s.steps(bounding(t), "fork", "{", "exec", first, "}", ",", "say", "x", ",", "wait", ",", "fork", "{", "exec", second, "}")
	w.hear()
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	r := s.record()
	wantCaps(t, execOf(t, r, first), caps.FileCaps{Permitted: caps.Of(caps.Kill)})
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	capable(t, program(t, "exit"), second, netRaw)
	after, err := os.Stat(second)
	if err != nil {
		t.Fatal(err)
	}
	w.tell()
	w.ends()
	r, err = s.Record()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the same inode: %t", os.SameFile(before, after))
	wantCaps(t, execOf(t, r, second), netRaw)
}

// elsewhereVar is set where a test runs in a pid namespace of its own.
const elsewhereVar = "LEASTCAP_PROBE_TEST_ELSEWHERE"

// TestFileCapsElsewhere: in a pid namespace of its own (a container's) leastcap does not take
// the process that has there the number of the workload's for it.
func TestFileCapsElsewhere(t *testing.T) {
	if os.Getenv(elsewhereVar) == "" {
		theProbe(t)
		cmd := exec.Command("sh", "-c", `mount -t proc proc /proc && exec /proc/self/fd/3 "$@"`, "sh", "-test.run=^TestFileCapsElsewhere$", "-test.count=1")
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		defer self.Close()
		cmd.ExtraFiles, cmd.Env = []*os.File{self}, append(os.Environ(), elsewhereVar+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := tempDir(t)
	exe := capable(t, program(t, "exit"), filepath.Join(dir, "exe"), netRaw)
	other := filepath.Join(dir, "root") // where another file has the same name
	for name, from := range map[string]string{exe: program(t, "exit"), "/workload": program(t, "workload")} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(other, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(other, name), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// decoy starts a process there under a number, unless that is taken.
	decoy := func(number int) bool {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(number-1)), 0); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/workload", "wait")
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: other}
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = in.Close()
			_ = cmd.Wait() // when its input has ended
		})
		return cmd.Process.Pid == number
	}
	for try := 1; ; try++ {
		s := newScope(t, theProbe(t))
		w := s.steps(bounding(t), "setgid", "33", ",", "say", "x", ",", "wait", ",", "fork", "{", "exec", exe, "}", ",", "say", "x", ",", "wait")
		w.hear()
		number := evidence(t, s.record(), caps.Setgid, usage.Granted, "setgid").Process.PID
		there := decoy(number)
		w.tell()
		w.hear()
		wantCaps(t, execOf(t, s.record(), exe), netRaw)
		w.tell()
		w.ends()
		if there {
			return
		}
		// A new thread of this test's has the number, and keeps it.
		if try == 20 {
			t.Fatalf("no process could get the number %d, nor one of those before", number)
		}
	}
}

// TestCapset: capset(2) and the ambient set need what they set, and make no
// check for it (KERNEL.md 2.2).
func TestCapset(t *testing.T) {
	all := bounding(t)
	const (
		chown  = "0x1"
		netRaw = "0x2000"
		perf   = "0x4000000000" // beyond 32 bits
	)
	type row struct {
		call    string
		e, p, i caps.Set
		failed  bool
	}
	for _, c := range []struct {
		name   string
		set    caps.Set
		steps  []string
		failed []string
		want   []row
		sets   usage.Sets
	}{
		{"version 3", all, []string{"capset", "3", netRaw, "0x4000002001", chown}, nil,
			[]row{{"capset", caps.Of(caps.NetRaw), caps.Of(caps.Chown, caps.NetRaw, caps.Perfmon), caps.Of(caps.Chown), false}},
			usage.Sets{Capset: caps.Of(caps.Chown, caps.NetRaw, caps.Perfmon)}},
		{"version 2", all, []string{"capset", "2", perf, perf, "0"}, nil,
			[]row{{"capset", caps.Of(caps.Perfmon), caps.Of(caps.Perfmon), 0, false}}, usage.Sets{Capset: caps.Of(caps.Perfmon)}},
		{"version 1 has 32 bits", all, []string{"capset", "1", perf, "0x4000000001", "0"}, nil,
			[]row{{"capset", 0, caps.Of(caps.Chown), 0, false}}, usage.Sets{Capset: caps.Of(caps.Chown)}},
		{"failed", all.Without(caps.NetRaw), []string{"capset", "3", netRaw, netRaw, "0"}, []string{"capset EPERM"},
			[]row{{"capset", caps.Of(caps.NetRaw), caps.Of(caps.NetRaw), 0, true}}, usage.Sets{CapsetFailed: caps.Of(caps.NetRaw)}},
		{"each once", all, []string{"capset", "3", chown, chown, "0", ",", "capset", "3", chown, chown, "0", ",", "capset", "3", "0", chown, "0"}, nil,
			[]row{{"capset", caps.Of(caps.Chown), caps.Of(caps.Chown), 0, false}, {"capset", 0, caps.Of(caps.Chown), 0, false}},
			usage.Sets{Capset: caps.Of(caps.Chown)}},
		{"ambient", all, []string{"capset", "3", netRaw, netRaw, netRaw, ",", "ambient", "13", ",", "ambient", "0"}, []string{"ambient EPERM"},
			[]row{
				{"capset", caps.Of(caps.NetRaw), caps.Of(caps.NetRaw), caps.Of(caps.NetRaw), false},
				{"ambient_raise", 0, caps.Of(caps.NetRaw), caps.Of(caps.NetRaw), false},
				{"ambient_raise", 0, caps.Of(caps.Chown), caps.Of(caps.Chown), true},
			},
			usage.Sets{Capset: caps.Of(caps.NetRaw), Ambient: caps.Of(caps.NetRaw), AmbientFail: caps.Of(caps.Chown)}},
		{"bounding", all, []string{"dropbound", "0", ",", "dropbound", "40"}, nil, nil,
			usage.Sets{BoundDropped: caps.Of(caps.Chown, caps.CheckpointRestore)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := once(t, c.set, c.failed, c.steps...)
			var got []row
			for _, s := range r.Capsets {
				got = append(got, row{s.Call, s.Effective, s.Permitted, s.Inheritable, s.Failed})
				if s.Process.Exe != program(t, "workload") || s.Count == 0 {
					t.Errorf("got %+v", s)
				}
			}
			for _, w := range c.want {
				if !slices.Contains(got, w) {
					t.Errorf("%+v is missing", w)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			all := r.All()
			wantSet(t, "capset", all.Capset, c.sets.Capset)
			wantSet(t, "capset failed", all.CapsetFailed, c.sets.CapsetFailed)
			wantSet(t, "ambient", all.Ambient, c.sets.Ambient)
			wantSet(t, "ambient failed", all.AmbientFail, c.sets.AmbientFail)
			wantSet(t, "bounding dropped", all.BoundDropped, c.sets.BoundDropped)
		})
	}
}

// TestPorts: under Docker's sysctls a port below 1024 and a ping socket need
// nothing, elsewhere they do (KERNEL.md 2.4), so they are noted.
func TestPorts(t *testing.T) {
	t.Parallel()
	c := create(t, "--cap-drop", "all", "--user", "1000", "-v", filepath.Dir(program(t, "workload"))+":/w:ro", tiny,
		"/w/workload", "comm", "server", ",", "bind", "tcp", "80", ",", "bind", "tcp", "8080", ",", "bind", "udp", "53", ",", "ping")
	r := c.run()
	wantSet(t, "granted", r.All().Granted, 0)
	wantSet(t, "denied", r.All().Denied, 0)
	var got []string
	for _, p := range r.Ports {
		got = append(got, p.String())
		if p.Comm != "server" {
			t.Errorf("port %+v: want it by server", p)
		}
	}
	slices.Sort(got)
	if want := []string{"53/udp", "80/tcp", "ping"}; !slices.Equal(got, want) {
		t.Errorf("ports: got %v, want %v", got, want)
	}
	if want := (usage.Sysctls{UnprivilegedPortStart: 0, PingGroupRange: [2]uint32{0, 2147483647}}); r.Sysctls == nil || *r.Sysctls != want {
		t.Errorf("sysctls: got %+v, want %+v", r.Sysctls, want)
	}
}

// TestPortsOfHost: the host's sysctls are the kernel's defaults.
func TestPortsOfHost(t *testing.T) {
	r := once(t, bounding(t), nil, "bind", "udp", "817", ",", "setgid", "33")
	if len(r.Ports) != 1 || r.Ports[0].String() != "817/udp" {
		t.Errorf("ports: got %v", r.Ports)
	}
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		t.Fatal(err)
	}
	if r.Sysctls == nil || fmt.Sprintln(r.Sysctls.UnprivilegedPortStart) != string(data) {
		t.Errorf("sysctls: got %+v, want the port start %s", r.Sysctls, data)
	}
}

// TestFileCapsInContainer: also by `docker exec`, in a container whose own
// processes are others.
func TestFileCapsInContainer(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	capable(t, program(t, "exit"), filepath.Join(dir, "first"), netRaw)
	capable(t, program(t, "exit"), filepath.Join(dir, "second"), netRaw)
	c := create(t, "-v", dir+":/srv", tiny, "sh", "-c", "/srv/first; exec sleep 1000")
	docker(t, "start", c.id)
	docker(t, "exec", c.id, "/srv/second")
	until(t, "the first was executed", func() bool {
		r, err := c.Record()
		return err == nil && slices.ContainsFunc(r.Execs, func(e usage.Exec) bool { return e.Path == "/srv/first" })
	})
	r := c.record()
	wantCaps(t, execOf(t, r, "/srv/first"), netRaw)
	wantCaps(t, execOf(t, r, "/srv/second"), netRaw)
	wantSet(t, "granted", r.All().Granted, 0)

	// Debian's ping, without net_raw: the exec is refused.
	c = create(t, "--cap-drop", "net_raw", services, "sh", "-c", "ping -c 1 127.0.0.1; exec sleep 1000")
	docker(t, "start", c.id)
	until(t, "ping was refused", func() bool {
		r, err := c.Record()
		return err == nil && slices.ContainsFunc(r.Execs, func(e usage.Exec) bool { return e.Failed })
	})
	r = c.record()
	ping := execOf(t, r, "/usr/bin/ping")
	wantCaps(t, ping, netRaw)
	if !ping.Failed || r.FileCaps() != caps.Of(caps.NetRaw) {
		t.Errorf("got %+v", ping)
	}
}

// TestIdentityInContainer: what Docker was told is what the kernel shows, and
// paths are the container's own, also across a mount.
func TestIdentityInContainer(t *testing.T) {
	t.Parallel()
	c := create(t, "--security-opt", "no-new-privileges", "--user", "33:34", "--group-add", "44",
		"-v", filepath.Dir(program(t, "workload"))+":/w/x:ro", tiny, "/w/x/workload", "chdir", "/w", ",", "chown", "x/../../etc/passwd", "33", "33")
	r := c.run()
	want := usage.Identity{
		Exe: "/w/x/workload", UIDs: usage.IDs{33, 33, 33, 33}, GIDs: usage.IDs{34, 34, 34, 34}, Groups: []uint32{34, 44},
		NoNewPrivs: true, Seccomp: 2, Root: "/",
	}
	if len(r.Identities) != 1 || r.Identities[0].Key() != want.Key() {
		t.Errorf("got %s, want %s", asJSON(t, r.Identities), want.Key())
	}
	wantSet(t, "granted", r.All().Granted, 0)
	wantSet(t, "denied", r.All().Denied, caps.Of(caps.Chown))
	if len(r.Checks) != 1 || r.Checks[0].Path != "/etc/passwd" || r.Checks[0].Errno != "EPERM" {
		t.Errorf("got %s", asJSON(t, r.Checks))
	}
}
