// Package proof is what was measured of capabilities: for each an operation that works
// with it, and fails or silently changes without it, and in which user namespace the
// kernel asks for it.
//
// The experiments are the commented file proofs.yaml; this package is a typed view of
// it, compiled in: go generate in caps/catalog writes data.go. Its test runs them all, in
// containers, so that the file says what the kernel does. What the functions return
// belongs to the caller.
package proof

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// Experiment is one operation, with and without a capability.
type Experiment struct {
	// Name is the operation's, unique.
	Name string   `yaml:"name" json:"name"`
	Cap  caps.Cap `yaml:"cap" json:"cap"`
	// Operation is a noun clause that begins with the system call: "chown(2) of one's
	// own file to another user".
	Operation string `yaml:"operation" json:"operation"`
	// Flags are those of docker run that the container needs.
	Flags []string `yaml:"flags" json:"flags,omitempty"`
	// Also are capabilities that the operation needs besides.
	Also []caps.Cap `yaml:"also" json:"also,omitempty"`
	// Others are capabilities each of which does in the place of Cap.
	Others []caps.Cap `yaml:"others" json:"others,omitempty"`
	// With and Without are the outcomes. With may be an errno too: where success would
	// do harm, it is one that the kernel gives after it has granted the capability.
	With    Outcome `yaml:"with" json:"with"`
	Without Outcome `yaml:"without" json:"without"`
	// Asked is where the kernel asks for the capability.
	Asked Asked `yaml:"asked" json:"asked_in"`
	// Child and New are the outcomes for a process with all capabilities in a user
	// namespace of its own: on what belongs to the container, and in new namespaces of
	// all other kinds.
	Child Outcome `yaml:"child" json:"child"`
	New   Outcome `yaml:"new" json:"new"`
	// Needs are the features that the kernel or the machine must have.
	Needs []string `yaml:"needs" json:"needs,omitempty"`
	// Harmless says why success does not hurt the machine; empty where that is plain.
	Harmless string `yaml:"harmless" json:"harmless,omitempty"`
	// Source is where the kernel asks, as "file:function".
	Source string `yaml:"source" json:"source"`
	// Docker are the outcomes under Docker's default confinement: its seccomp profile, its
	// sysctls, its read-only paths.
	Docker Outcomes `yaml:"docker" json:"docker"`
	// Since is the oldest kernel of those that were measured on which all of this holds,
	// empty if it holds on all of them, and Before what was otherwise on older ones.
	Since  string `yaml:"since" json:"since,omitempty"`
	Before string `yaml:"before" json:"before,omitempty"`
	// Measured is the kernel of another machine on which it was measured, or [Never];
	// empty if the tests do so on the kernel that they run on.
	Measured string `yaml:"measured" json:"-"`
	// Kernels are those on which it was measured to be so, the oldest first; none if
	// Measured is [Never].
	Kernels []string `yaml:"-" json:"kernels"`
}

// Outcomes are those with and without the capability.
type Outcomes struct {
	With    Outcome `yaml:"with" json:"with"`
	Without Outcome `yaml:"without" json:"without"`
}

// Outcome is what comes of an operation: [Works], an errno's name, or what is to be
// seen of it.
type Outcome string

// Never is [Experiment.Measured] of what no machine has shown yet.
const Never = "never"

// Works is the outcome of an operation that succeeds.
const Works Outcome = "works"

// Errno reports whether the outcome is an errno's name: a word of capitals that begins
// with E.
func (o Outcome) Errno() bool {
	return strings.HasPrefix(string(o), "E") && strings.Trim(string(o), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// Asked is the user namespace in which the kernel asks for a capability, in the words of
// the catalog.
type Asked string

// Where the kernel asks.
const (
	Initial Asked = "initial" // in the initial user namespace
	Own     Asked = "own"     // in the process's own
	Inode   Asked = "inode"   // in its own, if the file's owner and group are mapped there
	Target  Asked = "target"  // in that of the process that it works on
	// In the one that owns the namespace of a kind that the process is in.
	Net Asked = "network"
	IPC Asked = "ipc"
	UTS Asked = "uts"
	PID Asked = "pid"
	Mnt Asked = "mount"
)

var means = map[Asked]string{
	Initial: "the initial user namespace",
	Own:     "the process's own user namespace",
	Inode:   "the process's own user namespace, where it maps the file's owner and group",
	Target:  "the user namespace of the other process",
	Net:     "the user namespace that owns the network namespace",
	IPC:     "the user namespace that owns the IPC namespace",
	UTS:     "the user namespace that owns the UTS namespace",
	PID:     "the user namespace that owns the pid namespace",
	Mnt:     "the user namespace that owns the mount namespace",
}

// Means is a noun clause: "the initial user namespace".
func (a Asked) Means() string { return means[a] }

// Nested says what a process gains by a user namespace of its own, in which it has all
// capabilities: "a user namespace of its own is enough".
func (a Asked) Nested() string {
	switch a {
	case Own, Inode:
		return "a user namespace of its own is enough"
	case Initial:
		return "a user namespace of its own does not help"
	case Target:
		return "a user namespace of its own helps with the processes in it alone"
	}
	return "a user namespace of its own helps in new namespaces alone"
}

// Child reports whether a capability in a child user namespace is enough: for what
// belongs to the container, and where all namespaces are new.
func (a Asked) Child() (here, anew bool) {
	switch a {
	case Own, Inode:
		return true, true
	case Initial:
		return false, false
	}
	return false, true
}

// Feature is what a kernel or a machine may lack.
type Feature struct {
	Name  string `yaml:"name"`
	Means string `yaml:"means"` // a noun clause
	// Absent is the outcome of the operation where it is lacking.
	Absent Outcome `yaml:"absent"`
}

// Kernels returns the versions of Linux on which the experiments were made, the oldest
// first.
func Kernels() []string { return slices.Clone(kernels) }

// All returns the experiments in the order of their capabilities' numbers.
func All() []Experiment {
	all := slices.Clone(experiments)
	for i := range all {
		all[i] = all[i].clone()
	}
	return all
}

// Of returns the experiments of a capability, that which shows it best first.
func Of(c caps.Cap) []Experiment {
	var of []Experiment
	for _, e := range experiments {
		if e.Cap == c {
			of = append(of, e.clone())
		}
	}
	return of
}

// FeatureNamed returns the feature of that name.
func FeatureNamed(name string) (Feature, bool) {
	for _, f := range features {
		if f.Name == name {
			return f, true
		}
	}
	return Feature{}, false
}

// Sentence says what was measured, without the capability's name: "chown(2) of one's own
// file to another user gives EPERM without it".
func (e Experiment) Sentence() string {
	switch {
	case e.Without.Errno() && e.With.Errno():
		return fmt.Sprintf("%s gives %s without it; with it the kernel goes on, here to %s", e.Operation, e.Without, e.With)
	case e.Without.Errno():
		return fmt.Sprintf("%s gives %s without it", e.Operation, e.Without)
	}
	return fmt.Sprintf("%s succeeds without it too, but gives %s instead of %s", e.Operation, e.Without, e.With)
}

// Confined says how Docker's default confinement changes that, empty if it does not:
// "under Docker's confinement it gives EROFS even with it".
func (e Experiment) Confined() string {
	gives := func(o Outcome) string {
		if o == Works {
			return "works"
		}
		return "gives " + string(o)
	}
	switch {
	case e.Docker.With != e.With:
		return fmt.Sprintf("under Docker's confinement it %s even with it", gives(e.Docker.With))
	case e.Docker.Without != e.Without:
		return fmt.Sprintf("under Docker's confinement it %s without it", gives(e.Docker.Without))
	}
	return ""
}

// Details are what else was found of it, in clauses: what does in the capability's place,
// where the kernel asks, what Docker's confinement changes, and on which kernels.
func (e Experiment) Details() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if len(e.Also) > 0 {
		add("%s is needed besides", words(e.Also))
	}
	switch len(e.Others) {
	case 0:
	case 1:
		add("%s does in its place", e.Others[0])
	default:
		add("each of %s does in its place", words(e.Others))
	}
	add("%s", e.Asked.Nested())
	if confined := e.Confined(); confined != "" {
		add("%s", confined)
	}
	if len(e.Needs) > 0 {
		var needs []string
		for _, name := range e.Needs {
			f, _ := FeatureNamed(name)
			needs = append(needs, f.Means)
		}
		add("it shows only with %s", strings.Join(needs, " and "))
	}
	if e.Before != "" {
		add("on older kernels %s", e.Before)
	}
	add("%s", e.MeasuredOn())
	return all
}

// MeasuredOn says on which kernels that was: "measured on Linux 6.1, 6.12 and 6.18".
func (e Experiment) MeasuredOn() string {
	if len(e.Kernels) == 0 {
		return "not measured yet"
	}
	return "measured on Linux " + enumerate(e.Kernels)
}

func words(cs []caps.Cap) string {
	var names []string
	for _, c := range cs {
		names = append(names, c.String())
	}
	return enumerate(names)
}

// enumerate writes a list that has words: "a, b and c".
func enumerate(list []string) string {
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], ", ") + " and " + list[last]
}

func (e Experiment) clone() Experiment {
	e.Flags, e.Also, e.Others = slices.Clone(e.Flags), slices.Clone(e.Also), slices.Clone(e.Others)
	e.Needs, e.Kernels = slices.Clone(e.Needs), slices.Clone(e.Kernels)
	return e
}
