package proc

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Hierarchy is the cgroup hierarchy in which every container has a cgroup of
// its own on this host.
//
// On a v2-only host that is the v2 tree. Where controllers are mounted as v1
// (also on a hybrid host) engines create a cgroup in each v1 hierarchy, and only
// some also in the v2 tree, so a v1 controller tells more reliably.
type Hierarchy struct {
	Controller string // "" for the v2 tree
	Mount      string // where it is mounted
}

// V2 says whether it is the v2 tree.
func (h Hierarchy) V2() bool { return h.Controller == "" }

// preferred are the v1 controllers that all engines use, best first.
var preferred = []string{"pids", "memory", "cpu", "devices", "freezer", "blkio", "cpuset"}

// FindHierarchy reads /proc/self/mountinfo.
func FindHierarchy() (Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find the cgroup hierarchy: %w", err)
	}
	defer f.Close()
	return findHierarchy(f)
}

func findHierarchy(mountinfo io.Reader) (Hierarchy, error) {
	v1 := map[string]string{}
	v2 := ""
	sc := bufio.NewScanner(mountinfo)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		// "… mountpoint options… - fstype source superoptions": proc_pid_mountinfo(5)
		before, after, ok := strings.Cut(sc.Text(), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 {
			continue
		}
		mount := unescape(fields[4])
		switch tail[0] {
		case "cgroup2":
			if v2 == "" {
				v2 = mount
			}
		case "cgroup":
			for _, c := range strings.Split(tail[2], ",") {
				if _, ok := v1[c]; !ok {
					v1[c] = mount
				}
			}
		}
	}
	if err := sc.Err(); err != nil {
		return Hierarchy{}, fmt.Errorf("find the cgroup hierarchy: %w", err)
	}
	for _, c := range preferred {
		if mount, ok := v1[c]; ok {
			return Hierarchy{c, mount}, nil
		}
	}
	if v2 == "" {
		return Hierarchy{}, fmt.Errorf("no cgroup file system is mounted")
	}
	return Hierarchy{"", v2}, nil
}

// unescape undoes mountinfo's octal escapes (\040 for a space).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// PathOf gives a process's cgroup path within the hierarchy ("/docker/…").
func (h Hierarchy) PathOf(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	return h.pathOf(string(data))
}

// pathOf reads /proc/PID/cgroup: "id:controller,controller:path".
func (h Hierarchy) pathOf(file string) (string, error) {
	for line := range strings.Lines(file) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if h.V2() && f[0] == "0" && f[1] == "" {
			return f[2], nil
		}
		for _, c := range strings.Split(f[1], ",") {
			if c != "" && c == h.Controller {
				return f[2], nil
			}
		}
	}
	return "", fmt.Errorf("no cgroup in the hierarchy %s", h.Mount)
}

// Procs lists the processes in a cgroup directory and those below it.
func Procs(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return err
		}
		for word := range strings.FieldsSeq(string(data)) {
			// 0 is a process that our pid namespace does not see.
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}
