//go:build linux && cgo

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
)

var root struct {
	dir string
	err error
}

// testRoot is the root file system of the tiny test image.
func testRoot(t *testing.T) string {
	t.Helper()
	made, ok := testenv.Prebuilt("tiny")
	testenv.Need(t, testenv.Root)
	if !ok {
		testenv.Need(t, testenv.Image("leastcap-test/tiny"))
	}
	if root.dir == "" && root.err == nil {
		dir, err := os.MkdirTemp("", testDir+string(proc.Self())+".")
		if err == nil && ok {
			err = exec.Command("cp", "-a", made, filepath.Join(dir, "root")).Run()
		} else if err == nil {
			var img *image.Image
			if img, err = image.Open(t.Context(), "docker-daemon:"+"leastcap-test/tiny", image.Options{}); err == nil {
				defer img.Close()
				err = image.Unpack(t.Context(), img, filepath.Join(dir, "root"), image.Limits{})
			}
		}
		root.dir, root.err = dir, err
	}
	if root.err != nil {
		t.Fatal(root.err)
	}
	t.Setenv("LEASTCAP_ROOT", filepath.Join(root.dir, "state"))
	return filepath.Join(root.dir, "root")
}

// testDir is what the names of the tests' directories begin with, before their owner.
const testDir = "leastcap-embedded-"

// TestMain clears away what tests left that were killed, as the next start of leastcap
// does in its own directories.
func TestMain(m *testing.M) {
	own, set := os.LookupEnv("LEASTCAP_ROOT") // a process that a test starts has it
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), testDir+"*"))
	for _, dir := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), testDir), ".")
		if proc.Owner(owner).Alive() {
			continue
		}
		os.Setenv("LEASTCAP_ROOT", filepath.Join(dir, "state"))
		if err := errors.Join(Sweep(), os.RemoveAll(dir)); err != nil {
			fmt.Fprintf(os.Stderr, "%s was left by a killed test: %v\n", dir, err)
		}
	}
	if set {
		os.Setenv("LEASTCAP_ROOT", own)
	} else {
		os.Unsetenv("LEASTCAP_ROOT")
	}
	before = ownCgroups()
	code := m.Run()
	if root.dir != "" {
		os.RemoveAll(root.dir)
	}
	os.Exit(code)
}

// run runs a container to its end.
func run(t *testing.T, c bundle.Container) (code int, stdout, stderr string) {
	t.Helper()
	k, out, errOut := start(t, c)
	exit := k.Wait()
	if exit.Err != nil {
		t.Fatal(exit.Err)
	}
	if err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	return exit.Code, out.String(), errOut.String()
}

func start(t *testing.T, c bundle.Container) (k *Container, stdout, stderr *engine.Tail) {
	t.Helper()
	dir := testRoot(t)
	c.StopTimeout = -1
	if c.Env == nil {
		c.Env = []string{"PATH=/bin"}
	}
	stdout, stderr = &engine.Tail{Max: 1 << 20}, &engine.Tail{Max: 1 << 20}
	k, err := Run(context.Background(), Options{Container: &c, RootFS: dir, Stdout: stdout, Stderr: stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Remove(); err != nil {
			t.Error(err)
		}
	})
	return k, stdout, stderr
}

func sh(script string) bundle.Container { return bundle.Container{Args: []string{"sh", "-c", script}} }

func TestRun(t *testing.T) {
	with := func(c bundle.Container, change func(*bundle.Container)) bundle.Container { change(&c); return c }
	bounds, err := proc.Bounding(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	all := caps.State{Effective: bounds, Permitted: bounds, Bounding: bounds}
	for _, tt := range []struct {
		name string
		c    bundle.Container
		code int
		out  string // all of standard output
	}{
		{"its exit status", sh("exit 3"), 3, ""},
		{"a signal", sh("kill -9 $$; true"), 0, ""}, // the first process does not get its own signals
		{"not there", bundle.Container{Args: []string{"nosuch"}}, 127, ""},
		{"not executable", bundle.Container{Args: []string{"/etc/passwd"}}, 126, ""},
		{"a directory", bundle.Container{Args: []string{"/etc"}}, 126, ""},
		{"its environment", with(sh("echo $A-$B-$HOSTNAME-$HOME"), func(c *bundle.Container) {
			c.Env, c.Hostname = []string{"PATH=/bin", "A=1", "B=2", "A=3"}, "here"
		}), 0, "3-2-here-/root\n"},
		{"its directory", with(sh("pwd"), func(c *bundle.Container) { c.Dir = "/new/dir" }), 0, "/new/dir\n"},
		{"a user by number", with(sh("id -u; id -g"), func(c *bundle.Container) { c.User = "1234:77" }), 0, "1234\n77\n"},
		{"more groups", with(sh("id -G"), func(c *bundle.Container) { c.User, c.Groups = "1234:77", []string{"5", "6"} }), 0, "77 5 6\n"},
		{"first process", sh("echo $$"), 0, "1\n"},
		{"masked and read-only", sh("echo x > /proc/sys/kernel/hostname || echo denied"), 0, "denied\n"},
		{"sysctls", with(sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ip_forward"), func(c *bundle.Container) {
			c.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
		}), 0, "0\n1\n"},
		{"writable", sh("echo x > /file && cat /file"), 0, "x\n"},
		{"read-only root", with(sh("echo x > /file 2>/dev/null || echo denied"), func(c *bundle.Container) { c.NoWrite = true }), 0, "denied\n"},
		{"no new privileges", with(sh("grep NoNewPrivs /proc/self/status"), func(c *bundle.Container) { c.NoNewPrivileges = true }), 0, "NoNewPrivs:\t1\n"},
		{"seccomp", sh("grep Seccomp: /proc/self/status"), 0, "Seccomp:\t2\n"},
		{"no seccomp", with(sh("grep Seccomp: /proc/self/status"), func(c *bundle.Container) { c.Seccomp = "unconfined" }), 0, "Seccomp:\t0\n"},
		{"seccomp of the user's", with(sh("chmod 600 /etc/passwd 2>/dev/null || echo denied"), func(c *bundle.Container) {
			c.Seccomp = `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod","fchmodat","fchmodat2"],"action":"SCMP_ACT_ERRNO"}]}`
		}), 0, "denied\n"},
		{"no network", with(sh("ls /sys/class/net"), func(c *bundle.Container) { c.Network = "none" }), 0, "lo\n"},
		{"bridge", sh("ls /sys/class/net"), 0, "eth0\nlo\n"},
		{"limits", with(sh("cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max"), func(c *bundle.Container) { c.Resources.Pids = 55 }), 0, "55\n"},
		{"resource limits", with(sh("ulimit -n"), func(c *bundle.Container) { c.Rlimits = []bundle.Rlimit{{Name: "nofile", Soft: 99, Hard: 100}} }), 0, "99\n"},
		{"a tmpfs", with(sh("echo x > /t/file && grep -c ' /t tmpfs' /proc/mounts"), func(c *bundle.Container) {
			c.Mounts = []bundle.Mount{{Type: bundle.Tmpfs, Target: "/t"}}
		}), 0, "1\n"},
		{"a volume begins with what the image has", with(sh("ls /etc/passwd && touch /etc/new"), func(c *bundle.Container) {
			c.Mounts = []bundle.Mount{{Type: bundle.Volume, Target: "/etc"}}
		}), 0, "/etc/passwd\n"},
		{"hosts", with(sh("grep -c 10.0.0.9 /etc/hosts; grep -c $HOSTNAME /etc/hosts"), func(c *bundle.Container) {
			c.Hosts = []bundle.Host{{Name: "other", IP: "10.0.0.9"}}
		}), 0, "1\n1\n"},
		{"no device", sh("mknod /d b 8 0 2>/dev/null || echo denied"), 0, "denied\n"},
		{"a device that was made", with(sh("mknod /d b 7 0 && cat /d >/dev/null 2>&1 || echo denied"), func(c *bundle.Container) { c.State = all }), 0, "denied\n"},
		{"a device that was asked for", with(sh("cat /dev/x | head -c0; echo $?"), func(c *bundle.Container) {
			c.Devices = []bundle.Device{{Host: "/dev/kmsg", Container: "/dev/x", Access: "rw"}}
		}), 0, "0\n"},
		{"privileged", with(sh("grep -c ' /proc/sys ' /proc/mounts; grep Seccomp: /proc/self/status; grep -c ' /sys sysfs rw' /proc/mounts"), func(c *bundle.Container) {
			c.Privileged, c.State = true, all
		}), 0, "0\nSeccomp:\t0\n1\n"},
		{"a terminal", with(sh("test -t 0 && echo yes"), func(c *bundle.Container) { c.TTY = true }), 0, "yes\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := run(t, tt.c)
			if code != tt.code && !(tt.name == "a signal") || tt.out != "" && out != tt.out {
				t.Errorf("exit status %d, output %q, want %d, %q\n%s", code, out, tt.code, tt.out, errOut)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	dir := testRoot(t)
	for _, tt := range []struct {
		name string
		c    bundle.Container
		want string
	}{
		{"no such user", bundle.Container{Args: []string{"true"}, User: "nobody-here"}, `user "nobody-here" is not in the image`},
		{"no command", bundle.Container{}, "no command"},
		{"a mount's source", bundle.Container{Args: []string{"true"}, Mounts: []bundle.Mount{{Type: bundle.Bind, Source: "/nosuch", Target: "/x", MustExist: true}}}, `"/nosuch" is not there`},
		{"a device", bundle.Container{Args: []string{"true"}, Devices: []bundle.Device{{Host: "/dev/nosuch", Container: "/dev/nosuch"}}}, `device "/dev/nosuch" cannot be given`},
		{"a port", bundle.Container{Args: []string{"true"}, Ports: []bundle.Port{{HostIP: "203.0.113.1", Host: 80, Container: 80, Protocol: "tcp"}}}, "a port cannot be published"},
		{"seccomp", bundle.Container{Args: []string{"true"}, Seccomp: `{"defaultAction":"NO_SUCH"}`}, "NO_SUCH"},
		{"too little memory", bundle.Container{Args: []string{"true"}, Resources: bundle.Resources{Memory: 1}}, "memory"},
		{"a signal", bundle.Container{Args: []string{"true"}, Stop: "SIGFOO"}, `signal "SIGFOO" is not known`},
		{"a processor", bundle.Container{Args: []string{"true"}, Resources: bundle.Resources{CPUSet: "900"}}, "cpuset"},
		{"a sysctl", bundle.Container{Args: []string{"true"}, Sysctls: map[string]string{"kernel.nosuch": "1"}}, "kernel.nosuch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := Run(context.Background(), Options{Container: &tt.c, RootFS: dir})
			if err == nil {
				_ = k.Remove()
				t.Fatal("it was run")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q, want %q", err, tt.want)
			}
			nothingLeft(t)
		})
	}
}

// nothingLeft checks that no container of the tests is on the machine.
func nothingLeft(t *testing.T) {
	t.Helper()
	d, err := findDirs()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{d.data, d.run} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			t.Errorf("%s is left in %s", e.Name(), dir)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), d.data) {
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, d.data) {
				t.Errorf("a mount is left: %s", line)
			}
		}
	}
	for dir := range ownCgroups() {
		if !before[dir] {
			t.Errorf("cgroup %s is left", dir)
		}
	}
}

// before is what was there when the tests began.
var before map[string]bool

// ownCgroups are the cgroups on the machine that are named as the containers' are.
func ownCgroups() map[string]bool {
	found := map[string]bool{}
	for _, pattern := range []string{"/sys/fs/cgroup/leastcap-*", "/sys/fs/cgroup/*/leastcap-*"} {
		left, _ := filepath.Glob(pattern)
		for _, dir := range left {
			if len(filepath.Base(dir)) == len("leastcap-")+64 {
				found[dir] = true
			}
		}
	}
	return found
}

func TestPorts(t *testing.T) {
	port := func(network string) uint16 {
		var at net.Addr
		if network == "udp" {
			c, err := net.ListenPacket(network, "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			at = c.LocalAddr()
			c.Close()
		} else {
			l, err := net.Listen(network, "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			at = l.Addr()
			l.Close()
		}
		return netip.MustParseAddrPort(at.String()).Port()
	}
	tcp, udp := port("tcp"), port("udp")
	c := sh("echo hello > /index.html; httpd -p 80 -h /; /regain/regain udp-echo 53")
	c.Mounts = []bundle.Mount{{Type: bundle.Bind, Source: regainDir(t), Target: "/regain"}}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	c.Ports = []bundle.Port{{HostIP: "127.0.0.1", Host: tcp, Container: 80, Protocol: "tcp"}, {HostIP: "127.0.0.1", Host: udp, Container: 53, Protocol: "udp"}}
	k, _, errOut := start(t, c)
	var body string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", tcp))
		if err == nil {
			data, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if body = string(data); body == "hello\n" {
				break
			}
		}
	}
	if body != "hello\n" {
		t.Errorf("got %q through the published port; %s", body, errOut)
	}
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", udp))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 10)
	n := 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // packets may be lost
		_, _ = conn.Write([]byte("ping"))
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err = conn.Read(answer); err == nil {
			break
		}
	}
	if string(answer[:n]) != "ping" {
		t.Errorf("got %q through the published udp port: %v; %s", answer[:n], err, errOut)
	}
	if err := k.Stop(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if err := k.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", tcp), time.Second); err == nil {
		t.Error("the port is still published")
	}
	nothingLeft(t)
}

func TestStop(t *testing.T) {
	k, out, _ := start(t, sh("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done"))
	waitFor(t, func() bool { return strings.Contains(out.String(), "ready") })
	if err := k.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if e := k.Wait(); e.Code != 5 || !strings.HasSuffix(out.String(), "bye\n") {
		t.Errorf("%v, %q", e, out)
	}
	k, out, _ = start(t, sh("trap '' TERM; echo ready; while :; do sleep 0.1; done"))
	waitFor(t, func() bool { return strings.Contains(out.String(), "ready") })
	if err := k.Stop(t.Context(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if e := k.Wait(); e.Code != 137 {
		t.Errorf("%v, want 137", e)
	}
}

func waitFor(t *testing.T, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen in a minute")
		}
	}
}

// TestVolumeIsWhole: a named volume is there with all that the image has, or not at all.
func TestVolumeIsWhole(t *testing.T) {
	c := sh("ls /etc/passwd")
	c.Mounts = []bundle.Mount{{Type: bundle.Volume, Source: "whole", Target: "/etc"}}
	testRoot(t)
	d, err := findDirs()
	if err != nil {
		t.Fatal(err)
	}
	// As killed processes leave them; the first one's begins later than any.
	dead := filepath.Join(d.vols, ".1-99999999999."+strings.Repeat("a", 64))
	alive := filepath.Join(d.vols, "."+string(proc.Self())+"."+strings.Repeat("b", 64))
	for _, dir := range []string{dead, alive} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("half a volume of a dead process is still there")
	}
	if _, err := os.Stat(alive); err != nil {
		t.Error("half a volume was taken from a process that makes it")
	}
	if err := os.Remove(alive); err != nil {
		t.Fatal(err)
	}
	for range 2 { // new, and used
		if code, out, errOut := run(t, c); code != 0 || out != "/etc/passwd\n" {
			t.Errorf("exit status %d, %q, %q", code, out, errOut)
		}
	}
	names, err := os.ReadDir(d.vols)
	if err != nil || len(names) != 1 || names[0].Name() != "whole" {
		t.Errorf("%v %v, want the volume alone", names, err)
	}
	if err := os.RemoveAll(d.vols); err != nil {
		t.Fatal(err)
	}
}

// TestAddresses: containers that start at once have different ones, and the lock that sees to it
// leaves nothing.
func TestAddresses(t *testing.T) {
	rootfs := testRoot(t)
	d, err := findDirs()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	containers, errs := make([]*Container, 5), make([]error, 5)
	for i := range containers {
		c := sh("sleep 60")
		c.Env = []string{"PATH=/bin"}
		wg.Go(func() { containers[i], errs[i] = Run(t.Context(), Options{Container: &c, RootFS: rootfs}) })
	}
	wg.Wait()
	for _, k := range containers {
		if k != nil {
			t.Cleanup(func() { _ = k.Remove() }) // the test's own Remove has said what is wrong
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, k := range containers {
		if k.Address() == "" || seen[k.Address()] {
			t.Errorf("%.12s has the address %q", k.ID(), k.Address())
		}
		seen[k.Address()] = true
	}
	unlock, err := lockAddresses(d.run)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(d.run)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("locked twice: %v", err)
	}
	unlock()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Error(err)
	}
	for _, k := range containers {
		if err := k.Remove(); err != nil {
			t.Error(err)
		}
	}
	nothingLeft(t)
}

// TestReadOnlyBelow: a read-only mount is so with all that the host has mounted in it, where the
// kernel can do that.
func TestReadOnlyBelow(t *testing.T) {
	testRoot(t)
	can, release := true, proc.Kernel()
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatal(release, err)
	} else if major < 5 || major == 5 && minor < 12 {
		can = false
	}
	if readOnlyBelow() != can {
		t.Fatalf("Linux %s: %v", release, !can)
	}
	top := t.TempDir()
	below := filepath.Join(top, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", below, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(below, 0); err != nil {
			t.Error(err)
		}
	})
	for _, readOnly := range []bool{false, true} {
		c := sh("for d in /v /v/below; do (echo x >$d/file) 2>/dev/null && echo written || echo denied; done")
		c.Mounts = []bundle.Mount{{Type: bundle.Bind, Source: top, Target: "/v", ReadOnly: readOnly}}
		want := "written\nwritten\n"
		if readOnly {
			want = "denied\nwritten\n"
		}
		if readOnly && can {
			want = "denied\ndenied\n"
		}
		if code, out, stderr := run(t, c); code != 0 || out != want {
			t.Errorf("read-only %v: %d %q %s, want %q", readOnly, code, out, stderr, want)
		}
	}
	if err := os.WriteFile(filepath.Join(below, "host"), nil, 0o600); err != nil {
		t.Errorf("the host cannot write there any more: %v", err)
	}
}

// TestNoRouter: the host passes nothing on from the container, also where it is a router.
func TestNoRouter(t *testing.T) {
	if router, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err != nil || string(router) != "1\n" {
		t.Fatalf("the host is no router (%q, %v), so that nothing can be seen: sysctl net.ipv4.ip_forward=1, as Docker sets it", router, err)
	}
	k, _, _ := start(t, sh("sleep 60"))
	for _, family := range []string{"ipv4", "ipv6"} {
		file := "/proc/sys/net/" + family + "/conf/lc" + k.ID()[:12] + "/forwarding"
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && family == "ipv6" {
			continue
		}
		if err != nil || string(data) != "0\n" {
			t.Errorf("%s: %q, %v, want 0", file, data, err)
		}
	}
}

// TestKilled: what a process leaves that was killed, the next removes.
func TestKilled(t *testing.T) {
	if os.Getenv("LEASTCAP_TEST_VICTIM") != "" {
		c := sh("sleep 60")
		c.Env, c.StopTimeout = []string{"PATH=/bin"}, -1
		c.Mounts = []bundle.Mount{{Type: bundle.Volume, Target: "/etc"}}
		if _, err := Run(context.Background(), Options{Container: &c, RootFS: os.Getenv("LEASTCAP_TEST_VICTIM")}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		// Not a select without cases: where all goroutines wait for each other, Go ends the program.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}
	dir := testRoot(t)
	for _, after := range []string{"ready", "soon", "later"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "LEASTCAP_TEST_VICTIM="+dir)
		if _, err := cmd.StdinPipe(); err != nil { // which ends with this test at the latest
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		switch after {
		case "ready":
			line := make([]byte, 5)
			if _, err := io.ReadFull(out, line); err != nil || string(line) != "ready" {
				t.Fatalf("%q %v", line, err)
			}
		case "soon": // in the middle of the start
			time.Sleep(25 * time.Millisecond)
		case "later":
			time.Sleep(60 * time.Millisecond)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := Sweep(); err != nil {
			t.Errorf("killed %s: %v", after, err)
		}
		// The network namespace, and with it the interfaces, goes a little later.
		waitFor(t, func() bool {
			left, err := filepath.Glob("/sys/class/net/lc*")
			return err == nil && len(left) == 0
		})
		nothingLeft(t)
	}
}
