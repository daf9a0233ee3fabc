package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// probeUsage is the probe as top sees it: one watch a container. Only what the probe saw
// the start of has one; of containers that ran before it there is nothing to say.
type probeUsage struct {
	p       *probe.Probe
	watches map[string]*topWatch
}

type topWatch struct {
	*probe.Watch
	seen map[denialKey]*topDenial
}

func openUsage() (topUsage, error) {
	p, err := probe.Open(probe.Options{})
	if err != nil {
		return nil, err
	}
	return &probeUsage{p, make(map[string]*topWatch)}, nil
}

func (u *probeUsage) Sees() string { return "containers that start from now on" }

func (u *probeUsage) Close() {
	for _, w := range u.watches {
		w.End()
	}
	u.p.Close()
}

// topDenials is how many refusals of one container are kept.
const topDenials = 50

func (u *probeUsage) Snapshot(ids []string) (map[string]topUse, error) {
	for id, w := range u.watches {
		if !slices.Contains(ids, id) {
			w.End()
			delete(u.watches, id)
		}
	}
	out, now := make(map[string]topUse), time.Now()
	for _, id := range ids {
		w := u.watches[id]
		if w == nil {
			watch, err := u.p.Watch(proc.ScopeRef{Name: id})
			if err != nil {
				return out, err
			}
			w = &topWatch{watch, make(map[denialKey]*topDenial)}
			u.watches[id] = w
		}
		r, err := w.Record()
		if err != nil {
			return out, err
		}
		if r.Launch == nil && len(r.Checks) == 0 && len(r.Execs) == 0 {
			continue // it ran before the probe
		}
		out[id] = useOf(r, w.seen, now)
	}
	return out, nil
}

// denialKey tells a container's refusals apart.
type denialKey struct {
	cap           caps.Cap
	process, call string
}

// useOf makes of a record what top shows; seen remembers when each refusal was last
// repeated, as of now.
func useOf(r *usage.Record, seen map[denialKey]*topDenial, now time.Time) topUse {
	use := topUse{Start: r.Launch != nil, Granted: map[caps.Cap]uint64{}, Denied: map[caps.Cap]uint64{}}
	// Sets are complete; how often is known of what evidence was kept of.
	for i := range r.Checks {
		c := &r.Checks[i]
		switch {
		case c.Beyond: // no capability would help
		case c.Verdict == usage.Granted:
			use.Granted[c.Cap] += c.Count
		default:
			use.Denied[c.Cap] += c.Count
			key := denialKey{c.Cap, c.Process.Comm, cmp.Or(c.Call, c.Syscall)}
			d := seen[key]
			if d == nil {
				d = &topDenial{Cap: key.cap, Process: key.process, Call: key.call}
				seen[key] = d
			}
			if c.Count != d.Count {
				d.Count, d.At = c.Count, now
			}
			d.Errno = c.Errno
		}
	}
	for _, s := range r.Sets {
		for c := range s.Granted.Values() {
			use.Granted[c] = max(1, use.Granted[c])
		}
		for c := range s.Denied.Values() {
			use.Denied[c] = max(1, use.Denied[c])
		}
	}
	for _, d := range seen {
		use.Denials = append(use.Denials, *d)
	}
	slices.SortFunc(use.Denials, func(a, b topDenial) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Cap, b.Cap), cmp.Compare(a.Call, b.Call), cmp.Compare(a.Process, b.Process))
	})
	use.Denials = use.Denials[:min(topDenials, len(use.Denials))]
	return use
}
