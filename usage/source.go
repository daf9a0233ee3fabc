package usage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastcap/leastcap/caps"
)

// Absent, in a [Claim], is the status of what a source did not have at all.
const Absent Status = "absent"

// Source is what a merged profile keeps of each profile that went into it: all
// that its own sets and notes are made of, so that merging once more neither
// forgets nor counts twice.
type Source struct {
	Name string `json:"name"` // the file's, without its directory
	// SHA256 is that of the profile as [Profile.Marshal] writes it, without its origin.
	SHA256  string    `json:"sha256"`
	Created time.Time `json:"created"`
	Kernel  string    `json:"kernel"`
	Hook    string    `json:"hook"`
	Subject Subject   `json:"subject"`

	Baseline    caps.Set `json:"baseline"`
	Required    caps.Set `json:"required"`
	Optional    caps.Set `json:"optional"`
	Used        caps.Set `json:"used,omitempty"`
	Denied      caps.Set `json:"denied"`
	Recommended caps.Set `json:"recommended"`
	Keep        string   `json:"keep"`
	// Asked is what it was seen to use in each phase.
	Asked map[Phase]caps.Set `json:"asked,omitempty"`

	Proven   bool              `json:"proven"`
	Complete bool              `json:"complete"`
	Runs     int               `json:"runs"`
	Trials   int               `json:"trials"` // how many of the merged profile's are its own, in the order of the sources
	Lost     map[string]uint64 `json:"lost,omitempty"`
	Notes    []string          `json:"notes,omitempty"`
	Seconds  float64           `json:"seconds"`
}

// Conflict is a capability that one source needs and another did without.
type Conflict struct {
	Cap    caps.Cap `json:"capability"`
	Claims []Claim  `json:"sources"` // what each says, in their order
}

// Claim is what one source says of a capability.
type Claim struct {
	Source string `json:"name"`
	Status Status `json:"status"`
	// Kept: it stands in the source's recommended set.
	Kept   bool    `json:"kept,omitempty"`
	Phases []Phase `json:"phases,omitempty"` // in which it was asked for
}

// needs are what the source would have it keep.
func (s *Source) needs() caps.Set { return s.Required | s.Used | s.Recommended }

// status is a capability's in this source.
func (s *Source) status(c caps.Cap) Status {
	switch {
	case s.Required.Has(c):
		return Required
	case s.Used.Has(c):
		return Used
	case s.Optional.Has(c):
		return Optional
	case s.Baseline.Has(c):
		return Unused
	}
	return Absent
}

func (s *Source) claim(c caps.Cap) Claim {
	out := Claim{Source: s.Name, Status: s.status(c), Kept: s.Recommended.Has(c)}
	for _, p := range Phases {
		if s.Asked[p].Has(c) {
			out.Phases = append(out.Phases, p)
		}
	}
	return out
}

// source is the profile in short.
func (p *Profile) source(name string) (Source, error) {
	plain := *p
	plain.Origin = nil // it is the same one, wherever it came from
	data, err := plain.Marshal()
	if err != nil {
		return Source{}, err
	}
	sum := sha256.Sum256(data)
	s := Source{
		Name: name, SHA256: hex.EncodeToString(sum[:]), Created: p.Created,
		Kernel: p.Kernel, Hook: p.Hook, Subject: p.Subject,
		Baseline: p.Baseline, Required: p.Required, Optional: p.Optional, Used: p.Used, Denied: p.Denied,
		Recommended: p.Recommended, Keep: p.Keep, Asked: p.asked(),
		Proven: p.Proven, Complete: p.Complete, Runs: max(p.Runs, 0), Trials: len(p.Trials),
		Lost: p.Lost, Notes: p.Notes, Seconds: p.Seconds,
	}
	if n := p.dangling(); n > 0 {
		s.Notes = append(slices.Clip(s.Notes), fmt.Sprintf("it refers %d times to trials that it does not have; these references were left out", n))
	}
	return s, nil
}

// asked is what was seen in use in each phase, from the masks and the evidence.
func (p *Profile) asked() map[Phase]caps.Set {
	out := map[Phase]caps.Set{}
	add := func(phase Phase, set caps.Set) {
		if phaseIndex(phase) >= 0 && !set.Empty() {
			out[phase] |= set
		}
	}
	for phase, s := range p.Sets {
		add(phase, s.Granted|s.Capset|s.Ambient)
	}
	for _, f := range p.Capabilities {
		for _, c := range f.Checks {
			if c.Verdict == Granted {
				add(c.Phase, caps.Of(f.Cap))
			}
		}
		for _, c := range f.Capsets {
			add(c.Phase, caps.Of(f.Cap))
		}
	}
	return out
}

// hasTrial says whether a reference to a trial leads anywhere.
func (p *Profile) hasTrial(n int) bool { return n >= 0 && n < len(p.Trials) }

// dangling counts the references to trials that are not there.
func (p *Profile) dangling() int {
	n := 0
	for _, f := range p.Capabilities {
		if f.Without != nil && !p.hasTrial(f.Without.Trial) {
			n++
		}
	}
	for _, s := range p.Substitutes {
		if !p.hasTrial(s.Trial) {
			n++
		}
	}
	return n
}

// sources are those of a merged profile, or the profile itself.
func (p *Profile) sources(name string) ([]Source, error) {
	if len(p.Merged) == 0 {
		s, err := p.source(name)
		return []Source{s}, err
	}
	trials := 0
	for _, s := range p.Merged {
		if s.Trials < 0 || s.Trials > len(p.Trials)-trials {
			return nil, fmt.Errorf("%s: its sources have other trials than it has itself", name)
		}
		trials += s.Trials
	}
	var sum Profile
	sum.add(p.Merged)
	if trials != len(p.Trials) || sum.Baseline != p.Baseline || sum.Required != p.Required || sum.Optional != p.Optional ||
		sum.Used != p.Used || sum.Unused != p.Unused || sum.Recommended != p.Recommended || sum.Complete != p.Complete || sum.Proven != p.Proven {
		return nil, fmt.Errorf("%s: what it says of its sources does not add up to what it says itself", name)
	}
	return p.Merged, nil
}

// add fills in all that follows from the sources alone.
func (p *Profile) add(sources []Source) {
	p.Merged, p.Complete, p.Proven = sources, true, true
	p.Lost = nil
	for i, s := range sources {
		p.Baseline |= s.Baseline
		p.Required |= s.Required
		p.Used |= s.Used
		p.Optional |= s.Optional
		p.Denied |= s.Denied
		p.Recommended |= s.Recommended
		p.Complete = p.Complete && s.Complete
		if s.Created.After(p.Created) {
			p.Created = s.Created
		}
		// Who keeps more decides, as in the recommended set.
		if i == 0 || s.Keep == string(Used) {
			p.Keep = s.Keep
		}
		for what, n := range s.Lost {
			if p.Lost == nil {
				p.Lost = map[string]uint64{}
			}
			p.Lost[what] = addCapped(p.Lost[what], n)
		}
		p.Seconds = min(p.Seconds+s.Seconds, math.MaxFloat64)
		p.Seconds = max(p.Seconds, -math.MaxFloat64)
	}
	// The strongest claim wins. What was only used was not tried without there,
	// so that it passed elsewhere settles nothing.
	p.Used = p.Used.Minus(p.Required)
	p.Optional = p.Optional.Minus(p.Required | p.Used)
	p.Unused = p.Baseline.Minus(p.Required | p.Used | p.Optional)
	p.Denied = p.Denied.Minus(p.Baseline)
	for _, s := range sources {
		same := s.Recommended == p.Recommended
		p.Proven = p.Proven && s.Proven && same
		if same {
			p.Runs = int(min(addCapped(uint64(p.Runs), uint64(max(s.Runs, 0))), math.MaxInt))
		}
	}
	p.Conflicts = conflicts(sources)
	p.Kernel = list(sources, func(s Source) string { return s.Kernel })
	p.Hook = list(sources, func(s Source) string { return s.Hook })
}

// conflicts are the capabilities on which the sources disagree: kept in one
// and not in another, or required in one and shown to be dispensable, or never
// used, in another.
func conflicts(sources []Source) []Conflict {
	var all, inAll, required, without caps.Set
	inAll = ^caps.Set(0)
	for i := range sources {
		s := &sources[i]
		all |= s.needs()
		inAll &= s.needs()
		required |= s.Required
		without |= ^(s.Required | s.Used)
	}
	var out []Conflict
	for _, c := range (all.Minus(inAll) | required.Intersect(without)).Caps() {
		conflict := Conflict{Cap: c}
		for i := range sources {
			conflict.Claims = append(conflict.Claims, sources[i].claim(c))
		}
		out = append(out, conflict)
	}
	return out
}

// addCapped adds without wrapping round.
func addCapped(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}
