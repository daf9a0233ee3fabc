// Package catalog is what leastcap knows about capabilities: what each grants,
// where the kernel asks for it and what fails without, how dangerous it is, on
// its own and in a container, who needs it and how not to, and which ones
// container engines give by default.
//
// The knowledge is the commented file catalog.yaml, with the source of every
// fact. This package is a typed view of it, compiled in: go generate writes
// data.go. What the functions return belongs to the caller.
//
// A text is a clause or a few short sentences without line breaks, made for
// people; the JSON of an [Entry] has the same fields.
package catalog

//go:generate go run -tags bootstrap ../../scripts/catalog data catalog.yaml data.go
//go:generate go run -tags bootstrap ../../scripts/catalog proofs proof/proofs.yaml proof/data.go
//go:generate go run ../../scripts/catalog doc ../../docs/capabilities.md

import (
	"slices"

	"github.com/leastcap/leastcap/caps"
)

// Entry is the knowledge about one capability.
type Entry struct {
	// Cap is the capability.
	Cap caps.Cap `yaml:"name" json:"name"`
	// Number is Cap's number; the file has both so that a test can compare.
	Number int `yaml:"number" json:"number"`
	// Since is the first kernel that has it: "2.2" for the original ones,
	// "5.8".
	Since string `yaml:"since" json:"since"`
	// Before are the capabilities that held the power before Since, and which
	// the kernel still takes in most places; mostly none.
	Before []caps.Cap `yaml:"before" json:"before,omitempty"`
	// History is how its meaning changed since; often empty.
	History string `yaml:"history" json:"history,omitempty"`

	// Grants is a clause that completes "it lets a process …".
	Grants string `yaml:"grants" json:"grants"`
	// Manual is what capabilities(7) says of it, in our words.
	Manual string `yaml:"manual" json:"manual"`

	// Danger is how dangerous it is in a container that has its own
	// namespaces but no user namespace.
	Danger Level `yaml:"danger" json:"danger"`
	// Rank orders all capabilities by danger: 1 is the most dangerous, and
	// every rank is there once.
	Rank int `yaml:"rank" json:"rank"`
	// RankException says why the rank is not among those of its level; empty
	// if it is.
	RankException string `yaml:"rank_exception" json:"rank_exception,omitempty"`
	// Root is its danger for a process on a host, without any containment.
	Root Root `yaml:"root" json:"root"`
	// Container is its danger in a container.
	Container Container `yaml:"container" json:"container"`
	// Abuse are known techniques.
	Abuse []Abuse `yaml:"abuse" json:"abuse,omitempty"`

	// AskedIn are the namespaces in which the kernel asks for it, the most
	// frequent first.
	AskedIn []Namespace `yaml:"asked_in" json:"asked_in"`
	// UserNamespace is what becomes of it in a container with a user
	// namespace of its own (rootless, userns-remap, hostUsers: false).
	UserNamespace UserNamespace `yaml:"user_namespace" json:"user_namespace"`
	// Checks are the main places where the kernel asks for it; for sys_admin
	// and net_admin, those that workloads meet.
	Checks []Check `yaml:"checks" json:"checks"`
	// Seccomp is what Docker's default seccomp profile makes of it.
	Seccomp Seccomp `yaml:"seccomp" json:"seccomp,omitzero"`

	// Needed are typical programs that need it.
	Needed []Need `yaml:"needed" json:"needed,omitempty"`
	// Instead are the ways to do without it, the best first.
	Instead []Alternative `yaml:"instead" json:"instead,omitempty"`
	// Narrower are the capabilities that can stand in for it in some
	// operations, the weakest first.
	Narrower []Narrower `yaml:"narrower" json:"narrower,omitempty"`
	// Verdict is what to do with it in production: a sentence that begins
	// with "Drop it". All of Docker's fourteen have one.
	Verdict string `yaml:"verdict" json:"verdict,omitempty"`

	// Sources are manual pages, and kernel places as "file:function".
	Sources []string `yaml:"sources" json:"sources"`
}

// Abuse is a technique that is publicly known.
type Abuse struct {
	What string `yaml:"what" json:"what"`
	// Reference is an address, or a work that can be found by its name.
	Reference string `yaml:"reference" json:"reference"`
}

// Seccomp is how Docker's default seccomp profile depends on a capability.
type Seccomp struct {
	// Opens are the system calls that the profile allows with the capability
	// and not without: there they fail before the kernel asks for anything.
	Opens []string `yaml:"opens" json:"opens,omitempty"`
	// Note is what is peculiar about it.
	Note string `yaml:"note" json:"note,omitempty"`
}

// Need is a kind of program that needs a capability.
type Need struct {
	// Programs are their names, or a kind: "backup tools".
	Programs []string `yaml:"programs" json:"programs"`
	// Why completes "they …".
	Why string `yaml:"why" json:"why"`
}

// Alternative is what to do instead of granting a capability.
type Alternative struct {
	// Do is an imperative clause: "run it as the owner of its files".
	Do string `yaml:"do" json:"do"`
	// How is what to write: a flag of docker run, a line of a Dockerfile, a
	// field of Kubernetes. Empty if there is nothing to quote.
	How string `yaml:"how" json:"how,omitempty"`
	// Unit is what to write in a unit of systemd instead.
	Unit string `yaml:"unit" json:"unit,omitempty"`
	// In is "container" or "host" where it is advice for one of them alone.
	In string `yaml:"in" json:"in,omitempty"`
	// Calls are the system calls that it is advice for, if not for all.
	Calls []string `yaml:"calls" json:"calls,omitempty"`
}

// Narrower is a capability that does instead of another one in some
// operations.
type Narrower struct {
	Cap caps.Cap `yaml:"cap" json:"name"`
	// For is the operations, as a noun clause.
	For string `yaml:"for" json:"for"`
	// Source is where the kernel takes either, as "file:function".
	Source string `yaml:"source" json:"source"`
	// Container is whether the exchange is a reduction in a container too. If
	// not, it is one only for a process on a host: dac_read_search is weaker
	// than dac_override there, and a way out of a container.
	Container bool `yaml:"container" json:"container"`
}

// Get returns the entry of a capability. For one without a name it is the
// empty entry, but for Cap and Number: Danger is [Unknown] and Rank 0.
func Get(c caps.Cap) Entry {
	if !c.Known() {
		return Entry{Cap: c, Number: int(c)}
	}
	return entries[c].clone()
}

// All returns the entries of all known capabilities in the order of their
// numbers.
func All() []Entry {
	all := make([]Entry, len(entries))
	for i := range entries {
		all[i] = entries[i].clone()
	}
	return all
}

// ByDanger returns the capabilities of a set, the most dangerous first.
// Capabilities without a name come before all others: nobody knows what they
// can do.
func ByDanger(set caps.Set) []caps.Cap {
	cs := set.Caps()
	slices.SortStableFunc(cs, func(a, b caps.Cap) int { return rank(a) - rank(b) })
	return cs
}

// DangerOf is [Entry.Danger] of a capability, without a copy of all the rest.
func DangerOf(c caps.Cap) Level {
	if !c.Known() {
		return Unknown
	}
	return entries[c].Danger
}

// RankOf is [Entry.Rank] of a capability, likewise.
func RankOf(c caps.Cap) int { return rank(c) }

func rank(c caps.Cap) int {
	if !c.Known() {
		return 0
	}
	return entries[c].Rank
}

func (e Entry) clone() Entry {
	e.Before = slices.Clone(e.Before)
	e.Container.Reaches = slices.Clone(e.Container.Reaches)
	e.Abuse = slices.Clone(e.Abuse)
	e.AskedIn = slices.Clone(e.AskedIn)
	e.Checks = slices.Clone(e.Checks)
	for i := range e.Checks {
		e.Checks[i] = e.Checks[i].clone()
	}
	e.Seccomp.Opens = slices.Clone(e.Seccomp.Opens)
	e.Needed = slices.Clone(e.Needed)
	for i := range e.Needed {
		e.Needed[i].Programs = slices.Clone(e.Needed[i].Programs)
	}
	e.Instead = slices.Clone(e.Instead)
	e.Narrower = slices.Clone(e.Narrower)
	e.Sources = slices.Clone(e.Sources)
	return e
}
