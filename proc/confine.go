package proc

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Namespaces are the inode numbers of a process's namespaces, by [NamespaceKinds]; 0 for
// one that is not known.
type Namespaces [NSKinds]uint32

// The kinds, in the order of probe/bpf/tasks.h.
const (
	NSUser = iota
	NSPid
	NSNet
	NSMnt
	NSIpc
	NSUts
	NSCgroup
	NSKinds
)

// NamespaceKinds are the kinds as /proc/PID/ns names them.
var NamespaceKinds = [NSKinds]string{"user", "pid", "net", "mnt", "ipc", "uts", "cgroup"}

// Inode numbers of the first namespaces: include/linux/proc_ns.h.
const (
	initUserNS = 0xeffffffd
	initPidNS  = 0xeffffffc
)

// HostUserNamespace is that of [Host].
func HostUserNamespace(root string) uint32 {
	if ns := UserNamespace(root, "1"); ns != 0 {
		return ns
	}
	return UserNamespace(root, "self")
}

// Host are the namespaces of the host: those of process 1, and of this process where they
// may not be read. In a container that has processes of its own only, that is the container.
func Host(root string) Namespaces {
	host, own := readNamespaces(root, "1"), readNamespaces(root, "self")
	for i := range host {
		if host[i] == 0 {
			host[i] = own[i]
		}
	}
	return host
}

// Own are the kinds that are not the host's; nil if nothing is known of any.
func (n *Namespaces) Own(host *Namespaces) []string {
	var own []string
	for i, kind := range NamespaceKinds {
		if n[i] == 0 {
			continue
		}
		if own == nil {
			own = []string{}
		}
		if n[i] != host[i] {
			own = append(own, kind)
		}
	}
	return own
}

// readNamespaces reads the links "user:[4026531837]" of /proc/PID/ns: namespaces(7).
func readNamespaces(root, pid string) (ns Namespaces) {
	for i, kind := range NamespaceKinds {
		ns[i], _ = readNamespace(root, pid, kind)
	}
	return ns
}

func readNamespace(root, pid, kind string) (uint32, error) {
	link, err := os.Readlink(root + "/" + pid + "/ns/" + kind)
	if err != nil {
		return 0, err
	}
	return parseNamespace(link, kind)
}

func parseNamespace(link, kind string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, kind+":["), "]"), 10, 32)
	return uint32(n), err
}

// UserNamespace is the inode number of a process's user namespace; 0 if it may not be read.
func UserNamespace(root, pid string) uint32 {
	n, _ := readNamespace(root, pid, "user")
	return n
}

// UserMap is how a process's user ids are mapped, which everybody may read, unlike its
// namespaces (fs/proc/base.c:proc_id_map_open). Of two that differ the user namespaces do.
func UserMap(root, pid string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, pid, "uid_map"))
	return string(text), err
}

// IDMap is how a user namespace numbers ids: user_namespaces(7).
type IDMap []struct{ Inside, Outside, Count uint32 }

// IDMaps reads those of a process: its user ids' and its group ids', as this process's
// namespace numbers what is outside.
func IDMaps(pid int) (users, groups IDMap, err error) {
	for name, m := range map[string]*IDMap{"uid_map": &users, "gid_map": &groups} {
		data, err := os.ReadFile(filepath.Join("/proc", itoa(pid), name))
		if err != nil {
			return nil, nil, err
		}
		if *m, err = parseIDMap(string(data)); err != nil {
			return nil, nil, err
		}
	}
	return users, groups, nil
}

func parseIDMap(text string) (m IDMap, err error) {
	for line := range strings.Lines(text) {
		var r struct{ Inside, Outside, Count uint32 }
		if _, err := fmt.Sscan(line, &r.Inside, &r.Outside, &r.Count); err != nil {
			return nil, fmt.Errorf("an id map's line %q: %w", line, err)
		}
		m = append(m, r)
	}
	return m, nil
}

// Inside is what an id is called in the namespace; false if that has no name for it.
func (m IDMap) Inside(id uint32) (uint32, bool) {
	for _, r := range m {
		if id >= r.Outside && id-r.Outside < r.Count {
			return r.Inside + (id - r.Outside), true
		}
	}
	return 0, false
}

// Confinement is what confines a process besides its capabilities.
type Confinement struct {
	Namespaces Namespaces
	// LSM is its label: SELinux' context, AppArmor's profile. "" if none has one.
	LSM string
	// Exe is its program, as far as it may be read.
	Exe string
	// SetUID and SetGID say that the program is a set-user-ID or set-group-ID one.
	SetUID, SetGID bool
	// Args is its command line; none of a kernel thread.
	Args []string
	// Unreadable names what exists and may not be read: "namespaces", "program", "label".
	Unreadable []string
}

// Confined reads what confines a process: proc_pid_ns(5), proc_pid_attr(5),
// proc_pid_exe(5), proc_pid_cmdline(5). What p knows already is not read.
func Confined(root string, p *Process) Confinement {
	c := Confinement{Namespaces: p.Namespaces}
	pid := itoa(p.PID)
	dir := filepath.Join(root, pid)
	if _, err := os.Stat(dir); err != nil {
		return c // it has ended
	}
	var refused error
	for i, kind := range NamespaceKinds {
		if c.Namespaces[i] == 0 {
			var err error
			if c.Namespaces[i], err = readNamespace(root, pid, kind); os.IsPermission(err) {
				refused = err
			}
		}
	}
	c.unreadable("namespaces", refused)
	label, err := os.ReadFile(filepath.Join(dir, "attr", "current"))
	if err == nil {
		c.LSM = strings.TrimSpace(string(bytes.TrimRight(label, "\x00\n")))
	}
	c.unreadable("label", err)
	exe := filepath.Join(dir, "exe")
	c.Exe, err = os.Readlink(exe)
	c.unreadable("program", err)
	if info, err := os.Stat(exe); err == nil {
		c.SetUID, c.SetGID = info.Mode()&fs.ModeSetuid != 0, info.Mode()&fs.ModeSetgid != 0
	}
	if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
		c.Args = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	}
	return c
}

// unreadable notes what was refused; what is not there is no secret.
func (c *Confinement) unreadable(what string, err error) {
	if os.IsPermission(err) {
		c.Unreadable = append(c.Unreadable, what)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
