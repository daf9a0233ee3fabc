package proc

import "fmt"

// ScopeRef names the cgroup of a workload that may not exist yet.
type ScopeRef struct {
	// Name is what the cgroup's name contains: a container's id. Engines wrap it
	// in prefixes and suffixes of their own (docker-ID.scope, libpod-ID).
	Name string
	// ID is the cgroup's id (its directory's inode number), if it exists. It
	// takes precedence over Name.
	ID uint64
}

func (r ScopeRef) String() string {
	if r.ID != 0 {
		return fmt.Sprintf("cgroup %d", r.ID)
	}
	return fmt.Sprintf("cgroup *%s*", r.Name)
}
