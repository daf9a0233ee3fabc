package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"

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
	stop   context.CancelFunc
}

func (i *instance) api() *api { return i.w.engine.api }

// Describe implements [engine.Instance].
func (i *instance) Describe(ctx context.Context, s *usage.Subject) {
	c, err := i.inspect(ctx)
	if err != nil {
		return
	}
	s.ImageID = c.Image
	if img, err := i.api().inspectImage(ctx, c.Image); err == nil && len(img.RepoDigests) > 0 {
		s.Digest = img.RepoDigests[0]
	}
}

// Scope implements [engine.Instance].
func (i *instance) Scope() proc.ScopeRef { return proc.ScopeRef{Name: i.id} }

// Start implements [engine.Instance]. That the entry point could not be executed is an
// outcome: see engine/cli, which the exit statuses are explained in.
func (i *instance) Start(ctx context.Context) error {
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	i.stop = cancel
	if err := i.api().start(ctx, i.id); err != nil {
		defer close(i.exited)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		code := 0
		if c, ierr := i.inspect(ctx); ierr == nil && c.State != nil {
			code = c.State.ExitCode
		}
		if code == 0 { // Podman says it in words only
			code = engine.Unexecuted(err.Error())
		}
		if code != 126 && code != 127 {
			return i.w.explain(err)
		}
		i.exit = engine.Exit{Code: code, Message: err.Error()}
		return nil
	}
	go func() {
		defer close(i.exited)
		i.exit = i.wait(wctx)
	}()
	return nil
}

func (i *instance) wait(ctx context.Context) engine.Exit {
	code, err := i.api().wait(ctx, i.id)
	if err != nil {
		return engine.Exit{Started: true, Err: fmt.Errorf("wait for the container: %w", err)}
	}
	e := engine.Exit{Code: code, Started: true}
	if code != 0 {
		c, err := i.inspect(ctx)
		e.NoMemory = err == nil && c.State != nil && c.State.OOMKilled
	}
	return e
}

// Exited implements [engine.Instance].
func (i *instance) Exited() <-chan struct{} { return i.exited }

// Exit implements [engine.Instance].
func (i *instance) Exit() engine.Exit { return i.exit }

func (i *instance) inspect(ctx context.Context) (*container.InspectResponse, error) {
	r, err := i.api().inspect(ctx, i.id)
	if err != nil {
		return nil, i.w.explain(err)
	}
	return r, nil
}

// Env implements [engine.Instance].
func (i *instance) Env(ctx context.Context) ([]string, error) {
	c, err := i.inspect(ctx)
	if err != nil {
		return nil, err
	}
	ip, pid := "", 0
	if c.State != nil {
		pid = c.State.Pid
	}
	if s := c.NetworkSettings; s != nil {
		names := make([]string, 0, len(s.Networks))
		for name := range s.Networks {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if a := s.Networks[name].IPAddress; ip == "" && a.IsValid() {
				ip = a.String()
			}
			if a := s.Networks[name].GlobalIPv6Address; ip == "" && a.IsValid() {
				ip = a.String()
			}
		}
	}
	if ip == "" && i.w.Container.Network == "host" {
		ip = "127.0.0.1"
	}
	return []string{"LEASTCAP_CONTAINER=" + i.id, "LEASTCAP_IP=" + ip, "LEASTCAP_PID=" + strconv.Itoa(pid)}, nil
}

// Health implements [engine.Instance].
func (i *instance) Health(ctx context.Context) (engine.Health, error) {
	c, err := i.inspect(ctx)
	if err != nil || c.State == nil || c.State.Health == nil || !c.State.Running {
		return engine.NoHealth, err
	}
	switch c.State.Health.Status {
	case container.Healthy:
		return engine.Healthy, nil
	case container.Unhealthy:
		return engine.Unhealthy, nil
	case container.Starting:
		return engine.Starting, nil
	}
	return engine.NoHealth, nil
}

// Stop implements [engine.Instance].
func (i *instance) Stop(ctx context.Context, timeout time.Duration) error {
	if err := i.api().stop(ctx, i.id, timeout); err != nil {
		return i.w.explain(err)
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
	id, err := i.api().exec(ctx, i.id, "sh", "-c", command)
	if err != nil {
		return "", 0, i.w.explain(err)
	}
	a, err := i.api().hijack(ctx, "/exec/"+id+"/start", container.ExecStartRequest{})
	if err != nil {
		return "", 0, i.w.explain(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = a.Close() })
	defer stop()
	defer a.Close()
	out := engine.Tail{Max: 64 << 10}
	_, err = stdcopy.StdCopy(&out, &out, a)
	if ctx.Err() != nil {
		return out.String(), 0, ctx.Err()
	}
	if err != nil {
		return out.String(), 0, err
	}
	code, err := i.api().execCode(ctx, id)
	if err != nil {
		return out.String(), 0, i.w.explain(err)
	}
	return out.String(), code, nil
}

// Logs implements [engine.Instance].
func (i *instance) Logs(ctx context.Context, lines int) string {
	r, err := i.api().logs(ctx, i.id, lines)
	if err != nil {
		return ""
	}
	defer r.Close()
	out := engine.Tail{Max: 64 << 10}
	_, _ = stdcopy.StdCopy(&out, &out, r) // what came is told
	return out.Lines(lines)
}

// FileCaps implements [engine.Instance].
func (i *instance) FileCaps(ctx context.Context, path string) (*caps.FileCaps, error) {
	archive, err := i.archive(ctx, path, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not in the container any more", path)
	}
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return engine.ArchivedFileCaps(archive, path)
}

// Entry implements [engine.Files].
func (i *instance) Entry(ctx context.Context) (engine.Entry, error) {
	c, err := i.inspect(ctx)
	if err != nil {
		return engine.Entry{}, err
	}
	e := engine.Entry{Args: append([]string{c.Path}, c.Args...)}
	if c.Config != nil {
		e.Env, e.Dir, e.User = c.Config.Env, c.Config.WorkingDir, c.Config.User
	}
	return e, nil
}

// archive copies out of the container.
func (i *instance) archive(ctx context.Context, path string, follow bool) (io.ReadCloser, error) {
	for range maxLinks {
		content, stat, err := i.api().archive(ctx, i.id, path)
		if err != nil {
			if refusedWith(err, http.StatusNotFound) {
				return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
			}
			return nil, fmt.Errorf("copy %s out of the container: %w", path, err)
		}
		target := stat.LinkTarget
		if !follow || target == "" || target == path {
			return content, nil
		}
		path = target // the engine has resolved it (moby daemon/archive_unix.go)
		_ = content.Close()
	}
	return nil, fmt.Errorf("%s: too many links", path)
}

// maxLinks is how many links are followed.
const maxLinks = 10

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
	err := i.api().remove(ctx, i.id)
	if refusedWith(err, http.StatusNotFound) {
		err = nil
	}
	if i.stop != nil {
		i.stop()
		<-i.exited
	}
	return err
}
