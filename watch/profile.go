package watch

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// The notes of a profile that was only watched.
const (
	noteObserved = "watched while it ran: nothing was tried, and nothing is proven"
	noteStart    = "its start was not seen: what only a start needs (chown, setuid, low ports, …) is missing here; restart it while leastcap watch runs"
)

// Profile makes a subject's profile, with what an earlier watch left in prior, nil if
// there is none. A prior that leastcap did not make by watching is not taken in: see
// [usage.Merge].
func Profile(s *Tracked, prior *usage.Profile, now time.Time) *usage.Profile {
	r := s.Record
	if r == nil {
		r = &usage.Record{Sets: map[usage.Phase]usage.Sets{}}
	}
	total := s.Total(now)
	o := &usage.Observation{Since: s.Began.UTC().Truncate(time.Second), Until: now.UTC().Truncate(time.Second), StartSeen: s.StartSeen, Checks: r.ChecksSeen, Looks: 1}
	p := &usage.Profile{Version: usage.Version, Created: o.Until, Seconds: total.Seconds, Subject: s.subject(), Keep: string(usage.Used), Observed: o, Trials: []usage.Trial{}}
	if s.Granted != nil {
		p.Baseline = *s.Granted
	}
	p.Lost = r.Lost
	complete := r.Complete()
	if WatchedBefore(prior) && same(p, prior) {
		before := prior.Observed
		r = usage.Fold(past(prior), r)
		o.Since, o.StartSeen, o.Looks = before.Since, o.StartSeen || before.StartSeen, before.Looks+1
		o.Checks += before.Checks
		p.Baseline |= prior.Baseline
		p.Seconds += prior.Seconds
		for kind, n := range prior.Lost {
			if p.Lost == nil {
				p.Lost = map[string]uint64{}
			}
			p.Lost[kind] += n
			complete = false
		}
		if p.Subject.ImageID == "" {
			p.Subject.ImageID = prior.Subject.ImageID
		}
	}
	all := r.All()
	used := Used(r)
	if s.Granted == nil { // nobody could say what it has: what it used, and what was known before
		p.Baseline |= used
	}
	p.Used = used & p.Baseline
	p.Unused = p.Baseline.Minus(used)
	p.Denied = all.Denied.Minus(p.Baseline)
	p.Complete = complete && o.StartSeen
	p.Notes = []string{noteObserved}
	if o.StartSeen {
		p.Recommended = p.Used
		p.Use = use(s, p.Used)
	} else {
		// To take away what a start may need is no advice.
		p.Recommended = p.Baseline
		p.Notes = append(p.Notes, noteStart)
	}
	p.Notes = append(p.Notes, s.Doubts()...)
	p.Notes = append(p.Notes, LostWords(p.Lost)...)
	if s.Kind != Container && p.Baseline == used {
		p.Notes = append(p.Notes, "what its processes may have could not be read")
	}
	p.Sets, p.Execs, p.Capsets, p.Identities = r.Sets, r.Execs, r.Capsets, r.Identities
	p.Portability = advise.Portability(r, p.Recommended)
	for _, c := range r.Checks {
		if c.Verdict == usage.Denied {
			o.Denied = append(o.Denied, c)
		}
	}
	for _, c := range p.Baseline.Caps() {
		p.Capabilities = append(p.Capabilities, finding(c, r, used))
	}
	return p
}

func (s *Tracked) subject() usage.Subject {
	if s.Kind == Container {
		return usage.Subject{Kind: "container", Engine: s.Engine, Image: s.Image, ImageID: s.ImageID, User: s.User}
	}
	return usage.Subject{Kind: "command", Command: []string{s.Label()}}
}

// WatchedBefore says whether a profile is of a watch alone, so that it can be gone on with.
func WatchedBefore(p *usage.Profile) bool {
	return p != nil && p.Observed != nil && len(p.Merged) == 0 && len(p.Trials) == 0
}

// same: both are of the same image, or unit.
func same(a, b *usage.Profile) bool { return !usage.Different(a, b) }

// past is what a profile of a watch was made of.
func past(p *usage.Profile) *usage.Record {
	r := &usage.Record{
		Sets: p.Sets, Execs: p.Execs, Capsets: p.Capsets, Identities: p.Identities,
		Ports: p.Portability.Ports, Sysctls: p.Portability.Sysctls, Checks: p.Observed.Denied,
	}
	for _, f := range p.Capabilities {
		r.Checks = append(r.Checks, f.Checks...)
	}
	return r
}

func finding(c caps.Cap, r *usage.Record, used caps.Set) usage.Finding {
	f := usage.Finding{Cap: c, Status: usage.Unused}
	if !used.Has(c) {
		return f
	}
	f.Status = usage.Used
	all := r.All()
	for _, k := range r.Checks {
		if k.Cap == c && k.Verdict == usage.Granted {
			f.Checks = append(f.Checks, k)
		}
	}
	for _, e := range r.Execs {
		if e.Caps != nil && e.Caps.Effective && e.Caps.Permitted.Has(c) {
			f.Execs = append(f.Execs, e)
		}
	}
	for _, s := range r.Capsets {
		if (s.Permitted | s.Effective | s.Inheritable).Has(c) {
			f.Capsets = append(f.Capsets, s)
		}
	}
	for reason, is := range map[string]bool{"check": all.Granted.Has(c), "exec": len(f.Execs) > 0, "capset": all.Capset.Has(c), "ambient": all.Ambient.Has(c)} {
		if is {
			f.Reasons = append(f.Reasons, reason)
		}
	}
	slices.Sort(f.Reasons)
	return f
}

// use spells a set as the subject's own format does.
func use(s *Tracked, set caps.Set) usage.Use {
	if s.Kind != Container {
		return usage.Use{Systemd: []string{"CapabilityBoundingSet=" + strings.Join(set.Names(), " ")}}
	}
	flags := []string{"--cap-drop=ALL"}
	for _, name := range set.Docker() {
		flags = append(flags, "--cap-add="+name)
	}
	return usage.Use{Flags: flags}
}

// odd is what has no place in a file's name.
var odd = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^A-Za-z0-9_.@-]+`) })

// FileName is the name of a subject's profile.
func FileName(s *Subject) string {
	name := strings.Trim(odd().ReplaceAllString(s.Label(), "_"), "._")
	if name == "" {
		name = "unnamed"
	}
	return path.Base(name[:min(len(name), 100)]) + ".json"
}
