// Package proof is what was measured of capabilities: for each an operation that works
// with it, and fails or silently changes without it, and in which user namespace the
// kernel asks for it.
//
// The experiments are the commented file proofs.yaml; this package is a typed view of
// it, read at first use. Its test runs them all, in containers, so that the file says
// what the kernel does. What the functions return belongs to the caller.
package proof

import (
	"bytes"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/caps"
)

// Experiment is one operation, with and without a capability.
type Experiment struct {
	// Name is the operation's, unique.
	Name string   `yaml:"name"`
	Cap  caps.Cap `yaml:"cap"`
	// Operation is a noun clause that begins with the system call: "chown(2) of one's
	// own file to another user".
	Operation string `yaml:"operation"`
	// Flags are those of docker run that the container needs.
	Flags []string `yaml:"flags"`
	// Also are capabilities that the operation needs besides.
	Also []caps.Cap `yaml:"also"`
	// Others are capabilities each of which does in the place of Cap.
	Others []caps.Cap `yaml:"others"`
	// With and Without are the outcomes. With may be an errno too: where success would
	// do harm, it is one that the kernel gives after it has granted the capability.
	With    Outcome `yaml:"with"`
	Without Outcome `yaml:"without"`
	// Asked is where the kernel asks for the capability.
	Asked Asked `yaml:"asked"`
	// Child and New are the outcomes for a process with all capabilities in a user
	// namespace of its own: on what belongs to the container, and in new namespaces of
	// all other kinds.
	Child Outcome `yaml:"child"`
	New   Outcome `yaml:"new"`
	// Needs are the features that the kernel or the machine must have.
	Needs []string `yaml:"needs"`
	// Harmless says why success does not hurt the machine; empty where that is plain.
	Harmless string `yaml:"harmless"`
	// Source is where the kernel asks, as "file:function".
	Source string `yaml:"source"`
	// Docker are the outcomes under Docker's default confinement: its seccomp profile, its
	// sysctls, its read-only paths.
	Docker struct {
		With    Outcome `yaml:"with"`
		Without Outcome `yaml:"without"`
	} `yaml:"docker"`
	// Since is the oldest kernel of those that were measured on which all of this holds,
	// empty if it holds on all of them, and Before what was otherwise on older ones.
	Since  string `yaml:"since"`
	Before string `yaml:"before"`
	// Measured is the kernel of another machine on which it was measured, or [Never];
	// empty if the tests do so on the kernel that they run on.
	Measured string `yaml:"measured"`
}

// Outcome is what comes of an operation: [Works], an errno's name, or what is to be
// seen of it.
type Outcome string

// Never is [Experiment.Measured] of what no machine has shown yet.
const Never = "never"

// Works is the outcome of an operation that succeeds.
const Works Outcome = "works"

var errno = regexp.MustCompile(`^E[A-Z0-9]+$`)

// Errno reports whether the outcome is an errno's name.
func (o Outcome) Errno() bool { return errno.MatchString(string(o)) }

// Asked is the user namespace in which the kernel asks for a capability.
type Asked string

// Where the kernel asks.
const (
	Initial Asked = "initial" // in the initial user namespace
	Own     Asked = "own"     // in the process's own
	Inode   Asked = "inode"   // in its own, if the file's owner and group are mapped there
	Target  Asked = "target"  // in that of the process that it works on
	// In the one that owns the namespace of a kind that the process is in.
	Net Asked = "net"
	IPC Asked = "ipc"
	UTS Asked = "uts"
	PID Asked = "pid"
	Mnt Asked = "mnt"
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

// All returns the experiments in the order of their capabilities' numbers.
func All() []Experiment {
	all := slices.Clone(load().Experiments)
	for i := range all {
		all[i] = all[i].clone()
	}
	return all
}

// Of returns the experiments of a capability, that which shows it best first.
func Of(c caps.Cap) []Experiment {
	var of []Experiment
	for _, e := range load().Experiments {
		if e.Cap == c {
			of = append(of, e.clone())
		}
	}
	return of
}

// FeatureNamed returns the feature of that name.
func FeatureNamed(name string) (Feature, bool) {
	for _, f := range load().Features {
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

func (e Experiment) clone() Experiment {
	e.Flags, e.Also, e.Others, e.Needs = slices.Clone(e.Flags), slices.Clone(e.Also), slices.Clone(e.Others), slices.Clone(e.Needs)
	return e
}

//go:embed proofs.yaml
var file []byte

type contents struct {
	Features    []Feature    `yaml:"features"`
	Experiments []Experiment `yaml:"experiments"`
}

// load parses the file once. It is part of the program and held by tests, so a mistake
// in it is a mistake in the program.
var load = sync.OnceValue(func() contents {
	c, err := parse(file)
	if err != nil {
		panic(fmt.Sprintf("proofs.yaml: %v", err))
	}
	return c
})

func parse(data []byte) (contents, error) {
	var c contents
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		return c, err
	}
	for i := range c.Experiments {
		e := &c.Experiments[i]
		here, anew := e.Asked.Child()
		e.Child = orFollows(e.Child, e, here)
		e.New = orFollows(e.New, e, anew)
		e.Docker.With = orFollows(e.Docker.With, e, true)
		e.Docker.Without = orFollows(e.Docker.Without, e, false)
	}
	return c, nil
}

// orFollows is the outcome that stands in the file, or else that which follows from
// where the kernel asks.
func orFollows(o Outcome, e *Experiment, enough bool) Outcome {
	switch {
	case o != "":
		return o
	case enough:
		return e.With
	}
	return e.Without
}
