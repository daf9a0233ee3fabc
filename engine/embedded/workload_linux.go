//go:build cgo

package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	securejoin "github.com/cyphar/filepath-securejoin"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Workload is a container that can be run many times.
type Workload struct {
	Request
	docker *rules.Rules
}

var _ engine.Workload = (*Workload)(nil)

// New prepares to run a container.
func New(r Request) (engine.Workload, error) {
	docker, err := rules.For("docker")
	if err != nil {
		return nil, err
	}
	return &Workload{r, docker}, nil
}

// Inspect implements [engine.Workload].
func (w *Workload) Inspect(context.Context) (usage.Subject, error) { return w.Subject, nil }

// Privileged implements [engine.Workload].
func (w *Workload) Privileged() bool { return w.Container.Privileged }

// Today is what the container has by Docker's rules.
func (w *Workload) Today() (caps.Set, error) { return w.Baseline.Bounding, nil }

// Persistent implements [engine.Workload]: what is not new in every run.
func (w *Workload) Persistent(fresh bool) bool { return w.Container.Persistent(fresh) }

// Volumes implements [engine.Workload].
func (w *Workload) Volumes(context.Context) (bool, error) { return w.Container.HasVolumes(), nil }

// Exclusive implements [engine.Workload].
func (w *Workload) Exclusive() string { return w.Container.Exclusive() }

// Remarks implements [engine.Workload].
func (w *Workload) Remarks() []string { return w.Container.Remarks() }

// Use implements [engine.Workload].
func (w *Workload) Use(set caps.Set, unconfined bool) usage.Use {
	return w.Request.Use(set, unconfined)
}

// Prepare implements [engine.Workload].
func (w *Workload) Prepare(_ context.Context, g engine.Grant) (engine.Instance, error) {
	c := *w.Container
	c.Stdin, c.TTY = false, false
	c.State = w.Baseline
	if !g.Baseline {
		result, err := w.docker.Apply(rules.Request{Drop: []string{"ALL"}, Add: g.Set.Docker(), User: c.User})
		if err != nil {
			return nil, err
		}
		c.State, c.Privileged = result.Runtime, g.Unconfined
	}
	if g.Fresh {
		c.Mounts = slices.Clone(c.Mounts)
		for i := range c.Mounts {
			if c.Mounts[i].Type == bundle.Volume {
				c.Mounts[i].Source = ""
			}
		}
	}
	i := &instance{out: &engine.Tail{Max: 64 << 10}, exited: make(chan struct{})}
	i.options = Options{Container: &c, RootFS: w.RootFS, Stdout: i.out, Stderr: i.out}
	if before, ok := g.After.(*instance); ok && before.c != nil {
		i.options.volumes = before.c.volumes
		before.c.volumes = nil // they go with this one now
	}
	var err error
	i.c, err = create(i.options, newID())
	if err != nil {
		return nil, err
	}
	return i, nil
}

// Clean implements [engine.Workload].
func (w *Workload) Clean(context.Context) error {
	d, err := findDirs()
	if err != nil {
		return err
	}
	self := proc.Self()
	return d.sweep(func(o proc.Owner) bool { return o == self || !o.Alive() })
}

// instance is one container, from before its start until it is removed.
type instance struct {
	c       *Container
	options Options
	out     *engine.Tail
	exited  chan struct{}

	health struct {
		sync.Mutex
		state engine.Health
		stop  context.CancelFunc
	}
}

// Scope implements [engine.Instance].
func (i *instance) Scope() proc.ScopeRef { return proc.ScopeRef{Name: i.c.id} }

// Start implements [engine.Instance].
func (i *instance) Start(ctx context.Context) error {
	defer func() {
		go func() {
			<-i.c.done
			close(i.exited)
		}()
	}()
	if err := i.c.start(ctx, i.options); err != nil {
		if !i.c.started {
			select {
			case <-i.c.done:
			default:
				close(i.c.done)
			}
		}
		return err
	}
	if h := i.c.want.Health; h != nil && len(h.Test) > 0 && i.c.started {
		hctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		i.health.state, i.health.stop = engine.Starting, cancel
		go i.watch(hctx, h)
	}
	return nil
}

// Exited implements [engine.Instance].
func (i *instance) Exited() <-chan struct{} { return i.exited }

// Exit implements [engine.Instance].
func (i *instance) Exit() engine.Exit { return i.c.exit }

// Env implements [engine.Instance].
func (i *instance) Env(context.Context) ([]string, error) {
	return []string{"LEASTCAP_CONTAINER=" + i.c.id, "LEASTCAP_IP=" + i.c.Address(), fmt.Sprintf("LEASTCAP_PID=%d", i.c.pid)}, nil
}

// Defaults of health checks (moby daemon/health.go), and how often a container that
// starts is looked at: more often than an engine does, since somebody waits for it.
const (
	healthInterval = 30 * time.Second
	healthTimeout  = 30 * time.Second
	healthRetries  = 3
	healthStarting = 500 * time.Millisecond
)

// watch runs the health check until the container ends. A check that never passed is
// given the time that an engine would give it.
func (i *instance) watch(ctx context.Context, h *bundle.Health) {
	interval, timeout, retries := orDefault(h.Interval, healthInterval), orDefault(h.Timeout, healthTimeout), h.Retries
	if retries == 0 {
		retries = healthRetries
	}
	limit := time.Now().Add(h.Start + time.Duration(retries)*interval)
	wait, failed := min(interval, healthStarting), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-i.c.done:
			return
		case <-time.After(wait):
		}
		cctx, cancel := context.WithTimeout(ctx, timeout)
		_, code, err := i.c.Exec(cctx, h.Test)
		cancel()
		i.health.Lock()
		switch {
		case err == nil && code == 0:
			i.health.state, wait, failed = engine.Healthy, interval, 0
		case i.health.state == engine.Starting && time.Now().Before(limit):
		default:
			if failed++; failed >= retries || i.health.state == engine.Starting {
				i.health.state = engine.Unhealthy
			}
		}
		i.health.Unlock()
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Health implements [engine.Instance].
func (i *instance) Health(context.Context) (engine.Health, error) {
	select {
	case <-i.c.done:
		return engine.NoHealth, nil
	default:
	}
	i.health.Lock()
	defer i.health.Unlock()
	return i.health.state, nil
}

// Stop implements [engine.Instance].
func (i *instance) Stop(ctx context.Context, timeout time.Duration) error {
	if err := i.c.Stop(ctx, timeout); err != nil {
		return err
	}
	<-i.exited
	return nil
}

// Exec implements [engine.Instance].
func (i *instance) Exec(ctx context.Context, command string) (string, int, error) {
	return i.c.Exec(ctx, []string{"sh", "-c", command})
}

// Logs implements [engine.Instance].
func (i *instance) Logs(_ context.Context, lines int) string { return i.out.Lines(lines) }

// FileCaps implements [engine.Instance].
func (i *instance) FileCaps(_ context.Context, path string) (*caps.FileCaps, error) {
	p, err := i.tree().Place(path)
	if err != nil {
		return nil, err
	}
	return proc.FileCaps(p)
}

// tree is the root file system, with what is mounted over it, which is seen from inside
// alone.
func (i *instance) tree() engine.Tree {
	return engine.Tree{Root: i.c.rootfs, Mounted: func(name string) string {
		for _, m := range slices.Backward(i.c.spec.Mounts) { // the later is over the earlier
			if m.Type != "bind" {
				continue
			}
			if name == m.Destination {
				return m.Source
			}
			if rest, ok := strings.CutPrefix(name, m.Destination+"/"); ok {
				if p, err := securejoin.SecureJoin(m.Source, rest); err == nil {
					return p
				}
			}
		}
		return ""
	}}
}

// Entry implements [engine.Files].
func (i *instance) Entry(context.Context) (engine.Entry, error) {
	c := i.options.Container
	return engine.Entry{Args: c.Args, Env: c.Env, Dir: c.Dir, User: c.User}, nil
}

// List implements [engine.Files].
func (i *instance) List(ctx context.Context, dir string) ([]engine.File, error) {
	return i.tree().List(ctx, dir)
}

// Read implements [engine.Files].
func (i *instance) Read(ctx context.Context, name string) (*engine.File, error) {
	return i.tree().Read(ctx, name)
}

// Root is the container's root directory as the host sees it: what is mounted over it is
// not there.
func (i *instance) Root() string { return i.c.rootfs }

// Describe implements [engine.Instance]: the image was known before.
func (i *instance) Describe(context.Context, *usage.Subject) {}

// Remove implements [engine.Instance].
func (i *instance) Remove(context.Context) error {
	if i.health.stop != nil {
		i.health.stop()
	}
	err := i.c.Remove()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
