package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
func FindHierarchy() (Hierarchy, error) { return findHierarchy("/", preferred) }

// findHierarchy is that of the first of these controllers that is mounted as v1, or else the v2
// tree. The root is where /proc is.
func findHierarchy(root string, controllers []string) (Hierarchy, error) {
	f, err := os.Open(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find the cgroup hierarchy: %w", err)
	}
	defer f.Close()
	hidden := false
	mounts, err := cgroupMounts(f, func(mount string) bool {
		_, err := os.Stat(filepath.Join(root, mount, "cgroup.procs"))
		hidden = hidden || err != nil
		return err == nil
	})
	if err != nil {
		return Hierarchy{}, fmt.Errorf("find the cgroup hierarchy: %w", err)
	}
	for _, c := range append(controllers[:len(controllers):len(controllers)], "") {
		if mount, ok := mounts[c]; ok {
			return Hierarchy{c, mount}, nil
		}
	}
	if hidden {
		return Hierarchy{}, errors.New("no cgroup file system is to be seen: something is mounted over it")
	}
	return Hierarchy{}, errors.New("no cgroup file system is mounted")
}

// cgroupMounts says where controllers are mounted as v1, and as "" where the v2 tree is: of the
// mounts that can be seen, which others may be mounted over.
func cgroupMounts(mountinfo io.Reader, seen func(mount string) bool) (map[string]string, error) {
	mounts := map[string]string{}
	sc := bufio.NewScanner(mountinfo)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		// "… mountpoint options… - fstype source superoptions": proc_pid_mountinfo(5)
		before, after, ok := strings.Cut(sc.Text(), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 {
			continue
		}
		var of []string
		switch tail[0] {
		case "cgroup2":
			of = []string{""}
		case "cgroup":
			of = strings.Split(tail[2], ",")
		}
		for _, c := range of {
			if mount := unescape(fields[4]); mounts[c] == "" && seen(mount) {
				mounts[c] = mount
			}
		}
	}
	return mounts, sc.Err()
}

// MemoryBound is a limit of a memory cgroup, and what of it is in use, without the pages of
// files and what else the kernel takes back before it refuses: in bytes.
type MemoryBound struct{ Limit, Used uint64 }

// Left is what is not in use.
func (b MemoryBound) Left() uint64 { return b.Limit - min(b.Used, b.Limit) }

// MemoryBounds are those below some limit of this process's memory cgroup and of those above
// it, as far as they can be seen: a container sees its own as the uppermost. The hierarchy is
// memory's, which on a hybrid host may be another than FindHierarchy's.
func MemoryBounds(below uint64) []MemoryBound { return memoryBounds("/", below) }

func memoryBounds(root string, below uint64) (bounds []MemoryBound) {
	h, err := findHierarchy(root, []string{"memory"})
	if err != nil {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil
	}
	own, err := h.pathOf(string(data))
	if err != nil {
		return nil
	}
	// Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst. Only v1's sums say
	// whether those below are in them.
	limit, used, kept := "memory.limit_in_bytes", "memory.usage_in_bytes", []string{"total_inactive_file", "total_active_file"}
	if h.V2() {
		limit, used, kept = "memory.max", "memory.current", []string{"inactive_file", "active_file", "slab_reclaimable"}
	}
	for dir := filepath.Clean("/" + own); ; dir = filepath.Dir(dir) {
		at := filepath.Join(root, h.Mount, dir)
		b := MemoryBound{}
		if b.Limit, err = readNumber(filepath.Join(at, limit)); err == nil && b.Limit < below { // "max" is none
			if b.Used, err = readNumber(filepath.Join(at, used)); err == nil {
				b.Used -= min(b.Used, reclaimable(filepath.Join(at, "memory.stat"), kept))
			}
			bounds = append(bounds, b)
		}
		if dir == "/" {
			return bounds
		}
	}
}

func readNumber(file string) (uint64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// reclaimable adds up some of the numbers in a memory.stat, 0 if it cannot be read.
func reclaimable(stat string, names []string) (bytes uint64) {
	data, err := os.ReadFile(stat)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil && slices.Contains(names, name) {
			bytes += n
		}
	}
	return bytes
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

// Procs lists the processes in a cgroup directory and those below it. One below that is
// removed meanwhile has none.
func Procs(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		var data []byte
		if err == nil && d.IsDir() {
			data, err = os.ReadFile(filepath.Join(path, "cgroup.procs"))
		}
		switch {
		case path != dir && errors.Is(err, fs.ErrNotExist), path != dir && errors.Is(err, syscall.ENODEV):
			return nil
		case errors.Is(err, syscall.EOPNOTSUPP):
			// A threaded cgroup: its threads' processes are in the one above it that is
			// none (Documentation/admin-guide/cgroup-v2.rst, "Threads").
			return nil
		case err != nil:
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
