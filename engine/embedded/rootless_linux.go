//go:build cgo

package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
)

// rootless says that this process is root in a user namespace of its own only.
func rootless() bool { return os.Getenv(rootlessVariable) != "" }

// Rootless starts this program again in a user namespace where it is root, if it is
// not root already; then code is what that exited with. The only user there is is
// the caller, whose directories env names.
func Rootless(env ...string) (again bool, code int, err error) {
	if os.Geteuid() == 0 || rootless() {
		return false, 0, nil
	}
	self, err := os.Executable()
	if err != nil {
		return false, 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = slices.Concat(os.Environ(), env, []string{fmt.Sprintf("%s=%d", rootlessVariable, os.Geteuid())})
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGTERM,
	}
	// The terminal sends its signals to both; others are passed on.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup(1), say
		signal.Notify(signals, syscall.SIGHUP)
	}
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		e := &engine.Error{Problem: "containers cannot be run without root here", Reason: err.Error(), Hint: "run leastcap as root"}
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
			e.Hint = "this kernel does not let users make user namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns): allow it, or run leastcap as root"
		}
		return true, 0, e
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return true, 128 + int(ws.Signal()), nil
		}
		return true, exit.ExitCode(), nil
	}
	return true, 0, err
}

// MayRootless makes a user namespace like Rootless, for this program's version, and says why it
// could not: settings do not tell it all (a container's seccomp filter, a security module).
func MayRootless() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "--version")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	err = cmd.Run()
	var failed *os.PathError // which names the program, and that is not to blame
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// forUser fits the specification to a user namespace in which the caller is root and
// nobody else is there.
func (c *Container) forUser() error {
	s := c.spec
	if s.Process.User.UID != 0 || s.Process.User.GID != 0 {
		return &engine.Error{Problem: fmt.Sprintf("user %q cannot be had without root: in the container there is root alone, who is you", c.want.User),
			Hint: "give --user 0, or run leastcap as root"}
	}
	if c.want.Resources != (bundle.Resources{}) {
		return &engine.Error{Problem: "limits of memory, processors and pids cannot be had without root: the cgroups are not yours",
			Hint: "leave them out, or run leastcap as root"}
	}
	if _, ok := s.Linux.Sysctl["net.ipv4.ping_group_range"]; ok {
		s.Linux.Sysctl["net.ipv4.ping_group_range"] = "0 0" // the only group there
	}
	s.Linux.Resources, s.Linux.CgroupsPath = nil, "" // the cgroups are not the user's
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	one := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1}}
	s.Linux.UIDMappings, s.Linux.GIDMappings = one, one
	s.Process.User.AdditionalGids = nil // setgroups(2) is denied there: user_namespaces(7)
	for i := range s.Mounts {
		m := &s.Mounts[i]
		var options []string
		for _, o := range m.Options {
			if o != "gid="+strconv.Itoa(5) { // the tty group is not mapped
				options = append(options, o)
			}
		}
		m.Options = options
		if m.Destination == "/sys" && c.want.Network == "host" {
			*m = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
		}
	}
	return nil
}
