//go:build !linux

package probe

import (
	"errors"
	"runtime"

	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Options change how the probe is loaded.
type Options struct {
	Limits map[string]uint32
	Hook   string
}

// Probe exists on Linux only.
type Probe struct{}

// Watch exists on Linux only.
type Watch struct{}

// Open fails: capabilities are Linux's.
func Open(Options) (*Probe, error) {
	return nil, &FeatureError{
		Missing: "Linux", Detail: "this is " + runtime.GOOS,
		Hint: "run leastcap on the machine that runs the containers", Err: errors.ErrUnsupported,
	}
}

// Tasks fails as Open does.
func Tasks(TaskOptions) ([]proc.Process, error) { return nil, errors.ErrUnsupported }

func (*Probe) Hook() string                          { return "" }
func (*Probe) Sees() string                          { return "" }
func (*Probe) Hierarchy() proc.Hierarchy             { return proc.Hierarchy{} }
func (*Probe) ChecksSeen() (uint64, error)           { return 0, errors.ErrUnsupported }
func (*Probe) Close()                                {}
func (*Probe) Watch(proc.ScopeRef) (*Watch, error)   { return nil, errors.ErrUnsupported }
func (*Watch) SetPhase(usage.Phase) error            { return errors.ErrUnsupported }
func (*Watch) Identities() ([]usage.Identity, error) { return nil, errors.ErrUnsupported }
func (*Watch) Record() (*usage.Record, error)        { return nil, errors.ErrUnsupported }
func (*Watch) End()                                  {}

// Hooks is empty.
func Hooks() []string { return nil }

// Survey fails as Open does.
func Survey() ([]Way, string, error) {
	_, err := Open(Options{})
	return nil, "", err
}

// Preempts is false.
func Preempts() bool { return false }
