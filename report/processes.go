package report

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

// ProcessOptions say how the table is made.
type ProcessOptions struct {
	Style
	Full caps.Set // all that the kernel has
	Wide bool
	Tree bool // the rows are in the order of [Tree]
	// Inside says that process 1 is not the host's, as in a container: it is what
	// namespaces are compared with.
	Inside bool
}

// ProcessesJSON writes the rows as one document, one row after the other: thousands at
// once would take a hundred megabytes.
func ProcessesJSON(w io.Writer, rows []Process) error {
	if len(rows) == 0 {
		_, err := io.WriteString(w, "[]\n")
		return err
	}
	b := bufio.NewWriterSize(w, 64<<10)
	b.WriteString("[")
	var text bytes.Buffer
	e := json.NewEncoder(usage.JSONWriter(&text))
	e.SetIndent("  ", "  ")
	for i := range rows {
		text.Reset()
		if err := e.Encode(&rows[i]); err != nil {
			return err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  ")
		b.Write(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	}
	b.WriteString("\n]\n")
	return b.Flush()
}

// Processes writes the rows as a table. The lines are as long as they need to be.
func Processes(w io.Writer, rows []Process, o ProcessOptions) error {
	if len(rows) == 0 {
		return nil
	}
	header := []string{"PID", "PPID", "USER", "COMMAND", "CONTAINER"}
	if o.Wide {
		header = append(header, "IMAGE", "ASKED", "CONFINED BY")
	}
	header = append(header, "CAPABILITIES")
	n := len(header)
	cells := make([]span, 0, n*(len(rows)+1))
	for _, h := range header {
		cells = append(cells, span{h, strong})
	}
	words := setWords{full: o.Full, words: make(map[caps.Set]string)}
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
		if r.Zombie {
			command += " <defunct>" // as ps(1) has it
		}
		if o.Tree {
			command = glyphs[i] + command
		}
		cells = append(cells, text(strconv.Itoa(r.PID)), text(strconv.Itoa(r.PPID)), text(Clean(r.User, 32)), text(command), text(Clean(r.Container.Label(), 60)))
		if o.Wide {
			image, asked := "-", "-"
			if r.Container != nil && r.Container.Image != "" {
				image = Clean(r.Container.Image, 60)
			}
			if r.Container != nil && r.Container.Asked != nil && !r.Container.Asked.Spec {
				asked = Clean(r.Container.Asked.Flags(), 100)
			}
			cells = append(cells, text(image), text(asked), text(r.confined(o.Inside)))
		}
		cells = append(cells, r.capabilities(&words, o.Wide))
		for _, t := range r.Threads {
			has := words.of(t.Effective)
			if t.Permitted != t.Effective {
				has += "; permitted: " + words.of(t.Permitted)
			}
			if !t.Ambient.Empty() {
				has += "; ambient: " + words.of(t.Ambient)
			}
			if t.Bounding != r.Bounding {
				has += "; bounding: " + words.of(t.Bounding)
			}
			if t.Inheritable != r.Inheritable {
				has += "; inheritable: " + words.of(t.Inheritable)
			}
			cells = append(cells, span{strconv.Itoa(t.TID), faint}, span{"thread", faint}, span{}, span{Clean(t.Command, 32), faint}, span{})
			for len(cells)%n != n-1 {
				cells = append(cells, span{})
			}
			cells = append(cells, span{has, r.danger(t.Effective.Union(t.Permitted), o.Full)})
		}
	}
	p := newPage(o.Style)
	p.table(cells, n)
	return p.writeTo(w)
}

// capabilities says what a process holds, and marks what is not as its engine says; wide says
// also what it can pass on, and gain.
func (p *Process) capabilities(words *setWords, wide bool) span {
	has := words.of(p.Effective)
	if more := p.Permitted.Minus(p.Effective); !more.Empty() {
		has += "; permitted: " + words.of(p.Permitted)
	}
	if !p.Ambient.Empty() {
		has += "; ambient: " + words.of(p.Ambient)
	}
	if p.OwnUser && !p.Effective.Union(p.Permitted).Empty() {
		has += " (in its own user namespace)"
	}
	if wide && !p.Inheritable.Empty() {
		has += "; inheritable: " + words.of(p.Inheritable)
	}
	if wide && p.Bounding != p.Permitted {
		has += "; bounding: " + words.of(p.Bounding)
	}
	s := span{has, p.danger(p.Effective.Union(p.Permitted), words.full)}
	engine := ""
	if p.Container != nil {
		engine = strings.ToUpper(cmp.Or(p.Container.Engine, "the engine"))
	}
	if beyond := p.Beyond(); !beyond.Empty() {
		s = span{s.text + "; NOT AS " + engine + " SAYS, could also have " + p.more(beyond, words), alarm}
	}
	if below := p.Below(); !below.Empty() {
		s.text += "; NOT AS " + engine + " SAYS, without " + words.of(below)
	}
	return s
}

// more is what a process could have beyond its container, in few words.
func (p *Process) more(beyond caps.Set, words *setWords) string {
	others := words.full.Minus(p.Container.Asked.Set)
	lacks := others.Minus(beyond)
	switch {
	case others.Len() <= fewLess || lacks.Len() > fewLess:
		return words.of(beyond)
	case lacks.Empty():
		return "all others"
	}
	return "all others but " + joined(lacks)
}

// table puts cells, n a line, beside each other, two spaces between them.
func (p *page) table(cells []span, n int) {
	widths := make([]int, n)
	for i, s := range cells {
		widths[i%n] = max(widths[i%n], textWidth(s.text))
	}
	p.flush()
	const spaces = "                                                                "
	for i, s := range cells {
		if p.color && s.ink != plain && s.text != "" {
			p.b.WriteString(inks[s.ink].Styled(s.text))
		} else {
			p.b.WriteString(s.text)
		}
		if i%n == n-1 {
			p.b.WriteByte('\n')
			continue
		}
		for gap := widths[i%n] - textWidth(s.text) + 2; gap > 0; gap -= len(spaces) {
			p.b.WriteString(spaces[:min(gap, len(spaces))])
		}
	}
}

// textWidth is in columns.
func textWidth(s string) int {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return ansi.StringWidth(s)
		}
	}
	return len(s)
}

// danger: what exceeds Docker's default in a container stands out, most of all what
// takes the host. The host's own processes have the host.
func (p *Process) danger(set, full caps.Set) ink {
	more := set.Minus(dockerDefault())
	switch {
	case p.Container == nil || p.OwnUser || more.Empty():
		return plain
	case full.SubsetOf(set):
		return alarm
	}
	for c := range more.Values() {
		if catalog.DangerOf(c) == catalog.Host {
			return alarm
		}
	}
	return caution
}

// confined is what confines a process besides its capabilities, in few words.
func (p *Process) confined(inside bool) string {
	whose := "host's"
	if inside {
		whose = "process 1's"
	}
	var words []string
	switch {
	case p.Namespaces == nil:
	case len(p.Namespaces) == 0:
		words = append(words, whose+" namespaces")
	default:
		words = append(words, "own "+strings.Join(p.Namespaces, ","))
		if len(p.hosts()) > 0 {
			words = append(words, whose+" "+strings.Join(p.hosts(), ","))
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
	if p.Securebits != nil && *p.Securebits != 0 {
		words = append(words, "securebits "+strings.Join(securebits(*p.Securebits), ","))
	}
	switch {
	case p.SetUID:
		words = append(words, "(set-uid program)")
	case p.SetGID:
		words = append(words, "(set-gid program)")
	}
	if len(p.Unreadable) > 0 {
		words = append(words, "may not be read: "+strings.Join(p.Unreadable, ", "))
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, "; ")
}

// hosts are the host's namespaces that a process is in, of those that matter most.
func (p *Process) hosts() (list []string) {
	for _, kind := range []string{"user", "pid", "net", "mnt", "ipc"} {
		if _, known := p.NamespaceIDs[kind]; known && !slices.Contains(p.Namespaces, kind) {
			list = append(list, kind)
		}
	}
	return list
}

// securebits are the names of the bits: include/uapi/linux/securebits.h, capabilities(7).
func securebits(bits uint32) (names []string) {
	for i, name := range []string{
		"noroot", "noroot_locked", "no_setuid_fixup", "no_setuid_fixup_locked", "keep_caps", "keep_caps_locked",
		"no_cap_ambient_raise", "no_cap_ambient_raise_locked",
		"exec_restrict_file", "exec_restrict_file_locked", "exec_deny_interactive", "exec_deny_interactive_locked",
	} {
		if bits&(1<<i) != 0 {
			names = append(names, name)
			bits &^= 1 << i
		}
	}
	if bits != 0 {
		names = append(names, fmt.Sprintf("%#x", bits))
	}
	return names
}

// ByRisk orders rows by what their capabilities can do to the host, the worst first: what
// each has, from the most dangerous on. Those in user namespaces of their own, which can
// do little to the host, come after all others that have any.
func ByRisk(rows []Process) {
	slices.SortStableFunc(rows, func(a, b Process) int {
		return cmp.Compare(b.risk(), a.risk())
	})
}

func (p *Process) risk() uint64 {
	key := Risk(p.Effective.Union(p.Permitted))
	if !p.OwnUser {
		return key
	}
	return key >> 16 // which leaves the order among them: there are less than 48 ranks
}

// Risk is higher for what is more dangerous: the most dangerous capability that is in one
// set and not in the other decides.
func Risk(set caps.Set) (key uint64) {
	for c := range set.Values() {
		key |= 1 << (63 - catalog.RankOf(c))
	}
	return key
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

// setWords are sets in few words. Most processes have one of a handful.
type setWords struct {
	full  caps.Set
	words map[caps.Set]string
}

func (w *setWords) of(set caps.Set) string {
	text, ok := w.words[set]
	if !ok {
		text = Held(set, w.full)
		w.words[set] = text
	}
	return text
}

// fewLess is how many of Docker's default may be missing from what is told by it.
const fewLess = 4

// Held is a set in few words: "full", "docker default + net_admin", "docker default - chown".
func Held(set, full caps.Set) string {
	docker := dockerDefault()
	missing := full.Minus(set)
	switch {
	case set.Empty():
		return "none"
	case full.SubsetOf(set):
		return "full"
	case missing.Len() < full.Len()/4:
		return "all but " + joined(missing)
	case missing == docker:
		return "all but docker default"
	}
	more, less := set.Minus(docker), docker.Minus(set)
	if less.Len() > fewLess {
		return joined(set)
	}
	words := "docker default"
	if !more.Empty() { // first: it is what matters, where the end is cut off
		words += " + " + joined(more)
	}
	if !less.Empty() {
		words += " - " + joined(less)
	}
	return words
}

func joined(set caps.Set) string {
	var names []string
	for c := range set.Values() {
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}
