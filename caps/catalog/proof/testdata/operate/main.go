// Command operate does one operation for which the kernel asks for a capability, and
// prints what came of it. It needs no other program, library or file but those that
// "operate tree" makes.
//
//	operate do NAME          in this process, with the capabilities that it has
//	operate userns NAME      set up here, done with all capabilities in a new user namespace
//	operate namespaces NAME [SET]
//	                         set up and done there, with new namespaces of all other kinds;
//	                         done with the capabilities of a hexadecimal set alone
//	operate drop SET ...     takes away all capabilities but those of a hexadecimal set,
//	                         for good, and goes on with the words behind it
//	operate lines FILE       what stands in a file, one line of these words after the other,
//	                         in the root file system that this program made
//	operate boot             the same as the first process of a machine, from the file /lines;
//	                         then reboots it
//	operate tree ROOT DIR SHARED
//	                         makes a root file system for all of it, a file in DIR, and its
//	                         handle in SHARED
//
// Nothing here may hurt the machine: an operation that would, were it to succeed, is
// called so that it fails behind the kernel's check of the capability.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Capabilities, namespaces and user ids are a thread's own: all is done in one.
func init() { runtime.LockOSThread() }

// result is what is printed. Error says that the operation could not be tried.
type result struct {
	Outcome string `json:"outcome,omitempty"`
	Error   string `json:"error,omitempty"`
}

// operation is one that is tried. prepare makes what it works on, for which the kernel
// asks for no capability; what it puts into the scene do finds there, also in another
// process.
type operation struct {
	prepare func(scene) error
	do      func(scene) (outcome string, err error)
}

// scene is what prepare leaves to do.
type scene map[string]string

func (s scene) int(key string) int {
	n, err := strconv.Atoi(s[key])
	if err != nil {
		panic(fmt.Sprintf("%s is %q", key, s[key]))
	}
	return n
}

// works is the outcome of what succeeds without a result that says more.
const works = "works"

// outcome is that of a system call: an errno's name, or works.
func outcome(err error) (string, error) {
	var errno syscall.Errno
	switch {
	case err == nil:
		return works, nil
	case errors.As(err, &errno):
		if name := unix.ErrnoName(errno); name != "" {
			return name, nil
		}
	}
	return "", err
}

func outcomeOf(errno syscall.Errno) (string, error) {
	if errno != 0 {
		return outcome(errno)
	}
	return works, nil
}

// operations are all, by name. Each file adds those of its kind.
var operations = join(files, processes, limits, networking, kernel)

func join(kinds ...map[string]operation) map[string]operation {
	all := map[string]operation{}
	for _, kind := range kinds {
		for name, o := range kind {
			if _, twice := all[name]; twice {
				panic(name + " is there twice")
			}
			all[name] = o
		}
	}
	return all
}

func main() {
	if os.Getenv(otherVariable) != "" {
		os.Exit(other(os.Args[1:]))
	}
	args := os.Args[1:]
	if os.Getpid() == 1 && len(args) == 0 {
		args = []string{"boot"} // rdinit takes no arguments
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: operate do|userns|namespaces|drop|lines|boot|tree …")
		os.Exit(2)
	}
	switch args[0] {
	case "tree":
		if err := errorsOf(tree(args[1]), secret(args[2], args[3])); err != nil {
			fmt.Fprintln(os.Stderr, "tree:", err)
			os.Exit(1)
		}
	case "boot":
		boot()
	case "lines":
		lines(args[1])
	case "drop":
		set, err := strconv.ParseUint(args[1], 16, 64)
		if err == nil {
			err = drop(set)
		}
		if err == nil {
			// As root this process gets what is left, and nothing else (execve: P' = X).
			err = syscall.Exec("/proc/self/exe", append([]string{"operate"}, args[2:]...), os.Environ())
		}
		print(result{Error: "drop: " + err.Error()})
	default:
		print(run(args))
	}
}

// run does one operation in one of the ways.
func run(args []string) result {
	if len(args) < 2 {
		return result{Error: fmt.Sprintf("not understood: %v", args)}
	}
	o, ok := operations[args[1]]
	if !ok {
		return result{Error: fmt.Sprintf("no operation %q", args[1])}
	}
	s := scene{}
	prepare := func() error {
		if o.prepare == nil {
			return nil
		}
		return o.prepare(s)
	}
	var err error
	var out string
	switch args[0] {
	case "do":
		if err = prepare(); err == nil {
			out, err = o.do(s)
		}
	case "userns":
		if err = prepare(); err == nil {
			text, err := json.Marshal(s)
			if err != nil {
				return result{Error: err.Error()}
			}
			return inside(unix.CLONE_NEWUSER, "scene", args[1], string(text))
		}
	case "namespaces":
		return inside(unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET|
			unix.CLONE_NEWIPC|unix.CLONE_NEWUTS|unix.CLONE_NEWCGROUP, append([]string{"fresh"}, args[1:]...)...)
	case "scene": // the second half of userns
		if err = json.Unmarshal([]byte(args[2]), &s); err == nil {
			out, err = o.do(s)
		}
	case "fresh": // the second half of namespaces
		set := ^uint64(0)
		if len(args) > 2 {
			set, err = strconv.ParseUint(args[2], 16, 64)
		}
		if err = errors.Join(err, freshProc(), prepare()); err == nil {
			if err = drop(set); err == nil {
				out, err = o.do(s)
			}
		}
	default:
		err = fmt.Errorf("not understood: %v", args)
	}
	if err != nil {
		return result{Error: err.Error()}
	}
	return result{Outcome: out}
}

// inside does the rest in namespaces of its own. All ids are mapped to themselves, so
// that nothing fails for the want of a mapping.
func inside(namespaces uintptr, args ...string) result {
	cmd := exec.Command("/proc/self/exe", args...)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1 << 16}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
	return output(cmd)
}

func output(cmd *exec.Cmd) result {
	var r result
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		return result{Error: fmt.Sprintf("%s: %v: %s%s", strings.Join(cmd.Args[1:], " "), err, out, errOut.String())}
	}
	return r
}

// freshProc shows this pid namespace in /proc. The kernel allows it where nothing of
// the old one is hidden (fs/namespace.c:mount_too_revealing).
func freshProc() error {
	err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// drop leaves only the capabilities of a set in the sets of this thread.
func drop(set uint64) error {
	last, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return err
	}
	highest, err := strconv.Atoi(strings.TrimSpace(string(last)))
	if err != nil {
		return err
	}
	for c := range highest + 1 {
		if set>>c&1 == 0 {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
				return fmt.Errorf("capability %d: %w", c, err)
			}
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		word := uint32(set >> (32 * i))
		data[i].Effective, data[i].Permitted = word, word
	}
	return unix.Capset(&hdr, &data[0])
}

func print(r result) {
	data, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(data))
}
