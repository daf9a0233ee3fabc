package proc

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Confinement is what confines a process besides its capabilities.
type Confinement struct {
	// Own are the kinds of namespaces, as /proc/PID/ns names them, that it does not
	// share with the process that asks; nil if they may not be read.
	Own []string
	// LSM is its label: SELinux' context, AppArmor's profile. "" if none has one.
	LSM string
	// Exe is its program, as far as it may be read.
	Exe string
	// SetID says that the program is a set-user-ID or set-group-ID one.
	SetID bool
	// Args is its command line; none of a kernel thread.
	Args []string
}

var namespaces = []string{"user", "pid", "net", "mnt", "ipc", "uts", "cgroup"}

// Confined reads what confines a process: proc_pid_ns(5), proc_pid_attr(5),
// proc_pid_exe(5), proc_pid_cmdline(5). What may not be read is left out.
func Confined(root string, pid int) Confinement {
	var c Confinement
	dir := filepath.Join(root, strconv.Itoa(pid))
	for _, kind := range namespaces {
		theirs, err := os.Readlink(filepath.Join(dir, "ns", kind))
		ours, err2 := os.Readlink(filepath.Join(root, "self", "ns", kind))
		if err != nil || err2 != nil {
			continue
		}
		if c.Own == nil {
			c.Own = []string{}
		}
		if theirs != ours {
			c.Own = append(c.Own, kind)
		}
	}
	if label, err := os.ReadFile(filepath.Join(dir, "attr", "current")); err == nil {
		c.LSM = strings.TrimSpace(string(bytes.TrimRight(label, "\x00\n")))
	}
	exe := filepath.Join(dir, "exe")
	c.Exe, _ = os.Readlink(exe)
	if info, err := os.Stat(exe); err == nil {
		c.SetID = info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0
	}
	if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
		c.Args = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	}
	return c
}

// UserNamespace identifies the user namespace of a process: the device and the number
// of its file, as namespaces(7) compares them. "" if it may not be read.
func UserNamespace(root string, pid string) string {
	info, err := os.Stat(filepath.Join(root, pid, "ns", "user"))
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return strconv.FormatUint(uint64(st.Dev), 10) + ":" + strconv.FormatUint(uint64(st.Ino), 10)
}
