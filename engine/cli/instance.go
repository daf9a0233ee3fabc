package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// instance is one container.
type instance struct {
	w      *Workload
	id     string
	exited chan struct{}
	exit   engine.Exit
	wait   context.CancelFunc
}

// Describe implements [engine.Instance]: the image's id and digest.
func (i *instance) Describe(ctx context.Context, s *usage.Subject) { i.w.image(ctx, s, i.id) }

// Scope implements [engine.Instance]: every engine puts the id into the name
// of the container's cgroup.
func (i *instance) Scope() proc.ScopeRef { return proc.ScopeRef{Name: i.id} }

// Start implements [engine.Instance]. That the runtime could not execute the
// entry point is an outcome, not an error: a trial wants to know it.
func (i *instance) Start(ctx context.Context) error {
	if _, err := i.w.run(ctx, "start", i.id); err != nil {
		defer close(i.exited)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// 126 and 127: the entry point could not be executed, or not be found. Any
		// other is the engine's failure (dockerd's daemon/start.go has 128 for it)
		// and says nothing of the workload.
		var code int
		if s, err := i.inspect(ctx); err == nil {
			code = s.State.ExitCode
		}
		if code == 0 { // Podman and nerdctl keep that
			code = engine.Unexecuted(reason(err))
		}
		if code != 126 && code != 127 {
			return err
		}
		i.exit = engine.Exit{Code: code, Message: reason(err)}
		return nil
	}
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	i.wait = cancel
	go func() {
		defer close(i.exited)
		i.exit = i.waitExit(wctx)
	}()
	return nil
}

func reason(err error) string {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return err.Error()
}

func (i *instance) waitExit(ctx context.Context) engine.Exit {
	out, err := i.w.run(ctx, "wait", i.id)
	if err != nil {
		return engine.Exit{Started: true, Err: fmt.Errorf("wait for the container: %w", err)}
	}
	code, err := strconv.Atoi(out)
	if err != nil {
		return engine.Exit{Started: true, Err: fmt.Errorf("wait for the container: unexpected exit status %q", out)}
	}
	e := engine.Exit{Code: code, Started: true}
	if code != 0 {
		c, err := i.inspect(ctx)
		e.NoMemory = err == nil && c.State.OOMKilled
	}
	return e
}

// Exited implements [engine.Instance].
func (i *instance) Exited() <-chan struct{} { return i.exited }

// Exit implements [engine.Instance].
func (i *instance) Exit() engine.Exit { return i.exit }

// container is the part of `docker inspect` that is used; Podman's and
// nerdctl's is made to look the same.
type container struct {
	State struct {
		Running  bool
		Pid      int
		ExitCode int
		// OOMKilled: nerdctl does not say.
		OOMKilled bool
		Health    *struct{ Status string }
	}
	HostConfig struct {
		NetworkMode string
	}
	NetworkSettings struct {
		IPAddress string
		Networks  map[string]struct {
			IPAddress         string
			GlobalIPv6Address string
		}
	}
}

func (i *instance) inspect(ctx context.Context) (*container, error) {
	out, err := i.w.run(ctx, "inspect", "--type", "container", i.id)
	if err != nil {
		return nil, err
	}
	var list []container
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		return nil, fmt.Errorf("%s inspect: unexpected answer: %v", i.w.line.Engine, err)
	}
	return &list[0], nil
}

// Env implements [engine.Instance].
func (i *instance) Env(ctx context.Context) ([]string, error) {
	c, err := i.inspect(ctx)
	if err != nil {
		return nil, err
	}
	ip := c.NetworkSettings.IPAddress
	names := make([]string, 0, len(c.NetworkSettings.Networks))
	for name := range c.NetworkSettings.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n := c.NetworkSettings.Networks[name]
		for _, candidate := range []string{n.IPAddress, n.GlobalIPv6Address} {
			if ip == "" {
				ip = candidate
			}
		}
	}
	if ip == "" && c.HostConfig.NetworkMode == "host" {
		ip = "127.0.0.1"
	}
	return []string{"LEASTCAP_CONTAINER=" + i.id, "LEASTCAP_IP=" + ip, fmt.Sprintf("LEASTCAP_PID=%d", c.State.Pid)}, nil
}

// Health implements [engine.Instance].
func (i *instance) Health(ctx context.Context) (engine.Health, error) {
	c, err := i.inspect(ctx)
	if err != nil {
		return engine.NoHealth, err
	}
	if c.State.Health == nil || !c.State.Running { // what has ended is called unhealthy
		return engine.NoHealth, nil
	}
	switch c.State.Health.Status {
	case "healthy":
		return engine.Healthy, nil
	case "unhealthy":
		return engine.Unhealthy, nil
	case "starting":
		return engine.Starting, nil
	}
	return engine.NoHealth, nil // "none", and Podman's empty word
}

// Stop implements [engine.Instance].
func (i *instance) Stop(ctx context.Context, timeout time.Duration) error {
	args := []string{"stop"}
	if timeout >= 0 {
		args = append(args, "-t", strconv.Itoa(int(timeout.Round(time.Second)/time.Second)))
	}
	if _, err := i.w.run(ctx, append(args, i.id)...); err != nil {
		return err
	}
	select {
	case <-i.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Exec implements [engine.Instance].
func (i *instance) Exec(ctx context.Context, command string) (string, int, error) {
	argv := slices.Concat(i.w.base(), []string{"exec", i.id, "sh", "-c", command})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	engine.Group(cmd)
	out := engine.Tail{Max: 64 << 10}
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return out.String(), 0, ctx.Err()
	case errors.As(err, &exit):
		return out.String(), exit.ExitCode(), nil
	}
	return out.String(), 0, err
}

// Logs implements [engine.Instance].
func (i *instance) Logs(ctx context.Context, lines int) string {
	argv := slices.Concat(i.w.base(), []string{"logs", "--tail", strconv.Itoa(lines), i.id})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	engine.Group(cmd)
	out := engine.Tail{Max: 64 << 10}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return ""
	}
	return out.Lines(lines)
}

// FileCaps implements [engine.Instance] for a container that may have ended:
// copying out of it gives an archive with the attribute.
func (i *instance) FileCaps(ctx context.Context, path string) (*caps.FileCaps, error) {
	archive, err := i.archive(ctx, path, true)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return engine.ArchivedFileCaps(archive, path)
}

// archive copies out of the container; closing it ends the copying.
func (i *instance) archive(ctx context.Context, path string, follow bool) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	args := []string{"cp", i.id + ":" + path, "-"}
	if follow && i.w.line.Engine != "podman" { // which follows links always, and has no flag for it
		args = slices.Insert(args, 1, "-L")
	}
	argv := slices.Concat(i.w.base(), args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	engine.Group(cmd)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &copying{out, func() { cancel(); _ = cmd.Wait() }}, nil
}

// copying is a copy that is under way.
type copying struct {
	io.Reader
	end func()
}

func (c *copying) Close() error {
	c.end()
	return nil
}

// Entry implements [engine.Files].
func (i *instance) Entry(ctx context.Context) (engine.Entry, error) {
	out, err := i.w.run(ctx, "inspect", "--type", "container", i.id)
	if err != nil {
		return engine.Entry{}, err
	}
	var list []struct {
		Path   string
		Args   []string
		Config struct {
			Env        []string
			WorkingDir string
			User       string
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		return engine.Entry{}, fmt.Errorf("%s inspect: unexpected answer: %v", i.w.line.Engine, err)
	}
	c := list[0]
	return engine.Entry{Args: append([]string{c.Path}, c.Args...), Env: c.Config.Env, Dir: c.Config.WorkingDir, User: c.Config.User}, nil
}

// List implements [engine.Files].
func (i *instance) List(ctx context.Context, dir string) ([]engine.File, error) {
	return engine.Archives(i.archive).List(ctx, dir)
}

// Read implements [engine.Files].
func (i *instance) Read(ctx context.Context, name string) (*engine.File, error) {
	return engine.Archives(i.archive).Read(ctx, name)
}

// Remove implements [engine.Instance].
func (i *instance) Remove(ctx context.Context) error {
	err := i.w.remove(ctx, i.id)
	if i.wait != nil {
		i.wait()
		<-i.exited
	}
	return err
}
