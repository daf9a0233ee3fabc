package report

import (
	"encoding/json"
	"io"
	"slices"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/caps/catalog/proof"
	"github.com/leastcap/leastcap/usage"
)

// Explanation is what leastcap explain answers.
type Explanation struct {
	// Version names the form of the JSON: fields are only ever added.
	Version string `json:"version"`
	// Capabilities are those that were asked for by name.
	Capabilities []ExplainedCapability `json:"capabilities,omitempty"`
	// Sets are the sets that were asked for: defaults, masks, processes, lines.
	Sets []ExplainedSet `json:"sets,omitempty"`
	// Diff compares the two sets.
	Diff *SetDiff `json:"diff,omitempty"`
	// Asked are the checks of a system call, or with an error number.
	Asked *ExplainedChecks `json:"asked,omitempty"`
}

// ExplainedCapability is what is known of a capability, and what was measured of it.
type ExplainedCapability struct {
	catalog.Entry
	// Measured are the experiments, the one that shows it best first; none for a
	// capability without a name.
	Measured []proof.Experiment `json:"measured,omitempty"`
}

// NewExplainedCapability looks a capability up.
func NewExplainedCapability(c caps.Cap) ExplainedCapability {
	return ExplainedCapability{catalog.Get(c), proof.Of(c)}
}

// explanationVersion is [Explanation.Version].
const explanationVersion = "leastcap.explain/v1"

// ExplainedSet is a set of capabilities and where it is from.
type ExplainedSet struct {
	// Name is how it was asked for: "docker", "a80425fb", "4242", a line.
	Name string `json:"name"`
	// Title says for people what it is.
	Title string   `json:"title"`
	Caps  caps.Set `json:"set"`
	// Mask is the set as /proc/PID/status shows it.
	Mask string `json:"mask"`
	// Same are the names of default sets that are exactly this one.
	Same []string `json:"same_as,omitempty"`
	// Default is what is known of a default set.
	Default *catalog.Default `json:"default,omitempty"`
	// Shared is what the container shares with its host; null if that is not
	// known, or it is no container's.
	Shared []catalog.Sharing `json:"shared,omitempty"`
	// UserNamespace says that it is had in a user namespace of its own.
	UserNamespace bool `json:"user_namespace,omitempty"`
	// Origin says where each capability comes from.
	Origin map[caps.Cap]string `json:"origin,omitempty"`
	// Facts are what else there is to know, in sentences.
	Facts []string `json:"facts,omitempty"`
	// Dangers is how dangerous each is here: under what is shared, if that is
	// known. In a user namespace of its own Effects stands instead, which is what
	// becomes of each there.
	Dangers map[caps.Cap]catalog.Level      `json:"dangers,omitempty"`
	Effects map[caps.Cap]catalog.UserEffect `json:"effects,omitempty"`
}

// NewExplainedSet fills in what follows from a set.
func NewExplainedSet(name, title string, set caps.Set) ExplainedSet {
	s := ExplainedSet{Name: name, Title: title, Caps: set, Mask: set.Hex()}
	for _, d := range catalog.DefaultSets() {
		if d.Caps == set && !d.Allows && d.Engine != name {
			s.Same = append(s.Same, d.Engine)
		}
	}
	return s
}

// danger is how dangerous a capability is in this set's place.
func (s *ExplainedSet) danger(c caps.Cap) catalog.Level {
	e := catalog.Get(c)
	if s.Shared == nil {
		return e.Danger
	}
	return e.DangerUnder(s.Shared...)
}

// fill works out what the JSON has besides.
func (s *ExplainedSet) fill() {
	if s.UserNamespace {
		s.Effects = make(map[caps.Cap]catalog.UserEffect, s.Caps.Len())
	} else {
		s.Dangers = make(map[caps.Cap]catalog.Level, s.Caps.Len())
	}
	for c := range s.Caps.Values() {
		if s.UserNamespace {
			s.Effects[c] = catalog.Get(c).UserNamespace.Effect
		} else {
			s.Dangers[c] = s.danger(c)
		}
	}
}

// SetDiff is how two sets differ.
type SetDiff struct {
	A     string   `json:"a"`
	B     string   `json:"b"`
	OnlyA caps.Set `json:"only_a"`
	OnlyB caps.Set `json:"only_b"`
	Both  caps.Set `json:"both"`
}

// ExplainedChecks are the checks of a system call, or with an error number.
type ExplainedChecks struct {
	Call  string `json:"syscall,omitempty"`
	Errno string `json:"errno,omitempty"`
	// Family is the call that stands for it, if it is another.
	Family string          `json:"family,omitempty"`
	Checks []catalog.Asked `json:"checks"`
	// Opened are the capabilities without each of which Docker's default seccomp
	// profile refuses the call; one is enough.
	Opened caps.Set `json:"seccomp_opened_by"`
}

// ExplainOptions say how an explanation is shown.
type ExplainOptions struct {
	Style
	// Long shows all that is known.
	Long bool
	// Height is how many lines a short page may have; 0 is 23, a screen of 24
	// with a prompt.
	Height int
}

func (o ExplainOptions) height() int {
	if o.Height > 0 {
		return o.Height
	}
	return 23
}

// ExplanationJSON writes it as one document.
func ExplanationJSON(w io.Writer, x *Explanation) error {
	x.Version = explanationVersion
	for i := range x.Sets {
		x.Sets[i].fill()
	}
	if x.Asked != nil && x.Asked.Checks == nil {
		x.Asked.Checks = []catalog.Asked{}
	}
	e := json.NewEncoder(usage.JSONWriter(w))
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(x)
}

// Explain writes it for people.
func Explain(w io.Writer, x *Explanation, o ExplainOptions) error {
	p := newPage(o.Style)
	switch {
	case x.Asked != nil:
		p.checks(x.Asked, o)
	case x.Diff != nil:
		p.setDiff(x)
	default:
		switch n := len(x.Capabilities); {
		case n == 0:
		case n == 1 || o.Long:
			for i := range x.Capabilities {
				p.between(i)
				p.capability(&x.Capabilities[i], o)
			}
		case p.columns(x.Capabilities):
		default: // too many for columns
			var set caps.Set
			for _, e := range x.Capabilities {
				set = set.With(e.Cap)
			}
			x.Sets = slices.Insert(slices.Clone(x.Sets), 0, NewExplainedSet("", "what was asked for", set))
		}
		for i := range x.Sets {
			if i > 0 || len(x.Capabilities) > 0 && p.b.Len() > 0 {
				p.blank()
			}
			p.set(&x.Sets[i], o)
		}
	}
	return p.writeTo(w)
}

// between parts what comes after something else.
func (p *page) between(i int) {
	if i > 0 {
		p.blank()
	}
}

// dangerInk is the ink of a level.
func dangerInk(l catalog.Level) ink {
	switch l {
	case catalog.Host, catalog.Unknown:
		return alarm
	case catalog.Shared:
		return caution
	}
	return plain
}
