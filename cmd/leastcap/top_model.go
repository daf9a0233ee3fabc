package main

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/report"
)

// topPage is what the screen shows.
type topPage uint8

const (
	pageContainers topPage = iota
	pageCapabilities
	pageDetail
	pageHelp
)

// topSorts are the orders of containers; capabilities are always ordered by danger.
var topSorts = []string{"risk", "name", "processes", "used", "denied"}

// nothing is selected before somebody selects: the cursor stays at the top.
const nothing = "-"

// topModel is the state of the screen. It looks at nothing itself: samples come as
// messages, and [topModel.frame] is what they look like.
type topModel struct {
	sample   topSample
	full     caps.Set // all that the kernel has
	watching string   // what is seen of use; "" for nothing
	width    int
	height   int

	page     topPage
	back     topPage // from the help
	sort     string
	reverse  bool
	filter   string
	typing   bool // the filter is being typed
	paused   bool
	selected string // a container's id
	cursor   int    // of the capabilities
	scroll   int    // of the detail

	// look takes a sample, after a while; nil in tests.
	look func() tea.Cmd
}

type sampleMsg topSample

func (m topModel) Init() tea.Cmd {
	if m.look == nil {
		return nil
	}
	return m.look()
}

func (m topModel) View() tea.View {
	v := tea.NewView(m.frame())
	v.AltScreen = true
	return v
}

func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case sampleMsg:
		if !m.paused {
			m.sample = topSample(msg)
		}
		if m.look != nil {
			return m, m.look()
		}
	case tea.PasteMsg:
		if m.typing {
			m.filter += printable(msg.Content)
		}
	case tea.KeyPressMsg:
		if msg.String() == "ctrl+c" {
			return m, tea.Quit
		}
		if msg.String() == "ctrl+z" {
			return m, stopSelf
		}
		if m.typing {
			return m.typed(msg), nil
		}
		if msg.String() == "q" && m.page != pageHelp {
			return m, tea.Quit
		}
		return m.pressed(msg.String()), nil
	}
	return m, nil
}

// printable leaves out what is not to be shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // what turns the text around, too
			return -1
		}
		return r
	}, s)
}

func (m topModel) typed(key tea.KeyPressMsg) topModel {
	switch key.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case "ctrl+u":
		m.filter = ""
	default:
		m.filter += printable(key.Text)
	}
	return m
}

func (m topModel) pressed(key string) topModel {
	if m.page == pageHelp {
		m.page = m.back
		return m
	}
	switch key {
	case "?", "h":
		m.back, m.page = m.page, pageHelp
	case "p", "space":
		m.paused = !m.paused
	case "/":
		m.typing = true
		if m.page == pageDetail {
			m.page = pageContainers
		}
	case "s":
		i := slices.Index(topSorts, m.sort)
		m.sort = topSorts[(i+1)%len(topSorts)]
	case "r":
		m.reverse = !m.reverse
	case "tab", "c":
		m.scroll = 0
		if m.page == pageContainers {
			m.page = pageCapabilities
		} else {
			m.page = pageContainers
		}
	case "enter", "right":
		if m.page == pageContainers && len(m.shown()) > 0 {
			m.page, m.scroll = pageDetail, 0
			m.selected = m.shown()[m.at()].id()
		}
	case "esc", "left", "backspace":
		switch {
		case m.page == pageDetail:
			m.page = pageContainers
		case key == "esc":
			m.filter = ""
		}
	case "up", "k":
		m = m.move(-1)
	case "down", "j":
		m = m.move(1)
	case "pgup", "ctrl+b":
		m = m.move(-max(1, m.height-10))
	case "pgdown", "ctrl+f":
		m = m.move(max(1, m.height-10))
	case "home", "g":
		m = m.move(-1 << 20)
	case "end", "G":
		m = m.move(1 << 20)
	}
	return m
}

// move moves the cursor, or what is seen of a page that has none.
func (m topModel) move(by int) topModel {
	switch m.page {
	case pageContainers:
		if list := m.shown(); len(list) > 0 {
			m.selected = list[min(max(m.at()+by, 0), len(list)-1)].id()
		}
	case pageCapabilities:
		m.cursor = min(max(m.cursor+by, 0), max(0, len(m.capabilities())-1))
	case pageDetail:
		m.scroll = min(max(0, m.scroll+by), m.furthest())
	}
	return m
}

// at is where the selected container is now; the first, if it has gone.
func (m topModel) at() int {
	return max(0, slices.IndexFunc(m.shown(), func(c *topContainer) bool { return c.id() == m.selected }))
}

// shown are the containers that fit the filter, in order.
func (m topModel) shown() []*topContainer {
	var list []*topContainer
	for i := range m.sample.Containers {
		if c := &m.sample.Containers[i]; m.fits(c) {
			list = append(list, c)
		}
	}
	order := map[string]func(a, b *topContainer) int{
		"risk":      func(a, b *topContainer) int { return cmp.Compare(b.risk(), a.risk()) },
		"name":      func(a, b *topContainer) int { return 0 },
		"processes": func(a, b *topContainer) int { return cmp.Compare(len(b.Processes), len(a.Processes)) },
		"used":      func(a, b *topContainer) int { return cmp.Compare(report.Risk(b.used()), report.Risk(a.used())) },
		"denied":    func(a, b *topContainer) int { return cmp.Compare(b.refused(), a.refused()) },
	}[m.sort]
	slices.SortStableFunc(list, func(a, b *topContainer) int {
		n := cmp.Or(order(a, b), strings.Compare(a.name(), b.name()), strings.Compare(a.id(), b.id()))
		if m.reverse {
			return -n
		}
		return n
	})
	// The host's own come last: they are not what one looks for here.
	slices.SortStableFunc(list, func(a, b *topContainer) int {
		switch {
		case a.ProcContainer == nil && b.ProcContainer != nil:
			return 1
		case a.ProcContainer != nil && b.ProcContainer == nil:
			return -1
		}
		return 0
	})
	return list
}

func (c *topContainer) risk() uint64 {
	if c.OwnUser {
		return report.Risk(c.Held) >> 16
	}
	return report.Risk(c.Held)
}

func (c *topContainer) refused() uint64 {
	if c.Use == nil {
		return 0
	}
	return total(c.Use.Denied)
}

// fits: the filter is a part of a name, an image or an id, or a capability that is held.
func (m topModel) fits(c *topContainer) bool {
	f := strings.ToLower(strings.TrimSpace(m.filter))
	if f == "" {
		return true
	}
	if set, err := caps.ParseSet(f); err == nil && !set.Empty() && set.SubsetOf(c.Held) {
		return true
	}
	text := c.name()
	if c.ProcContainer != nil {
		text += " " + c.ID + " " + c.Image + " " + c.Engine
	}
	return strings.Contains(strings.ToLower(text), f)
}

// topCapability is a row of the second page.
type topCapability struct {
	Cap                  caps.Cap
	Held, Used, DeniedTo []string
}

// capabilities are those that some container holds or was refused, the most dangerous first.
func (m topModel) capabilities() []topCapability {
	rows := map[caps.Cap]*topCapability{}
	add := func(set caps.Set, name string, to func(*topCapability) *[]string) {
		for c := range set.Values() {
			if rows[c] == nil {
				rows[c] = &topCapability{Cap: c}
			}
			list := to(rows[c])
			*list = append(*list, name)
		}
	}
	for _, c := range m.shown() {
		if c.ProcContainer == nil {
			continue // the host's have all
		}
		add(c.Held, c.name(), func(r *topCapability) *[]string { return &r.Held })
		add(c.used(), c.name(), func(r *topCapability) *[]string { return &r.Used })
		add(c.denied(), c.name(), func(r *topCapability) *[]string { return &r.DeniedTo })
	}
	var out []topCapability
	for _, r := range rows {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b topCapability) int {
		return cmp.Or(cmp.Compare(catalog.RankOf(a.Cap), catalog.RankOf(b.Cap)), cmp.Compare(a.Cap, b.Cap))
	})
	return out
}

// clock is the time of a frame.
func clock(t time.Time) string { return t.Format("15:04:05") }
