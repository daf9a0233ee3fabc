package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
		got, err := findHierarchy(tree(t, map[string]string{"proc/self/mountinfo": c.in}, mounted(c.in)), preferred)
		if err != nil || got != c.want {
			t.Errorf("%s: got %v, %v; want %v", c.name, got, err, c.want)
		}
	}
	// What something else is mounted over is not there.
	got, err := findHierarchy(tree(t, map[string]string{"proc/self/mountinfo": pid + uni}, mounted(uni)), preferred)
	if want := (Hierarchy{"", "/sys/fs/cgroup/unified"}); err != nil || got != want {
		t.Errorf("hidden: got %v, %v; want %v", got, err, want)
	}
	if _, err := findHierarchy(tree(t, map[string]string{"proc/self/mountinfo": pid}), preferred); err == nil || !strings.Contains(err.Error(), "mounted over it") {
		t.Errorf("all hidden: %v", err)
	}
	for _, files := range []map[string]string{{"proc/self/mountinfo": ""}, nil} {
		if _, err := findHierarchy(tree(t, files), preferred); err == nil {
			t.Errorf("%v: want an error", files)
		}
	}
}

func TestMemoryBounds(t *testing.T) {
	const (
		v2      = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
		unified = "31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		memory  = "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		pids    = "34 23 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
		none    = "9223372036854771712\n"
	)
	of := func(limits ...uint64) (bounds []MemoryBound) {
		for _, l := range limits {
			bounds = append(bounds, MemoryBound{Limit: l})
		}
		return bounds
	}
	for _, c := range []struct {
		name, mounts string
		files        map[string]string
		want         []MemoryBound
	}{
		{"v2", v2, map[string]string{"proc/self/cgroup": "0::/a.slice/b.service\n", "sys/fs/cgroup/a.slice/memory.max": "67108864\n", "sys/fs/cgroup/a.slice/b.service/memory.max": "max\n"}, of(64 << 20)},
		{"v2's use", v2, map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "67108864\n", "sys/fs/cgroup/a/memory.current": "10000\n",
			"sys/fs/cgroup/a/memory.stat": "anon 5000\nfile 4000\ninactive_file 1000\nactive_file 2000\nslab_reclaimable 500\nnonsense\n"}, []MemoryBound{{64 << 20, 6500}}},
		{"v1", pids + memory + unified, map[string]string{"proc/self/cgroup": "5:pids:/x\n4:memory:/docker/1\n0::/y\n", "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "1048576\n",
			"sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "2097152\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": none},
			of(1<<20, 2<<20)},
		{"v1's use", memory, map[string]string{"proc/self/cgroup": "4:memory:/1\n", "sys/fs/cgroup/memory/1/memory.limit_in_bytes": "1048576\n", "sys/fs/cgroup/memory/1/memory.usage_in_bytes": "10000\n",
			"sys/fs/cgroup/memory/1/memory.stat": "inactive_file 7000\ntotal_inactive_file 1000\ntotal_active_file 2000\n"}, []MemoryBound{{1 << 20, 7000}}},
		{"v2's beside v1's pids", pids + unified, map[string]string{"proc/self/cgroup": "5:pids:/x\n0::/y\n", "sys/fs/cgroup/unified/y/memory.max": "4096\n", "sys/fs/cgroup/pids/x/memory.max": "1\n"}, of(4096)},
		{"elsewhere", "32 23 0:28 / /c rw - cgroup cgroup rw,memory\n", map[string]string{"proc/self/cgroup": "4:memory:/x\n", "c/x/memory.limit_in_bytes": "4096\n"}, of(4096)},
		// The path is the host's, the mount the container's own.
		{"in a container", memory, map[string]string{"proc/self/cgroup": "4:memory:/docker/1\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n"}, of(1 << 20)},
		{"outside what is mounted", v2, map[string]string{"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "4096\n"}, of(4096)},
		{"more than enough", v2, map[string]string{"proc/self/cgroup": "0::/x\n", "sys/fs/cgroup/x/memory.max": "1073741824\n"}, nil},
		{"no memory controller", pids, map[string]string{"proc/self/cgroup": "4:pids:/docker/1\nnonsense\n", "sys/fs/cgroup/pids/docker/1/memory.max": "4096\n"}, nil},
		{"nothing mounted", "", map[string]string{"proc/self/cgroup": "0::/x\n"}, nil},
		{"no cgroup", v2, map[string]string{"sys/fs/cgroup/memory.max": "4096\n"}, nil},
	} {
		root := tree(t, c.files, map[string]string{"proc/self/mountinfo": c.mounts}, mounted(c.mounts))
		if got := memoryBounds(root, 1<<30); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if b := (MemoryBound{Limit: 10, Used: 20}); b.Left() != 0 {
		t.Errorf("%v has %d left", b, b.Left())
	}
}

// mounted are files that there are where cgroup file systems are mounted.
func mounted(mountinfo string) map[string]string {
	files := make(map[string]string)
	for line := range strings.Lines(mountinfo) {
		files[unescape(strings.Fields(line)[4])+"/cgroup.procs"] = ""
	}
	return files
}

// tree is a directory with these files.
func tree(t *testing.T, files ...map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, set := range files {
		for name, text := range set {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
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
