//go:build cgo

package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/proc"
)

func init() { logrus.SetOutput(io.Discard) } // errors come back as such

// Container is one container. It is made by [Run].
type Container struct {
	id      string
	dirs    dirs
	dir     string // what is this container's on disk
	spec    *specs.Spec
	want    *bundle.Container
	rootfs  string // where the overlay is mounted
	files   []file
	volumes *volumes

	runtime *libcontainer.Container
	process *libcontainer.Process
	pid     int
	net     *network
	proxies []io.Closer
	console *os.File // the terminal's other end

	done    chan struct{} // closed when it has ended
	exit    engine.Exit
	started bool
	copies  sync.WaitGroup
	removed sync.Once
	remErr  error
}

// Available says what this build or this host lacks, nil if containers can be run.
func Available() error {
	if _, _, micro := seccomp.Version(); micro == 0 {
		if major, minor, _ := seccomp.Version(); major == 0 && minor == 0 {
			return &engine.Error{Problem: "this build of leastcap cannot confine system calls", Reason: "it was built without the tag seccomp",
				Hint: "build it with make build, or run containers with --security-opt seccomp=unconfined"}
		}
	}
	return nil
}

// Run makes a container and starts it. An *engine.Error says that it could not be made.
// That its command could not be executed is an outcome: see [Container.Wait].
func Run(ctx context.Context, o Options) (*Container, error) {
	c, err := create(o, newID())
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

func newID() string {
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// create makes all that is on disk.
func create(o Options, id string) (_ *Container, err error) {
	if o.Container.Seccomp != "unconfined" && (!o.Container.Privileged || o.Container.Seccomp != "") {
		if err := Available(); err != nil {
			return nil, err
		}
	}
	d, err := findDirs()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{d.run, d.data} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, needRoot(err)
		}
	}
	want := *o.Container
	if want.Stop != "" {
		if _, err := parseSignal(want.Stop); err != nil {
			return nil, err
		}
	}
	c := &Container{id: id, dirs: d, want: &want, done: make(chan struct{})}
	if want.Hostname == "" {
		want.Hostname = id[:12]
		if want.Network == "host" || want.UTS == "host" {
			want.Hostname, _ = os.Hostname()
		}
	}
	// The owner is in the name: there is no moment without one.
	c.dir = filepath.Join(d.data, dirName(id))
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Remove())
		}
	}()
	if err := c.mountRoot(o.RootFS); err != nil {
		return nil, err
	}
	c.volumes = o.volumes
	if c.volumes == nil {
		c.volumes = newVolumes(filepath.Join(d.data, dirName(id)+".volumes"), d.vols)
	}
	if err := c.volumes.prepare(&want, c.rootfs); err != nil {
		return nil, err
	}
	if err := c.planFiles(); err != nil {
		return nil, err
	}
	who, err := Identify(c.rootfs, &want)
	if err != nil {
		return nil, err
	}
	if want.Cgroupns == "" && cgroups.IsCgroup2UnifiedMode() {
		want.Cgroupns = "private" // moby daemon/config/config_linux.go
	}
	want.ReadOnlyBelow = readOnlyBelow()
	c.spec, err = bundle.Spec(&want, who, c.rootfs)
	if err != nil {
		return nil, &engine.Error{Problem: "the container cannot be made", Reason: err.Error(), Hint: "change the flags, or the image"}
	}
	c.spec.Linux.CgroupsPath = "/" + cgroupPrefix + id
	if rootless() {
		if err := c.forUser(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func needRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &engine.Error{Problem: "the embedded runtime may not write its state", Reason: err.Error(), Hint: "run leastcap as root, or name a directory in $LEASTCAP_ROOT"}
	}
	return err
}

const cgroupPrefix = "leastcap-"

// dirName is "PID-STARTTIME.ID".
func dirName(id string) string { return string(proc.Self()) + "." + id }

// mountRoot puts a writable layer over the root file system.
func (c *Container) mountRoot(lower string) error {
	lower, err := filepath.Abs(lower)
	if err != nil {
		return err
	}
	info, err := os.Stat(lower)
	if err != nil {
		return &engine.Error{Problem: "no root file system", Reason: err.Error(), Hint: "name the directory that it is in"}
	}
	c.rootfs = filepath.Join(c.dir, "rootfs")
	upper, work := filepath.Join(c.dir, "upper"), filepath.Join(c.dir, "work")
	for _, d := range []string{c.rootfs, upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	// The root directory's own mode and owner are the upper one's.
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		// Somebody else's has no number in a user namespace (chown(2), EINVAL), and may be used.
		if err := os.Lchown(upper, int(st.Uid), int(st.Gid)); err != nil && !(rootless() && errors.Is(err, unix.EINVAL)) {
			return err
		}
	}
	if err := os.Chmod(upper, info.Mode()); err != nil {
		return err
	}
	options := "lowerdir=" + overlayPath(lower) + ",upperdir=" + overlayPath(upper) + ",workdir=" + overlayPath(work)
	if rootless() {
		options += ",userxattr" // Documentation/filesystems/overlayfs.rst, since 5.11
	}
	// Nothing in the writable layer outlives the container: no need to wait for the disk
	// when it is unmounted. Linux before 5.10 does not know that.
	err = unix.Mount("overlay", c.rootfs, "overlay", 0, options+",volatile")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("overlay", c.rootfs, "overlay", 0, options)
	}
	if err != nil {
		hint := "leastcap needs root for this"
		if os.Geteuid() == 0 {
			hint = "root needs sys_admin for this: run leastcap outside any container, or in one that is privileged"
		}
		switch {
		case rootless():
			hint = "without root this needs Linux 5.11 or later"
		case errors.Is(err, unix.ENODEV):
			hint = "load the kernel's module: modprobe overlay"
		case errors.Is(err, unix.EINVAL):
			hint = "the writable layer cannot be on an overlay itself: name a directory of another file system in $LEASTCAP_ROOT"
		}
		return &engine.Error{Problem: "cannot mount the container's root file system", Reason: "overlay: " + err.Error(), Hint: hint}
	}
	return nil
}

// readOnlyBelow says that mount_setattr(2) is there, and allowed. Asked for no change, the kernel
// checks both and looks for no mount (fs/namespace.c, wants_mount_setattr(); before 6.15 in the
// system call itself).
func readOnlyBelow() bool {
	return unix.MountSetattr(unix.AT_FDCWD, "", unix.AT_RECURSIVE, &unix.MountAttr{}) == nil
}

// overlayPath escapes what overlayfs takes for separators.
func overlayPath(p string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(p)
}

// start makes the container of it and lets its command go.
func (c *Container) start(ctx context.Context, o Options) (err error) {
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{
		CgroupName: cgroupPrefix + c.id, Spec: c.spec,
		RootlessEUID: rootless(), RootlessCgroups: rootless(),
	})
	if err != nil {
		return &engine.Error{Problem: "the container cannot be made", Reason: err.Error(), Hint: "change the flags, or use an engine: docker, podman or nerdctl"}
	}
	connected := c.connecting(config)
	if c.runtime, err = libcontainer.Create(c.dirs.run, c.id, config); err != nil {
		return fmt.Errorf("create the container: %w", err)
	}
	if err := c.makeFiles(); err != nil {
		return err
	}
	p := c.newProcess(c.spec.Process.Args)
	p.Init = true
	end, err := c.stdio(p, o)
	if err != nil {
		return err
	}
	err = unignoring(func() error { return c.runtime.Start(p) })
	netErr := connected()
	if err == nil {
		c.process = p
		if c.pid, err = p.Pid(); err == nil {
			err = end()
		}
	} else {
		_ = end() // the first error says more
		if code, ok := notExecuted(err); ok {
			c.exit = engine.Exit{Code: code, Message: shorten(err)}
			close(c.done)
			return nil
		}
		return &engine.Error{Problem: "the container could not be started", Reason: shorten(err), Hint: hintFor(err)}
	}
	if err != nil {
		return err
	}
	if netErr != nil {
		if status, serr := c.runtime.Status(); serr == nil && status == libcontainer.Stopped {
			return &engine.Error{Problem: "the container could not be started: its first process was killed before the command ran", Hint: "give it more --memory, if it was limited"}
		}
		return netErr
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.runtime.Exec(); err != nil {
		return fmt.Errorf("start the container: %w", err)
	}
	c.started = true
	go c.wait()
	return nil
}

func (c *Container) newProcess(args []string) *libcontainer.Process {
	s := c.spec.Process
	p := &libcontainer.Process{
		Args: args, Env: s.Env, Cwd: s.Cwd, UID: int(s.User.UID), GID: int(s.User.GID),
		NoNewPrivileges: &s.NoNewPrivileges,
		Capabilities: &configs.Capabilities{
			Bounding: s.Capabilities.Bounding, Effective: s.Capabilities.Effective, Permitted: s.Capabilities.Permitted,
			Inheritable: s.Capabilities.Inheritable, Ambient: s.Capabilities.Ambient,
		},
	}
	for _, r := range c.want.Rlimits {
		if n, ok := rlimits[r.Name]; ok {
			p.Rlimits = append(p.Rlimits, configs.Rlimit{Type: n, Soft: r.Soft, Hard: r.Hard})
		}
	}
	for _, g := range s.User.AdditionalGids {
		p.AdditionalGroups = append(p.AdditionalGroups, int(g))
	}
	return p
}

// behindNohup says that SIGHUP was ignored when this program began, which those inherit that
// it executes.
var behindNohup = sync.OnceValue(func() bool { return signal.Ignored(unix.SIGHUP) })

// unignoring starts something. What nohup(1) has ignored is leastcap's affair: as an engine
// starts containers, nothing is ignored in them. What is heard is reset by execve(2).
func unignoring(start func() error) error {
	if behindNohup() {
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, unix.SIGHUP)
		defer signal.Stop(heard)
	}
	return start()
}

// rlimits are those of getrlimit(2), by their names in --ulimit.
var rlimits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
	"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
	"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// notExecuted tells whether the command was the reason: 127 if it is not there, 126
// if it may not be executed, as the shell and Docker have it.
func notExecuted(err error) (code int, ok bool) {
	text := err.Error()
	if !strings.Contains(text, "exec: ") && !strings.Contains(text, "exec ") {
		return 0, false
	}
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return 127, true
	case strings.Contains(text, "permission denied"), strings.Contains(text, "is a directory"), strings.Contains(text, "operation not permitted"), strings.Contains(text, "exec format error"):
		return 126, true
	}
	return 0, false
}

// shorten leaves the runtime's own stations out of an error.
func shorten(err error) string {
	text := err.Error()
	for _, station := range []string{"unable to start container process: ", "error during container init: "} {
		text = strings.ReplaceAll(text, station, "")
	}
	return text
}

func hintFor(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "seccomp"):
		return "build leastcap with make build, or give --security-opt seccomp=unconfined"
	case strings.Contains(text, "memory limit"), strings.Contains(text, "memory.max"):
		return "give it more --memory"
	case strings.Contains(text, "numerical result out of range"), strings.Contains(text, "invalid argument") && strings.Contains(text, "cgroup"):
		return "give limits that this host can keep: processors that it has, no more memory than its own limit"
	case strings.Contains(text, "cgroup"):
		return "leastcap needs root and a writable cgroup file system at /sys/fs/cgroup"
	case strings.Contains(text, "operation not permitted"), strings.Contains(text, "permission denied"):
		return "leastcap needs root, and itself all capabilities that the container is to have"
	}
	return "change the flags, or use an engine: docker, podman or nerdctl"
}

func (c *Container) wait() {
	state, err := c.process.Wait()
	c.exit.Started = true
	switch {
	case state == nil:
		c.exit.Err = fmt.Errorf("wait for the container: %w", err)
	default:
		c.exit.Code = state.ExitCode()
		if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			c.exit.Code = 128 + int(ws.Signal())
		}
	}
	// A terminal's last words are read to their end, which is when all have closed it.
	c.copies.Wait()
	close(c.done)
}

// ID is the container's, 64 hexadecimal digits, as engines have them.
func (c *Container) ID() string { return c.id }

// Pid is the process id of its first process on the host.
func (c *Container) Pid() int { return c.pid }

// Address is its IP address, "" if it has no network.
func (c *Container) Address() string {
	switch {
	case c.net != nil:
		return c.net.container.String()
	case c.want.Network == "host":
		return "127.0.0.1"
	}
	return ""
}

// Done is closed when the container has ended.
func (c *Container) Done() <-chan struct{} { return c.done }

// Wait waits for the end.
func (c *Container) Wait() engine.Exit {
	<-c.done
	return c.exit
}

// Signal sends a signal to the first process.
func (c *Container) Signal(s os.Signal) error {
	select {
	case <-c.done:
		return nil
	default:
	}
	if err := c.runtime.Signal(s); !errors.Is(err, libcontainer.ErrNotRunning) {
		return err
	}
	return nil
}

// stopTimeout is Docker's (moby daemon/container.go).
const stopTimeout = 10 * time.Second

// Stop asks the container to end, and makes it after the timeout; a negative one is
// the container's own.
func (c *Container) Stop(ctx context.Context, timeout time.Duration) error {
	if timeout < 0 {
		timeout = c.want.StopTimeout
	}
	if timeout < 0 {
		timeout = stopTimeout
	}
	sig := unix.SIGTERM
	if c.want.Stop != "" {
		s, err := parseSignal(c.want.Stop)
		if err != nil {
			return err
		}
		sig = s
	}
	_ = c.Signal(sig) // gone meanwhile: that is what is wanted
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	case <-time.After(timeout):
	}
	if err := c.Signal(unix.SIGKILL); err != nil {
		return err
	}
	select {
	case <-c.done:
		return ctx.Err()
	case <-time.After(proc.KillTimeout):
		return fmt.Errorf("container %.12s does not end", c.id)
	}
}

// Exec runs a command in the container to its end, as its user and with what the
// container may do. code is its exit status.
func (c *Container) Exec(ctx context.Context, args []string) (output string, code int, err error) {
	out := &engine.Tail{Max: 64 << 10}
	p := c.newProcess(args)
	p.Stdout, p.Stderr = out, out
	if err := unignoring(func() error { return c.runtime.Run(p) }); err != nil {
		if code, ok := notExecuted(err); ok {
			return shorten(err), code, nil
		}
		return "", 0, fmt.Errorf("execute in the container: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Signal(unix.SIGKILL) }) // gone meanwhile: fine
	defer stop()
	state, err := p.Wait()
	if ctx.Err() != nil {
		return out.String(), 0, ctx.Err()
	}
	if state == nil {
		return out.String(), 0, err
	}
	code = state.ExitCode()
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	return out.String(), code, nil
}

// Remove ends the container and removes all of it.
func (c *Container) Remove() error {
	c.removed.Do(func() { c.remErr = c.remove() })
	return c.remErr
}

func (c *Container) remove() error {
	for _, p := range c.proxies {
		_ = p.Close() // a listener
	}
	var errs []error
	if c.runtime != nil {
		if c.process != nil {
			_ = c.runtime.Signal(unix.SIGKILL)
			if !c.started { // nobody else waits for it
				_, _ = c.process.Wait()
			} else {
				select {
				case <-c.done:
				case <-time.After(proc.KillTimeout):
					errs = append(errs, fmt.Errorf("container %.12s does not end", c.id))
				}
			}
		}
	}
	if c.console != nil {
		_ = c.console.Close()
	}
	destroy := func() error {
		if c.runtime == nil {
			return nil
		}
		return destroyed(c.runtime)
	}
	// The interfaces go with the container's network namespace, and so need no wait.
	files := func() error {
		err := emptyDir(c.dir)
		if c.volumes != nil {
			err = errors.Join(err, c.volumes.remove())
		}
		return err
	}
	var ended, emptied error
	if c.want.PID != "" { // what the first process leaves behind lives, and writes, until Destroy
		ended = destroy()
		emptied = files()
	} else {
		// Cgroups and files have nothing to do with each other, and each takes a while.
		done := make(chan error)
		go func() { done <- files() }()
		ended = destroy()
		emptied = <-done
	}
	errs = append(errs, ended, emptied)
	if ended == nil && emptied == nil {
		errs = append(errs, dropDir(c.dir))
	}
	return errors.Join(errs...)
}

// emptyDir unmounts what is in a container's directory and removes it. The directory, whose
// name says whose the container is, is the last that goes: killed before that, the rest is
// found by the next start.
func emptyDir(dir string) error {
	root := filepath.Join(dir, "rootfs")
	if err := unix.Unmount(root, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unmount", Path: root, Err: err}
	}
	entries, err := listDir(dir)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// removeDir removes a container's directory, when nothing else is left of it.
func removeDir(dir string) error {
	if err := emptyDir(dir); err != nil {
		return err
	}
	return dropDir(dir)
}

// dropDir removes a container's directory once it is empty.
func dropDir(dir string) error {
	if err := os.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
