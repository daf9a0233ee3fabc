package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// Process is one row of leastcap ps.
type Process struct {
	PID         int            `json:"pid"`
	PPID        int            `json:"ppid"`
	UID         uint32         `json:"uid"` // effective
	User        string         `json:"user"`
	Command     string         `json:"command"`
	Container   *ProcContainer `json:"container,omitempty"`
	Effective   caps.Set       `json:"effective"`
	Permitted   caps.Set       `json:"permitted"`
	Inheritable caps.Set       `json:"inheritable"`
	Bounding    caps.Set       `json:"bounding"`
	Ambient     caps.Set       `json:"ambient"`
	NoNewPrivs  bool           `json:"no_new_privs"`
	Seccomp     int            `json:"seccomp"` // -1: not known
	// Threads are those whose sets differ from the first one's.
	Threads []ProcThread `json:"threads,omitempty"`

	// What follows is not read without --wide or JSON.
	Args       []string `json:"args,omitempty"`
	Executable string   `json:"executable,omitempty"`
	SetID      bool     `json:"set_id,omitempty"` // the executable is set-uid or set-gid
	// Namespaces are those that are not leastcap's own: "user", "net"; null if they
	// cannot be read.
	Namespaces []string `json:"namespaces"`
	LSM        string   `json:"lsm,omitempty"`
}

// ProcContainer is the container that a process is in.
type ProcContainer struct {
	ID     string `json:"id"`
	Engine string `json:"engine,omitempty"`
	Name   string `json:"name,omitempty"`
	Image  string `json:"image,omitempty"`
	// Asked is what the engine says that was asked for; nil if no engine knows it.
	Asked *ProcAsked `json:"asked,omitempty"`
}

// ProcAsked is a container's configuration and what follows from it.
type ProcAsked struct {
	CapAdd     []string `json:"cap_add"`
	CapDrop    []string `json:"cap_drop"`
	Privileged bool     `json:"privileged"`
	Set        caps.Set `json:"set"` // by the engine's rules
}

// ProcThread is a thread with other sets than its process.
type ProcThread struct {
	TID         int      `json:"tid"`
	Command     string   `json:"command"`
	Effective   caps.Set `json:"effective"`
	Permitted   caps.Set `json:"permitted"`
	Inheritable caps.Set `json:"inheritable"`
	Bounding    caps.Set `json:"bounding"`
	Ambient     caps.Set `json:"ambient"`
}

// Beyond are the capabilities that a process could have by its permitted or bounding
// set and its container was not configured with, as after docker exec --privileged.
func (p *Process) Beyond() caps.Set {
	if p.Container == nil || p.Container.Asked == nil {
		return 0
	}
	return p.Permitted.Union(p.Bounding).Minus(p.Container.Asked.Set)
}

// Label is how the container is called: by its name, or else the beginning of its id.
func (c *ProcContainer) Label() string {
	switch {
	case c == nil:
		return "-"
	case c.Name != "":
		return c.Name
	}
	return c.ID[:min(12, len(c.ID))]
}

// ProcessOptions say how the table is made.
type ProcessOptions struct {
	Style
	Full caps.Set // all that the kernel has
	Wide bool
	Tree bool // the rows are in the order of [Tree]
}

// ProcessesJSON writes the rows as one document.
func ProcessesJSON(w io.Writer, rows []Process) error {
	if rows == nil {
		rows = []Process{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

// Processes writes the rows as a table. The lines are as long as they need to be.
func Processes(w io.Writer, rows []Process, o ProcessOptions) error {
	if len(rows) == 0 {
		return nil
	}
	header := []string{"PID", "PPID", "USER", "COMMAND", "CONTAINER"}
	if o.Wide {
		header = append(header, "IMAGE", "CONFINED BY")
	}
	table := [][]span{nil}
	for _, h := range append(header, "CAPABILITIES") {
		table[0] = append(table[0], span{h, strong})
	}
	var glyphs []string
	if o.Tree {
		glyphs = branches(rows)
	}
	for i := range rows {
		r := &rows[i]
		command := Clean(r.Command, 32)
		if o.Wide && len(r.Args) > 0 {
			command = Clean(strings.Join(r.Args, " "), 80)
		}
		if o.Tree {
			command = glyphs[i] + command
		}
		line := []span{text(fmt.Sprint(r.PID)), text(fmt.Sprint(r.PPID)), text(Clean(r.User, 32)), text(command), text(Clean(r.Container.Label(), 40))}
		if o.Wide {
			image := "-"
			if r.Container != nil && r.Container.Image != "" {
				image = Clean(r.Container.Image, 60)
			}
			line = append(line, text(image), text(r.confined()))
		}
		words := held(r.Effective, o.Full)
		if more := r.Permitted.Minus(r.Effective); !more.Empty() {
			words += "; permitted: " + held(r.Permitted, o.Full)
		}
		if !r.Ambient.Empty() {
			words += "; ambient: " + held(r.Ambient, o.Full)
		}
		has := span{words, r.danger(r.Effective.Union(r.Permitted), o.Full)}
		if beyond := r.Beyond(); !beyond.Empty() {
			has = span{words + "; NOT AS " + strings.ToUpper(cmp.Or(r.Container.Engine, "the engine")) + " SAYS, could also have " + held(beyond, o.Full), alarm}
		}
		table = append(table, append(line, has))
		for _, t := range r.Threads {
			words := held(t.Effective, o.Full)
			if t.Permitted != t.Effective {
				words += "; permitted: " + held(t.Permitted, o.Full)
			}
			line := []span{{fmt.Sprint(t.TID), faint}, {"thread", faint}, {"", plain}, {Clean(t.Command, 32), faint}, {"", plain}}
			for len(line) < len(header) {
				line = append(line, span{})
			}
			table = append(table, append(line, span{words, r.danger(t.Effective.Union(t.Permitted), o.Full)}))
		}
	}
	p := newPage(o.Style)
	p.table(table)
	return p.writeTo(w)
}

// table puts columns beside each other, two spaces between them.
func (p *page) table(rows [][]span) {
	var widths []int
	for _, row := range rows {
		for i, s := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(s.text))
		}
	}
	for _, row := range rows {
		for i, s := range row {
			p.ink(s)
			if i < len(row)-1 {
				p.ink(text(strings.Repeat(" ", widths[i]-ansi.StringWidth(s.text)+2)))
			}
		}
		p.blank()
	}
}

// danger: what exceeds Docker's default in a container stands out, most of all what
// takes the host. The host's own processes have the host.
func (p *Process) danger(set, full caps.Set) ink {
	more := set.Minus(dockerDefault())
	switch {
	case p.Container == nil || more.Empty():
		return plain
	case full.SubsetOf(set):
		return alarm
	}
	for c := range more.Values() {
		if catalog.Get(c).Danger == catalog.Host {
			return alarm
		}
	}
	return caution
}

// confined is what confines a process besides its capabilities, in few words.
func (p *Process) confined() string {
	var words []string
	if p.Namespaces != nil {
		switch {
		case len(p.Namespaces) == 0:
			words = append(words, "no namespace")
		default:
			words = append(words, "own "+strings.Join(p.Namespaces, ","))
		}
	}
	switch p.Seccomp {
	case 1:
		words = append(words, "seccomp strict")
	case 2:
		words = append(words, "seccomp")
	}
	if p.NoNewPrivs {
		words = append(words, "no_new_privs")
	}
	if p.LSM != "" && p.LSM != "unconfined" {
		words = append(words, "lsm "+Clean(p.LSM, 60))
	}
	if p.SetID {
		words = append(words, "(set-id program)")
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, "; ")
}

// ByRisk orders rows by what their capabilities can do, the worst first: what it has,
// from the most dangerous on.
func ByRisk(rows []Process) {
	key := func(r *Process) []caps.Cap { return catalog.ByDanger(r.Effective.Union(r.Permitted)) }
	rank := func(c caps.Cap) int { return catalog.Get(c).Rank }
	slices.SortStableFunc(rows, func(a, b Process) int {
		x, y := key(&a), key(&b)
		for i := range min(len(x), len(y)) {
			if c := cmp.Compare(rank(x[i]), rank(y[i])); c != 0 {
				return c
			}
		}
		return len(y) - len(x)
	})
}

// Tree orders rows so that children follow their parents, in the order of their numbers.
// A process whose parent is not among them is a root.
func Tree(rows []Process) []Process {
	slices.SortStableFunc(rows, func(a, b Process) int { return a.PID - b.PID })
	at := make(map[int]bool, len(rows))
	for i := range rows {
		at[rows[i].PID] = true
	}
	children := make(map[int][]int)
	var roots []int
	for i := range rows {
		if r := &rows[i]; at[r.PPID] && r.PPID != r.PID {
			children[r.PPID] = append(children[r.PPID], i)
		} else {
			roots = append(roots, i)
		}
	}
	out := make([]Process, 0, len(rows))
	var walk func(list []int)
	walk = func(list []int) {
		for _, i := range list {
			out = append(out, rows[i])
			walk(children[rows[i].PID])
		}
	}
	walk(roots)
	return out
}

// branches are what is drawn before each command of rows in the order of [Tree].
func branches(rows []Process) []string {
	depth := make(map[int]int, len(rows))
	for i := range rows {
		d, ok := depth[rows[i].PPID]
		if ok && rows[i].PPID != rows[i].PID {
			d++
		}
		depth[rows[i].PID] = d
	}
	out := make([]string, len(rows))
	more := map[int]bool{} // at a depth: another one follows further down
	for i := len(rows) - 1; i >= 0; i-- {
		d := depth[rows[i].PID]
		var b strings.Builder
		for level := 1; level < d; level++ {
			if more[level] {
				b.WriteString("│ ")
			} else {
				b.WriteString("  ")
			}
		}
		switch {
		case d == 0:
		case more[d]:
			b.WriteString("├─")
		default:
			b.WriteString("└─")
		}
		out[i] = b.String()
		more[d] = d > 0
		for level := range more {
			if level > d {
				delete(more, level)
			}
		}
	}
	return out
}

// held is a set in few words.
func held(set, full caps.Set) string {
	docker := dockerDefault()
	missing := full.Minus(set)
	switch {
	case set.Empty():
		return "none"
	case full.SubsetOf(set):
		return "full"
	case missing.Len() < full.Len()/4:
		return "all but " + joined(missing)
	case set == docker:
		return "docker default"
	case docker.SubsetOf(set):
		return "docker default + " + joined(set.Minus(docker))
	}
	return joined(set)
}

func joined(set caps.Set) string {
	var names []string
	for c := range set.Values() {
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}
