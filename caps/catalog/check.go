package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// Check is a place where the kernel asks for a capability, or several alike.
type Check struct {
	// Operation is what the process does, as an infinitive without "to":
	// "bind to a port below 1024".
	Operation string `yaml:"op" json:"operation"`
	// Calls are the system calls; one stands for its family (see [Family]).
	Calls []string `yaml:"calls" json:"calls"`
	// Errno is what the call gives without the capability, "EPERM". It is
	// empty where the call does not fail: then Silent says what changes.
	Errno string `yaml:"errno" json:"errno,omitempty"`
	// Silent is what is otherwise without the capability, with no error.
	Silent string `yaml:"silent" json:"silent,omitempty"`
	// In is the namespace in which the kernel asks.
	In Namespace `yaml:"in" json:"in"`
	// Site is where, as "file:function", or several with commas between them.
	Site string `yaml:"site" json:"site"`
	// Or are the capabilities of which each would do instead.
	Or []caps.Cap `yaml:"or" json:"or,omitempty"`
	// And are those that are needed besides.
	And []caps.Cap `yaml:"and" json:"and,omitempty"`
	// Note is what else there is to know: versions, exceptions.
	Note string `yaml:"note" json:"note,omitempty"`
}

func (c Check) clone() Check {
	c.Calls = slices.Clone(c.Calls)
	c.Or = slices.Clone(c.Or)
	c.And = slices.Clone(c.And)
	return c
}

// Asked is a check with the capability that it asks for.
type Asked struct {
	Cap caps.Cap `json:"name"`
	Check
}

// Find returns the checks of a system call that give an error number, the most
// dangerous capability first. Either may be empty, for any. A member of a
// family of calls finds what the family's first stands for.
func Find(call, errno string) []Asked {
	var found []Asked
	call = Family(call)
	for _, c := range ByDanger(caps.All()) {
		for _, check := range entries[c].Checks {
			if (call == "" || slices.Contains(check.Calls, call)) && (errno == "" || check.Errno == errno) {
				found = append(found, Asked{c, check.clone()})
			}
		}
	}
	return found
}

// Family returns the system call that stands for others of its kind in the
// catalog: "open" for "openat2". Other names are returned as they are.
func Family(call string) string {
	for _, family := range families {
		if slices.Contains(family, call) {
			return family[0]
		}
	}
	return call
}

// Calls returns the names of all system calls that [Find] knows something of,
// sorted, with the members of their families.
func Calls() []string {
	set := make(map[string]bool)
	for i := range entries {
		for _, check := range entries[i].Checks {
			for _, call := range check.Calls {
				set[call] = true
			}
		}
	}
	for _, family := range families {
		for _, member := range family {
			set[member] = set[family[0]]
		}
	}
	maps.DeleteFunc(set, func(_ string, known bool) bool { return !known })
	return slices.Sorted(maps.Keys(set))
}

// Opened returns the capabilities with which Docker's default seccomp profile
// allows a system call that it refuses without them; the empty set if the
// profile does not make it depend on one.
func Opened(call string) caps.Set {
	var set caps.Set
	for i := range entries {
		if slices.Contains(entries[i].Seccomp.Opens, call) {
			set = set.With(entries[i].Cap)
		}
	}
	return set
}

// Errno is an error number of Linux.
type Errno struct {
	Name   string `yaml:"name" json:"name"`     // "EPERM"
	Number int    `yaml:"number" json:"number"` // 1
	Text   string `yaml:"text" json:"text"`     // "Operation not permitted"
}

// Errnos returns the error numbers with which something fails that needs a
// capability, the most frequent first.
func Errnos() []Errno { return slices.Clone(errnos) }

// FindErrno finds one by its name, its number or its text, in any case.
func FindErrno(s string) (Errno, bool) {
	s = strings.TrimSpace(s)
	for _, e := range errnos {
		if strings.EqualFold(s, e.Name) || strings.EqualFold(s, e.Text) || s == fmt.Sprint(e.Number) {
			return e, true
		}
	}
	return Errno{}, false
}

// Namespace is the user namespace in which the kernel asks for a capability:
// a credential has it there, or it does not.
type Namespace string

// The namespaces. What is asked in the initial one cannot be had in a user
// namespace, and reaches past every other.
const (
	InInitial Namespace = "initial" // the initial user namespace: capable()
	InOwn     Namespace = "own"     // the process's own: ns_capable(current_user_ns())
	InInode   Namespace = "inode"   // its own, if the file's owner and group are mapped there
	InTarget  Namespace = "target"  // that of the process which is acted on
	InNetwork Namespace = "network" // the owner of the network namespace
	InMount   Namespace = "mount"   // the owner of the mount namespace, or of the file system
	InPID     Namespace = "pid"     // the owner of the pid namespace
	InIPC     Namespace = "ipc"     // the owner of the IPC namespace
	InUTS     Namespace = "uts"     // the owner of the UTS namespace
	InTime    Namespace = "time"    // the owner of the time namespace
	InCgroup  Namespace = "cgroup"  // the owner of the cgroup namespace
	InParent  Namespace = "parent"  // the parent of a user namespace
)

var namespaces = map[Namespace]string{
	InInitial: "the initial user namespace",
	InOwn:     "the process's own user namespace",
	InInode:   "its own user namespace, where the file's owner and group must be mapped",
	InTarget:  "the user namespace of the process acted on",
	InNetwork: "the owner of the network namespace",
	InMount:   "the owner of the mount namespace or the file system",
	InPID:     "the owner of the pid namespace",
	InIPC:     "the owner of the IPC namespace",
	InUTS:     "the owner of the UTS namespace",
	InTime:    "the owner of the time namespace",
	InCgroup:  "the owner of the cgroup namespace",
	InParent:  "the parent of the user namespace",
}

// Means returns a noun clause that completes "asked in …".
func (n Namespace) Means() string { return namespaces[n] }

// UnmarshalText reads a namespace.
func (n *Namespace) UnmarshalText(text []byte) error {
	if _, ok := namespaces[Namespace(text)]; !ok {
		return fmt.Errorf("unknown namespace %q", text)
	}
	*n = Namespace(text)
	return nil
}

// UserNamespace is what becomes of a capability in a user namespace.
type UserNamespace struct {
	Effect UserEffect `yaml:"effect" json:"effect"`
	// Why completes "…: " in a few words.
	Why string `yaml:"why" json:"why"`
}

// UserEffect is what a user namespace does to a capability.
type UserEffect string

// The effects.
const (
	UserUseless UserEffect = "useless" // what it grants is asked in the initial namespace: it grants nothing
	UserLimited UserEffect = "limited" // it works, on what belongs to the namespace
	UserPartly  UserEffect = "partly"  // some of it works, on what belongs to the namespace
)

// Means returns a clause that completes "it …"; empty for no effect.
func (e UserEffect) Means() string {
	switch e {
	case UserUseless:
		return "grants nothing, as the kernel asks in the initial user namespace"
	case UserLimited:
		return "works, on what belongs to the user namespace"
	case UserPartly:
		return "works in part, on what belongs to the user namespace"
	}
	return ""
}

// UnmarshalText reads an effect; the empty one is that of a capability without a name.
func (e *UserEffect) UnmarshalText(text []byte) error {
	switch effect := UserEffect(text); effect {
	case "", UserUseless, UserLimited, UserPartly:
		*e = effect
		return nil
	}
	return fmt.Errorf("unknown effect %q", text)
}
