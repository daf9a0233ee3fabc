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
	Limits            map[string]uint32
	Hook              string
	Running, Refusals bool
	IsContainer       func(path string) bool
}

// Probe exists on Linux only.
type Probe struct{}

// Watch exists on Linux only.
type Watch struct{}

// Alone is the path of the outermost cgroup without those below it.
const Alone = "/."

// Place is a cgroup that the probe looks at.
type Place struct {
	ID                            uint64
	Path                          string
	Host, Adopted, Dead, Launched bool
	Within                        []uint64
}

// Group is what was seen in some cgroups together.
type Group struct {
	Places []Place
	Record *usage.Record
}

// Open fails: capabilities are Linux's.
func Open(Options) (*Probe, error) {
	return nil, &FeatureError{
		Missing: "Linux", Detail: "this is " + runtime.GOOS,
		Hint: "run leastcap on the machine that runs the containers", Err: errors.ErrUnsupported,
	}
}

// Tasks fails as Open does.
func Tasks(TaskOptions) ([]proc.Process, error) { return nil, errors.ErrUnsupported }

// Memory fails as Open does.
func Memory(Options) (uint64, error) { return 0, errors.ErrUnsupported }

func (*Probe) Memory() (uint64, error)               { return 0, errors.ErrUnsupported }
func (*Probe) Hook() string                          { return "" }
func (*Probe) Sees() string                          { return "" }
func (*Probe) Hierarchy() proc.Hierarchy             { return proc.Hierarchy{} }
func (*Probe) ChecksSeen() (uint64, error)           { return 0, errors.ErrUnsupported }
func (*Probe) Adopt(...string) error                 { return errors.ErrUnsupported }
func (*Probe) News() (uint64, error)                 { return 0, errors.ErrUnsupported }
func (*Probe) Lost() (map[string]uint64, error)      { return nil, errors.ErrUnsupported }
func (*Probe) SetPhase(usage.Phase, ...uint64) error { return errors.ErrUnsupported }
func (*Probe) Forget(...uint64)                      {}
func (*Probe) Survey(func(Place) string) (map[string]*Group, error) {
	return nil, errors.ErrUnsupported
}
func (*Probe) Refusals(func(Place) string) ([]usage.Refusal, error) {
	return nil, errors.ErrUnsupported
}
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

// NamesFunctions is false.
func NamesFunctions() bool { return false }

// MayLoad is false.
func MayLoad() bool { return false }
