package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

// topUsage tells what containers used. It is what top needs of the probe.
type topUsage interface {
	// Snapshot says it by the containers' ids, of those that it is told of; "" is for the
	// processes that are in none. One that is missing has not been seen.
	Snapshot(ids []string) (map[string]topUse, error)
	// Sees says in a few words what is seen.
	Sees() string
	Close()
}

// topUse is what one container used since it was first seen.
type topUse struct {
	// Start says that it was seen from its start on.
	Start           bool
	Granted, Denied map[caps.Cap]uint64 // how often
	Denials         []topDenial
}

// topDenial is a refusal.
type topDenial struct {
	At            time.Time // when it was last seen
	Cap           caps.Cap
	Process, Call string
	Errno         string // of the system call; "" if it did not fail, or that is not known
	Count         uint64
}

// topContainer is a row: a container, or the processes that are in none.
type topContainer struct {
	*report.ProcContainer // nil for those in none
	Processes             []report.Process
	Held                  caps.Set // by any of its processes
	Could                 caps.Set // the bounding sets
	OwnUser               bool     // all that hold something are in user namespaces of their own
	Beyond                caps.Set // not as the engine says
	Use                   *topUse  // nil if it is not seen
}

func (c *topContainer) id() string {
	if c.ProcContainer == nil {
		return ""
	}
	return c.ID
}

func (c *topContainer) name() string {
	if c.ProcContainer == nil {
		return "(no container)"
	}
	return c.Label()
}

func (c *topContainer) used() caps.Set {
	if c.Use == nil {
		return 0
	}
	return capsOf(c.Use.Granted)
}

func (c *topContainer) denied() caps.Set {
	if c.Use == nil {
		return 0
	}
	return capsOf(c.Use.Denied)
}

func capsOf(counts map[caps.Cap]uint64) (s caps.Set) {
	for c, n := range counts {
		if n > 0 {
			s = s.With(c)
		}
	}
	return s
}

func total(counts map[caps.Cap]uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// topSample is all that one frame shows.
type topSample struct {
	At         time.Time
	Containers []topContainer
	Processes  int
	// Trouble is why something is missing, "" if nothing is.
	Trouble string
}

// topDenialOf is a denial with its container.
type topDenialOf struct {
	topDenial
	Container string
}

// denials are all containers', the latest first.
func (s *topSample) denials() (list []topDenialOf) {
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.Use == nil {
			continue
		}
		for _, d := range c.Use.Denials {
			list = append(list, topDenialOf{d, c.name()})
		}
	}
	slices.SortStableFunc(list, func(a, b topDenialOf) int { return b.At.Compare(a.At) })
	return list
}

// topGroup puts processes into their containers. Those without capabilities count, too.
func topGroup(list []proc.Process, rows []report.Process, known func(id, engine, pod string) *report.ProcContainer) []topContainer {
	at := map[string]int{}
	var out []topContainer
	for i := range rows {
		row, id := rows[i], list[i].Container
		j, ok := at[id]
		if !ok {
			j = len(out)
			at[id] = j
			c := topContainer{OwnUser: true}
			if id != "" {
				c.ProcContainer = known(id, list[i].Engine, list[i].Pod)
			}
			out = append(out, c)
		}
		c := &out[j]
		row.Container = c.ProcContainer
		held := row.Effective.Union(row.Permitted)
		for _, t := range row.Threads {
			held = held.Union(t.Effective).Union(t.Permitted)
		}
		c.Held, c.Could = c.Held.Union(held), c.Could.Union(row.Bounding)
		c.Beyond = c.Beyond.Union(row.Beyond())
		c.OwnUser = c.OwnUser && (row.OwnUser || held.Empty())
		c.Processes = append(c.Processes, row)
	}
	for i := range out {
		out[i].OwnUser = out[i].OwnUser && !out[i].Held.Empty()
	}
	return out
}

// topSampler looks at the machine, again and again.
type topSampler struct {
	usage   topUsage // nil: what is used is not seen
	trouble string   // why not
	names   *containerNames
}

func (s *topSampler) sample(ctx context.Context) topSample {
	out := topSample{At: time.Now(), Trouble: s.trouble}
	list, unreadable, err := listProcesses(false, proc.ListOptions{Containers: proc.Each, UserNamespaces: capable})
	switch {
	case err != nil:
		out.Trouble = "processes cannot be listed: " + err.Error()
		return out
	case len(list) == 0: // not even this one
		out.Trouble = "no process is to be seen: /proc is not mounted, or not for this pid namespace"
		return out
	case unreadable > 0:
		out.Trouble = join(out.Trouble, "some processes may not be read: run leastcap as root")
	}
	out.Processes = len(list)
	rows := processRows(list, nil, false)
	s.names.learn(ctx, list)
	out.Containers = topGroup(list, rows, s.names.get)
	if s.usage == nil {
		return out
	}
	var ids []string
	for i := range out.Containers {
		ids = append(ids, out.Containers[i].id())
	}
	uses, err := s.usage.Snapshot(ids)
	if err != nil {
		out.Trouble = join(out.Trouble, err.Error())
	}
	for i := range out.Containers {
		if use, ok := uses[out.Containers[i].id()]; ok {
			out.Containers[i].Use = &use
		}
	}
	return out
}

func join(a, b string) string { return strings.TrimPrefix(a+"; "+b, "; ") }

// containerNames remembers what is known of containers. Ids are never used again, but
// names may change; what is older than namesAge is looked up anew. Looking up happens
// beside, so that an engine that does not answer holds nothing up.
type containerNames struct {
	mu    sync.Mutex
	known map[string]*namedContainer
	busy  bool
	wait  bool // for the first look-up, and no other
}

type namedContainer struct {
	*report.ProcContainer
	at time.Time // when it was looked up
}

const namesAge = 10 * time.Second

func newContainerNames() *containerNames {
	return &containerNames{known: make(map[string]*namedContainer), wait: true}
}

func (n *containerNames) get(id, engine, pod string) *report.ProcContainer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.known[id]; c != nil {
		return c.ProcContainer
	}
	return &report.ProcContainer{ID: id, Engine: engine, Pod: pod}
}

// learn forgets the containers that have no process any more and looks up those that are
// new, or were looked up long ago.
func (n *containerNames) learn(ctx context.Context, list []proc.Process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	there := make(map[string]bool)
	old := false
	for i := range list {
		if id := list[i].Container; id != "" && !there[id] {
			there[id] = true
			c := n.known[id]
			old = old || c == nil || time.Since(c.at) > namesAge
		}
	}
	for id := range n.known {
		if !there[id] {
			delete(n.known, id)
		}
	}
	if !old || n.busy {
		return
	}
	n.busy = true
	done := make(chan struct{})
	list = slices.Clone(list)
	go func() {
		defer close(done)
		found, _ := describeContainers(ctx, list, engine.Monitors(list)) // what is not found keeps its id
		n.mu.Lock()
		defer n.mu.Unlock()
		n.busy = false
		for id, c := range found {
			if was := n.known[id]; was != nil && c.Name == "" && was.Name != "" {
				c = was.ProcContainer // the engine does not answer just now
			}
			n.known[id] = &namedContainer{c, time.Now()}
		}
	}()
	if n.wait {
		n.wait = false
		n.mu.Unlock()
		<-done
		n.mu.Lock()
	}
}
