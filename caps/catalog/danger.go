package catalog

import (
	"fmt"
	"slices"
)

// Container is what a capability means in a container.
type Container struct {
	// Confined is what the container's own namespaces, mounts and cgroups keep
	// it from: it completes "it …". It answers "why drop it if the container
	// is namespaced?" together with Reaches.
	Confined string `yaml:"confined" json:"confined"`
	// Reaches are what it reaches outside, by what must be shared for that;
	// what needs nothing to be shared comes first.
	Reaches []Reach `yaml:"reaches" json:"reaches"`
}

// Reach is what a capability reaches outside its container.
type Reach struct {
	// Shared is what the container must share with the host for it.
	Shared Sharing `yaml:"shared" json:"shared"`
	// Level is how bad that is: [Host], [Disturb] or [Disclose].
	Level Level `yaml:"level" json:"level"`
	// What is a clause that completes "it lets a process …".
	What string `yaml:"what" json:"what"`
}

// DangerUnder returns how dangerous a capability is in a container that shares
// these with its host: [Inside], [Disclose], [Disturb] or [Host], or [Unknown]
// for a capability without a name. What is always shared, [SharesNothing],
// counts without being named.
func (e Entry) DangerUnder(shared ...Sharing) Level {
	if e.Danger == Unknown {
		return Unknown
	}
	most := Inside
	for _, r := range e.Container.Reaches {
		if r.Shared == SharesNothing || slices.Contains(shared, r.Shared) {
			most = max(most, r.Level)
		}
	}
	return most
}

// Sharing is what a container can share with its host.
type Sharing uint8

// What can be shared; [Sharing.Flag] says by which flag.
const (
	SharesNothing Sharing = iota // what every container shares: the kernel
	SharesPID                    // the pid namespace
	SharesNetwork                // the network namespace
	SharesIPC                    // the IPC namespace
	SharesMount                  // files of the host, by a bind mount or a descriptor
	SharesDevice                 // a device of the host
	SharesBridge                 // a network segment with other containers, as Docker's default bridge
)

var sharings = [...]struct{ name, flag, means string }{
	SharesNothing: {"nothing", "", "shares nothing with the host but its kernel"},
	SharesPID:     {"pid", "--pid=host", "shares the host's pid namespace"},
	SharesNetwork: {"network", "--network=host", "shares the host's network namespace"},
	SharesIPC:     {"ipc", "--ipc=host", "shares the host's IPC namespace"},
	SharesMount:   {"mount", "--volume", "has files of the host, by a bind mount or an open descriptor"},
	SharesDevice:  {"device", "--device", "has a device of the host"},
	SharesBridge:  {"bridge", "--network", "is on one network segment with others, as on Docker's default bridge"},
}

// String returns its name: "pid".
func (s Sharing) String() string {
	if int(s) < len(sharings) {
		return sharings[s].name
	}
	return fmt.Sprintf("Sharing(%d)", uint8(s))
}

// Flag returns the flag of docker run that shares it, "--pid=host"; "" for
// [SharesNothing].
func (s Sharing) Flag() string { return sharings[s].flag }

// Means returns a clause that completes "a container that …".
func (s Sharing) Means() string { return sharings[s].means }

// Condition returns the head of a sentence that says what follows from it: "With
// --pid=host", and then "it can …".
func (s Sharing) Condition() string {
	switch s {
	case SharesNothing:
		return "Without sharing anything"
	case SharesBridge:
		return "On a bridge with others"
	case SharesMount:
		return "With files of the host (--volume)"
	case SharesDevice:
		return "With a device of the host (--device)"
	}
	return "With " + s.Flag()
}

// MarshalText returns its name.
func (s Sharing) MarshalText() ([]byte, error) {
	if int(s) >= len(sharings) {
		return nil, fmt.Errorf("unknown sharing %d", uint8(s))
	}
	return []byte(sharings[s].name), nil
}

// UnmarshalText reads a name.
func (s *Sharing) UnmarshalText(text []byte) error {
	for i, one := range sharings {
		if one.name == string(text) {
			*s = Sharing(i)
			return nil
		}
	}
	return fmt.Errorf("unknown sharing %q", text)
}

// Root is how near a capability is to full root for a process that is not root
// and has no other capability, on a host and without any containment.
type Root struct {
	// Class is that of Brad Spengler's "False Boundaries and Arbitrary Code
	// Execution" (2011), which rates Linux 2.6.37's 35.
	Class RootClass `yaml:"class" json:"class"`
	// How is how one leads to the other; empty if no way was known to him.
	How string `yaml:"how" json:"how,omitempty"`
	// Newer is what is known since, or ought to be said of it today.
	Newer string `yaml:"newer" json:"newer,omitempty"`
}

// RootClass is one of Spengler's classes.
type RootClass string

// The classes: 19 are equal (three of them by the situation), 3 are near, for
// 13 he knew no way.
const (
	RootEqual   RootClass = "equal"     // equal to full root
	RootByCase  RootClass = "situation" // equal in some situations
	RootNear    RootClass = "near"      // likely to lead there
	RootNoWay   RootClass = "no-way"    // no way was known to him
	RootYounger RootClass = "younger"   // the capability is younger than his list
)

var rootClasses = map[RootClass]string{
	RootEqual:   "equal to full root",
	RootByCase:  "equal to full root in some situations",
	RootNear:    "likely to lead to full root",
	RootNoWay:   "no way to full root was known",
	RootYounger: "younger than the list",
}

// Means returns a clause that completes "Spengler 2011: …".
func (c RootClass) Means() string { return rootClasses[c] }

// UnmarshalText reads a class; the empty one is that of a capability without a name.
func (c *RootClass) UnmarshalText(text []byte) error {
	if _, ok := rootClasses[RootClass(text)]; !ok && len(text) > 0 {
		return fmt.Errorf("unknown class %q", text)
	}
	*c = RootClass(text)
	return nil
}
