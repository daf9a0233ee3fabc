package watch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/usage"
)

// Words says an event in a sentence without its subject. What comes from a workload is not
// cleaned yet.
func (e *Event) Words() string {
	switch e.Event {
	case Begin:
		if e.Running {
			return "runs already" + e.Subject.origin()
		}
		return "begins" + e.Subject.origin()
	case End:
		return "ends: used " + e.Total.Used.Brief()
	case Use:
		return fmt.Sprintf("uses %s%s", e.more.With(*e.Capability).Brief(), e.evidence())
	case Denial:
		verb := "was denied"
		if e.Check.Beyond {
			verb = "was denied, and could not be granted,"
		}
		return fmt.Sprintf("%s %v%s; %s", verb, *e.Capability, e.evidence(), outcome(e.Check))
	case Loss:
		var list []string
		for _, kind := range slices.Sorted(maps.Keys(e.Lost)) {
			list = append(list, fmt.Sprintf("%d of the %s", e.Lost[kind], kind))
		}
		return "lost " + strings.Join(list, ", ")
	}
	return e.Event
}

// Gather makes one event for people of uses that show by one and the same capset(2), as a
// program makes that keeps all it has.
func Gather(events []Event) []Event {
	var out []Event
	first := make(map[*usage.Capset]int)
	for _, e := range events {
		if e.Event == Use && e.Capset != nil {
			if i, ok := first[e.Capset]; ok {
				out[i].more = out[i].more.With(*e.Capability)
				continue
			}
			first[e.Capset] = len(out)
		}
		out = append(out, e)
	}
	return out
}

// origin is a container's image and engine.
func (s *Subject) origin() string {
	switch {
	case s.Image != "":
		return fmt.Sprintf(": %s (%s)", s.Image, s.Engine)
	case s.Engine != "":
		return fmt.Sprintf(" (%s)", s.Engine)
	}
	return ""
}

func (e *Event) evidence() string {
	switch {
	case e.Exec != nil:
		return fmt.Sprintf(": file capabilities of %s", e.Exec.Path)
	case e.Check != nil:
		call := e.Check.Call
		if call == "" {
			call = e.Check.Syscall
		}
		if call == "" {
			call = "outside a system call"
		}
		return fmt.Sprintf(": %s by %s as uid %d", call, e.Check.Process.Comm, e.Check.Process.EUID)
	case e.Capset != nil:
		return fmt.Sprintf(": capset() by %s as uid %d", e.Capset.Process.Comm, e.Capset.Process.EUID)
	case e.How == "check":
		return "" // its evidence was lost
	}
	return ": by " + e.How
}

func outcome(c *usage.Check) string {
	switch {
	case c.Errno != "":
		return "it gave " + c.Errno
	case advise.InReply(c):
		return "netlink answered EPERM"
	case c.Syscall == "":
		return "what came of it is not known"
	}
	return "it went on without"
}
