package watch

import (
	"cmp"
	"path"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
)

// Kind is what a subject is.
type Kind string

const (
	Container Kind = "container"
	Unit      Kind = "unit"   // of systemd
	Cgroup    Kind = "cgroup" // any other
	Host      Kind = "host"   // the outermost cgroup
)

// Subject is one workload that is watched.
type Subject struct {
	Kind   Kind   `json:"kind"`
	Cgroup string `json:"cgroup"` // its path within the hierarchy
	// ID and what follows are a container's; all but ID are the engine's words, empty
	// while it has not said any.
	ID      string `json:"id,omitempty"`
	Engine  string `json:"engine,omitempty"`
	Name    string `json:"name,omitempty"`
	Image   string `json:"image,omitempty"`
	ImageID string `json:"image_id,omitempty"`
	User    string `json:"user,omitempty"`
	// Granted is what the subject's processes may have: their bounding set; nil if it
	// is not known.
	Granted *caps.Set `json:"bounding,omitempty"`
}

// Label is how the subject is called.
func (s *Subject) Label() string {
	switch s.Kind {
	case Container:
		return cmp.Or(s.Name, s.ID[:min(12, len(s.ID))])
	case Unit:
		return path.Base(s.Cgroup)
	case Host:
		return "host"
	}
	return s.Cgroup
}

// Key tells subjects apart; it is the same for all cgroups of one.
func (s *Subject) Key() string {
	if s.Kind == Container {
		return string(s.Kind) + ":" + s.ID
	}
	return string(s.Kind) + ":" + s.Cgroup
}

// Of says whose cgroup a place is.
func Of(cgroup string) Subject {
	if id, engine := proc.ContainerAt(cgroup); id != "" {
		return Subject{Kind: Container, ID: id, Engine: engine, Cgroup: upTo(cgroup, id)}
	}
	if unit := proc.UnitOf(cgroup); unit != "" {
		return Subject{Kind: Unit, Cgroup: upTo(cgroup, unit)}
	}
	if cgroup == "/" {
		return Subject{Kind: Host, Cgroup: cgroup}
	}
	return Subject{Kind: Cgroup, Cgroup: cgroup}
}

// upTo cuts a path after the last component that has a word in it.
func upTo(cgroup, word string) string {
	i := strings.LastIndex(cgroup, word)
	if i < 0 {
		return cgroup
	}
	if end := strings.IndexByte(cgroup[i:], '/'); end >= 0 {
		return cgroup[:i+end]
	}
	return cgroup
}

// Target is what a user asks to be watched.
type Target struct {
	Text string // as it was typed
	// Cgroup is the path of a cgroup, with those below it; [probe.Alone] is the outermost
	// alone.
	Cgroup string
	// Container is the name of one, or the beginning of its id. Unit is a unit's name.
	Container, Unit string
}

// Matches says whether a cgroup is the target's: s is whose it is, with what the engine
// said of it.
func (t *Target) Matches(cgroup string, s *Subject) bool {
	switch {
	case t.Cgroup == probe.Alone:
		return cgroup == "/"
	case t.Cgroup != "":
		return cgroup == t.Cgroup || strings.HasPrefix(cgroup, strings.TrimSuffix(t.Cgroup, "/")+"/")
	case t.Unit != "":
		// A slice is a unit too, and so is a service that has others below it.
		// A container may be called like one.
		return strings.Contains(cgroup+"/", "/"+t.Unit+"/") || s.Kind == Container && s.Name == t.Unit
	}
	return s.Kind == Container && (s.Name == t.Container || len(t.Container) >= minID && strings.HasPrefix(s.ID, t.Container))
}

// minID is how much of a container's id names it.
const minID = 4

// ParseTarget reads a word: a cgroup's path (of the hierarchy, or of its directory below
// mount), a unit, a number of a process, which cgroupOf knows the cgroup of, or else a
// container. A process is watched with all that shares its cgroup.
func ParseTarget(word, mount string, cgroupOf func(pid int) (string, error)) (Target, error) {
	t := Target{Text: word}
	if pid, ok := pidOf(word); ok {
		cgroup, err := cgroupOf(pid)
		if err == nil {
			if t.Cgroup = cgroup; cgroup == "/" {
				t.Cgroup = probe.Alone
			}
			return t, nil
		}
		if len(word) < minID {
			return t, err
		}
	}
	switch {
	case strings.HasPrefix(word, "/"):
		within := path.Clean(word)
		if below, ok := strings.CutPrefix(within+"/", strings.TrimSuffix(mount, "/")+"/"); ok {
			within = path.Clean("/" + below)
		}
		t.Cgroup = within
	case hasUnitSuffix(word):
		t.Unit = word
	default:
		t.Container = word
	}
	return t, nil
}

func pidOf(word string) (int, bool) {
	n := 0
	for _, c := range word {
		if c < '0' || c > '9' || n > 1<<22 { // Documentation/admin-guide/sysctl/kernel.rst: pid_max
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n > 0
}

func hasUnitSuffix(word string) bool {
	for _, suffix := range []string{".service", ".scope", ".slice", ".socket", ".mount"} {
		if strings.HasSuffix(word, suffix) {
			return true
		}
	}
	return false
}
