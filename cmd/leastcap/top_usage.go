package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/usage"
	"github.com/leastcap/leastcap/watch"
)

// probeUsage is the probe as top sees it: a look at everything that runs.
type probeUsage struct {
	p       *probe.Probe
	cgroups *cgroupNames
	uses    map[string]*topUsed // by container
}

// topUsed is what is remembered of a container.
type topUsed struct {
	past *usage.Record // of its cgroups that are gone
	seen map[denialKey]*topDenial
}

func openUsage(hook string) (topUsage, error) {
	cgroups := newCgroupNames()
	p, err := openProbe(probe.Options{Running: true, IsContainer: cgroups.has, Hook: hook})
	if err != nil {
		return nil, err
	}
	if err := p.Adopt("/"); err != nil {
		p.Close()
		return nil, err
	}
	return &probeUsage{p, cgroups, make(map[string]*topUsed)}, nil
}

func (u *probeUsage) Sees() string { return "seen from now on" }

func (u *probeUsage) Close() { u.p.Close() }

const (
	// topDenials is how many refusals of one container are kept.
	topDenials = 50
	// topSeen is how many may be remembered, if not all of them are in a record.
	topSeen = 1000
)

// topGroupOf names a container's group in a survey, which may not be empty.
const topGroupOf = "container "

func (u *probeUsage) Snapshot(ids []string) (map[string]topUse, error) {
	var gone []uint64
	groups, err := u.p.Survey(func(place probe.Place) string {
		name := topGroupOf
		if s := u.cgroups.of(place.Path); s.Kind == watch.Container {
			name += s.ID
		}
		if place.Dead {
			gone = append(gone, place.ID)
			name += watch.Gone
		}
		return name
	})
	if err != nil {
		return nil, err
	}
	for id := range u.uses {
		if !slices.Contains(ids, id) {
			delete(u.uses, id)
		}
	}
	out, now := make(map[string]topUse), time.Now()
	for _, id := range ids {
		used := u.uses[id]
		if used == nil {
			used = &topUsed{seen: make(map[denialKey]*topDenial)}
			u.uses[id] = used
		}
		if g := groups[topGroupOf+id+watch.Gone]; g != nil {
			used.past = foldRecords(used.past, g.Record)
			// Of which no more is shown: over days there is much else.
			used.past = &usage.Record{Sets: used.past.Sets, Checks: used.past.Checks}
		}
		g := groups[topGroupOf+id]
		if g == nil {
			continue
		}
		use := useOf(foldRecords(used.past, g.Record), used.seen, now)
		use.Start = id != "" && !slices.ContainsFunc(g.Places, func(p probe.Place) bool { return p.Adopted })
		out[id] = use
	}
	if len(gone) > 0 {
		u.p.Forget(gone...)
	}
	lost, err := u.p.Lost()
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("not all that is used could be kept (%s)", strings.Join(slices.Sorted(maps.Keys(lost)), ", "))
	}
	return out, err
}

func foldRecords(past, now *usage.Record) *usage.Record {
	if past == nil {
		return now
	}
	return usage.Fold(past, now)
}

// denialKey tells a container's refusals apart.
type denialKey struct {
	cap           caps.Cap
	process, call string
}

func keyOf(c *usage.Check) denialKey {
	return denialKey{c.Cap, c.Process.Comm, cmp.Or(c.Call, c.Syscall)}
}

// useOf makes of a record what top shows; seen remembers when each refusal was last
// repeated, as of now.
func useOf(r *usage.Record, seen map[denialKey]*topDenial, now time.Time) topUse {
	use := topUse{Granted: map[caps.Cap]uint64{}, Denied: map[caps.Cap]uint64{}}
	// Several cgroups of one may have been refused the same.
	counts, errnos := map[denialKey]uint64{}, map[denialKey]string{}
	// Sets are complete; how often is known of what evidence was kept of.
	for i := range r.Checks {
		c := &r.Checks[i]
		switch {
		case c.Beyond: // no capability would help
		case c.Verdict == usage.Granted:
			use.Granted[c.Cap] += c.Count
		default:
			use.Denied[c.Cap] += c.Count
			key := keyOf(c)
			counts[key] += c.Count
			errnos[key] = cmp.Or(errnos[key], c.Errno)
		}
	}
	for key, n := range counts {
		d := seen[key]
		if d == nil {
			d = &topDenial{Cap: key.cap, Process: key.process, Call: key.call}
			seen[key] = d
		}
		if n != d.Count {
			d.Count, d.At = n, now
		}
		d.Errno = errnos[key]
	}
	for _, s := range r.Sets {
		for c := range s.Granted.Values() {
			use.Granted[c] = max(1, use.Granted[c])
		}
		for c := range s.Denied.Values() {
			use.Denied[c] = max(1, use.Denied[c])
		}
	}
	if len(seen) > topSeen {
		there := make(map[denialKey]bool)
		for i := range r.Checks {
			there[keyOf(&r.Checks[i])] = true
		}
		maps.DeleteFunc(seen, func(k denialKey, _ *topDenial) bool { return !there[k] })
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
