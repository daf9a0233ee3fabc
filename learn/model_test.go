package learn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// model is a workload whose behaviour is a function of what it may do: the
// engine and the observer in one, so that the learner's decisions can be tested
// without a kernel.
type model struct {
	baseline   caps.Set
	privileged bool
	persistent bool
	unseen     bool // it runs where nothing is seen
	exclusive  string
	cleanErr   error
	real       bool           // in the machine's time, also where it has no check
	grants     []engine.Grant // of each instance, in order
	// play says what a run with these capabilities shows and how it ends.
	play func(n int, set caps.Set, unconfined bool) outcome

	mu      sync.Mutex
	n       int
	after   bool       // the instance is not a run's first
	sets    []caps.Set // of each run, in order
	live    int
	most    int                // that lived at the same time
	current map[string]*played // by scope
	cleaned int
}

type outcome struct {
	granted, denied caps.Set // counted checks
	capset          caps.Set
	exit            int
	identities      []usage.Identity
	lost            map[string]uint64
	hang            bool // it does not end by itself
	fail            error
	exitErr         error         // the outcome is not known
	slow            time.Duration // how long preparing takes
	begin           time.Duration // how long the engine takes to start it
	last            time.Duration // how long it runs
	stop            time.Duration // how long it needs to stop
	health          engine.Health
	late            time.Duration // until then health is Starting
	exec            func(command string, set caps.Set) (output string, code int)
}

func root() usage.Identity {
	return usage.Identity{Exe: "/bin/app", Groups: []uint32{}, Root: "/"}
}

func worker(uid, gid uint32) usage.Identity {
	i := root()
	i.UIDs, i.GIDs = usage.IDs{uid, uid, uid, uid}, usage.IDs{gid, gid, gid, gid}
	return i
}

func (m *model) Inspect(context.Context) (usage.Subject, error) {
	return usage.Subject{Kind: "container", Image: "model"}, nil
}
func (m *model) Privileged() bool { return m.privileged }
func (m *model) Persistent(fresh bool) bool {
	return m.persistent && !fresh
}
func (m *model) Volumes(context.Context) (bool, error) { return m.persistent, nil }
func (m *model) Exclusive() string                     { return m.exclusive }
func (m *model) Remarks() []string                     { return nil }
func (m *model) Use(set caps.Set, _ bool) usage.Use {
	return usage.Use{Flags: set.Docker()}
}
func (m *model) Clean(context.Context) error {
	m.cleaned++
	if m.cleaned > 1 {
		return m.cleanErr
	}
	return nil
}
func (m *model) again() bool  { return m.after }
func (m *model) Hook() string { return "model" }

func (m *model) Prepare(_ context.Context, g engine.Grant) (engine.Instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	set := g.Set
	if g.Baseline {
		set = m.baseline
	}
	m.after = g.After != nil
	o := m.play(m.n, set, g.Unconfined || g.Baseline && m.privileged)
	m.n++
	m.sets = append(m.sets, set)
	if o.slow > 0 { // in a bubble's time, which does not go on while another waits for the lock
		m.mu.Unlock()
		time.Sleep(o.slow)
		m.mu.Lock()
	}
	if o.fail != nil {
		return nil, o.fail
	}
	m.live++
	m.most = max(m.most, m.live)
	p := &played{m: m, name: fmt.Sprint("model", m.n), set: set, outcome: o, exited: make(chan struct{})}
	if m.current == nil {
		m.current = map[string]*played{}
	}
	m.current[p.name] = p
	m.grants = append(m.grants, g)
	return p, nil
}

func (m *model) Watch(ref proc.ScopeRef) (learn.Watch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current[ref.Name], nil
}

type played struct {
	outcome
	m      *model
	name   string
	helped []string // helpers that ran
	set    caps.Set
	began  time.Time
	exited chan struct{}
	once   sync.Once
}

func (p *played) Scope() proc.ScopeRef { return proc.ScopeRef{Name: p.name} }
func (p *played) Start(context.Context) error {
	time.Sleep(p.outcome.begin)
	p.began = time.Now()
	switch {
	case p.hang:
	case p.last > 0:
		time.AfterFunc(p.last, p.end)
	default:
		p.end()
	}
	return nil
}
func (p *played) end()                    { p.once.Do(func() { close(p.exited) }) }
func (p *played) Exited() <-chan struct{} { return p.exited }
func (p *played) Exit() engine.Exit       { return engine.Exit{Code: p.exit, Started: true, Err: p.exitErr} }
func (p *played) Env(context.Context) ([]string, error) {
	return []string{"MODEL_EXIT=" + string(rune('0'+p.exit))}, nil
}
func (p *played) Health(context.Context) (engine.Health, error) {
	if time.Since(p.began) < p.late {
		return engine.Starting, nil
	}
	return p.health, nil
}
func (p *played) Stop(_ context.Context, limit time.Duration) error {
	if limit < 0 {
		limit = 10 * time.Second
	}
	if p.stop > limit {
		p.exit = 128 + 9
	}
	time.Sleep(min(p.stop, limit))
	p.end()
	return nil
}
func (p *played) Logs(context.Context, int) string             { return "model: Operation not permitted" }
func (p *played) Describe(_ context.Context, s *usage.Subject) { s.ImageID = "sha256:model" }
func (p *played) Remove(context.Context) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.m.live--
	return nil
}
func (p *played) Exec(_ context.Context, command string) (string, int, error) {
	p.helped = append(p.helped, command)
	if p.exec == nil {
		return "", 0, nil
	}
	output, code := p.exec(command, p.set)
	return output, code, nil
}
func (p *played) SetPhase(usage.Phase) error            { return nil }
func (p *played) End()                                  {}
func (p *played) Identities() ([]usage.Identity, error) { return p.identities, nil }
func (p *played) FileCaps(context.Context, string) (*caps.FileCaps, error) {
	return nil, errors.New("no files in a model")
}
func (p *played) Record() (*usage.Record, error) {
	if p.m.unseen {
		return &usage.Record{}, nil
	}
	r := &usage.Record{
		Launch: &caps.State{Bounding: p.set},
		Sets: map[usage.Phase]usage.Sets{usage.Start: {
			Granted: p.granted & p.set, Denied: p.denied | p.granted&^p.set, Capset: p.capset,
		}},
		Identities: slices.Clone(p.identities), ChecksSeen: 1, Lost: p.lost,
	}
	for _, c := range p.granted.Caps() {
		k := usage.Check{Cap: c, Verdict: usage.Granted, Phase: usage.Start, Syscall: "model", Call: fmt.Sprintf("model(%v)", c), Count: 1}
		if !p.set.Has(c) {
			k.Verdict, k.Failed, k.Errno = usage.Denied, 1, "EPERM"
		}
		r.Checks = append(r.Checks, k)
	}
	return r, nil
}

// needs is a workload that uses some capabilities and fails without others.
func needs(used, needed caps.Set) func(int, caps.Set, bool) outcome {
	return func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{granted: used, identities: []usage.Identity{root()}}
		if !needed.SubsetOf(set) {
			o.exit = 1
		}
		return o
	}
}

var docker14 = caps.Set(0xa80425fb)

func learnModel(t *testing.T, m *model, opts learn.Options) (p *usage.Profile, err error) {
	t.Helper()
	if opts.Keep == "" {
		opts.Keep = learn.KeepRequired
	}
	if len(opts.Checks) == 0 && !m.real {
		// Nothing happens but in this process: it has a time of its own, which goes on only
		// when all wait for it, so that a slow machine changes nothing.
		synctest.Test(t, func(t *testing.T) { p, err = learn.Run(t.Context(), m, m, opts, nil) })
	} else {
		p, err = learn.Run(t.Context(), m, m, opts, nil)
	}
	if m.live != 0 {
		t.Errorf("%d runs were not removed", m.live)
	}
	if m.cleaned < 2 {
		t.Errorf("cleaned %d times, want before and after", m.cleaned)
	}
	return p, err
}

func mustLearn(t *testing.T, m *model, opts learn.Options) *usage.Profile {
	t.Helper()
	p, err := learnModel(t, m, opts)
	if err != nil {
		t.Fatal(err)
	}
	if all := p.Required | p.Optional | p.Unused | p.Used; all != p.Baseline|p.Required {
		t.Errorf("required, optional, unused and used do not part the baseline: %v", p)
	}
	return p
}
