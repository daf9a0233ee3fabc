package probe

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
)

// argSpec gives arguments by their place, counted from 1; 0 = none.
type argSpec struct {
	path, dirfd, fd, sockaddr uint8
	special                   bpfSpecial
}

var (
	path1   = argSpec{path: 1}
	path2   = argSpec{path: 2}
	at12    = argSpec{dirfd: 1, path: 2}
	fd1     = argSpec{fd: 1}
	memory  = argSpec{special: bpfSpecialSPECIAL_MEMORY}
	maybe   = argSpec{special: bpfSpecialSPECIAL_MEMORY_MAYBE}
	forks   = argSpec{special: bpfSpecialSPECIAL_FORK}
	fdMaybe = argSpec{fd: 1, special: bpfSpecialSPECIAL_MEMORY_MAYBE} // of a tmpfs, it may be
	access1 = argSpec{path: 1, special: bpfSpecialSPECIAL_ACCESS}
	access2 = argSpec{dirfd: 1, path: 2, special: bpfSpecialSPECIAL_ACCESS}
)

// calls says where a system call's arguments hold a path, a file or a socket
// address, so that evidence can name them, and which calls are observed for
// their own sake. Sources: the system calls' manual pages (section 2).
var calls = sync.OnceValue(func() map[string]argSpec {
	return map[string]argSpec{
		"open": path1, "creat": path1, "stat": path1, "lstat": path1, "chmod": path1, "chown": path1, "lchown": path1,
		"mkdir": path1, "rmdir": path1, "unlink": path1, "rename": path1, "link": path1, "readlink": path1, "mknod": path1,
		"chdir": path1, "chroot": path1, "truncate": path1, "utime": path1, "utimes": path1, "statfs": path1, "acct": path1,
		"setxattr": path1, "lsetxattr": path1, "getxattr": path1, "lgetxattr": path1, "removexattr": path1,
		"lremovexattr": path1, "listxattr": path1, "llistxattr": path1, "umount2": path1, "pivot_root": path1, "swapon": path1,
		"symlink": path2, "mount": path2, "inotify_add_watch": path2,
		"openat": at12, "openat2": at12, "newfstatat": at12, "statx": at12, "fchmodat": at12, "fchmodat2": at12,
		"fchownat": at12, "mkdirat": at12, "unlinkat": at12, "renameat": at12, "renameat2": at12, "linkat": at12,
		"readlinkat": at12, "mknodat": at12, "utimensat": at12, "futimesat": at12, "name_to_handle_at": at12,
		"open_tree": at12, "mount_setattr": at12, "setxattrat": at12, "removexattrat": at12,
		"symlinkat": {dirfd: 2, path: 3},
		"fchmod":    fd1, "fchown": fd1, "ftruncate": fd1, "fsetxattr": fd1, "fgetxattr": fd1, "fremovexattr": fd1,
		"flistxattr": fd1, "fchdir": fd1, "getdents": fd1, "getdents64": fd1, "ioctl": fd1, "fcntl": fd1,
		"fallocate": fdMaybe, "open_by_handle_at": fd1, "setns": fd1, "read": fd1, "pread64": fd1, "fsync": fd1,
		"flock": fd1, "sendfile": fdMaybe, "write": fdMaybe, "pwrite64": fdMaybe, "writev": fdMaybe, "pwritev": fdMaybe,
		"pwritev2": fdMaybe, "connect": {sockaddr: 2},
		"access": access1, "faccessat": access2, "faccessat2": access2,
		"mmap": memory, "munmap": memory, "mremap": memory, "brk": memory, "mprotect": memory, "pkey_mprotect": memory,
		"fork": forks, "vfork": forks, "clone": forks, "clone3": maybe, "shmget": maybe, "shmat": maybe, "memfd_create": maybe,
		"madvise": maybe, "splice": maybe, "copy_file_range": maybe,
		"execve":   {path: 1, special: bpfSpecialSPECIAL_EXEC},
		"execveat": {dirfd: 1, path: 2, special: bpfSpecialSPECIAL_EXEC},
		"capset":   {special: bpfSpecialSPECIAL_CAPSET},
		"prctl":    {special: bpfSpecialSPECIAL_PRCTL},
		"bind":     {sockaddr: 2, special: bpfSpecialSPECIAL_BIND},
		"socket":   {special: bpfSpecialSPECIAL_SOCKET},
	}
})

// callTable is the running architecture's system calls by number.
func callTable() ([]string, error) {
	i := slices.IndexFunc(allCalls, func(c systemCalls) bool { return c.arch == runtime.GOARCH })
	if i < 0 {
		return nil, fmt.Errorf("the system calls of %s are not known", runtime.GOARCH)
	}
	return allCalls[i].names, nil
}

func syscallName(table []string, nr int32) string {
	switch {
	case nr < 0:
		return ""
	case int(nr) < len(table) && table[nr] != "":
		return table[nr]
	}
	return fmt.Sprintf("syscall_%d", nr)
}

// formatCall shows a call as a person would write it: `setgid(33)`,
// `chown("/srv", 33, 33)`. Unknown ones are shown with their path, if any.
func formatCall(name string, args [6]uint64, path string) string {
	n := func(i int) string { return fmt.Sprint(int32(args[i])) }
	oct := func(i int) string { return fmt.Sprintf("%#o", args[i]&0o7777) }
	list := func(a ...string) string { return name + "(" + strings.Join(a, ", ") + ")" }
	q := fmt.Sprintf("%q", path)
	switch name {
	case "":
		return ""
	case "setuid", "setgid", "setfsuid", "setfsgid", "setgroups", "personality", "iopl":
		return list(n(0))
	case "setreuid", "setregid":
		return list(n(0), n(1))
	case "setresuid", "setresgid":
		return list(n(0), n(1), n(2))
	case "chown", "lchown", "fchown":
		return list(q, n(1), n(2))
	case "fchownat":
		return list(q, n(2), n(3))
	case "chmod", "fchmod":
		return list(q, oct(1))
	case "fchmodat", "fchmodat2":
		return list(q, oct(2))
	case "mknod":
		return list(q, fmt.Sprintf("%#o", args[1]&0o177777))
	case "mknodat":
		return list(q, fmt.Sprintf("%#o", args[2]&0o177777))
	case "kill", "tkill":
		return list(n(0), signal(args[1]))
	case "tgkill":
		return list(n(0), n(1), signal(args[2]))
	case "open":
		return list(q, openFlags(args[1]))
	case "openat":
		return list(q, openFlags(args[2]))
	case "socket":
		return list(family(args[0]), sockType(args[1]), n(2))
	case "bind", "connect":
		if path != "" {
			return list(q)
		}
		if f := args[5] & 0xffff; f == unix.AF_INET || f == unix.AF_INET6 {
			return list(fmt.Sprintf("port %d", args[5]>>16))
		}
		return list()
	case "setsockopt", "getsockopt":
		return list(n(0), n(1), n(2))
	case "setpriority":
		return list(n(0), n(1), n(2))
	case "prctl":
		return list(prctl(args)...)
	case "ioctl":
		return list(q, fmt.Sprintf("%#x", args[1]))
	}
	if path != "" {
		return list(q)
	}
	return list()
}

// prctl are the arguments that this is about, as prctl(2) names them.
func prctl(args [6]uint64) []string {
	of := func(n uint64) string {
		if n < 64 {
			return caps.Cap(n).String()
		}
		return fmt.Sprint(n)
	}
	switch args[0] {
	case unix.PR_CAP_AMBIENT:
		verb := map[uint64]string{
			unix.PR_CAP_AMBIENT_RAISE: "PR_CAP_AMBIENT_RAISE", unix.PR_CAP_AMBIENT_LOWER: "PR_CAP_AMBIENT_LOWER",
			unix.PR_CAP_AMBIENT_IS_SET: "PR_CAP_AMBIENT_IS_SET", unix.PR_CAP_AMBIENT_CLEAR_ALL: "PR_CAP_AMBIENT_CLEAR_ALL",
		}[args[1]]
		if verb == "" {
			verb = fmt.Sprint(args[1])
		}
		if args[1] == unix.PR_CAP_AMBIENT_CLEAR_ALL {
			return []string{"PR_CAP_AMBIENT", verb}
		}
		return []string{"PR_CAP_AMBIENT", verb, of(args[2])}
	case unix.PR_CAPBSET_DROP:
		return []string{"PR_CAPBSET_DROP", of(args[1])}
	case unix.PR_SET_SECUREBITS:
		return []string{"PR_SET_SECUREBITS", fmt.Sprintf("%#x", args[1])}
	case unix.PR_SET_SECCOMP:
		return []string{"PR_SET_SECCOMP", fmt.Sprint(args[1])}
	case unix.PR_SET_MM:
		return []string{"PR_SET_MM", fmt.Sprint(args[1])}
	case unix.PR_SET_KEEPCAPS:
		return []string{"PR_SET_KEEPCAPS", fmt.Sprint(args[1])}
	}
	return []string{fmt.Sprint(int32(args[0])), fmt.Sprint(int32(args[1]))}
}

func signal(n uint64) string {
	if s := unix.SignalName(unix.Signal(n)); s != "" {
		return s
	}
	return fmt.Sprint(n)
}

func openFlags(f uint64) string {
	var words []string
	switch f & unix.O_ACCMODE {
	case unix.O_RDONLY:
		words = append(words, "O_RDONLY")
	case unix.O_WRONLY:
		words = append(words, "O_WRONLY")
	default:
		words = append(words, "O_RDWR")
	}
	for _, b := range []struct {
		bit  uint64
		name string
	}{{unix.O_CREAT, "O_CREAT"}, {unix.O_TRUNC, "O_TRUNC"}, {unix.O_APPEND, "O_APPEND"}, {unix.O_NOATIME, "O_NOATIME"}} {
		if f&b.bit != 0 {
			words = append(words, b.name)
		}
	}
	return strings.Join(words, "|")
}

func family(f uint64) string {
	switch f {
	case unix.AF_UNIX:
		return "AF_UNIX"
	case unix.AF_INET:
		return "AF_INET"
	case unix.AF_INET6:
		return "AF_INET6"
	case unix.AF_NETLINK:
		return "AF_NETLINK"
	case unix.AF_PACKET:
		return "AF_PACKET"
	}
	return fmt.Sprint(f)
}

func sockType(t uint64) string {
	switch t & 0xf {
	case unix.SOCK_STREAM:
		return "SOCK_STREAM"
	case unix.SOCK_DGRAM:
		return "SOCK_DGRAM"
	case unix.SOCK_RAW:
		return "SOCK_RAW"
	}
	return fmt.Sprint(t & 0xf)
}
