package main

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/report"
)

// What colours say is said by words or signs, too.
var (
	topTitle    = lipgloss.NewStyle().Bold(true)
	topHeader   = lipgloss.NewStyle().Bold(true).Underline(true)
	topFaint    = lipgloss.NewStyle().Faint(true)
	topCaution  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	topAlarm    = lipgloss.NewStyle().Bold(true).Foreground(lipgloss.Red)
	topSelected = lipgloss.NewStyle().Reverse(true)
	topPlain    = lipgloss.NewStyle()
)

// frame is the whole screen: height lines of width columns at most.
func (m topModel) frame() string {
	width, height := m.size()
	lines, foot := m.head(width), m.foot(width)
	room := height - len(lines) - len(foot)
	switch m.page {
	case pageHelp:
		lines = append(lines, helpLines(width)...)
	case pageDetail:
		lines = append(lines, m.scrolled(m.detail(width), room)...)
	case pageCapabilities:
		lines = append(lines, m.capabilityLines(width, room)...)
	default:
		lines = append(lines, m.containerLines(width, room)...)
	}
	lines = lines[:min(len(lines), height-len(foot))]
	for len(lines) < height-len(foot) {
		lines = append(lines, "")
	}
	lines = append(lines, foot...)
	for i, line := range lines {
		lines[i] = strings.TrimRight(ansi.Truncate(line, width, "…"), " ")
	}
	return strings.Join(lines, "\n")
}

// size is the screen's, or what is the least that anything fits on.
func (m topModel) size() (width, height int) { return max(20, m.width), max(6, m.height) }

// furthest is how far the detail can be scrolled.
func (m topModel) furthest() int {
	width, height := m.size()
	return max(0, len(m.detail(width))+len(m.head(width))+len(m.foot(width))-height)
}

func (m topModel) head(width int) []string {
	containers := 0
	for i := range m.sample.Containers {
		if m.sample.Containers[i].ProcContainer != nil {
			containers++
		}
	}
	title := fmt.Sprintf("leastcap top  %s, %s", count(containers, "container"), count(m.sample.Processes, "process"))
	right := clock(m.sample.At)
	if m.paused {
		right = "PAUSED " + right
	}
	gap := max(1, width-ansi.StringWidth(title)-len(right))
	lines := []string{topTitle.Render(ansi.Truncate(title, max(0, width-len(right)-1), "…")) + strings.Repeat(" ", gap) + right}
	order := m.sort
	if m.reverse {
		order += ", reversed"
	}
	about := "by " + order
	if m.page == pageCapabilities {
		about = "by danger"
	}
	switch {
	case m.watching != "":
		about += "; use: " + m.watching
	default:
		about += "; use is not seen"
	}
	lines = append(lines, topFaint.Render(about))
	if m.sample.Trouble != "" {
		lines = append(lines, topCaution.Render("! "+report.Clean(m.sample.Trouble, 300)))
	}
	switch {
	case m.typing:
		lines = append(lines, "filter: "+m.filter+"_")
	case m.filter != "":
		lines = append(lines, "filter: "+m.filter+topFaint.Render("  (esc clears it)"))
	}
	return lines
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if strings.HasSuffix(thing, "s") {
		thing += "e"
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (m topModel) foot(width int) []string {
	keys, short := "q quit  ↑↓ move  enter detail  tab by capability  / filter  s sort  ? help", "q quit  enter detail  / filter  ? help"
	switch {
	case m.page == pageHelp:
		keys, short = "any key: back", "any key: back"
	case m.typing:
		keys, short = "enter keeps it  esc clears it", "enter esc"
	case m.page == pageDetail:
		keys, short = "esc back  ↑↓ scroll  p pause  q quit  ? help", "esc back  ↑↓ scroll  q quit  ? help"
	case m.page == pageCapabilities:
		keys, short = "q quit  ↑↓ move  tab containers  / filter  p pause  ? help", "q quit  tab containers  ? help"
	}
	if ansi.StringWidth(keys) > width {
		keys = short
	}
	return []string{topFaint.Render(keys)}
}

// column is one of a table.
type column struct {
	title string
	width int
}

// cell is a text that is cut to its column.
type cell struct {
	text  string
	style lipgloss.Style
}

// row puts cells beside each other. A row that is marked has a sign before it.
func row(columns []column, cells []cell, marked bool) string {
	var b strings.Builder
	if marked {
		b.WriteString("> ")
	} else {
		b.WriteString("  ")
	}
	for i, c := range cells {
		text := ansi.Truncate(c.text, columns[i].width, "…")
		pad := strings.Repeat(" ", max(0, columns[i].width-ansi.StringWidth(text)))
		if i == len(cells)-1 {
			pad = ""
		}
		style := c.style
		if marked {
			style = topSelected.Inherit(style)
		}
		b.WriteString(style.Render(text) + pad)
		if i < len(cells)-1 {
			b.WriteString("  ")
		}
	}
	return b.String()
}

// containerColumns share the width: names get what they need up to a third, the sets the rest.
func containerColumns(list []*topContainer, width int) []column {
	name := len("CONTAINER")
	for _, c := range list {
		name = max(name, ansi.StringWidth(report.Clean(c.name(), 60)))
	}
	name = min(name, width/3)
	rest := width - name - len("PROCS") - 2*5
	held := max(10, rest/2)
	used := max(8, (rest-held)*3/5)
	return []column{{"CONTAINER", name}, {"PROCS", 5}, {"HELD", held}, {"USED", used}, {"DENIED", max(6, rest-held-used)}}
}

func header(columns []column) string {
	cells := make([]cell, len(columns))
	for i, c := range columns {
		cells[i] = cell{c.title, topHeader}
	}
	return row(columns, cells, false)
}

func (m topModel) containerLines(width, room int) []string {
	list := m.shown()
	// A third, and of a large screen less: containers are what one looks for.
	denials := m.denialLines(width, max(2, min(room/3, max(6, room/4))))
	columns := containerColumns(list, width)
	lines := []string{header(columns)}
	if len(list) == 0 {
		lines = append(lines, "  nothing fits the filter")
	}
	at, fit := m.at(), max(1, room-1-len(denials))
	from := window(at, len(list), fit)
	for i, c := range list[from:min(len(list), from+fit)] {
		style, held := topPlain, c.held(m.full)
		switch {
		case !c.Beyond.Empty():
			style = topAlarm
		case c.ProcContainer != nil && !c.OwnUser:
			style = dangerStyle(c.Held)
		}
		lines = append(lines, row(columns, []cell{
			{report.Clean(c.name(), 60), topPlain},
			{fmt.Sprintf("%5d", len(c.Processes)), topPlain},
			{held, style},
			{c.usedWords(), topPlain},
			{c.deniedWords(), topCaution},
		}, from+i == at))
	}
	for len(lines) < room-len(denials) {
		lines = append(lines, "")
	}
	return append(lines, denials...)
}

// window is where a list that does not fit begins, so that one entry is seen.
func window(at, n, fit int) int { return max(0, min(at-fit/2, n-fit)) }

// held marks with ! what exceeds the engine's own account.
func (c *topContainer) held(full caps.Set) string {
	words := report.Held(c.Held, full)
	if c.OwnUser {
		words += " (own user ns)"
	}
	if !c.Beyond.Empty() {
		words = "! " + words
	}
	return words
}

func (c *topContainer) usedWords() string {
	switch {
	case c.Use == nil:
		return "?"
	case c.used().Empty():
		return "-"
	}
	return words(c.used())
}

func (c *topContainer) deniedWords() string {
	switch {
	case c.Use == nil:
		return "?"
	case c.denied().Empty():
		return "-"
	}
	return words(c.denied())
}

func words(set caps.Set) string {
	var names []string
	for _, c := range catalog.ByDanger(set) {
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}

// dangerStyle is ps's: what exceeds Docker's default stands out.
func dangerStyle(set caps.Set) lipgloss.Style {
	docker, _ := catalog.DefaultSet("docker")
	style := topPlain
	for c := range set.Minus(docker).Values() {
		if catalog.DangerOf(c) == catalog.Host {
			return topAlarm
		}
		style = topCaution
	}
	return style
}

func (m topModel) denialLines(width, room int) []string {
	lines := []string{topHeader.Render("DENIED, THE LATEST FIRST")}
	list := m.sample.denials()
	if len(list) == 0 {
		note := "nothing so far"
		if m.watching == "" {
			note = "not seen" // and why stands above
		}
		return append(lines, "  "+note)
	}
	for _, d := range list[:min(len(list), max(1, room-1))] {
		lines = append(lines, "  "+denialWords(&d.topDenial, d.Container))
	}
	return lines
}

func denialWords(d *topDenial, container string) string {
	text := clock(d.At)
	if container != "" {
		text += "  " + report.Clean(container, 30)
	}
	text += "  " + d.Cap.String() + "  " + report.Clean(d.Process, 16) + ": " + report.Clean(d.Call, 120)
	switch {
	case d.Errno != "":
		text += " = " + d.Errno
	default:
		text += " (did not fail)"
	}
	if d.Count > 1 {
		text += fmt.Sprintf(", %d times", d.Count)
	}
	return text
}

func (m topModel) capabilityLines(width, room int) []string {
	list := m.capabilities()
	const name, danger = len("checkpoint_restore"), 8
	rest := width - 2 - name - danger - 2*4
	columns := []column{{"CAPABILITY", name}, {"DANGER", danger}, {"HELD BY", rest / 3}, {"USED BY", rest / 3}, {"DENIED TO", rest - 2*(rest/3)}}
	narrow := rest < 3*len("DENIED TO") // then the danger is left out: they are ordered by it
	if narrow {
		rest += danger + 2
		columns = []column{columns[0], {"HELD", rest / 3}, {"USED", rest / 3}, {"DENIED", rest - 2*(rest/3)}}
	}
	lines := []string{header(columns)}
	if len(list) == 0 {
		lines = append(lines, "  no container holds any")
	}
	fit := max(1, room-1)
	at := min(m.cursor, max(0, len(list)-1))
	from := window(at, len(list), fit)
	for i, r := range list[from:min(len(list), from+fit)] {
		cells := []cell{
			{r.Cap.String(), topPlain}, {catalog.DangerOf(r.Cap).String(), topFaint},
			{nameList(r.Held), topPlain}, {nameList(r.Used), topPlain}, {nameList(r.DeniedTo), topCaution},
		}
		if narrow {
			cells = slices.Delete(cells, 1, 2)
		}
		lines = append(lines, row(columns, cells, from+i == at))
	}
	return lines
}

func nameList(names []string) string {
	if len(names) == 0 {
		return "-"
	}
	clean := make([]string, len(names))
	for i, n := range names {
		clean[i] = report.Clean(n, 40)
	}
	if len(names) == 1 {
		return clean[0]
	}
	return fmt.Sprintf("%d: %s", len(names), strings.Join(clean, ", "))
}

// detail is one container's page.
func (m topModel) detail(width int) []string {
	var c *topContainer
	for i := range m.sample.Containers {
		if m.sample.Containers[i].id() == m.selected {
			c = &m.sample.Containers[i]
		}
	}
	if c == nil {
		return []string{"", "  This container has ended; esc goes back."}
	}
	lines := []string{topTitle.Render(report.Clean(c.name(), 80))}
	fact := func(name, text string, style lipgloss.Style) {
		if text != "" {
			for i, part := range strings.Split(ansi.Wordwrap(text, max(20, width-13), " "), "\n") {
				if i > 0 {
					name = ""
				}
				lines = append(lines, fmt.Sprintf("  %-10s %s", name, style.Render(part)))
			}
		}
	}
	if c.ProcContainer != nil {
		fact("id", report.Clean(c.ID[:min(12, len(c.ID))]+"  "+c.Engine, 60), topPlain)
		fact("image", report.Clean(c.Image, 100), topPlain)
		fact("pod", report.Clean(c.Pod, 100), topPlain)
		if c.Asked != nil {
			fact("asked", report.Clean(c.Asked.Flags(), 300), topPlain)
		}
	}
	fact("holds", report.Held(c.Held, m.full), dangerStyle(c.Held))
	if !c.Beyond.Empty() {
		fact("! beyond", "its engine did not give "+report.Held(c.Beyond, m.full), topAlarm)
	}
	switch {
	case c.Use == nil:
		fact("use", "not seen", topFaint)
	case !c.Use.Start:
		fact("use", "seen since leastcap top began, not from its start", topFaint)
	}
	lines = append(lines, "")
	columns := []column{{"CAPABILITY", 19}, {"DANGER", 8}, {"HELD", 5}, {"USED", 10}, {"DENIED", 10}}
	lines = append(lines, header(columns))
	for _, cap := range catalog.ByDanger(c.Held.Union(c.used()).Union(c.denied())) {
		held, used, denied := "-", "?", "?"
		if c.Held.Has(cap) {
			held = "yes"
		}
		if c.Use != nil {
			used, denied = times(c.Use.Granted[cap]), times(c.Use.Denied[cap])
		}
		lines = append(lines, row(columns, []cell{
			{cap.String(), topPlain}, {catalog.DangerOf(cap).String(), topFaint}, {held, topPlain}, {used, topPlain}, {denied, topCaution},
		}, false))
	}
	if c.Use != nil && len(c.Use.Denials) > 0 {
		lines = append(lines, "", topHeader.Render("DENIED, THE LATEST FIRST"))
		for i := range c.Use.Denials {
			lines = append(lines, "  "+denialWords(&c.Use.Denials[i], ""))
		}
	}
	lines = append(lines, "")
	columns = []column{{"PID", 8}, {"USER", 12}, {"COMMAND", 16}, {"CAPABILITIES", max(10, width-2-8-12-16-6)}}
	lines = append(lines, header(columns))
	for i := range c.Processes {
		p := &c.Processes[i]
		lines = append(lines, row(columns, []cell{
			{fmt.Sprint(p.PID), topPlain}, {report.Clean(p.User, 32), topPlain}, {report.Clean(p.Command, 32), topPlain},
			{report.Held(p.Effective.Union(p.Permitted), m.full), topPlain},
		}, false))
	}
	return lines
}

// scrolled is the part of lines that is seen.
func (m topModel) scrolled(lines []string, room int) []string {
	over := len(lines) - room
	if over <= 0 || room <= 0 {
		return lines
	}
	from := min(m.scroll, over)
	lines = lines[from : from+room]
	if from < over {
		lines[room-1] = topFaint.Render("  … ↓ more")
	}
	return lines
}

func times(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func helpLines(width int) []string {
	text := []string{
		"Containers by what their processes hold, what they were seen to use, and what",
		"they were refused. The most dangerous come first; \"!\" marks what the engine did",
		"not give; \"?\" is what is not seen: see the second line.",
		"",
		"  ↑ ↓ k j          move, or scroll          enter →   one container's detail",
		"  PgUp PgDn g G    by pages, to the ends    esc ←     back",
		"  tab c            by capability, and back  s         sort by something else",
		"  /                filter: part of a name,  r         reverse",
		"                   an image or an id, or a  p space   pause, and go on",
		"                   capability that is held  q         quit",
	}
	for _, line := range text {
		if ansi.StringWidth(line) > width { // the keys alone, so that they fit on few lines
			keys := "↑↓ PgUp PgDn g G: move; enter: detail; esc: back; tab: by capability; /: filter; s: sort; r: reverse; p: pause; q: quit"
			marks := "!: more than the engine gave; ?: not seen"
			return append(strings.Split(ansi.Wordwrap(keys, width, ""), "\n"), strings.Split(ansi.Wordwrap(marks, width, ""), "\n")...)
		}
	}
	return text
}
