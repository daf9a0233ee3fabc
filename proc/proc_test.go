package proc

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestFindHierarchy(t *testing.T) {
	const (
		v2  = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
		uni = "31 23 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n"
		mem = "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		cpu = "33 23 0:29 / /sys/fs/cg\\040roup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
		pid = "34 23 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
	)
	for _, c := range []struct {
		name, in string
		want     Hierarchy
	}{
		{"v2", v2, Hierarchy{"", "/sys/fs/cgroup"}},
		{"hybrid", uni + mem + pid, Hierarchy{"pids", "/sys/fs/cgroup/pids"}},
		{"v1 without pids", mem, Hierarchy{"memory", "/sys/fs/cgroup/memory"}},
		{"escaped", cpu, Hierarchy{"cpu", "/sys/fs/cg roup/cpu"}},
	} {
		got, err := findHierarchy(strings.NewReader(c.in))
		if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	if _, err := findHierarchy(strings.NewReader("")); err == nil {
		t.Error("no cgroup file system: want an error")
	}
}

func TestPathOf(t *testing.T) {
	const file = "8:pids:/docker/a:b\n5:cpu,cpuacct:/c\n1:name=systemd:/s\n0::/u\n"
	for _, c := range []struct{ controller, want string }{
		{"", "/u"}, {"pids", "/docker/a:b"}, {"cpuacct", "/c"},
	} {
		got, err := Hierarchy{Controller: c.controller}.pathOf(file)
		if err != nil || got != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.controller, got, err, c.want)
		}
	}
	if _, err := (Hierarchy{Controller: "memory"}).pathOf(file); err == nil {
		t.Error("absent controller: want an error")
	}
}

func TestStartTime(t *testing.T) {
	got, err := startTime("7 (a) b) (c) S 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9")
	if err != nil || got != 4242 {
		t.Errorf("got %d, %v; want 4242", got, err)
	}
	if _, err := startTime("7 (a"); err == nil {
		t.Error("short file: want an error")
	}
}

func TestEnded(t *testing.T) {
	for stat, want := range map[string]bool{
		"7 (a) Z) S 1 7": false, "7 (sh) Z 1 7": true, "7 (sh) X 1 7": true, "7 (Z) R 1 7": false, "": false,
	} {
		if got := ended(stat); got != want {
			t.Errorf("%q: %v", stat, got)
		}
	}
}

func TestOwner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	if o := Self(); !o.Alive() {
		t.Errorf("%s (ourselves, pid %d) is said not to be alive", o, os.Getpid())
	}
	start, err := StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	_, ns, _ := strings.Cut(string(Self()), "n")
	if ns != "" {
		ns = "n" + ns
	}
	for add, want := range map[uint64]bool{0: true, 1: true, 2: false} { // another time namespace rounds
		if o := Owner(fmt.Sprintf("%d-%d%s", os.Getpid(), start+add, ns)); o.Alive() != want {
			t.Errorf("%s, %d ticks late: alive %t", o, add, !want)
		}
	}
	for _, o := range []Owner{"", "x", "1", "-1-5", Owner(strings.Split(string(Self()), "-")[0] + "-1")} {
		if o.Alive() {
			t.Errorf("%q is said to be alive", o)
		}
	}
}
