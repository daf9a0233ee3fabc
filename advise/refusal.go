package advise

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

// Cause is why a system call was refused.
type Cause string

const (
	Missing     Cause = "capability"        // it was asked for, and is not there
	FileMode    Cause = "file mode"         // of a process that is not root and never had any capability
	Seccomp     Cause = "seccomp"           // the call never began
	ReadOnly    Cause = "read-only"         // a file system that is mounted so
	OutOfReach  Cause = "user namespace"    // asked of an outer one: nothing can satisfy it
	FileCaps    Cause = "file capabilities" // execve(2) of a file whose capabilities are not in the bounding set
	NotHeld     Cause = "capset"            // capset(2) and prctl(2) cannot give what is not there
	NoExecute   Cause = "not executable"    // no x bit, no regular file, or mounted noexec
	NoSuchFile  Cause = "no such file"      // and none can be made where the kernel makes the files
	Immutable   Cause = "immutable"         // chattr +i or +a
	Sticky      Cause = "sticky directory"  // fs.protected_regular, fs.protected_fifos
	Device      Cause = "device"            // the rules of the device cgroup, as far as one can tell
	Module      Cause = "security module"   // SELinux, AppArmor, as far as one can tell
	Unexplained Cause = "unknown"
)

// Explanation is what a refusal means.
type Explanation struct {
	Cause Cause `json:"cause"`
	// Certain: it is what happened, and not only what is likely.
	Certain bool `json:"certain"`
	// Mattered: the call failed for it, and the program asked for more than an opinion
	// (as access(2) does).
	Mattered bool `json:"mattered"`
	// Missing are the capabilities that were refused; Grant is the least of them that
	// would do, none if none would.
	Missing caps.Set `json:"missing"`
	Grant   caps.Set `json:"grant"`
	// Why says it in sentences, Allow what would make it work with the least power, and
	// Instead what to do rather than that.
	Why     []string      `json:"why"`
	Allow   string        `json:"allow,omitempty"`
	Instead []Alternative `json:"instead,omitempty"`
}

// Context is what [Explain] has to know of where a refusal happened.
type Context struct {
	Container bool
	Engine    string // "docker", or "" if that is not known
	// Opens gives the capabilities with which the engine's default seccomp profile lets a
	// system call through, and whether there are any.
	Opens func(syscall string) (caps.Set, bool)
	// Modules are the security modules that the kernel has, "apparmor"; nil if that could
	// not be read.
	Modules []string
}

// Explain says why a system call was refused, as far as that can be told from what is
// known.
func Explain(r *usage.Refusal, c Context) Explanation {
	e := Explanation{Missing: r.Denied | r.Beyond, Certain: true, Mattered: !opinion(r.Syscall)}
	switch {
	case r.Errno == "EROFS":
		e.readOnly(r, c)
	case r.Begun == usage.BegunNo:
		e.seccomp(r, c)
	case r.Syscall == "capset", r.Syscall == "prctl" && r.Denied.Empty() && r.Beyond.Empty() && !r.Asked.Empty():
		e.notHeld(r, c)
	case isExec(r.Syscall) && r.Errno == "EPERM" && r.File != nil && r.File.Caps != nil && r.File.Caps.Effective && !r.File.Caps.Permitted.Minus(r.State.Bounding).Empty():
		e.fileCaps(r, c)
	case r.File != nil && r.File.Exists && r.File.Unmapped && !r.Denied.Empty() && r.Denied.SubsetOf(ofFiles):
		e.unmapped(r, c)
	case !r.Denied.Empty():
		e.missing(r, c)
	case !r.Beyond.Empty():
		e.beyond(r, c)
	default:
		e.withoutCheck(r, c)
	}
	if !e.Mattered {
		e.Allow, e.Instead = "", nil
		e.Why = append(e.Why, r.Syscall+"(2) only asks, with the real user's powers: the program may not need it")
	}
	if r.NoNewPrivs && e.Cause != ReadOnly && r.Program != nil && (r.Program.Mode&0o6000 != 0 || r.Program.Caps != nil) {
		e.Why = append(e.Why, fmt.Sprintf("no_new_privs is set, so that the set-user-ID bit or file capabilities of %s had no effect", r.Process.Exe))
		how := "leave NoNewPrivileges=yes out of the unit, or --no-new-privs"
		if c.Container {
			how = "leave --security-opt no-new-privileges (allowPrivilegeEscalation: false) out"
		}
		e.Instead = append(e.Instead, Alternative{"allow it to gain privileges, if it is to", how})
	}
	return e
}

// opinion: access(2) and its kin are judged with the real ids, whatever the process has.
func opinion(syscall string) bool {
	return syscall == "access" || strings.HasPrefix(syscall, "faccessat")
}

func isExec(syscall string) bool { return syscall == "execve" || syscall == "execveat" }

func (e *Explanation) why(format string, args ...any) {
	e.Why = append(e.Why, fmt.Sprintf(format, args...))
}

func (e *Explanation) readOnly(r *usage.Refusal, c Context) {
	e.Cause = ReadOnly
	e.why("the file system is mounted read-only there: no capability changes that")
	switch {
	case !c.Container && !made(r.Path):
		e.Instead = []Alternative{{"let it be written to", "mount -o remount,rw; for a unit: ReadWritePaths=, or less of ProtectSystem="}}
	case strings.HasPrefix(r.Path, "/proc/sys/"):
		e.Instead = []Alternative{setSysctl(r.Path)}
	case made(r.Path):
		e.Instead = []Alternative{{"set it on the host", ""}}
	default:
		dir := path.Dir(r.Path)
		place := Alternative{"give it a place to write", "--tmpfs " + dir + ", or --volume NAME:" + dir}
		if dir == "/" { // where nothing can be mounted
			place = Alternative{"have it write elsewhere than in /", "--tmpfs DIR, or --volume NAME:DIR, and --workdir DIR"}
		}
		e.Instead = []Alternative{
			place,
			{"or let the root file system, or the volume, be written to", "leave --read-only, or :ro, out"},
		}
	}
}

// sysctl is the name of a file below /proc/sys.
func sysctl(file string) string {
	return strings.ReplaceAll(strings.TrimPrefix(file, "/proc/sys/"), "/", ".")
}

// setSysctl is how a container gets a sysctl: the engine sets those that are the container's
// own (runc libcontainer/configs/validate/validator.go:sysctl), and the others are the host's.
func setSysctl(file string) Alternative {
	name := sysctl(file)
	switch {
	case name == "kernel.hostname", name == "kernel.domainname":
		return Alternative{"let the engine set it when it starts the container", "--" + strings.TrimPrefix(name, "kernel.")}
	case name == "kernel.sem", strings.HasPrefix(name, "net."), strings.HasPrefix(name, "fs.mqueue."),
		strings.HasPrefix(name, "kernel.msg"), strings.HasPrefix(name, "kernel.shm"):
		return Alternative{"let the engine set the sysctl when it starts the container", "--sysctl " + name + "=VALUE"}
	}
	return Alternative{"set the sysctl on the host, for all containers: no namespace has its own", "sysctl -w " + name + "=VALUE"}
}

func (e *Explanation) seccomp(r *usage.Refusal, c Context) {
	e.Cause = Seccomp
	e.why("the seccomp filter stopped it before the kernel began it: no capability was asked for")
	if c.Opens == nil {
		e.Instead = []Alternative{{"have the filter let it through", "a unit's SystemCallFilter=" + r.Syscall + ", or the program's own sandbox"}}
		return
	}
	profile := "Docker's default profile"
	if c.Engine != "" && c.Engine != "docker" {
		profile += ", which others' resemble,"
	}
	if with, ok := c.Opens(r.Syscall); ok && !with.Empty() {
		e.Missing, e.Grant = with, weakest(with)
		e.why("%s lets %s(2) through together with %s only", profile, r.Syscall, words(with, "or"))
		if needs(r.Syscall, e.Grant) {
			e.Allow = fmt.Sprintf("%s, which the call itself needs, too: a seccomp profile alone would not do", words(e.Grant, "or"))
		} else {
			e.Allow = fmt.Sprintf("a seccomp profile with %s(2) in it; or %s, which opens more than this call", r.Syscall, words(e.Grant, "or"))
		}
		if r.UserNamespace {
			e.why("it runs in a user namespace of its own, in which a capability is power over what belongs to that namespace, and not over what is the host's (clock, devices, modules)")
		}
		e.Instead = append(e.Instead, Instead(e.Grant.Caps()[0], r.Syscall, c.Container)...)
		return
	}
	e.why("%s knows no capability that would let it through", profile)
	e.Allow = fmt.Sprintf("a seccomp profile of one's own with %s(2) in it", r.Syscall)
}

// sometimes are calls that need a capability for some of what they do only: a new user
// namespace, one's own children, a filter without privileges.
var sometimes = []string{"unshare", "clone", "clone3", "setns", "bpf", "perf_event_open", "ptrace", "keyctl", "process_vm_readv", "process_vm_writev", "kcmp"}

// needs: whatever the call does, the kernel asks for the capability, as far as the catalog
// knows.
func needs(call string, grant caps.Set) bool {
	return !slices.Contains(sometimes, call) &&
		slices.ContainsFunc(catalog.Find(call, "EPERM"), func(a catalog.Asked) bool { return grant.Has(a.Cap) })
}

func (e *Explanation) notHeld(r *usage.Refusal, c Context) {
	e.Cause = NotHeld
	ambient := r.Syscall == "prctl" // PR_CAP_AMBIENT_RAISE: security/commoncap.c:cap_task_prctl
	has := r.State.Permitted
	if ambient {
		has = has.Intersect(r.State.Inheritable)
	}
	lacks := r.Asked.Minus(has)
	switch {
	case lacks.Empty() && ambient:
		e.why("the securebits forbid to raise anything in the ambient set (no_cap_ambient_raise)")
		return
	case lacks.Empty():
		e.Cause, e.Certain = Unexplained, false
		e.why("it asked for capabilities that the process may set, or for what is locked (securebits)")
		return
	case ambient && lacks.SubsetOf(r.State.Permitted):
		e.why("it would raise %s in the ambient set, where only what is inheritable, too, can be, and that is not", words(lacks, "and"))
		e.Instead = []Alternative{{"have the program put it into its inheritable set first, for which it needs nothing more", "setpriv --inh-caps +" + lacks.Caps()[0].String() + " --ambient-caps +" + lacks.Caps()[0].String()}}
		return
	}
	e.Missing, e.Grant = lacks, lacks
	whose := "the unit's set (AmbientCapabilities=, CapabilityBoundingSet=)"
	if c.Container {
		whose = "the container's set"
	}
	if ambient {
		e.why("it would raise %s in the ambient set, and the process, user %d, does not have it", words(lacks, "and"), r.Process.EUID)
		e.Allow = words(lacks, "and") + " in its permitted and inheritable sets: raised by root, before it becomes that user"
		if !c.Container {
			e.Allow = words(lacks, "and") + " in a unit's AmbientCapabilities=, which systemd raises for its User="
		}
		return
	}
	e.why("it would set %s, which the process does not have: a process can only keep what it has", words(lacks, "and"))
	e.Allow = words(lacks, "and") + " in " + whose + "; it may be that the program only wants to keep them, and works without"
}

func (e *Explanation) fileCaps(r *usage.Refusal, c Context) {
	e.Cause = FileCaps
	lacks := r.File.Caps.Permitted.Minus(r.State.Bounding)
	e.Missing, e.Grant = lacks, lacks
	e.why("the file has the capabilities %s, of which %s is not in the bounding set: execve(2) fails then, though the program may never use it", r.File.Caps, words(lacks, "and"))
	e.Allow = words(lacks, "and") + " in the bounding set"
	e.Instead = []Alternative{{"take the file capabilities away, if root or nobody runs it", c.run("setcap -r " + r.Path)}}
}

func (e *Explanation) missing(r *usage.Refusal, c Context) {
	e.Cause = Missing
	e.Grant = Narrowest(r.Denied, c.Container)
	files := caps.Of(caps.DacOverride, caps.DacReadSearch)
	ofFile := !r.Denied.Intersect(files).Empty()
	if ofFile && r.File != nil {
		e.mode(r, c)
	}
	switch {
	case ofFile && r.Process.EUID != 0 && r.State.Permitted.Empty():
		e.Cause = FileMode
		if r.File == nil {
			e.why("the mode of the file, or of a directory on the way, does not let user %d in; root could, with %s", r.Process.EUID, words(e.Grant, "or"))
		}
	case r.Reply:
		e.why("%s was asked for, and the process does not have it; netlink says so in its answer, and the call itself succeeds", words(e.Grant, "or"))
	case r.State.Permitted.Has(e.Grant.Caps()[0]):
		e.why("%s was asked for; the process holds it, but not in effect", words(e.Grant, "or"))
	case r.State.Bounding.Has(e.Grant.Caps()[0]):
		e.why("%s was asked for; the process is user %d and does not have it in effect, though it is in the bounding set", words(e.Grant, "or"), r.Process.EUID)
	default:
		e.why("%s was asked for, and is not in the bounding set either", words(e.Grant, "or"))
	}
	for _, c := range e.Grant.Caps() {
		if op := operation(c, r.Syscall, r.Errno); op != "" {
			e.why("%s(2) needs %v to %s", r.Syscall, c, op)
		}
	}
	if !r.Beyond.Empty() {
		e.why("%s was asked of an outer user namespace and cannot be given", words(r.Beyond, "and"))
	}
	e.Allow = words(e.Grant, "or")
	first := e.Grant.Caps()[0]
	switch {
	case r.State.Permitted.Has(first) && !r.Reply:
		e.Allow += " in effect: the program can raise what it holds, by capset(2)"
	case e.Cause == FileMode, r.Process.EUID != 0 && !r.UserNamespace && !r.Reply && r.State.Bounding.Has(first):
		e.Allow += ", held by a process that is not root: ambient, or as file capabilities"
	}
	if ofFile && made(r.Path) {
		return // nobody sets owners and modes there
	}
	for _, cap := range e.Grant.Caps() {
		e.Instead = append(e.Instead, Instead(cap, r.Syscall, c.Container)...)
	}
}

// made says that a path is of a file system whose files the kernel makes.
func made(path string) bool {
	return strings.HasPrefix(path+"/", "/proc/") || strings.HasPrefix(path+"/", "/sys/")
}

// run is a command as one writes it where the image is made.
func (c *Context) run(command string) string {
	if c.Container {
		return "RUN " + command
	}
	return command
}

// mode says what the file's owner and mode mean for the process, and what would help.
func (e *Explanation) mode(r *usage.Refusal, c Context) {
	f := r.File
	where := r.Path
	if f.Blocker != "" {
		where = f.Blocker
	}
	numbered, user := "", fmt.Sprint(r.FSUID)
	switch {
	case r.Numbered:
		numbered = ", as its user namespace numbers them"
	case r.UserNamespace:
		numbered, user = ", as the host numbers them", "UID"
	}
	e.why("%s belongs to %d:%d and has the mode %04o; the process acts as %d:%d%s", where, f.UID, f.GID, f.Mode&0o7777, r.FSUID, r.FSGID, numbered)
	if made(r.Path) {
		return
	}
	// What asks for the least: no mode is changed, and no owner.
	if want := wanted(r); want != 0 && f.GID != 0 && f.GID != r.FSGID && f.UID != r.FSUID && f.Mode>>3&want == want {
		how := fmt.Sprintf("a unit's SupplementaryGroups=%d", f.GID)
		if c.Container {
			how = fmt.Sprintf("--group-add %d", f.GID)
		}
		e.Instead = append(e.Instead, Alternative{fmt.Sprintf("have group %d among its own, which the mode lets in", f.GID), how})
	}
	switch {
	case f.Blocker != "" && f.UID != r.FSUID && !f.May(r.FSUID, r.FSGID, 1):
		e.Instead = append(e.Instead, Alternative{"put the file where the user may look, or let the user search that directory", c.run("chmod o+x " + where)})
		return
	}
	if f.UID == r.FSUID {
		e.Instead = append(e.Instead, Alternative{"let its owner in by the mode", c.run("chmod u+rwX " + where)})
		return
	}
	if systems(where) {
		how := "StateDirectory=, CacheDirectory= or RuntimeDirectory= of the unit; or in the user's home"
		if c.Container {
			how = fmt.Sprintf("RUN install -d -o %s DIR, or --tmpfs DIR:uid=%s", user, user)
		}
		e.Instead = append(e.Instead, Alternative{"have it use a place of its own: " + where + " is the system's, and better stays so", how})
		return
	}
	command := fmt.Sprintf("chown %s %s", user, where)
	if f.Mode>>6&wanted(r) != wanted(r) { // nor would the owner be let in
		command += " && chmod u+rwX " + where
	}
	own := c.run(command)
	as := fmt.Sprintf("a unit's User=%d", f.UID)
	if c.Container {
		own = fmt.Sprintf("COPY --chown=%s, or %s", user, own)
		as = fmt.Sprintf("--user %d", f.UID)
	}
	e.Instead = append(e.Instead, Alternative{fmt.Sprintf("let %s belong to user %s", where, user), own})
	if f.UID != 0 && user != "UID" {
		e.Instead = append(e.Instead, Alternative{fmt.Sprintf("or run as user %d, who owns it", f.UID), as})
	}
}

// creates says that a call would create the file if it were not there.
func creates(r *usage.Refusal) bool {
	const create = 0o100 // O_CREAT, the same on all that Linux runs on
	switch r.Syscall {
	case "creat":
		return true
	case "open":
		return r.Args[1]&create != 0
	case "openat":
		return r.Args[2]&create != 0
	}
	return false
}

// The types of files (include/uapi/linux/stat.h: S_IFMT, S_IFREG).
const fileType, regular = 0o170000, 0o100000

// kernelMakes says that a call was to make a file where the file system makes them all itself:
// it has no operation for that (fs/namei.c: lookup_open, vfs_mkdir, vfs_mknod, vfs_symlink).
func kernelMakes(r *usage.Refusal) bool {
	switch {
	case !made(r.Path):
		return false
	case creates(r):
		return r.Errno == "EACCES"
	case slices.Contains([]string{"mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat"}, r.Syscall):
		// In some that are mounted there, directories can be made: cgroups, configfs, tracefs.
		return r.Errno == "EPERM" && !strings.HasPrefix(r.Path, "/sys/fs/") && !strings.HasPrefix(r.Path, "/sys/kernel/")
	}
	return false
}

// wanted is what a call wanted of the file, or of the directory in its way: 4 read, 2 write,
// 1 execute or search; 0 if that cannot be told.
func wanted(r *usage.Refusal) uint32 {
	f := r.File
	switch {
	case f.Blocker != "" && !f.May(r.FSUID, r.FSGID, 1):
		return 1
	case f.Blocker != "":
		return 3 // to change what is in it
	case isExec(r.Syscall):
		return 1
	}
	var flags uint64
	switch r.Syscall {
	case "open":
		flags = r.Args[1]
	case "openat":
		flags = r.Args[2]
	default:
		return 0
	}
	const accmode, trunc = 3, 0o1000 // fcntl.h: O_ACCMODE, O_TRUNC, the same on all that Linux runs on
	want := [...]uint32{4, 2, 6, 6}[flags&accmode]
	if flags&trunc != 0 {
		want |= 2
	}
	return want
}

// systems says that a file or directory is not to belong to a service: what all of the
// system trusts is found there.
func systems(where string) bool {
	return slices.Contains([]string{
		"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/srv", "/tmp", "/usr", "/var",
		"/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/sbin", "/usr/share",
		"/var/cache", "/var/lib", "/var/log", "/var/run", "/var/spool", "/var/tmp",
		"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/sudoers",
	}, where)
}

func (e *Explanation) beyond(r *usage.Refusal, c Context) {
	e.Cause = OutOfReach
	e.why("%s was asked of a user namespace outside the process's own: nothing that it can be given satisfies that", words(r.Beyond, "and"))
	if kind := changes(r); kind != "" && !c.Container {
		e.Instead = append(e.Instead, Alternative{"make the namespace that it changes together with the user namespace: then it is that one's", "unshare --user --" + kind})
	}
	for _, cap := range r.Beyond.Caps() {
		e.Instead = append(e.Instead, Instead(cap, r.Syscall, c.Container)...)
	}
	how := ""
	if c.Container {
		how = "--userns host"
	}
	e.Instead = append(e.Instead, Alternative{"do it outside, or run it without a user namespace of its own", how})
}

// ofFiles are the capabilities over files, which reach those of mapped owners alone.
var ofFiles = caps.Of(caps.Chown, caps.DacOverride, caps.DacReadSearch, caps.Fowner, caps.Fsetid)

// unmapped: kernel/capability.c:privileged_wrt_inode_uidgid.
func (e *Explanation) unmapped(r *usage.Refusal, c Context) {
	e.Cause, e.Certain = OutOfReach, r.File.Unmapped
	e.why("%s belongs to somebody for whom the process's user namespace has no number: what is not mapped into it, no capability in it reaches", r.Path)
	how := "chown it on the host to an id that /proc/PID/uid_map has, or map its owner: unshare --map-users"
	if c.Container {
		how = "Podman --volume SRC:DST:U, podman unshare chown, --userns=keep-id"
	}
	e.Instead = []Alternative{{"have it belong to a user of the namespace", how}}
}

// changes is the kind of namespace that a call changes, as unshare(1) names it; "" if it
// changes none, or that cannot be told.
func changes(r *usage.Refusal) string {
	switch r.Syscall {
	case "mount", "umount2", "pivot_root", "move_mount", "open_tree", "mount_setattr", "fsmount":
		return "mount"
	case "sethostname", "setdomainname":
		return "uts"
	case "socket", "bind", "setsockopt", "ioctl", "sendto", "sendmsg":
		if !r.Beyond.Intersect(caps.Of(caps.NetAdmin, caps.NetRaw, caps.NetBindService)).Empty() {
			return "net"
		}
	}
	return ""
}

// withoutCheck: no capability was asked for and denied.
func (e *Explanation) withoutCheck(r *usage.Refusal, c Context) {
	e.Certain = false
	f := r.File
	switch {
	case strings.HasPrefix(r.Path, "/proc/sys/") && r.Errno == "EACCES" && r.Process.EUID != 0:
		// fs/proc/proc_sysctl.c:sysctl_perm
		e.Cause, e.Certain = FileMode, true
		e.why("sysctls go by owner and mode alone: no capability lets user %d write there", r.Process.EUID)
		if c.Container {
			e.Instead = []Alternative{setSysctl(r.Path)}
		} else {
			e.Instead = []Alternative{{"have root set it at boot", "a line " + sysctl(r.Path) + "=VALUE in /etc/sysctl.d"}}
		}
		return
	case f != nil && isExec(r.Syscall) && r.Errno == "EACCES" && f.Exists && f.Blocker == "" && f.Mode&fileType != 0 && f.Mode&fileType != regular:
		// fs/exec.c:do_open_execat
		e.Cause, e.Certain = NoExecute, true
		kind := "no regular file"
		if f.Mode&fileType == 0o040000 {
			kind = "a directory"
		}
		e.why("%s is %s: only a regular file can be executed", r.Path, kind)
		return
	case f != nil && !f.Exists && kernelMakes(r):
		e.Cause, e.Certain = NoSuchFile, true
		e.why("there is no %s, and nobody, not even root, can make a file there: they are the kernel's own", r.Path)
		e.Instead = []Alternative{{"mind the name, and whether what would have it is there: a kernel module, a cgroup controller, the other version of cgroups", ""}}
		return
	case f != nil && isExec(r.Syscall) && r.Errno == "EACCES" && f.NoExec:
		e.Cause, e.Certain = NoExecute, true
		e.why("%s is on a file system that is mounted noexec", r.Path)
		how := "mount -o remount,exec; for a unit: ExecPaths="
		if c.Container {
			how = "--tmpfs DIR:exec, or a --volume of a file system that is mounted with exec"
		}
		e.Instead = []Alternative{{"put the program elsewhere, or mount it with exec", how}}
		return
	case f != nil && isExec(r.Syscall) && r.Errno == "EACCES" && f.Exists && fs.FileMode(f.Mode)&0o111 == 0:
		e.Cause, e.Certain = NoExecute, true
		e.why("%s has no execute bit (mode %04o); without one not even dac_override helps", r.Path, f.Mode&0o7777)
		e.Instead = []Alternative{{"make it executable", c.run("chmod +x " + r.Path)}}
		return
	case f != nil && isExec(r.Syscall) && r.Errno == "EACCES" && f.Unmounted && (f.Blocker == "" || !f.Exists && f.May(r.FSUID, r.FSGID, 1)):
		e.Cause = NoExecute
		mode := ""
		if f.Blocker != "" { // the file has gone, too
			mode = ", and so does a file without an execute bit"
		}
		e.why("the container has ended, and it cannot be looked at any more: a file system that is mounted noexec refuses like that, as Docker's tmpfs are by default%s", mode)
		e.Instead = []Alternative{{"put the program elsewhere, or mount it with exec", "--tmpfs " + path.Dir(r.Path) + ":exec"}}
		return
	case f != nil && f.Exists && r.UserNamespace && f.UID != r.FSUID && (f.Unmapped || !r.Numbered):
		e.unmapped(r, c)
		return
	case f != nil && f.Shared && r.Errno == "EACCES" && creates(r) && f.UID != r.FSUID:
		// fs/namei.c:may_create_in_sticky
		e.Cause = Sticky
		e.why("%s belongs to user %d and is in a sticky directory that others may write to: there nobody, not even root, may open it with O_CREAT who does not own it (the sysctls fs.protected_regular and fs.protected_fifos)", r.Path, f.UID)
		e.Instead = []Alternative{
			{"have each user write files of its own, or open it without O_CREAT", ""},
			{"or keep it in a directory that is not sticky, or belongs to the file's owner", ""},
		}
		return
	case f != nil && f.Immutable && r.Errno == "EPERM":
		e.Cause = Immutable
		where := r.Path
		switch {
		case f.Blocker == "" || f.Blocker == r.Path:
		case f.Exists:
			where += " or the directory that it is in"
		default:
			where = f.Blocker
		}
		e.why("%s is immutable or append-only (chattr), for root too", where)
		e.Allow = "chattr -i -a on it, by somebody with linux_immutable"
		return
	case f != nil && (f.Mode&0o170000 == 0o20000 || f.Mode&0o170000 == 0o60000) && c.Container && r.Errno == "EPERM" && (strings.HasPrefix(r.Syscall, "open") || strings.HasPrefix(r.Syscall, "mknod")):
		e.Cause = Device
		e.why("no capability was asked for; %s is a device, and the container's device rules are the likely reason", r.Path)
		switch {
		case f.DeviceName == r.Path, f.Device == "":
			e.Instead = []Alternative{{"give the container the device", "--device " + r.Path}}
		case f.DeviceName == "":
			e.Instead = []Alternative{{"allow it, as " + f.Device + " has no file on the host", "--device-cgroup-rule '" + f.Device + " rw'"}}
		default:
			e.Instead = []Alternative{
				{"give the container the device, which is " + f.DeviceName + " on the host", "--device " + f.DeviceName + ":" + r.Path},
				{"or allow it, where the container makes the file itself", "--device-cgroup-rule '" + f.Device + " rw'"},
			}
		}
		return
	}
	switch r.Begun {
	case usage.BegunUnknown:
		e.why("no capability was asked for, and it was not seen whether seccomp stopped it")
	default:
		e.why("no capability was asked for and denied")
	}
	if module := moduleOf(c.Modules); module != "" && r.LSM != "" && !strings.HasPrefix(r.LSM, "unconfined") {
		e.Cause = Module
		granted := ""
		if !r.Granted.Empty() {
			granted = fmt.Sprintf(" (%s was granted on the way)", words(r.Granted, "and"))
		}
		e.why("the process is confined by %s as %q, which is the likely reason%s", module, r.LSM, granted)
		if module == "SELinux" {
			e.Instead = []Alternative{{"look at what it says", "ausearch -m avc -ts recent; for a volume: --volume SRC:DST:z"}}
		} else {
			e.Instead = []Alternative{{"look at what it says", "dmesg | grep apparmor"}}
		}
		return
	}
	if slices.Contains([]string{"sendto", "sendmsg", "sendmmsg", "connect"}, r.Syscall) && r.Errno == "EPERM" {
		e.Cause = Unexplained
		e.why("a packet filter refuses like that (iptables, nftables, a cgroup's BPF program)")
		return
	}
	if r.Syscall == "setrlimit" && r.Args[0] == rlimitNofile || r.Syscall == "prlimit64" && r.Args[1] == rlimitNofile {
		e.Cause = Unexplained
		e.why("no process may open more files than the sysctl fs.nr_open says, whatever it has")
		e.Instead = []Alternative{{"ask for less, or have root raise the sysctl on the host", "sysctl fs.nr_open"}}
		return
	}
	if r.Syscall == "prctl" {
		e.Cause = NotHeld
		e.why("prctl(2) changes nothing that is locked (securebits), and some of it only for who has a capability")
		return
	}
	e.Cause = Unexplained
	if f != nil && f.Unmounted && r.Errno == "EPERM" && r.Path != "" {
		e.why("the container has ended, and it cannot be looked at any more: a file or directory that is immutable or append-only (chattr) refuses like that")
		return
	}
	e.why("it cannot be told why: the file system's own rules, a sandbox (Landlock), a limit, or the program's arguments")
}

// rlimitNofile is RLIMIT_NOFILE (include/uapi/asm-generic/resource.h), which kernel/sys.c:
// do_prlimit bounds before it asks for sys_resource.
const rlimitNofile = 7

// moduleOf names the one that gives processes labels.
func moduleOf(modules []string) string {
	switch {
	case slices.Contains(modules, "selinux"):
		return "SELinux"
	case slices.Contains(modules, "apparmor"):
		return "AppArmor"
	case slices.Contains(modules, "smack"):
		return "Smack"
	}
	return ""
}

// Narrowest leaves out of what one call was denied the capabilities that another of them
// makes unnecessary: the kernel asks for one after the other until one is there.
func Narrowest(denied caps.Set, container bool) caps.Set {
	out := denied
	for _, wide := range denied.Caps() {
		for _, n := range catalog.Get(wide).Narrower {
			switch {
			case !denied.Has(n.Cap):
			case n.Container || !container:
				out = out.Without(wide)
			default: // no reduction here
				out = out.Without(n.Cap)
			}
		}
	}
	if out.Empty() {
		return denied
	}
	return out
}

// weakest is the least dangerous of a set, by itself.
func weakest(set caps.Set) caps.Set {
	order := catalog.ByDanger(set)
	return caps.Of(order[len(order)-1])
}

// words are a set's names: "chown", "bpf or sys_admin".
func words(set caps.Set, and string) string {
	var names []string
	for c := range set.Values() {
		names = append(names, c.String())
	}
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + and + " " + names[len(names)-1]
}

// answering are the functions of the kernel that refuse a netlink request in its answer, so
// that the system call itself succeeds: net/core/rtnetlink.c, net/netfilter/nfnetlink.c,
// net/netlink/genetlink.c, net/xfrm/xfrm_user.c, kernel/audit.c:audit_netlink_ok.
var answering = []string{
	"rtnetlink_rcv_msg", "nfnetlink_rcv", "genl_rcv_msg", "genl_family_rcv_msg", "xfrm_user_rcv_msg",
	"audit_netlink_ok", "audit_receive_msg", "audit_receive",
}

// InReply says that a check refused a netlink request in its answer.
func InReply(c *usage.Check) bool {
	return c.Verdict == usage.Denied && c.Errno == "" && slices.Contains(answering, c.Function)
}
