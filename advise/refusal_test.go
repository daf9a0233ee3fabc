package advise_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

const docker = caps.Set(0xa80425fb)

func TestExplain(t *testing.T) {
	opens := func(call string) (caps.Set, bool) {
		switch call {
		case "mount":
			return caps.Of(caps.SysAdmin), true
		case "bpf":
			return caps.Of(caps.SysAdmin, caps.Bpf), true
		}
		return 0, false
	}
	container := advise.Context{Container: true, Engine: "docker", Opens: opens}
	root := caps.State{Effective: docker, Permitted: docker, Bounding: docker}
	pingCaps := &caps.FileCaps{Permitted: caps.Of(caps.NetAdmin), Effective: true}
	secret := &usage.File{Exists: true, UID: 1000, GID: 1000, Mode: 0o100600}
	for _, c := range []struct {
		name    string
		r       usage.Refusal
		c       advise.Context
		cause   advise.Cause
		certain bool
		useless bool // it did not matter
		missing caps.Set
		grant   caps.Set
		say     []string // in why, allow or instead
		not     []string
	}{
		{
			name:  "a capability that was dropped",
			r:     usage.Refusal{Syscall: "chown", Call: `chown("/x", 33, 0)`, Path: "/x", Errno: "EPERM", Denied: caps.Of(caps.Chown), Begun: usage.BegunYes},
			cause: advise.Missing, certain: true, missing: caps.Of(caps.Chown), grant: caps.Of(caps.Chown), say: []string{"not in the bounding set either"},
		},
		{
			name: "one that the user does not have in effect",
			r: usage.Refusal{Syscall: "bind", Errno: "EACCES", Denied: caps.Of(caps.NetBindService), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 1000}, State: caps.State{Bounding: docker}},
			cause: advise.Missing, certain: true, missing: caps.Of(caps.NetBindService), grant: caps.Of(caps.NetBindService), say: []string{"user 1000", "though it is in the bounding set", "ambient, or as file capabilities"},
		},
		{
			name: "a plain mode",
			r: usage.Refusal{Syscall: "openat", Path: "/secret", Errno: "EACCES", Denied: caps.Of(caps.DacOverride, caps.DacReadSearch), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 33}, FSUID: 33, FSGID: 33, State: caps.State{Bounding: docker}, File: secret},
			c: container, cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride, caps.DacReadSearch), grant: caps.Of(caps.DacOverride),
			say: []string{"/secret belongs to 1000:1000 and has the mode 0600", "acts as 33:33", "RUN chown 33 /secret", "--user 1000"}, not: []string{"dac_read_search"},
		},
		{
			name: "the same for root without dac_override, on the host, where reading alone is less",
			r: usage.Refusal{Syscall: "openat", Path: "/secret", Errno: "EACCES", Denied: caps.Of(caps.DacOverride, caps.DacReadSearch), Begun: usage.BegunYes,
				State: caps.State{Permitted: caps.Of(caps.Chown)}, File: &usage.File{UID: 1000, Mode: 0o40700, Blocker: "/closed"}},
			cause: advise.Missing, certain: true, missing: caps.Of(caps.DacOverride, caps.DacReadSearch), grant: caps.Of(caps.DacReadSearch), say: []string{"/closed belongs to 1000:0"},
		},
		{
			name: "root owns it: no advice to be root",
			r: usage.Refusal{Syscall: "openat", Path: "/etc/x", Errno: "EACCES", Denied: caps.Of(caps.DacOverride), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 33}, FSUID: 33, File: &usage.File{Mode: 0o40755, Blocker: "/etc"}},
			cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride), grant: caps.Of(caps.DacOverride), not: []string{"--user 0"},
		},
		{
			name:  "seccomp, with what opens the call",
			r:     usage.Refusal{Syscall: "mount", Errno: "EPERM", Begun: usage.BegunNo, Seccomp: 2},
			c:     container,
			cause: advise.Seccomp, certain: true, missing: caps.Of(caps.SysAdmin), grant: caps.Of(caps.SysAdmin), say: []string{"before the kernel began it", "sys_admin"},
		},
		{
			name:  "seccomp, in a user namespace",
			r:     usage.Refusal{Syscall: "mount", Errno: "EPERM", Begun: usage.BegunNo, Seccomp: 2, UserNamespace: true},
			c:     container,
			cause: advise.Seccomp, certain: true, missing: caps.Of(caps.SysAdmin), grant: caps.Of(caps.SysAdmin), say: []string{"not over what is the host's"},
		},
		{
			name:  "a device in a user namespace",
			r:     usage.Refusal{Syscall: "mknodat", Errno: "EPERM", Beyond: caps.Of(caps.Mknod), Begun: usage.BegunYes, UserNamespace: true},
			c:     container,
			cause: advise.OutOfReach, certain: true, missing: caps.Of(caps.Mknod), say: []string{"--device /dev/NAME", "--userns host"},
		},
		{
			name: "a mode in a user namespace, as that numbers users",
			r: usage.Refusal{Syscall: "openat", Path: "/secret", Errno: "EACCES", Denied: caps.Of(caps.DacOverride), Begun: usage.BegunYes, UserNamespace: true, Numbered: true,
				Process: usage.Process{EUID: 100033}, FSUID: 33, FSGID: 33, File: &usage.File{Exists: true, UID: 7, Mode: 0o100600}},
			c: container, cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride), grant: caps.Of(caps.DacOverride),
			say: []string{"acts as 33:33, as its user namespace numbers them", "--chown=33", "--user 7"},
		},
		{
			name: "the same, and it could not be asked how",
			r: usage.Refusal{Syscall: "openat", Path: "/secret", Errno: "EACCES", Denied: caps.Of(caps.DacOverride), Begun: usage.BegunYes, UserNamespace: true,
				Process: usage.Process{EUID: 100033}, FSUID: 100033, FSGID: 100033, File: &usage.File{Exists: true, UID: 7, Mode: 0o100600}},
			c: container, cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride), grant: caps.Of(caps.DacOverride),
			say: []string{"as the host numbers them", "--chown=UID"}, not: []string{"--chown=100033", "--user 7"},
		},
		{
			name: "a file of somebody who is not mapped",
			r: usage.Refusal{Syscall: "fchmodat", Path: "/v/f", Errno: "EPERM", Begun: usage.BegunYes, UserNamespace: true, Numbered: true,
				File: &usage.File{Exists: true, UID: 65534, GID: 65534, Mode: 0o100644, Unmapped: true}},
			c: container, cause: advise.OutOfReach, certain: true, say: []string{"no capability in it reaches", "--volume SRC:DST:U"},
		},
		{
			name: "the same, although a capability was asked for",
			r: usage.Refusal{Syscall: "openat", Path: "/v/f", Errno: "EACCES", Denied: caps.Of(caps.DacReadSearch), Begun: usage.BegunYes, UserNamespace: true, Numbered: true,
				File: &usage.File{Exists: true, UID: 65534, GID: 65534, Mode: 0o100600, Unmapped: true}},
			c: container, cause: advise.OutOfReach, certain: true, missing: caps.Of(caps.DacReadSearch), say: []string{"no capability in it reaches"}, not: []string{"--user 65534"},
		},
		{
			name:  "seccomp, of two the lesser",
			r:     usage.Refusal{Syscall: "bpf", Errno: "EPERM", Begun: usage.BegunNo, Seccomp: 2},
			c:     container,
			cause: advise.Seccomp, certain: true, missing: caps.Of(caps.SysAdmin, caps.Bpf), grant: caps.Of(caps.Bpf),
		},
		{
			name:  "seccomp, whatever one has",
			r:     usage.Refusal{Syscall: "keyctl", Errno: "EPERM", Begun: usage.BegunNo, Seccomp: 2},
			c:     container,
			cause: advise.Seccomp, certain: true, say: []string{"no capability that would let it through"},
		},
		{
			name:  "read-only, although a capability was denied on the way",
			c:     advise.Context{Container: true},
			r:     usage.Refusal{Syscall: "openat", Path: "/data/db/x", Errno: "EROFS", Denied: caps.Of(caps.NetAdmin), Begun: usage.BegunYes},
			cause: advise.ReadOnly, certain: true, missing: caps.Of(caps.NetAdmin), say: []string{"no capability changes that", "--tmpfs /data/db"},
		},
		{
			name:  "read-only on a host",
			r:     usage.Refusal{Syscall: "openat", Path: "/srv/x", Errno: "EROFS", Begun: usage.BegunYes},
			cause: advise.ReadOnly, certain: true, say: []string{"remount,rw", "ReadWritePaths="}, not: []string{"--tmpfs"},
		},
		{
			name:  "a sysctl, by a user",
			r:     usage.Refusal{Syscall: "openat", Path: "/proc/sys/kernel/hostname", Errno: "EACCES", Begun: usage.BegunYes, Process: usage.Process{EUID: 33}},
			cause: advise.FileMode, certain: true, say: []string{"by owner and mode alone", "/etc/sysctl.d"},
		},
		{
			name: "a directory on the way, on a host",
			r: usage.Refusal{Syscall: "openat", Path: "/root/x", Errno: "EACCES", Denied: caps.Of(caps.DacReadSearch), Begun: usage.BegunYes, FSUID: 33,
				Process: usage.Process{EUID: 33}, File: &usage.File{Blocker: "/root", Mode: 0o40700}},
			cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacReadSearch), grant: caps.Of(caps.DacReadSearch),
			say: []string{"chmod o+x /root"}, not: []string{"RUN", "chown"},
		},
		{
			name: "a file that the kernel makes",
			r: usage.Refusal{Syscall: "openat", Path: "/proc/1/environ", Errno: "EACCES", Denied: caps.Of(caps.DacReadSearch), Begun: usage.BegunYes, FSUID: 33,
				Process: usage.Process{EUID: 33}, File: &usage.File{Exists: true, Mode: 0o100400}},
			cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacReadSearch), grant: caps.Of(caps.DacReadSearch), not: []string{"chown", "setfacl"},
		},
		{
			name:  "netlink says so in its answer",
			r:     usage.Refusal{Syscall: "sendto", Errno: "EPERM", Denied: caps.Of(caps.NetAdmin), Begun: usage.BegunYes, Reply: true},
			cause: advise.Missing, certain: true, missing: caps.Of(caps.NetAdmin), grant: caps.Of(caps.NetAdmin),
			say: []string{"in its answer", "systemd-networkd"}, not: []string{"bounding", "init container"},
		},
		{
			name:  "a sysctl that is read-only",
			r:     usage.Refusal{Syscall: "openat", Path: "/proc/sys/net/core/somaxconn", Errno: "EROFS", Begun: usage.BegunYes},
			cause: advise.ReadOnly, certain: true, say: []string{"--sysctl net.core.somaxconn=VALUE"},
		},
		{
			name:  "a sysctl that is the host's alone",
			r:     usage.Refusal{Syscall: "openat", Path: "/proc/sys/vm/swappiness", Errno: "EROFS", Begun: usage.BegunYes},
			c:     container,
			cause: advise.ReadOnly, certain: true, say: []string{"sysctl -w vm.swappiness=VALUE"}, not: []string{"--sysctl"},
		},
		{
			name:  "a name that has a flag",
			r:     usage.Refusal{Syscall: "openat", Path: "/proc/sys/kernel/hostname", Errno: "EROFS", Begun: usage.BegunYes},
			c:     container,
			cause: advise.ReadOnly, certain: true, say: []string{": --hostname"}, not: []string{"sysctl"},
		},
		{
			name:  "sysfs itself",
			r:     usage.Refusal{Syscall: "chown", Path: "/sys", Errno: "EROFS", Begun: usage.BegunYes},
			c:     container,
			cause: advise.ReadOnly, certain: true, say: []string{"set it on the host"},
		},
		{
			name:  "read-only at the top, where nothing can be mounted",
			r:     usage.Refusal{Syscall: "openat", Path: "/x", Errno: "EROFS", Begun: usage.BegunYes},
			c:     container,
			cause: advise.ReadOnly, certain: true, say: []string{"--tmpfs DIR"}, not: []string{"--tmpfs /,"},
		},
		{
			name: "a mode that lets nobody in",
			r: usage.Refusal{Syscall: "openat", Path: "/d", Errno: "EACCES", Denied: caps.Of(caps.DacOverride), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 33}, FSUID: 33, File: &usage.File{Exists: true, Mode: 0o040000}},
			c: container, cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride), grant: caps.Of(caps.DacOverride),
			say: []string{"RUN chown 33 /d && chmod u+rwX /d"},
		},
		{
			name:  "of an outer user namespace",
			r:     usage.Refusal{Syscall: "mknod", Errno: "EPERM", Beyond: caps.Of(caps.Mknod), Begun: usage.BegunYes, UserNamespace: true},
			cause: advise.OutOfReach, certain: true, missing: caps.Of(caps.Mknod), say: []string{"nothing that it can be given"},
		},
		{
			name:  "of a namespace that is an outer user namespace's, on a host",
			r:     usage.Refusal{Syscall: "mount", Errno: "EPERM", Beyond: caps.Of(caps.SysAdmin), Begun: usage.BegunYes, UserNamespace: true},
			cause: advise.OutOfReach, certain: true, missing: caps.Of(caps.SysAdmin), say: []string{"unshare --user --mount"}, not: []string{"--userns"},
		},
		{
			name:  "the same in a container",
			r:     usage.Refusal{Syscall: "mount", Errno: "EPERM", Beyond: caps.Of(caps.SysAdmin), Begun: usage.BegunYes, UserNamespace: true},
			c:     container,
			cause: advise.OutOfReach, certain: true, missing: caps.Of(caps.SysAdmin), say: []string{"--userns host"}, not: []string{"unshare --user --mount"},
		},
		{
			name: "a directory of the system's",
			r: usage.Refusal{Syscall: "mkdir", Path: "/x", Errno: "EACCES", Denied: caps.Of(caps.DacOverride), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 33}, FSUID: 33, FSGID: 33, State: caps.State{Bounding: docker}, File: &usage.File{Blocker: "/", Mode: 0o040755}},
			cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride), grant: caps.Of(caps.DacOverride),
			say: []string{"a place of its own", "StateDirectory="}, not: []string{"chown 33"},
		},
		{
			name: "a mode that lets a group in",
			r: usage.Refusal{Syscall: "openat", Args: [6]uint64{2: 0}, Path: "/etc/shadow", Errno: "EACCES", Denied: caps.Of(caps.DacOverride, caps.DacReadSearch), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 33}, FSUID: 33, FSGID: 33, State: caps.State{Bounding: docker}, File: &usage.File{Exists: true, GID: 42, Mode: 0o100640}},
			c: container, cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride, caps.DacReadSearch), grant: caps.Of(caps.DacOverride),
			say: []string{"have group 42 among its own, which the mode lets in: --group-add 42"}, not: []string{"chown 33"},
		},
		{
			name: "a mode that lets a group read, and not write",
			r: usage.Refusal{Syscall: "openat", Args: [6]uint64{2: 1}, Path: "/etc/shadow", Errno: "EACCES", Denied: caps.Of(caps.DacOverride), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 33}, FSUID: 33, FSGID: 33, State: caps.State{Bounding: docker}, File: &usage.File{Exists: true, GID: 42, Mode: 0o100640}},
			c: container, cause: advise.FileMode, certain: true, missing: caps.Of(caps.DacOverride), grant: caps.Of(caps.DacOverride), not: []string{"--group-add 42"},
		},
		{
			name:  "an ambient capability that is not held",
			r:     usage.Refusal{Syscall: "prctl", Errno: "EPERM", Asked: caps.Of(caps.NetRaw), State: caps.State{Bounding: docker}, Process: usage.Process{EUID: 1000}, Begun: usage.BegunYes},
			c:     container,
			cause: advise.NotHeld, certain: true, missing: caps.Of(caps.NetRaw), grant: caps.Of(caps.NetRaw), say: []string{"user 1000, does not have it"},
		},
		{
			name:  "an ambient capability that is not inheritable",
			r:     usage.Refusal{Syscall: "prctl", Errno: "EPERM", Asked: caps.Of(caps.NetRaw), State: root, Begun: usage.BegunYes},
			cause: advise.NotHeld, certain: true, say: []string{"setpriv --inh-caps +net_raw --ambient-caps +net_raw"},
		},
		{
			name: "the ambient set is locked",
			r: usage.Refusal{Syscall: "prctl", Errno: "EPERM", Asked: caps.Of(caps.NetRaw), Begun: usage.BegunYes,
				State: caps.State{Permitted: caps.Of(caps.NetRaw), Inheritable: caps.Of(caps.NetRaw)}},
			cause: advise.NotHeld, certain: true, say: []string{"no_cap_ambient_raise"},
		},
		{
			name:  "something else of prctl",
			r:     usage.Refusal{Syscall: "prctl", Errno: "EPERM", Begun: usage.BegunYes},
			cause: advise.NotHeld, say: []string{"locked"},
		},
		{
			name:  "a device under another name",
			r:     usage.Refusal{Syscall: "openat", Path: "/tmp/d", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Exists: true, Mode: 0o020666, Device: "c 1:11", DeviceName: "/dev/kmsg"}},
			c:     container,
			cause: advise.Device, say: []string{"--device /dev/kmsg:/tmp/d", "--device-cgroup-rule 'c 1:11 rw'"},
		},
		{
			name:  "a device that the host has no file of",
			r:     usage.Refusal{Syscall: "openat", Path: "/tmp/d", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Exists: true, Mode: 0o020666, Device: "c 99:1"}},
			c:     container,
			cause: advise.Device, say: []string{"--device-cgroup-rule 'c 99:1 rw'"}, not: []string{"--device /tmp/d"},
		},
		{
			name:  "perhaps noexec, in a container that has ended",
			r:     usage.Refusal{Syscall: "execve", Path: "/t/run", Errno: "EACCES", Begun: usage.BegunYes, File: &usage.File{Exists: true, Mode: 0o100755, Unmounted: true}},
			c:     container,
			cause: advise.NoExecute, say: []string{"--tmpfs /t:exec"},
		},
		{
			name:  "the same, and the file went with it",
			r:     usage.Refusal{Syscall: "execve", Path: "/t/run", Errno: "EACCES", Begun: usage.BegunYes, File: &usage.File{Mode: 0o041777, Unmounted: true, Blocker: "/t"}},
			c:     container,
			cause: advise.NoExecute, say: []string{"without an execute bit", "--tmpfs /t:exec"},
		},
		{
			name: "another's file in /tmp, for root",
			r: usage.Refusal{Syscall: "openat", Args: [6]uint64{2: 0o1101}, Path: "/tmp/f", Errno: "EACCES", Begun: usage.BegunYes,
				File: &usage.File{Exists: true, UID: 33, Mode: 0o100644, Shared: true}},
			cause: advise.Sticky, say: []string{"not even root", "fs.protected_regular"},
		},
		{
			name: "the same without O_CREAT is something else",
			r: usage.Refusal{Syscall: "openat", Args: [6]uint64{2: 0o1001}, Path: "/tmp/f", Errno: "EACCES", Begun: usage.BegunYes,
				File: &usage.File{Exists: true, UID: 33, Mode: 0o100644, Shared: true}},
			cause: advise.Unexplained, say: []string{"Landlock"},
		},
		{
			name:  "seccomp, of a unit",
			r:     usage.Refusal{Syscall: "mount", Errno: "EPERM", Begun: usage.BegunNo, Seccomp: 2},
			cause: advise.Seccomp, certain: true, say: []string{"SystemCallFilter=mount"}, not: []string{"Docker"},
		},
		{
			name: "file capabilities beyond the bounding set",
			r: usage.Refusal{Syscall: "execve", Path: "/bin/ping", Errno: "EPERM", Begun: usage.BegunYes, State: root,
				File: &usage.File{Exists: true, Mode: 0o100755, Caps: pingCaps}},
			cause: advise.FileCaps, certain: true, missing: caps.Of(caps.NetAdmin), grant: caps.Of(caps.NetAdmin), say: []string{"setcap -r /bin/ping"},
		},
		{
			name:  "capset beyond the permitted set",
			r:     usage.Refusal{Syscall: "capset", Errno: "EPERM", Asked: caps.Of(caps.NetAdmin, caps.Chown), State: root, Begun: usage.BegunYes},
			cause: advise.NotHeld, certain: true, missing: caps.Of(caps.NetAdmin), grant: caps.Of(caps.NetAdmin),
		},
		{
			name:  "no execute bit",
			r:     usage.Refusal{Syscall: "execve", Path: "/run.sh", Errno: "EACCES", Begun: usage.BegunYes, File: &usage.File{Exists: true, Mode: 0o100644}},
			cause: advise.NoExecute, certain: true, say: []string{"chmod +x /run.sh"},
		},
		{
			name:  "a directory executed",
			r:     usage.Refusal{Syscall: "execve", Path: "/srv", Errno: "EACCES", Begun: usage.BegunYes, File: &usage.File{Exists: true, Mode: 0o040755, NoExec: true}},
			cause: advise.NoExecute, certain: true, say: []string{"/srv is a directory"}, not: []string{"noexec"},
		},
		{
			name: "a file that the kernel does not make",
			r: usage.Refusal{Syscall: "openat", Path: "/sys/fs/cgroup/pids/x/cgroup.kill", Errno: "EACCES", Args: [6]uint64{0, 0, 0o1101}, Begun: usage.BegunYes,
				File: &usage.File{Mode: 0o040755, Blocker: "/sys/fs/cgroup/pids/x"}},
			cause: advise.NoSuchFile, certain: true, say: []string{"there is no /sys/fs/cgroup/pids/x/cgroup.kill", "not even root", "other version of cgroups"},
		},
		{
			name:  "one that would only be read",
			r:     usage.Refusal{Syscall: "openat", Path: "/sys/x", Errno: "EACCES", Begun: usage.BegunYes, File: &usage.File{Mode: 0o040755, Blocker: "/sys"}},
			cause: advise.Unexplained, not: []string{"not even root"},
		},
		{
			name:  "a directory in sysfs",
			r:     usage.Refusal{Syscall: "mkdir", Path: "/sys/x", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Mode: 0o040755, Blocker: "/sys"}},
			cause: advise.NoSuchFile, certain: true, say: []string{"there is no /sys/x"},
		},
		{
			name:  "a cgroup",
			r:     usage.Refusal{Syscall: "mkdir", Path: "/sys/fs/cgroup/x", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Mode: 0o040755, Blocker: "/sys/fs/cgroup"}},
			cause: advise.Unexplained, not: []string{"not even root"},
		},
		{
			name: "held, but not in effect",
			r: usage.Refusal{Syscall: "chown", Errno: "EPERM", Denied: caps.Of(caps.Chown), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 33}, State: caps.State{Permitted: docker, Bounding: docker}},
			cause: advise.Missing, certain: true, missing: caps.Of(caps.Chown), grant: caps.Of(caps.Chown),
			say: []string{"the process holds it, but not in effect", "capset(2)"}, not: []string{"file capabilities"},
		},
		{
			name:  "mounted noexec",
			r:     usage.Refusal{Syscall: "execve", Path: "/tmp/run", Errno: "EACCES", Begun: usage.BegunYes, File: &usage.File{Exists: true, Mode: 0o100755, NoExec: true}},
			cause: advise.NoExecute, certain: true, say: []string{"noexec"},
		},
		{
			name:  "immutable",
			r:     usage.Refusal{Syscall: "unlinkat", Path: "/x", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Exists: true, Immutable: true}},
			cause: advise.Immutable, say: []string{"chattr"},
		},
		{
			name:  "an immutable directory",
			r:     usage.Refusal{Syscall: "openat", Path: "/d/x", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Immutable: true, Blocker: "/d"}},
			cause: advise.Immutable, say: []string{"/d is immutable"},
		},
		{
			name:  "an immutable file, or its directory",
			r:     usage.Refusal{Syscall: "unlinkat", Path: "/d/x", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Exists: true, Immutable: true, Blocker: "/d"}},
			cause: advise.Immutable, say: []string{"/d/x or the directory that it is in is immutable"},
		},
		{
			name:  "perhaps immutable",
			r:     usage.Refusal{Syscall: "unlinkat", Path: "/d/x", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Exists: true, Unmounted: true, Blocker: "/d"}},
			c:     container,
			cause: advise.Unexplained, say: []string{"the container has ended", "chattr"},
		},
		{
			name:  "a device",
			r:     usage.Refusal{Syscall: "openat", Path: "/dev/kvm", Errno: "EPERM", Begun: usage.BegunYes, File: &usage.File{Exists: true, Mode: 0o020666}},
			c:     container,
			cause: advise.Device, say: []string{"--device /dev/kvm"},
		},
		{
			name:  "AppArmor, although a capability was granted",
			r:     usage.Refusal{Syscall: "openat", Path: "/x", Errno: "EACCES", Granted: caps.Of(caps.DacOverride), Begun: usage.BegunYes, LSM: "docker-default (enforce)"},
			c:     advise.Context{Modules: []string{"capability", "apparmor"}},
			cause: advise.Module, say: []string{"AppArmor", "docker-default", "dac_override was granted"},
		},
		{
			name:  "a label that confines nothing",
			r:     usage.Refusal{Syscall: "openat", Path: "/x", Errno: "EACCES", Begun: usage.BegunYes, LSM: "unconfined"},
			c:     advise.Context{Modules: []string{"apparmor"}},
			cause: advise.Unexplained,
		},
		{
			name:  "it was not seen whether it began",
			r:     usage.Refusal{Syscall: "unshare", Errno: "EPERM", Seccomp: 2},
			cause: advise.Unexplained, say: []string{"not seen whether seccomp"},
		},
		{
			name:  "a packet filter",
			r:     usage.Refusal{Syscall: "sendto", Errno: "EPERM", Begun: usage.BegunYes},
			cause: advise.Unexplained, say: []string{"packet filter"},
		},
		{
			name:  "more files than any process may have",
			r:     usage.Refusal{Syscall: "prlimit64", Args: [6]uint64{1: 7}, Errno: "EPERM", Begun: usage.BegunYes},
			cause: advise.Unexplained, say: []string{"fs.nr_open"},
		},
		{
			name: "access(2) only asks",
			r: usage.Refusal{Syscall: "faccessat2", Path: "/x", Errno: "EACCES", Denied: caps.Of(caps.DacOverride), Begun: usage.BegunYes,
				Process: usage.Process{EUID: 1}, File: secret},
			cause: advise.FileMode, certain: true, useless: true, missing: caps.Of(caps.DacOverride), grant: caps.Of(caps.DacOverride), say: []string{"only asks"},
		},
		{
			name: "no_new_privs voided a set-user-ID program",
			r: usage.Refusal{Syscall: "setuid", Errno: "EPERM", Denied: caps.Of(caps.Setuid), Begun: usage.BegunYes, NoNewPrivs: true,
				Process: usage.Process{Exe: "/usr/bin/sudo", EUID: 1000}, Program: &usage.File{Mode: 0o104755}},
			cause: advise.Missing, certain: true, missing: caps.Of(caps.Setuid), grant: caps.Of(caps.Setuid), say: []string{"no_new_privs is set", "/usr/bin/sudo"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := advise.Explain(&c.r, c.c)
			if e.Cause != c.cause || e.Certain != c.certain || e.Mattered == c.useless || e.Missing != c.missing || e.Grant != c.grant {
				t.Errorf("got %+v", e)
			}
			all := strings.Join(e.Why, "; ") + "; " + e.Allow
			for _, a := range e.Instead {
				all += "; " + a.Do + ": " + a.How
			}
			for _, word := range c.say {
				if !strings.Contains(all, word) {
					t.Errorf("%q is not said in: %s", word, all)
				}
			}
			for _, word := range c.not {
				if strings.Contains(all, word) {
					t.Errorf("%q is said in: %s", word, all)
				}
			}
			if slices.Contains(e.Why, "") || len(e.Why) == 0 {
				t.Errorf("no reason: %+v", e)
			}
		})
	}
}

func TestNarrowest(t *testing.T) {
	for _, c := range []struct {
		denied, inContainer, onHost caps.Set
	}{
		{caps.Of(caps.Chown), caps.Of(caps.Chown), caps.Of(caps.Chown)},
		{caps.Of(caps.DacOverride, caps.DacReadSearch), caps.Of(caps.DacOverride), caps.Of(caps.DacReadSearch)},
		{caps.Of(caps.SysAdmin, caps.Bpf), caps.Of(caps.Bpf), caps.Of(caps.Bpf)},
		{caps.Of(caps.SysAdmin, caps.SysResource), caps.Of(caps.SysResource), caps.Of(caps.SysResource)},
		{caps.Of(caps.NetAdmin, caps.SysModule), caps.Of(caps.NetAdmin, caps.SysModule), caps.Of(caps.NetAdmin, caps.SysModule)},
		{0, 0, 0},
	} {
		if got := advise.Narrowest(c.denied, true); got != c.inContainer {
			t.Errorf("%v in a container: got %v, want %v", c.denied, got, c.inContainer)
		}
		if got := advise.Narrowest(c.denied, false); got != c.onHost {
			t.Errorf("%v on a host: got %v, want %v", c.denied, got, c.onHost)
		}
	}
}

// TestInstead: what a call needs a capability for, and how to do without, is the catalog's.
func TestInstead(t *testing.T) {
	r := usage.Refusal{Syscall: "sethostname", Errno: "EPERM", Denied: caps.Of(caps.SysAdmin), Begun: usage.BegunYes}
	e := advise.Explain(&r, advise.Context{Container: true})
	if want := "sethostname(2) needs sys_admin to set the host or domain name"; !slices.Contains(e.Why, want) {
		t.Errorf("why %q, want %q among it", e.Why, want)
	}
	if len(e.Instead) != 1 || !strings.Contains(e.Instead[0].How, "--hostname") {
		t.Errorf("instead: %q", e.Instead)
	}
	// Not all advice is for a host, or for a container.
	for _, c := range catalog.All() {
		on, in := advise.Instead(c.Cap, "", false), advise.Instead(c.Cap, "", true)
		both := 0
		for _, a := range on {
			if slices.ContainsFunc(in, func(b advise.Alternative) bool { return a.Do == b.Do }) {
				both++
			}
		}
		ofCalls := 0
		for _, a := range c.Instead {
			if a.Calls != nil {
				ofCalls++
			}
		}
		if len(on) == 0 && len(in) == 0 && len(c.Instead) > 0 || len(on)+len(in)-both+ofCalls != len(c.Instead) {
			t.Errorf("%v: on a host %q, in a container %q", c.Cap, on, in)
		}
	}
	// bind(2) needs it for more than one thing.
	r = usage.Refusal{Syscall: "bind", Errno: "EACCES", Denied: caps.Of(caps.NetBindService), Begun: usage.BegunYes}
	for _, why := range advise.Explain(&r, advise.Context{}).Why {
		if strings.Contains(why, "needs") {
			t.Errorf("%q is one of several", why)
		}
	}
}
