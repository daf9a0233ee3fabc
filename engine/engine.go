// Package engine is what the learner needs of whatever runs workloads: to run
// one workload again and again, each time with other capabilities, and to know
// where it runs, how it ended and what it said.
//
// The implementations are the packages below it: engine/cli wraps the docker,
// podman and nerdctl command lines, engine/host runs commands of the host.
package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Workload is one workload that can be run many times.
type Workload interface {
	// Inspect checks that the workload could be run at all, as far as that shows
	// without running it, and says what it is.
	Inspect(ctx context.Context) (usage.Subject, error)
	// Prepare creates an instance. Nothing of the workload runs before
	// [Instance.Start], so that it can be watched from its first moment.
	Prepare(ctx context.Context, g Grant) (Instance, error)
	// Privileged says that today's privileges go beyond capabilities, and that a
	// trial may need [Grant.Unconfined] to differ in capabilities alone.
	Privileged() bool
	// Persistent says that runs share state, by volumes or because they run on the
	// host: then the first run may need what later ones do not. fresh says whether
	// the runs have [Grant.Fresh].
	Persistent(fresh bool) bool
	// Volumes says that something of an instance can outlive it, so that a second
	// start can differ from the first.
	Volumes(ctx context.Context) (bool, error)
	// Exclusive says why two instances cannot run side by side, "" if they can.
	Exclusive() string
	// Remarks are what a user should know of how the runs differ from the line as
	// it was typed.
	Remarks() []string
	// Use spells a result in the host format's own words.
	Use(set caps.Set, unconfined bool) usage.Use
	// Clean removes everything that this process created and that may still be
	// there, and what dead processes of the same kind left behind.
	Clean(ctx context.Context) error
}

// Grant is what an instance may do.
type Grant struct {
	Baseline bool // what the workload has today; Set is ignored
	Set      caps.Set
	// Unconfined gives what --privileged gives beside capabilities.
	Unconfined bool
	// Fresh puts new, empty volumes in the place of those that the workload names;
	// they go with the instance.
	Fresh bool
	// After, if any, is an instance that has ended and is not removed yet: this one
	// starts with its volumes.
	After Instance
}

// Instance is one run of a workload.
type Instance interface {
	// Scope names the cgroup that the workload's processes will be in.
	Scope() proc.ScopeRef
	Start(ctx context.Context) error
	// Exited is closed when the workload has ended.
	Exited() <-chan struct{}
	// Exit is valid once Exited is closed.
	Exit() Exit
	// Env are the LEASTCAP_ variables that a check command sees.
	Env(ctx context.Context) ([]string, error)
	Health(ctx context.Context) (Health, error)
	// Stop asks the workload to end and waits until it did; a negative timeout
	// means the engine's default.
	Stop(ctx context.Context, timeout time.Duration) error
	// Exec runs a command with sh -c beside the workload, as the engine lets its user
	// do, with what the instance may do. code is its exit status; an error means
	// that there was none.
	Exec(ctx context.Context, command string) (output string, code int, err error)
	// Logs gives the last lines of the workload's output.
	Logs(ctx context.Context, lines int) string
	// FileCaps reads an executable's file capabilities, nil if it has none.
	FileCaps(ctx context.Context, path string) (*caps.FileCaps, error)
	// Describe adds what only an instance tells: which image it really got.
	Describe(ctx context.Context, s *usage.Subject)
	// Remove ends the instance, if it still runs, and removes all of it.
	Remove(ctx context.Context) error
}

// Exit says how a workload ended.
type Exit struct {
	Code int // as the shell counts: 128 + the signal's number if one ended it
	// Started is false where it never came to run its entry point.
	Started bool
	Message string // the engine's, if it gave one
	// NoMemory says that the kernel ended a process of it at a memory limit, as far as the
	// engine knows that.
	NoMemory bool
	// Err says why the outcome is not known; then nothing may be concluded.
	Err error
}

func (e Exit) String() string {
	if !e.Started {
		return "did not start: " + e.Message
	}
	why := ""
	if e.NoMemory {
		why = " when it was at its memory limit (--memory)"
	}
	if e.Code > 128 && e.Code < 128+65 {
		return fmt.Sprintf("ended by signal %d%s", e.Code-128, why)
	}
	return fmt.Sprintf("exited %d%s", e.Code, why)
}

// Health is the image's own HEALTHCHECK's word.
type Health int

const (
	NoHealth Health = iota // none is defined
	Starting
	Healthy
	Unhealthy
)

// Error is one that a user can do something about.
type Error struct {
	Problem string
	Reason  string // what the engine said, shortened
	Hint    string
	// Absent: no engine could be asked, whatever the line says.
	Absent bool
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return e.Problem
	}
	return e.Problem + ": " + strings.TrimSpace(e.Reason)
}
