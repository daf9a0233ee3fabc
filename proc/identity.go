package proc

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/usage"
)

// Identity is what a process is to the rest of the system, as far as this user may
// see it: the executable and the root directory of another's are not, and its name
// in parentheses stands for the former.
func Identity(pid int) (usage.Identity, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return usage.Identity{}, err
	}
	i := identity(string(status))
	if exe, err := os.Readlink(dir + "exe"); err == nil {
		i.Exe = exe
	}
	if root, err := os.Readlink(dir + "root"); err == nil {
		i.Root = root
	}
	return i, nil
}

// identity reads /proc/PID/status: proc_pid_status(5).
func identity(status string) usage.Identity {
	i := usage.Identity{Groups: []uint32{}, Root: "/"}
	numbers := func(text string) (list []uint32) {
		for word := range strings.FieldsSeq(text) {
			n, err := strconv.ParseUint(word, 10, 32)
			if err != nil {
				return nil
			}
			list = append(list, uint32(n))
		}
		return list
	}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
		list := numbers(value)
		switch name {
		case "Name":
			i.Exe = "(" + strings.ToValidUTF8(value, "\uFFFD") + ")"
		case "Uid":
			copy(i.UIDs[:], list)
		case "Gid":
			copy(i.GIDs[:], list)
		case "Groups":
			i.Groups = append(i.Groups, list...)
			slices.Sort(i.Groups)
		case "NoNewPrivs":
			i.NoNewPrivs = value == "1"
		case "Seccomp":
			if len(list) == 1 {
				i.Seccomp = int(list[0])
			}
		}
	}
	return i
}

// Root gives the numbers that user and group 0 of a process's user namespace have in this
// process's own: 0 if that cannot be told (user_namespaces(7)).
func Root(pid int) (uid, gid uint32) {
	of := func(file string) uint32 {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)) // ended meanwhile
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "0" {
				n, _ := strconv.ParseUint(f[1], 10, 32)
				return uint32(n)
			}
		}
		return 0
	}
	return of("uid_map"), of("gid_map")
}

// Find gives the directory of a scope's cgroup, "" if it is not there, or not on this
// machine.
func (h Hierarchy) Find(ref ScopeRef) string {
	var found string
	_ = filepath.WalkDir(h.Mount, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it went, or is none
		}
		var st unix.Stat_t
		if ref.ID != 0 && unix.Stat(path, &st) == nil && st.Ino == ref.ID || ref.ID == 0 && ref.Name != "" && strings.Contains(d.Name(), ref.Name) {
			found = path
			return filepath.SkipAll
		}
		return nil
	})
	return found
}
