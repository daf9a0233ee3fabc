package probe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
)

const kallsyms = `0000000000000000 A hidden
ffffffff81000300 T __pfx_capable
ffffffff81000310 T capable
ffffffff81000100 t chown_ok.isra.0
ffffffff81000200 T setattr_prepare
ffffffff81000280 T same_a
ffffffff81000280 T same_b
ffffffff81000400 T cap_capable
ffffffff81000500 W weak
ffffffff82000000 D jiffies
ffffffff82000008 d __preempt_count
ffffffff82000010 B __per_cpu_offset
ffffffffc0000000 t ovl_open	[overlay]
ffffffffc0000100 r ovl_data	[overlay]

nonsense
zz T bad
`

func symbolsOf(t *testing.T, text string) *symbols {
	t.Helper()
	s, err := parseSymbols(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseSymbols(t *testing.T) {
	s := symbolsOf(t, kallsyms)
	for _, c := range []struct {
		addr uint64
		want string
	}{
		{0, ""}, {0xffffffff810000ff, ""}, {0xffffffff81000100, "chown_ok.isra.0"}, {0xffffffff810001ff, "chown_ok.isra.0"},
		{0xffffffff81000200, "setattr_prepare"}, {0xffffffff81000555, "weak"}, {0xffffffffc0000010, "ovl_open"},
	} {
		if got := s.at(c.addr); got != c.want {
			t.Errorf("%#x: got %q, want %q", c.addr, got, c.want)
		}
	}
	if s.data["__per_cpu_offset"] != 0xffffffff82000010 || s.data["__preempt_count"] != 0xffffffff82000008 || s.data["jiffies"] != 0 {
		t.Errorf("data: %x", s.data)
	}
	hidden := symbolsOf(t, "0000000000000000 T capable\n0000000000000000 D __per_cpu_offset\n")
	if len(hidden.text) > 0 || len(hidden.data) > 0 || hidden.at(5) != "" || hidden.asker([]uint64{1, 2}) != "" {
		t.Errorf("hidden addresses gave %+v", hidden)
	}
	if _, err := parseSymbols(strings.NewReader(strings.Repeat("x", 2<<20))); err == nil {
		t.Error("an endless line: want an error")
	}
}

func TestSpan(t *testing.T) {
	s := symbolsOf(t, kallsyms)
	for _, c := range []struct {
		name     string
		from, to uint64
		ok       bool
	}{
		{"capable", 0xffffffff81000310, 0xffffffff81000400, true},
		{"same_a", 0xffffffff81000280, 0xffffffff81000300, true}, // two names for one address
		{"same_b", 0xffffffff81000280, 0xffffffff81000300, true},
		{"ovl_open", 0, 0, false}, // nothing behind it: its end is unknown
		{"absent", 0, 0, false},
	} {
		from, to, ok := s.span(c.name)
		if from != c.from || to != c.to || ok != c.ok {
			t.Errorf("%s: got %#x, %#x, %t; want %#x, %#x, %t", c.name, from, to, ok, c.from, c.to, c.ok)
		}
	}
}

func TestAsker(t *testing.T) {
	s := symbolsOf(t, kallsyms)
	const (
		program = 0x10 // a BPF program's own frames have no names
		capCap  = 0xffffffff81000410
		capable = 0xffffffff81000320
		chownOk = 0xffffffff81000150
		prepare = 0xffffffff81000210
	)
	for _, c := range []struct {
		name  string
		stack []uint64
		want  string
	}{
		{"empty", nil, ""},
		{"through the wrappers", []uint64{program, capCap, capable, chownOk, prepare}, "chown_ok"},
		{"no wrapper", []uint64{chownOk, prepare}, ""},
		{"ends", []uint64{capCap, 0, chownOk}, ""},
		{"only wrappers", []uint64{capCap, capable}, ""},
		// A call that is a function's last instruction returns to the next's first.
		{"at the end of a function", []uint64{capCap, 0xffffffff81000200}, "chown_ok"},
	} {
		if got := s.asker(c.stack); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// walk is what the kernel side makes of names, leaf first.
func walk(truncated bool, leafFirst ...string) (w bpfWalk) {
	for _, name := range leafFirst {
		w.Len += uint32(copy(w.Names[w.Len:], name+"\x00"))
	}
	if truncated {
		w.Truncated = 1
	}
	return w
}

func TestWalkString(t *testing.T) {
	long := strings.Repeat("x", 255) // as long as a name may be
	for _, c := range []struct {
		w    bpfWalk
		want string
	}{
		{walk(false), "/"},
		{walk(false, "sh", "bin"), "/bin/sh"},
		{walk(false, "", ""), "/"},
		{walk(true, "c", "b"), "/…/b/c"},
		{walk(false, "memfd:storm"), "memfd:storm"},
		{walk(false, "socket:[7]"), "socket:[7]"},
		{walk(false, "memfd:storm", "d"), "/d/memfd:storm"},
		{walk(false, "a\xffb\n", "d"), "/d/a\uFFFDb\n"},
		{walk(false, long, long), "/" + long + "/" + long},
		{bpfWalk{Len: 1 << 30}, "/"},
	} {
		if got := walkString(c.w); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := walkPath(walk(false, "a\xff")); got != "/a\xff" {
		t.Errorf("the path to open: got %q", got)
	}
}

func TestEvidencePath(t *testing.T) {
	for _, c := range []struct {
		arg  string
		w    bpfWalk
		want string
	}{
		{"", walk(false), ""},
		{"/etc/passwd", walk(false), "/etc/passwd"},
		{"/etc/passwd", walk(false, "tmp"), "/etc/passwd"},
		{"f", walk(false, "d", "tmp"), "/tmp/d/f"},
		{"../f", walk(false, "d", "tmp"), "/tmp/f"},
		{".", walk(false, "d", "tmp"), "/tmp/d"},
		{"", walk(false, "d", "tmp"), "/tmp/d"}, // by descriptor
		{"f", walk(true, "d"), "/…/d/f"},
		{"\xff", walk(false, "d"), "/d/\uFFFD"},
		{"f", walk(false), "/f"}, // in the root directory
	} {
		v := bpfEvidence{Walk: c.w}
		copy(v.Path[:], c.arg)
		if got := evidencePath(v); got != c.want {
			t.Errorf("%q: got %q, want %q", c.arg, got, c.want)
		}
	}
}

func TestFormatCall(t *testing.T) {
	const minus1 = 1<<64 - 1
	for _, c := range []struct {
		name string
		args [6]uint64
		path string
		want string
	}{
		{"", [6]uint64{1}, "/x", ""},
		{"setgid", [6]uint64{33}, "", "setgid(33)"},
		{"setresuid", [6]uint64{minus1, 0, 33}, "", "setresuid(-1, 0, 33)"},
		{"setreuid", [6]uint64{1, 2}, "", "setreuid(1, 2)"},
		{"chown", [6]uint64{9, 33, 34}, "/srv", `chown("/srv", 33, 34)`},
		{"fchownat", [6]uint64{9, 9, 33, minus1}, "/srv", `fchownat("/srv", 33, -1)`},
		{"chmod", [6]uint64{9, 0o102755}, "/a b", `chmod("/a b", 02755)`},
		{"fchmodat", [6]uint64{9, 9, 0o644}, "/f", `fchmodat("/f", 0644)`},
		{"mknod", [6]uint64{9, unix.S_IFCHR | 0o600}, "/dev/x", `mknod("/dev/x", 020600)`},
		{"kill", [6]uint64{7, 15}, "", "kill(7, SIGTERM)"},
		{"kill", [6]uint64{minus1, 0}, "", "kill(-1, 0)"},
		{"tgkill", [6]uint64{7, 8, 9}, "", "tgkill(7, 8, SIGKILL)"},
		{"open", [6]uint64{9, unix.O_RDWR | unix.O_CREAT | unix.O_APPEND}, "/f", `open("/f", O_RDWR|O_CREAT|O_APPEND)`},
		{"openat", [6]uint64{9, 9, unix.O_WRONLY | unix.O_TRUNC}, "/f", `openat("/f", O_WRONLY|O_TRUNC)`},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_RAW | unix.SOCK_CLOEXEC, 1}, "", "socket(AF_INET, SOCK_RAW, 1)"},
		{"socket", [6]uint64{99, 9, 0}, "", "socket(99, 9, 0)"},
		{"bind", [6]uint64{3, 0, 0, 0, 0, unix.AF_INET6 | 80<<16}, "", "bind(port 80)"},
		{"bind", [6]uint64{3}, "/run/x.sock", `bind("/run/x.sock")`},
		{"bind", [6]uint64{3, 0, 0, 0, 0, unix.AF_NETLINK}, "", "bind()"},
		{"prctl", [6]uint64{24, 13}, "", "prctl(PR_CAPBSET_DROP, net_raw)"},
		{"prctl", [6]uint64{47, 2, 13}, "", "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, net_raw)"},
		{"prctl", [6]uint64{47, 4}, "", "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)"},
		{"prctl", [6]uint64{28, 5}, "", "prctl(PR_SET_SECUREBITS, 0x5)"},
		{"unshare", [6]uint64{0x10020000}, "", "unshare(user, mnt)"},
		{"setns", [6]uint64{5, 0x40000000}, "//", "setns(net)"},
		{"setns", [6]uint64{5, 0}, "//", "setns()"},
		{"prctl", [6]uint64{99, 1}, "", "prctl(99, 1)"},
		{"ioctl", [6]uint64{3, 0x8933}, "socket:[7]", `ioctl("socket:[7]", 0x8933)`},
		{"unlink", [6]uint64{9}, "/x\n\x1b", `unlink("/x\n\x1b")`},
		{"reboot", [6]uint64{9}, "", "reboot()"},
	} {
		if got := formatCall(c.name, c.args, c.path); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestSyscallNames(t *testing.T) {
	table, err := callTable()
	if err != nil {
		t.Fatal(err)
	}
	if got := syscallName(table, int32(slices.Index(table, "fchownat"))); got != "fchownat" {
		t.Errorf("got %q", got)
	}
	if a, b := syscallName(table, -1), syscallName(table, 99999); a != "" || b != "syscall_99999" {
		t.Errorf("got %q and %q", a, b)
	}
	// A misspelled name would be skipped in silence: every one has to be known to
	// one of the tables at least. These are younger than the table.
	young := []string{"setxattrat", "removexattrat", "fchmodat2"}
	for name := range calls() {
		if runtime.GOARCH == "amd64" && !slices.Contains(table, name) && !slices.Contains(young, name) {
			t.Errorf("no system call is named %q", name)
		}
	}
}

func TestBelongs(t *testing.T) {
	scope := func(parent uint64, name string) (s bpfScope) {
		s.Parent = parent
		copy(s.Name[:], name)
		return s
	}
	all := map[uint64]bpfScope{
		1: scope(0, ""), 2: scope(1, "docker"), 3: scope(2, "docker-abc.scope"), 4: scope(3, "init"),
		5: scope(1, "libpod-conmon-abc"), 6: scope(99, "orphan"), 7: scope(8, "loop"), 8: scope(7, "loop"),
	}
	for _, c := range []struct {
		ref  proc.ScopeRef
		want []uint64
	}{
		{proc.ScopeRef{Name: "abc"}, []uint64{3, 4}},
		{proc.ScopeRef{ID: 3}, []uint64{3, 4}},
		{proc.ScopeRef{ID: 4, Name: "abc"}, []uint64{4}},
		{proc.ScopeRef{ID: 77}, nil},
	} {
		var got []uint64
		for id := range all {
			if belongs(all, id, c.ref) {
				got = append(got, id)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.ref, got, c.want)
		}
	}
}

func TestFeatureError(t *testing.T) {
	err := fmt.Errorf("open: %w", &FeatureError{Missing: "CAP_BPF", Detail: "load: operation not permitted", Hint: "be root", Err: unix.EPERM})
	var f *FeatureError
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, unix.EPERM) || !errors.As(err, &f) || f.Hint != "be root" {
		t.Errorf("%v does not say what it wraps", err)
	}
	if got, want := err.Error(), "open: the kernel cannot be watched: missing: CAP_BPF (load: operation not permitted)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSubsystem(t *testing.T) {
	if n, err := subsystem(""); n != -1 || err != nil {
		t.Errorf("the v2 tree: got %d, %v", n, err)
	}
	if _, err := subsystem("nonesuch"); err == nil {
		t.Error("an unknown controller: want an error")
	}
}

func TestReadFileCaps(t *testing.T) {
	f := t.TempDir() + "/f"
	if res := readFileCaps(f); res.err == nil {
		t.Error("an absent file: want an error")
	}
	if res := readFileCaps("/proc/self/exe"); res.err != nil || res.caps != nil {
		t.Errorf("a file without: got %+v", res)
	}
}

func TestUnavailable(t *testing.T) {
	if err := unavailable(nil); err != nil {
		t.Errorf("got %v for no error", err)
	}
	ve := &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"R1 invalid", "processed 3 insns"}}
	err := unavailable(refused("fexit/x", ve))
	var got *ebpf.VerifierError
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &got) || !strings.Contains(err.Error(), "R1 invalid") {
		t.Errorf("%v does not say what it wraps", err)
	}
	if again := unavailable(err); again != err {
		t.Errorf("wrapped twice: %v", again)
	}
}

// TestReadInRoot: an absolute symbolic link is followed below the root that it
// is in.
func TestReadInRoot(t *testing.T) {
	root := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(root, "only-here/bin"), 0o755),
		os.WriteFile(filepath.Join(root, "only-here/bin/tool"), nil, 0o755),
		os.Symlink("/only-here/bin", filepath.Join(root, "bin")),
		os.Symlink("/only-here/bin/tool", filepath.Join(root, "tool")),
		os.Symlink("../../../only-here/bin/tool", filepath.Join(root, "up")),
		os.Symlink("/proc/self/exe", filepath.Join(root, "ours")), // is on the host, and not there
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"/only-here/bin/tool", "/bin/tool", "/tool", "/up", "/../tool"} {
		if res := readInRoot(root, file); res.err != nil || res.caps != nil {
			t.Errorf("%s: got %+v", file, res)
		}
	}
	for _, file := range []string{"/ours", "/proc/self/exe", "/nonesuch", "memfd:x", ""} {
		if res := readInRoot(root, file); res.err == nil {
			t.Errorf("%s: want an error", file)
		}
	}
	if res := readThroughRoot(os.Getpid(), "/proc/version"); res.err != nil {
		t.Errorf("through our own root: %v", res.err)
	}
	if os.Getuid() != 0 {
		return
	}
	want := caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true, Version: 2}
	attr, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(root, "only-here/bin/tool"), "security.capability", attr, 0); err != nil {
		t.Skip(err)
	}
	if res := readInRoot(root, "/tool"); res.err != nil || res.caps == nil || *res.caps != want {
		t.Errorf("got %+v, want %+v", res, want)
	}
}

func TestIsPath(t *testing.T) {
	for _, c := range []struct {
		link, want string
		same       bool
	}{
		{"/bin/sh", "/bin/sh", true},
		{"/bin/sh (deleted)", "/bin/sh", true},
		{"/bin/sh (deleted)", "/bin/sh (deleted)", true},
		{"/tmp/sh", "/bin/sh", false},
		{"/bin/sh", "/sh", false},
		{"/memfd:storm (deleted)", "memfd:storm", true},
		{"/memfd:other (deleted)", "memfd:storm", false},
		{"/a/b/c", "/…/b/c", true},
		{"/a/xb/c", "/…/b/c", false},
	} {
		if got := isPath(c.link, c.want); got != c.same {
			t.Errorf("%q, %q: got %t", c.link, c.want, got)
		}
	}
}

func TestWaysInOrder(t *testing.T) {
	names := func(vs []variant) (out []string) {
		for _, v := range vs {
			name := v.name
			if v.whole {
				name += ", whole"
			}
			out = append(out, name)
		}
		return out
	}
	// commoncap's own questions never pass security_capable().
	plain := []string{"tp_btf/cap_capable", "fexit/cap_capable", "fexit/security_capable", "kprobe/cap_capable"}
	if got := names(variants(ways, false)); !slices.Equal(got, plain) {
		t.Errorf("got %v, want %v", got, plain)
	}
	if !slices.Equal(Hooks(), plain) {
		t.Errorf("Hooks gives %v, want %v", Hooks(), plain)
	}
	preempted := append([]string{"kprobe/cap_capable, whole", "tp_btf/cap_capable, whole", "fexit/cap_capable, whole", "fexit/security_capable, whole"}, plain...)
	if got := names(variants(ways, true)); !slices.Equal(got, preempted) {
		t.Errorf("got %v, want %v", got, preempted)
	}
	if _, err := named("nonesuch"); err == nil {
		t.Error("an unknown way in was taken")
	}
	if one, err := named("fexit/cap_capable"); err != nil || len(one) != 1 || one[0].name != "fexit/cap_capable" {
		t.Errorf("got %v, %v", one, err)
	}
}

func TestPreempts(t *testing.T) {
	const none, lazy = "# CONFIG_PREEMPT is not set\nCONFIG_PREEMPT_NONE=y\n", "# CONFIG_PREEMPT_NONE is not set\nCONFIG_PREEMPT_LAZY=y\n"
	const dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.95-1"
	for _, c := range []struct {
		version, modes, cmdline, config string
		want                            bool
	}{
		{"#1 SMP Debian 5.10.223-1", "", "", lazy, false},
		{"#1 SMP PREEMPT_RT Debian 6.1.176-1", "", "", none, true},
		{"#1 SMP PREEMPT x", "", "", "", true},
		{dynamic, "none (voluntary) full lazy\n", "preempt=full", lazy, false},
		{dynamic, "none voluntary (full)", "", none, true},
		{dynamic, "full (lazy)\n", "", lazy, true},
		{dynamic, "", "", "", true},
		{dynamic, "", "quiet", none, false},
		{dynamic, "", "quiet preempt=full", none, true},
		{dynamic, "", "preempt=voluntary quiet", lazy, false},
		{dynamic, "", "", lazy, true},
	} {
		if got := preempts(c.version, c.modes, c.cmdline, c.config); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
}

// TestRingMemory: what is worked out where the kernel does not say what a ring takes is
// what others say, but for the structure that describes the map: 78,424 bytes for a ring of
// 64 KiB are in the message of commit 2f7e4ab2caa9.
func TestRingMemory(t *testing.T) {
	if got := ringMemory(1<<16, 4096); got > 78424 || got < 78424-512 {
		t.Errorf("%d bytes, want 78424 or little less", got)
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 1 << 18})
	if errors.Is(err, os.ErrPermission) {
		return // it is not told the size of one either
	}
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := memoryOf(m)
	want := ringMemory(1<<18, uint64(os.Getpagesize()))
	// 5.10 counts whole pages.
	if diff := int64(got) - int64(want); err != nil || max(diff, -diff) > int64(os.Getpagesize()) {
		t.Errorf("%d bytes, %v; worked out are %d", got, err, want)
	}
}

// TestFirst: afterwards a thread is scheduled as before, also one that may not take back what
// it did to itself.
func TestFirst(t *testing.T) {
	testenv.Need(t, testenv.Root)
	for _, may := range []bool{true, false} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked, so that the thread ends with what it lacks
			policy := func(want uint32) {
				t.Helper()
				if a, err := unix.SchedGetAttr(0, 0); err != nil || a.Policy != want {
					t.Errorf("may %v: %+v %v, want policy %d", may, a, err, want)
				}
			}
			policy(unix.SCHED_NORMAL)
			end := first()
			policy(unix.SCHED_FIFO)
			if !may { // as where RLIMIT_RTPRIO allowed it
				var data [2]unix.CapUserData
				head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
				if err := unix.Capget(&head, &data[0]); err != nil {
					t.Error(err)
				}
				data[0].Effective &^= 1 << unix.CAP_SYS_NICE
				if err := unix.Capset(&head, &data[0]); err != nil {
					t.Error(err)
				}
			}
			first()()
			policy(unix.SCHED_FIFO)
			end()
			policy(unix.SCHED_NORMAL)
		}()
		<-done
	}
}
