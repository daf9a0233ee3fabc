package learn

import (
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// Step is where a run stands.
type Step string

const (
	Starting Step = "start"  // the workload is being created and started
	Checking Step = "check"  // its check is tried until it passes
	Settling Step = "settle" // it is watched while it does nothing special
	Stopping Step = "stop"
	Done     Step = "done" // Event.Outcome tells
)

// Event is progress: which run of how many, what is being tried, where it is.
type Event struct {
	Trial int // counted from 1
	Of    int // how many there will be, as far as is known now
	Kind  usage.TrialKind
	Set   caps.Set
	// Removed and Added are what the run differs in from the set that is being
	// worked on.
	Removed, Added caps.Set
	Step           Step
	Outcome        *usage.Trial // with Done only
}
