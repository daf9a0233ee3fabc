package proc

import (
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

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
)

const statusText = "Name:\tsleep\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t7\nPPid:\t3\nUid:\t1000\t0\t0\t0\nCapInh:\t0000000000000000\nCapPrm:\t00000000000000c0\nCapEff:\t0000000000000080\nCapBnd:\t00000000000000c0\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"

func TestList(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id, outer := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	write("7/status", statusText)
	write("7/cgroup", "4:pids:/docker/"+outer+"/docker/"+id+"\n0::/\n")
	write("12/status", "Name:\told\nPPid:\t2\nUid:\t5\t5\t5\t5\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t1\n")
	write("13/cgroup", "")         // ended meanwhile
	write("14/status", "Name:\tx") // cut off
	write("self/status", statusText)
	write("uptime", "")
	got, unreadable, err := List(root, ListOptions{Kernel: true, Containers: Each})
	if err != nil || unreadable != 0 {
		t.Fatal(unreadable, err)
	}
	setid := caps.Of(caps.Setgid, caps.Setuid)
	want := []Process{
		{PID: 7, PPID: 3, UID: 0, Comm: "sleep", State: caps.State{Permitted: setid, Effective: caps.Of(caps.Setuid), Bounding: setid}, NoNewPrivs: true, Seccomp: 2, Securebits: -1, Container: id, Engine: "docker"},
		{PID: 12, PPID: 2, UID: 5, Comm: "old", Kernel: true, State: caps.State{Bounding: caps.Of(caps.Chown)}, Seccomp: -1, Securebits: -1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, _, err := List(filepath.Join(root, "nosuch"), ListOptions{}); err == nil {
		t.Error("no error without /proc")
	}
}

// This process is in the list of the real /proc, with its own sets.
func TestListSelf(t *testing.T) {
	if _, err := exec.LookPath("true"); err != nil {
		t.Skip("no commands")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this test needs /proc")
	}
	list, _, err := List("/proc", ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.PID == os.Getpid() {
			if b, err := Bounding(os.Getpid()); err != nil || b != p.State.Bounding || p.PPID != os.Getppid() {
				t.Errorf("%+v, bounding %v %v", p, b, err)
			}
			return
		}
	}
	t.Error("this process is not in the list")
}

// Which are the kernel's own, also where it does not say so.
func TestKernel(t *testing.T) {
	for _, c := range []struct {
		text   string
		kernel bool
	}{
		{"Pid:\t2\nPPid:\t0\nKthread:\t1\n", true},
		{"Pid:\t9\nPPid:\t2\nKthread:\t1\n", true},
		{"Pid:\t9\nPPid:\t2\nKthread:\t0\n", false}, // a program that the kernel started
		{"Pid:\t2\nPPid:\t0\n", true},
		{"Pid:\t9\nPPid:\t2\n", true},
		{"Pid:\t9\nPPid:\t2\nVmSize:\t1 kB\n", false},
		{"Pid:\t2\nPPid:\t1\nVmSize:\t1 kB\n", false}, // in another pid namespace
		{"State:\tZ (zombie)\nPid:\t9\nPPid:\t2\n", false},
		{"Pid:\t9\nPPid:\t3\n", false},
	} {
		s, err := parseStatus([]byte("Name:\tx\n" + c.text + "CapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t1\n"))
		if err != nil || s.Kernel != c.kernel || s.Zombie != strings.Contains(c.text, "zombie") {
			t.Errorf("%q: %v %v", c.text, s.Kernel, err)
		}
	}
}

// Those that are left out are the kernel's, and all of these.
func TestListUsers(t *testing.T) {
	testenv.Need(t, testenv.Root)
	list := func(kernel bool) (pids []int) {
		all, _, err := List("/proc", ListOptions{Kernel: kernel})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if !p.Kernel {
				pids = append(pids, p.PID)
			} else if !kernel {
				t.Errorf("%d (%s) is the kernel's", p.PID, p.Comm)
			}
		}
		return pids
	}
	// Until nothing comes or goes meanwhile; one that only the list in the middle has is
	// nobody's mistake, unless it is so every time.
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		before, got, after := list(true), list(false), list(true)
		if slices.Equal(before, after) && slices.Equal(before, got) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%v, want %v, and then %v: never the same in a minute", got, before, after)
		}
	}
}

// In a pid namespace, process 2 and its children are like any other.
func TestListInNamespace(t *testing.T) {
	if os.Getenv("LEASTCAP_TEST_NAMESPACE") != "" {
		list, _, err := List("/proc", ListOptions{UserNamespaces: Each})
		for _, p := range list {
			fmt.Println(p.PID, p.PPID, p.Namespaces[NSUser] == UserNamespace("/proc", "self"), err)
		}
		os.Exit(0)
	}
	testenv.Need(t, testenv.Root, testenv.Command("unshare"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The sleeper is process 3.
	const script = `sh -c 'sleep 1000 & wait' >/dev/null 2>&1 & until [ -e /proc/3 ]; do :; done; "$0" -test.run='^TestListInNamespace$'`
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, exe)
	cmd.Env = append(os.Environ(), "LEASTCAP_TEST_NAMESPACE=1")
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "\n2 1 true <nil>\n") || !strings.Contains(string(out), "\n3 2 true <nil>\n") {
		t.Errorf("%s %v", out, err)
	}
}

// A thread may have other sets than its process: capset(2) is the thread's.
func TestThreads(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"7/status":         statusText + "Threads:\t3\n",
		"7/task/7/status":  statusText,
		"7/task/8/status":  strings.Replace(strings.Replace(statusText, "CapEff:\t0000000000000080", "CapEff:\t0000000000000000", 1), "sleep", `a\nb\\`, 1),
		"7/task/9/status":  statusText,
		"7/task/10/status": "",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Read(root, 7)
	if err != nil {
		t.Fatal(err)
	}
	setid := caps.Of(caps.Setgid, caps.Setuid)
	want := []Thread{{TID: 8, Comm: "a\nb\\", State: caps.State{Permitted: setid, Bounding: setid}}}
	if diff := cmp.Diff(want, p.Threads); diff != "" {
		t.Error(diff)
	}
}

func TestConfined(t *testing.T) {
	if _, err := os.Stat("/proc/self/ns"); err != nil {
		t.Skip("this test needs /proc")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := Host("/proc")
	c := Confined("/proc", &Process{PID: os.Getpid()})
	if c.Namespaces != readNamespaces("/proc", "self") || host[NSUser] == 0 || c.Exe != exe || c.SetUID || c.SetGID || len(c.Args) != len(os.Args) || c.Unreadable != nil {
		t.Errorf("%+v, the host %v", c, host)
	}
	// What is known is not asked for.
	if c := Confined("/proc", &Process{PID: os.Getpid(), Namespaces: Namespaces{NSNet: 7}}); c.Namespaces[NSNet] != 7 || c.Namespaces[NSUser] != host[NSUser] {
		t.Errorf("%+v", c)
	}
	if c := Confined("/proc", &Process{PID: -1}); c.Namespaces != (Namespaces{}) || c.Exe != "" || c.Args != nil || c.Unreadable != nil {
		t.Errorf("%+v", c)
	}
	if ns := UserNamespace("/proc", "self"); ns == 0 || ns != UserNamespace("/proc", "thread-self") {
		t.Error(ns)
	}
}

// What may not be read is named: another user's process is looked at without privileges.
func TestConfinedUnreadable(t *testing.T) {
	if os.Getenv("LEASTCAP_TEST_UNREADABLE") != "" {
		c := Confined("/proc", &Process{PID: os.Getppid()})
		fmt.Println(strings.Join(c.Unreadable, ","))
		os.Exit(0)
	}
	testenv.Need(t, testenv.Root)
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "leastcap-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file, exe, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "-test.run=^TestConfinedUnreadable$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LEASTCAP_TEST_UNREADABLE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "namespaces,program" {
		t.Errorf("%q %v", out, err)
	}
}
