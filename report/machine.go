package report

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/usage"
)

// MachineVersion is the version of [Machine]'s JSON. Fields are only ever added.
const MachineVersion = "leastcap.machine/v1"

// Machine is what leastcap doctor found: what this machine offers, and what is
// therefore not seen. Lists are never null in its JSON.
type Machine struct {
	Version string `json:"version"`
	System  string `json:"system"` // linux
	Kernel  string `json:"kernel"` // uname -r
	Arch    string `json:"arch"`
	User    int    `json:"uid"`

	// Facts are the parts that learning rests on, in the order of Sections.
	Facts []Fact `json:"facts"`
	// Hook is the way in that is used, empty if there is none.
	Hook string `json:"hook"`
	// Ways are all that leastcap knows, the preferred one first.
	Ways []MachineWay `json:"ways"`
	// NotSeen is what Hook does not show, Improve what would make this machine
	// offer more.
	NotSeen []string `json:"not_seen"`
	Improve []string `json:"improve"`
}

// State is how a part is.
type State string

const (
	Good    State = "ok"
	Lacking State = "lacking" // it works, and something is missing
	Absent  State = "absent"
)

// Fact is one part of a machine.
type Fact struct {
	Section string `json:"section"` // kernel, containers, files
	Name    string `json:"name"`
	State   State  `json:"state"`
	Text    string `json:"text"`
}

// MachineWay is a way in to the kernel's checks.
type MachineWay struct {
	Name    string   `json:"name"`
	Usable  bool     `json:"usable"`
	Used    bool     `json:"used"`
	Reason  string   `json:"reason,omitempty"` // why it is not usable
	Sees    string   `json:"sees,omitempty"`
	NotSeen []string `json:"not_seen,omitempty"`
}

// Doctor writes a machine for people.
func Doctor(w io.Writer, m *Machine, s Style) error {
	const col = 26
	p := newPage(s)
	who := "a user without root"
	if m.User == 0 {
		who = "root"
	}
	p.para(text(""), 0, text("Linux "+m.Kernel+" on "+m.Arch+", as "+who))
	for _, section := range []string{"kernel", "containers", "files"} {
		if !slices.ContainsFunc(m.Facts, func(f Fact) bool { return f.Section == section }) {
			continue
		}
		p.blank()
		p.para(span{strings.ToUpper(section), strong}, 0)
		for _, f := range m.Facts {
			if f.Section == section {
				p.para(text("  "+f.Name), col, mark(f.State), text(" "+f.Text))
			}
		}
	}
	p.blank()
	p.para(text(""), 0, span{"WAYS IN", strong}, text(" to the kernel's capability checks, the preferred one first"))
	for _, y := range m.Ways {
		switch {
		case y.Used:
			p.para(text("  "+y.Name), col, span{"used", good}, text(": shows "+y.Sees))
		case y.Usable:
			p.para(text("  "+y.Name), col, text("usable: shows "+y.Sees))
		default:
			p.para(text("  "+y.Name), col, span{"not usable", caution}, text(": "+y.Reason))
		}
	}
	list := func(title string, items []string) {
		if len(items) == 0 {
			return
		}
		p.blank()
		p.para(span{title, strong}, 0)
		for _, item := range items {
			p.para(text("  -"), 4, text(item))
		}
	}
	list("NOT SEEN", m.NotSeen)
	list("WHAT WOULD IMPROVE IT", m.Improve)
	return p.writeTo(w)
}

func mark(s State) span {
	switch s {
	case Good:
		return span{"ok:", good}
	case Lacking:
		return span{"lacking:", caution}
	}
	return span{"no:", caution}
}

// DoctorJSON writes a machine for programs.
func DoctorJSON(w io.Writer, m *Machine) error {
	e := json.NewEncoder(usage.JSONWriter(w))
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(m)
}
