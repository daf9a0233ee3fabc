package report

import (
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// Process is one row of leastcap ps.
type Process struct {
	PID         int            `json:"pid"`
	PPID        int            `json:"ppid"`
	UID         uint32         `json:"uid"` // effective
	User        string         `json:"user"`
	Command     string         `json:"command"`
	Container   *ProcContainer `json:"container,omitempty"`
	Effective   caps.Set       `json:"effective"`
	Permitted   caps.Set       `json:"permitted"`
	Inheritable caps.Set       `json:"inheritable"`
	Bounding    caps.Set       `json:"bounding"`
	Ambient     caps.Set       `json:"ambient"`
	NoNewPrivs  bool           `json:"no_new_privs"`
	Seccomp     int            `json:"seccomp"` // -1: not known
	// Zombie: it has ended, though other threads of it may go on.
	Zombie bool `json:"zombie,omitempty"`
	// Threads are those whose sets differ from the first one's.
	Threads []ProcThread `json:"threads,omitempty"`

	// OwnUser says that its user namespace is not the host's: what it holds, it holds
	// over what belongs to that namespace.
	OwnUser bool `json:"own_user_namespace,omitempty"`

	// What follows is not read without --wide or JSON.
	Args       []string `json:"args,omitempty"`
	Executable string   `json:"executable,omitempty"`
	SetUID     bool     `json:"set_uid,omitempty"` // the executable is a set-user-ID one
	SetGID     bool     `json:"set_gid,omitempty"`
	// Namespaces are those that are not the host's: "user", "net"; null if they cannot be
	// read.
	Namespaces []string `json:"namespaces"`
	// NamespaceIDs are the inode numbers of all that can be read.
	NamespaceIDs map[string]uint32 `json:"namespace_ids,omitempty"`
	LSM          string            `json:"lsm,omitempty"`
	// Securebits are as prctl(PR_GET_SECUREBITS) has them; null if they are not known.
	Securebits *uint32 `json:"securebits"`
	// Unreadable is what exists and may not be read: "namespaces", "program", "label".
	Unreadable []string `json:"unreadable,omitempty"`
}

// ProcContainer is the container that a process is in.
type ProcContainer struct {
	ID     string `json:"id"`
	Engine string `json:"engine,omitempty"`
	Name   string `json:"name,omitempty"`
	Image  string `json:"image,omitempty"`
	// Pod is the uid of its Kubernetes pod.
	Pod string `json:"pod,omitempty"`
	// Asked is what the engine says that was asked for; nil if no engine knows it.
	Asked *ProcAsked `json:"asked,omitempty"`
}

// ProcAsked is a container's configuration and what follows from it.
type ProcAsked struct {
	CapAdd     []string `json:"cap_add"`
	CapDrop    []string `json:"cap_drop"`
	Privileged bool     `json:"privileged"`
	// Spec says that only the OCI specification is known, and not what was asked of the
	// engine that wrote it.
	Spec bool     `json:"spec,omitempty"`
	Set  caps.Set `json:"set"` // by the engine's rules, or the specification's
}

// Flags is what was asked for as docker's flags say it.
func (a *ProcAsked) Flags() string {
	if a.Privileged {
		return "--privileged"
	}
	var words []string
	for _, c := range a.CapDrop {
		words = append(words, "--cap-drop="+bareName(c))
	}
	for _, c := range a.CapAdd {
		words = append(words, "--cap-add="+bareName(c))
	}
	if len(words) == 0 {
		return "default"
	}
	return strings.Join(words, " ")
}

func bareName(c string) string { return strings.TrimPrefix(strings.ToUpper(c), "CAP_") }

// ProcThread is a thread with other sets than its process.
type ProcThread struct {
	TID         int      `json:"tid"`
	Command     string   `json:"command"`
	Effective   caps.Set `json:"effective"`
	Permitted   caps.Set `json:"permitted"`
	Inheritable caps.Set `json:"inheritable"`
	Bounding    caps.Set `json:"bounding"`
	Ambient     caps.Set `json:"ambient"`
}

// Beyond are the capabilities that a process could have by its permitted or bounding
// set and its container was not configured with, as after docker exec --privileged.
func (p *Process) Beyond() caps.Set {
	if p.Container == nil || p.Container.Asked == nil {
		return 0
	}
	return p.Permitted.Union(p.Bounding).Minus(p.Container.Asked.Set)
}

// Below are those that its container was configured with and that its bounding set lacks:
// the kernel did not give them, or it dropped them for good.
func (p *Process) Below() caps.Set {
	if p.Container == nil || p.Container.Asked == nil {
		return 0
	}
	return p.Container.Asked.Set.Minus(p.Bounding)
}

// Label is how the container is called: by its name, or else the beginning of its id.
func (c *ProcContainer) Label() string {
	switch {
	case c == nil:
		return "-"
	case c.Name != "":
		return c.Name
	}
	return c.ID[:min(12, len(c.ID))]
}
