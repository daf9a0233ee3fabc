package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// ownSession keeps the terminal's Ctrl-C, which is meant for leastcap, from
// the workload: it is stopped in order.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func inode(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return st.Ino, nil
}

type instance struct {
	self   string // leastcap's own executable
	spec   LaunchSpec
	dir    string
	id     uint64
	cmd    *exec.Cmd
	out    *engine.Tail
	v2     bool
	exited chan struct{}
	exit   engine.Exit
	born   uint64 // when the command started: its pid may be used again
}

// poll is how often a cgroup is looked at for being empty.
const poll = 10 * time.Millisecond

// Scope implements [engine.Instance].
func (i *instance) Scope() proc.ScopeRef { return proc.ScopeRef{ID: i.id} }

// Start implements [engine.Instance]. A command that puts itself into the
// background lives on in the cgroup, and has not ended before that is empty.
func (i *instance) Start(context.Context) error {
	if err := i.cmd.Start(); err != nil {
		close(i.exited)
		return fmt.Errorf("start the command: %w", err)
	}
	i.born, _ = proc.StartTime(i.cmd.Process.Pid) // not waited for yet: it is there
	go func() {
		defer close(i.exited)
		err := i.cmd.Wait()
		if errors.Is(err, exec.ErrWaitDelay) {
			err = nil
		}
		i.exit = exitOf(i.cmd.ProcessState, err)
		if i.exit.Code == launchFailed {
			i.exit.Started, i.exit.Message = false, i.out.Lines(1)
		}
		for i.populated() {
			time.Sleep(poll)
		}
	}()
	return nil
}

func exitOf(s *os.ProcessState, err error) engine.Exit {
	if s == nil {
		return engine.Exit{Message: fmt.Sprint(err)}
	}
	e := engine.Exit{Code: s.ExitCode(), Started: true}
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Code = 128 + int(ws.Signal())
	}
	return e
}

func (i *instance) populated() bool {
	pids, err := proc.Procs(i.dir)
	return err == nil && len(pids) > 0
}

// Exited implements [engine.Instance].
func (i *instance) Exited() <-chan struct{} { return i.exited }

// Exit implements [engine.Instance].
func (i *instance) Exit() engine.Exit { return i.exit }

// Env implements [engine.Instance].
func (i *instance) Env(context.Context) ([]string, error) {
	return []string{fmt.Sprintf("LEASTCAP_PID=%d", i.cmd.Process.Pid), "LEASTCAP_IP=127.0.0.1", "LEASTCAP_CONTAINER="}, nil
}

// Health implements [engine.Instance]: commands define none.
func (i *instance) Health(context.Context) (engine.Health, error) { return engine.NoHealth, nil }

// DefaultStopTimeout is systemd's DefaultTimeoutStopSec, shortened to Docker's
// ten seconds: a trial that hangs in its stop should not take minutes.
const DefaultStopTimeout = 10 * time.Second

// Stop implements [engine.Instance]: SIGTERM to the command, or to what it
// left behind, then SIGKILL to all.
func (i *instance) Stop(ctx context.Context, timeout time.Duration) error {
	if timeout < 0 {
		timeout = DefaultStopTimeout
	}
	pids, err := proc.Procs(i.dir)
	if err != nil {
		return err
	}
	if slices.Contains(pids, i.cmd.Process.Pid) {
		pids = []int{i.cmd.Process.Pid}
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGTERM) // gone meanwhile: that is what is wanted
	}
	select {
	case <-i.exited:
		return nil
	case <-ctx.Done():
	case <-time.After(timeout):
	}
	if err := i.kill(); err != nil {
		return err
	}
	i.exit.Code, i.exit.Message = 128+int(unix.SIGKILL), "did not end when it was asked to"
	return ctx.Err()
}

// Exec implements [engine.Instance]: it is started as the command was, into the
// same cgroup.
func (i *instance) Exec(ctx context.Context, command string) (string, int, error) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		return "", 0, err
	}
	spec := i.spec
	spec.Path, spec.Argv = []byte(shell), [][]byte{[]byte("sh"), []byte("-c"), []byte(command)}
	cmd := exec.CommandContext(ctx, i.self, LaunchVerb, spec.encode())
	out := engine.Tail{Max: 64 << 10}
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = ownSession()
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return out.String(), 0, ctx.Err()
	case cmd.ProcessState == nil:
		return out.String(), 0, err
	}
	return out.String(), exitOf(cmd.ProcessState, nil).Code, nil
}

// Logs implements [engine.Instance].
func (i *instance) Logs(_ context.Context, lines int) string { return i.out.Lines(lines) }

// FileCaps implements [engine.Instance].
func (i *instance) FileCaps(_ context.Context, path string) (*caps.FileCaps, error) {
	return proc.FileCaps(path)
}

// Entry implements [engine.Files].
func (i *instance) Entry(context.Context) (engine.Entry, error) {
	dir, err := os.Getwd()
	if err != nil {
		return engine.Entry{}, err
	}
	e := engine.Entry{Args: []string{string(i.spec.Path)}, Env: os.Environ(), Dir: dir}
	for _, word := range i.spec.Argv[1:] {
		e.Args = append(e.Args, string(word))
	}
	if i.spec.HasUser {
		e.User = fmt.Sprint(i.spec.UID)
	} else {
		e.User = fmt.Sprint(os.Geteuid())
	}
	return e, nil
}

// List implements [engine.Files].
func (i *instance) List(ctx context.Context, dir string) ([]engine.File, error) {
	return engine.Tree{Root: "/"}.List(ctx, dir)
}

// Read implements [engine.Files].
func (i *instance) Read(ctx context.Context, name string) (*engine.File, error) {
	return engine.Tree{Root: "/"}.Read(ctx, name)
}

// Describe implements [engine.Instance]: a command is what was typed.
func (i *instance) Describe(context.Context, *usage.Subject) {}

// kill ends everything in the cgroup, and the command itself wherever it is,
// and waits for the end.
func (i *instance) kill() error {
	err := proc.KillCgroup(i.dir)
	if i.cmd.Process == nil {
		return err
	}
	_ = i.cmd.Process.Kill() // ended already: that is what is wanted
	// What left the cgroup is still in the session that was made for the command,
	// unless that number is another process's by now.
	if born, serr := proc.StartTime(i.cmd.Process.Pid); serr != nil || born == i.born {
		escaped, serr := proc.Session(i.cmd.Process.Pid)
		err = errors.Join(err, serr)
		for _, pid := range escaped {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	select {
	case <-i.exited:
		return err
	case <-time.After(proc.KillTimeout):
		return errors.Join(err, fmt.Errorf("process %d does not end", i.cmd.Process.Pid))
	}
}

// Remove implements [engine.Instance].
func (i *instance) Remove(context.Context) error {
	return errors.Join(i.kill(), proc.RemoveCgroup(i.dir))
}
