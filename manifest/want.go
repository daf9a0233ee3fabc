package manifest

import (
	"github.com/leastcap/leastcap/caps"
)

// A Want says what a container should be; fields that are not set leave things as they
// are. It is the same for every format.
type Want struct {
	// Exactly: drop ALL and add these, no more and no less.
	Exactly *caps.Set
	// Correct writes other words for single requests.
	Correct []Correction
	// Remove takes away the requests whose words stand at these places.
	Remove []Pos
	// NoNewPrivs forbids set-uid programs and file capabilities to give privilege.
	NoNewPrivs bool
	// Unprivileged takes privileged away. Without it Exactly is refused for a privileged
	// container, where capabilities mean nothing.
	Unprivileged bool
}

// A Correction replaces a request's word.
type Correction struct {
	At   Pos // the word's
	Word string
}

// Empty says that it wants nothing.
func (w Want) Empty() bool {
	return w.Exactly == nil && len(w.Correct) == 0 && len(w.Remove) == 0 && !w.NoNewPrivs && !w.Unprivileged
}

// A Change is a want for one container.
type Change struct {
	Container *Container
	Want      Want
}

// A Refusal is a change that the format did not turn into edits.
type Refusal struct {
	Container *Container
	At        Pos    // what is in the way
	Reason    string // "the anchor x-common is used by worker too"
	Hint      string // what would help
}

func (r *Refusal) Error() string {
	at := r.At
	if at.IsZero() {
		at = r.Container.At
	}
	return at.String() + ": " + r.Container.Name + ": not changed: " + r.Reason
}
