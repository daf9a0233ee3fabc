package advise

import (
	"slices"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// Alternative is what to do instead of granting a capability.
type Alternative struct {
	Do  string `json:"do"`            // an imperative clause
	How string `json:"how,omitempty"` // what to write: a flag, a line of a Dockerfile
}

// Instead gives the ways to do without a capability for a system call, the best first, in
// a container or on a host. That is the catalog's knowledge; what [Explain] adds of its own
// are the facts of the case, such as who owns the file.
func Instead(c caps.Cap, call string, container bool) []Alternative {
	var list, ofCall []Alternative
	for _, a := range catalog.Get(c).Instead {
		how := a.How
		if !container && a.Unit != "" {
			how = "a unit's " + a.Unit
		}
		switch {
		case a.In == "container" && !container, a.In == "host" && container:
		case slices.Contains(a.Calls, call):
			ofCall = append(ofCall, Alternative{a.Do, how})
		case a.Calls == nil:
			list = append(list, Alternative{a.Do, how})
		}
	}
	if ofCall != nil {
		return ofCall
	}
	return list
}

// operation is what the kernel asks a capability for in a call that fails like this, as
// the catalog has it; "" if that is not known, or if there is more than one.
func operation(c caps.Cap, call, errno string) string {
	op := ""
	for _, asked := range catalog.Find(call, errno) {
		if asked.Cap != c || asked.Operation == op {
			continue
		}
		if op != "" {
			return ""
		}
		op = asked.Operation
	}
	return op
}
