package watch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/usage"
)

// What an event says.
const (
	Begin   = "begin"   // of a subject, or of the look at one that runs already
	Use     = "use"     // the first use of a capability
	Denial  = "denial"  // the first of its kind
	End     = "end"     // of a subject
	Summary = "summary" // of all that was seen of a subject, at the end of the watch
	Loss    = "loss"    // something could not be kept
)

// Event is one thing that happened.
type Event struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Subject *Subject  `json:"subject,omitempty"`
	// Running: it ran before the watch began, and its start was not seen.
	Running    bool      `json:"running,omitempty"`
	Capability *caps.Cap `json:"capability,omitempty"`
	// How a use showed: "check", "exec" (file capabilities), "capset", "ambient".
	How   string       `json:"how,omitempty"`
	Check *usage.Check `json:"check,omitempty"`
	Exec  *usage.Exec  `json:"exec,omitempty"`
	// Capset is the call of a use that showed by capset(2).
	Capset *usage.Capset `json:"capset,omitempty"`
	// Mattered: the system call failed with EPERM or EACCES.
	Mattered *bool             `json:"mattered,omitempty"`
	Total    *Total            `json:"total,omitempty"` // of a subject's end, and of a summary
	Lost     map[string]uint64 `json:"lost,omitempty"`

	more caps.Set // others that [Gather] put into this one
}

// Total is what a subject did.
type Total struct {
	Used      caps.Set `json:"used"`
	Denied    caps.Set `json:"denied"` // and not in the bounding set
	Lacked    caps.Set `json:"lacked"` // denied, and it mattered, to a process without what the bounding set has
	Unused    caps.Set `json:"unused"`
	StartSeen bool     `json:"start_seen"`
	Complete  bool     `json:"complete"`
	Seconds   float64  `json:"seconds"`
	Checks    uint64   `json:"checks"`
}

// Tracked is a subject with what is known of it.
type Tracked struct {
	Subject
	// Began is when the look at it began; it ended where Ended is not zero. Started is when
	// it was seen to begin last.
	Began, Started, Ended time.Time
	// StartSeen: a start of it was seen. Running: it ran before.
	StartSeen, Running bool
	Record             *usage.Record // all that was seen, also before a restart
	Changed            bool          // since whoever keeps profiles reset it

	past    *usage.Record // of cgroups that are gone
	told    bool          // its begin
	alive   bool
	used    caps.Set // told
	denials map[denial]bool
	waiting map[denial]bool // denied, and the system call had not returned
}

type denial struct {
	cap     caps.Cap
	syscall string
	beyond  bool
}

// Tracker follows subjects from survey to survey.
type Tracker struct {
	subjects map[string]*Tracked
	of       func(cgroup string) Subject
}

// NewTracker has no subjects yet. of says whose a cgroup is: [Of], or one that knows more.
func NewTracker(of func(cgroup string) Subject) *Tracker {
	return &Tracker{subjects: map[string]*Tracked{}, of: of}
}

// Gone is what a group's name ends with in a survey, if all in it was removed.
const Gone = "\x00gone"

// Subjects are all of them, containers first, by their names.
func (t *Tracker) Subjects() []*Tracked {
	list := make([]*Tracked, 0, len(t.subjects))
	for _, s := range t.subjects {
		list = append(list, s)
	}
	order := map[Kind]int{Container: 0, Unit: 1, Cgroup: 2, Host: 3}
	slices.SortFunc(list, func(a, b *Tracked) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), strings.Compare(a.Label(), b.Label()), strings.Compare(a.Key(), b.Key()))
	})
	return list
}

// Get is a subject by its key; nil if it is not known.
func (t *Tracker) Get(key string) *Tracked { return t.subjects[key] }

// Drop forgets a subject that has ended.
func (t *Tracker) Drop(key string) { delete(t.subjects, key) }

// Look takes a survey in, of groups by their subjects' keys, with [Gone] behind it for
// cgroups that were removed, and says what is new in it. describe completes a subject
// with what its engine says; while it gives false nothing is said of it. Last is the last
// look: what still waits is said.
func (t *Tracker) Look(now time.Time, groups map[string]*probe.Group, describe func(*Subject) bool, last bool) []Event {
	var events []Event
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	// What is gone first: it is a part of what is there.
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(-cmp.Compare(strings.Count(a, Gone), strings.Count(b, Gone)), strings.Compare(a, b))
	})
	live, left := map[string]bool{}, map[string]bool{}
	for _, name := range names {
		g := groups[name]
		key, gone := strings.CutSuffix(name, Gone)
		s := t.subjects[key]
		if s == nil {
			s = &Tracked{Subject: t.of(g.Places[0].Path), Began: now, Started: now, alive: true, denials: map[denial]bool{}, waiting: map[denial]bool{}}
			s.Running = g.Places[0].Adopted
			t.subjects[key] = s
		}
		adopted := slices.ContainsFunc(g.Places, func(p probe.Place) bool { return p.Adopted })
		if !adopted && slices.ContainsFunc(g.Places, func(p probe.Place) bool { return p.Launched || p.Host }) {
			s.StartSeen = true
		}
		// What was started later in one that ran already may have more, as by docker exec
		// --privileged.
		if l := g.Record.Launch; l != nil && !adopted {
			s.Granted = &l.Bounding
		}
		own := slices.ContainsFunc(g.Places, func(p probe.Place) bool { return p.Path == s.Cgroup })
		if gone {
			s.past = folded(s.past, g.Record)
			s.Record, left[key] = s.past, own
			continue
		}
		if live[key] = true; own && left[key] && s.told && s.alive { // it was restarted since the last look
			events = append(events, s.news(now, false, last)...)
		}
		s.Record = folded(s.past, g.Record)
	}
	for key, s := range t.subjects {
		if s.Record == nil || !s.told && !describe(&s.Subject) && !last {
			continue
		}
		events = append(events, s.news(now, live[key], last)...)
	}
	slices.SortStableFunc(events, func(a, b Event) int { return strings.Compare(a.Subject.Key(), b.Subject.Key()) })
	return events
}

func folded(a, b *usage.Record) *usage.Record {
	if a == nil {
		return b
	}
	r := usage.Fold(a, b)
	// What was lost is counted from the beginning in both, but for what is a cgroup's own.
	r.Lost = b.Lost
	if n := a.Lost[moved]; n > 0 {
		r.Lost = maps.Clone(b.Lost)
		if r.Lost == nil {
			r.Lost = map[string]uint64{}
		}
		r.Lost[moved] += n
	}
	return r
}

// moved are processes that left the cgroup, in [usage.Record.Lost].
const moved = "moved"

// LostWords says what was lost, in words and in order.
func LostWords(lost map[string]uint64) []string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(lost)) {
		switch n := lost[kind]; {
		case kind != moved:
			list = append(list, fmt.Sprintf("lost %d of the %s", n, kind))
		case n == 1:
			list = append(list, "1 process left its cgroup and was not seen from then on")
		default:
			list = append(list, fmt.Sprintf("%d processes left its cgroup and were not seen from then on", n))
		}
	}
	return list
}

// news is what a subject's record has beyond what was told.
func (s *Tracked) news(now time.Time, alive, last bool) (events []Event) {
	add := func(e Event) {
		e.Time, e.Subject = now, &s.Subject
		s.Changed = true
		events = append(events, e)
	}
	if !s.told || alive && !s.alive {
		s.Ended = time.Time{}
		if s.told {
			s.Started = now
		}
		add(Event{Event: Begin, Running: s.Running && !s.told})
		s.told, s.alive = true, true
	}
	for c := range Used(s.Record).Minus(s.used).Values() {
		e := Event{Event: Use, Capability: &c}
		e.How, e.Check, e.Exec, e.Capset = how(s.Record, c)
		add(e)
	}
	s.used |= Used(s.Record)
	for _, check := range s.Record.Checks {
		if check.Verdict != usage.Denied {
			continue
		}
		d := denial{check.Cap, check.Syscall, check.Beyond}
		if s.denials[d] {
			continue
		}
		if check.Errno == "" && check.Syscall != "" && !s.waiting[d] && !last {
			s.waiting[d] = true // it is still in the system call, perhaps
			continue
		}
		delete(s.waiting, d)
		s.denials[d] = true
		mattered := Mattered(check)
		add(Event{Event: Denial, Capability: &check.Cap, Check: &check, Mattered: &mattered})
	}
	if !alive && s.alive {
		s.alive, s.Ended = false, now
		add(Event{Event: End, Total: s.Total(now)})
	}
	return events
}

// Used is what a record shows in use, beyond what the subject merely holds.
func Used(r *usage.Record) caps.Set { return advise.Predict(r, ^caps.Set(0)) }

// Mattered says whether a denied check made its system call fail.
func Mattered(c usage.Check) bool {
	return c.Failed > 0 && (c.Errno == "EPERM" || c.Errno == "EACCES") || advise.InReply(&c)
}

// how is the first evidence of a use.
func how(r *usage.Record, c caps.Cap) (string, *usage.Check, *usage.Exec, *usage.Capset) {
	for i := range r.Checks {
		if k := &r.Checks[i]; k.Cap == c && k.Verdict == usage.Granted {
			return "check", k, nil, nil
		}
	}
	all := r.All()
	for i := range r.Execs {
		if e := &r.Execs[i]; e.Caps != nil && e.Caps.Effective && e.Caps.Permitted.Has(c) {
			return "exec", nil, e, nil
		}
	}
	switch {
	case all.Granted.Has(c): // its evidence was lost
		return "check", nil, nil, nil
	case all.Ambient.Has(c):
		return "ambient", nil, nil, nil
	}
	for i := range r.Capsets {
		if s := &r.Capsets[i]; s.Call == "capset" && !s.Failed && (s.Permitted | s.Effective | s.Inheritable).Has(c) {
			return "capset", nil, nil, s
		}
	}
	return "capset", nil, nil, nil
}

// Total sums a subject up.
func (s *Tracked) Total(now time.Time) *Total {
	t := &Total{Used: s.used, StartSeen: s.StartSeen, Complete: s.Complete()}
	if s.Record != nil {
		t.Denied, t.Checks = s.Record.All().Denied, s.Record.ChecksSeen
	}
	if s.Granted != nil {
		t.Denied = t.Denied.Minus(*s.Granted)
		if s.Record != nil {
			for _, c := range s.Record.Checks {
				if c.Verdict == usage.Denied && !c.Beyond && s.Granted.Has(c.Cap) && Mattered(c) {
					t.Lacked = t.Lacked.With(c.Cap)
				}
			}
		}
		t.Unused = s.Granted.Minus(s.used)
	}
	end := now
	if !s.Ended.IsZero() {
		end = s.Ended
	}
	t.Seconds = end.Sub(s.Began).Round(time.Millisecond).Seconds()
	return t
}

// Doubts are why something of it may be missing beside what was lost, in words.
func (s *Tracked) Doubts() []string {
	if s.Record == nil || s.Kind != Container {
		return nil
	}
	var list []string
	for _, e := range s.Record.Execs {
		if e.Unknown != "" && !e.Failed {
			list = append(list, "the file capabilities of "+e.Path+" could not be read")
		}
	}
	return list
}

// settled is how long after its start a subject is taken to be up: what comes later is its
// steady state.
const settled = 10 * time.Second

// Settled says that it is up.
func (s *Tracked) Settled(now time.Time) bool { return now.Sub(s.Started) >= settled }

// Complete: nothing was lost, and a start was seen.
func (s *Tracked) Complete() bool {
	return s.StartSeen && (s.Record == nil || s.Record.Complete())
}

// Pending: something of a subject waits for the next look, though it may have ended.
func (t *Tracker) Pending() bool {
	for _, s := range t.subjects {
		if s.Record != nil && (!s.told || len(s.waiting) > 0) {
			return true
		}
	}
	return false
}
