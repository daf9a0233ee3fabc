package manifest

import (
	"fmt"

	"github.com/leastcap/leastcap/caps"
)

// A Plan is what has to become of a container's lists so that it gets exactly a set:
// drop ALL, add its members. What stands there already and is right stays as it is
// written.
type Plan struct {
	Remove  []int        // indexes of Container.Caps, ascending
	Respell []Correction // right, but in a spelling that the format's engines do not all take
	DropAll bool         // ALL has to be put into the list to drop
	Add     []caps.Cap   // have to be put into the list to add, ascending
}

// Empty says that everything is there already.
func (p *Plan) Empty() bool {
	return len(p.Remove) == 0 && len(p.Respell) == 0 && !p.DropAll && len(p.Add) == 0
}

// Plan is for formats with lists to add and drop. strict: only upper case without CAP_
// will do, as in Kubernetes, where containerd would give CAP_CHOWN to nobody
// (internal/cri/opts/spec_opts.go WithCapabilities). A request that is not known cannot
// be planned around, and is an error.
func (c *Container) Plan(set caps.Set, strict bool) (Plan, error) {
	if c.CapsWhy != "" {
		return Plan{}, &Error{At: c.At, Reason: c.CapsWhy}
	}
	var p Plan
	have, dropAll := caps.Set(0), false
	respell := func(r *Request, word string) {
		if strict && r.Word.V != word {
			p.Respell = append(p.Respell, Correction{At: r.Word.At, Word: word})
		}
	}
	for i := range c.Caps {
		r := &c.Caps[i]
		if r.Set != Engine {
			return Plan{}, fmt.Errorf("%s states the %s set itself", c.Name, r.Set)
		}
		if _, ok := r.Word.Get(); !ok {
			return Plan{}, &Error{At: r.Word.At, Reason: r.Word.Why}
		}
		one, all, err := r.Capability()
		switch {
		case r.Action == Drop && err == nil && all && !dropAll:
			dropAll = true
			respell(r, "ALL")
		case r.Action == Add && err == nil && !all && set.Has(one) && !have.Has(one):
			have = have.With(one)
			respell(r, one.Docker())
		default:
			p.Remove = append(p.Remove, i)
		}
	}
	p.DropAll = !dropAll
	if missing := set.Minus(have); !missing.Empty() {
		p.Add = missing.Caps()
	}
	return p, nil
}
