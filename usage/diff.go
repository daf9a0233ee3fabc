package usage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// DiffVersion is the format of a [Diff]. Fields are only ever added to it.
const DiffVersion = "leastcap.profile-diff/v1"

// Diff is what changed from one profile to another.
type Diff struct {
	Version string `json:"version"`
	A       string `json:"a"` // the files' names
	B       string `json:"b"`
	// Same: both require and recommend the same. The rest may differ.
	Same    bool         `json:"same"`
	Kind    string       `json:"kind"` // of B's subject
	Facts   []FactChange `json:"facts,omitempty"`
	Changes []CapChange  `json:"capabilities,omitempty"`
}

// FactChange is a difference in what was learned, where or how well.
type FactChange struct {
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// CapChange is a capability of which the profiles do not say the same.
type CapChange struct {
	Cap caps.Cap `json:"capability"`
	A   Claim    `json:"a"`
	B   Claim    `json:"b"`
	// Evidence is the first that the profile has which needs it more: B's if
	// the need is new, A's if it is gone. It may be empty.
	Evidence Finding `json:"evidence"`
	// From is the name of that profile.
	From string `json:"from"`
	// New: B has a use of it that A has not, or needs it more.
	New bool `json:"new"`
}

// Empty reports whether nothing differs at all.
func (d *Diff) Empty() bool { return d.Same && len(d.Facts) == 0 && len(d.Changes) == 0 }

// Compare finds what changed from a to b.
func Compare(a, b Named) *Diff {
	p, q := a.Profile, b.Profile
	d := &Diff{
		Version: DiffVersion, A: a.Name, B: b.Name, Kind: q.Subject.Kind,
		Same: p.Required == q.Required && p.Recommended == q.Recommended,
	}
	fact := func(what, x, y string) {
		if x != y {
			d.Facts = append(d.Facts, FactChange{what, x, y})
		}
	}
	fact("kind", p.Subject.Kind, q.Subject.Kind)
	fact("engine", p.Subject.Engine, q.Subject.Engine)
	fact("image", p.Subject.Image, q.Subject.Image)
	fact("image id", p.Subject.ImageID, q.Subject.ImageID)
	fact("digest", p.Subject.Digest, q.Subject.Digest)
	fact("command", strings.Join(p.Subject.Command, " "), strings.Join(q.Subject.Command, " "))
	fact("user", p.Subject.User, q.Subject.User)
	fact("checks", strings.Join(p.Subject.Checks, "; "), strings.Join(q.Subject.Checks, "; "))
	fact("exec", strings.Join(p.Subject.Exec, "; "), strings.Join(q.Subject.Exec, "; "))
	fact("starts", fmt.Sprint(max(p.Subject.Starts, 1)), fmt.Sprint(max(q.Subject.Starts, 1)))
	fact("kernel", p.Kernel, q.Kernel)
	fact("hook", p.Hook, q.Hook)
	if p.Baseline != q.Baseline {
		fact("baseline", baselineText(p.Baseline, q.Baseline), baselineText(q.Baseline, p.Baseline))
	}
	fact("keep", p.Keep, q.Keep)
	fact("proven", fmt.Sprint(p.Proven), fmt.Sprint(q.Proven))
	fact("complete", fmt.Sprint(p.Complete), fmt.Sprint(q.Complete))

	x, y := p.brief(a.Name), q.brief(b.Name)
	for _, c := range (p.Baseline | q.Baseline | x.needs() | y.needs()).Caps() {
		if change, differs := compareCap(c, x, y); differs {
			from := a
			if change.New {
				from = b
			}
			change.From, change.Evidence = from.Name, from.Profile.first(c, change.only())
			d.Changes = append(d.Changes, change)
		}
	}
	return d
}

// brief is what a claim is made from.
func (p *Profile) brief(name string) *Source {
	return &Source{
		Name: name, Baseline: p.Baseline, Required: p.Required, Optional: p.Optional, Used: p.Used,
		Recommended: p.Recommended, Asked: p.asked(),
	}
}

func compareCap(c caps.Cap, x, y *Source) (CapChange, bool) {
	out := CapChange{Cap: c, A: x.claim(c), B: y.claim(c)}
	a, b := out.A.weight(), out.B.weight()
	more, phases := false, false // B's phases
	for _, p := range Phases {
		in, is := x.Asked[p].Has(c), y.Asked[p].Has(c)
		phases = phases || in != is
		more = more || is && !in
	}
	out.New = b > a || b == a && more
	return out, a != b || phases
}

// weight orders claims by how much they say that it is needed.
func (c Claim) weight() int {
	w := map[Status]int{Absent: 0, Unused: 2, Optional: 4, Used: 6, Required: 8}[c.Status]
	if c.Kept {
		w++
	}
	return w
}

// only are the phases in which only the profile that the evidence is from saw it.
func (c CapChange) only() []Phase {
	more, less := c.B.Phases, c.A.Phases
	if !c.New {
		more, less = less, more
	}
	return slices.DeleteFunc(slices.Clone(more), func(p Phase) bool { return slices.Contains(less, p) })
}

// first is the first evidence of each kind for a capability, if there is any
// from one of these phases.
func (p *Profile) first(c caps.Cap, phases []Phase) Finding {
	out := Finding{Cap: c}
	for _, f := range p.Capabilities {
		if f.Cap != c {
			continue
		}
		out.Status, out.Reasons, out.Without = f.Status, f.Reasons, f.Without
		i := slices.IndexFunc(f.Checks, func(c Check) bool { return slices.Contains(phases, c.Phase) })
		i = min(max(i, 0), len(f.Checks))
		out.Checks = f.Checks[i:min(i+1, len(f.Checks))]
		out.Execs = f.Execs[:min(1, len(f.Execs))]
		out.Capsets = f.Capsets[:min(1, len(f.Capsets))]
		break
	}
	return out
}

// baselineText is how many there are and which of them the other has not.
func baselineText(s, other caps.Set) string {
	text := fmt.Sprint(s.Len())
	if more := s.Minus(other); !more.Empty() {
		text += " with " + more.String()
	}
	return text
}
