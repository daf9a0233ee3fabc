package report

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

const (
	labelWidth = 11
	gap        = 2
	leastWidth = 19 // of a column; narrower ones are torn to shreds
)

// columns writes capabilities side by side; it reports false, and writes nothing,
// if they are too many for the width.
func (p *page) columns(entries []ExplainedCapability) bool {
	n := len(entries)
	width := (p.width - labelWidth - n*gap) / n
	if width < leastWidth {
		return false
	}
	cell := func(of func(e *catalog.Entry) span) []span {
		cells := make([]span, n)
		for i := range entries {
			cells[i] = of(&entries[i].Entry)
		}
		return cells
	}
	row := func(label string, of func(e *catalog.Entry) string) {
		p.blank()
		p.cells(span{label, faint}, width, cell(func(e *catalog.Entry) span { return text(of(e)) }))
	}
	p.cells(span{}, width, cell(func(e *catalog.Entry) span { return span{e.Cap.String(), strong} }))
	p.cells(span{}, width, cell(func(e *catalog.Entry) span {
		return span{fmt.Sprintf("%d, since %s", e.Number, e.Since), faint}
	}))
	row("lets a", func(e *catalog.Entry) string { return "process " + e.Grants })
	p.blank()
	p.cells(span{"danger", faint}, width, cell(func(e *catalog.Entry) span {
		return span{fmt.Sprintf("%s (%d of %d): %s", e.Danger, e.Rank, caps.Last+1, e.Danger.Means()), dangerInk(e.Danger)}
	}))
	row("on a host", func(e *catalog.Entry) string { return e.Root.Class.Means() })
	row("namespaced?", func(e *catalog.Entry) string { return "It " + e.Container.Confined + "." })
	row("but", func(e *catalog.Entry) string {
		var all []string
		for _, r := range e.Container.Reaches {
			all = append(all, strings.ToLower(r.Shared.Condition()[:1])+r.Shared.Condition()[1:]+" it can "+r.What)
		}
		if all == nil {
			return "-"
		}
		return strings.Join(all, "; ")
	})
	row("in a userns", userEffect)
	row("needed by", func(e *catalog.Entry) string { return strings.Join(e.Needed[0].Programs, ", ") })
	row("instead", func(e *catalog.Entry) string { return e.Instead[0].Do })
	row("given by", func(e *catalog.Entry) string {
		if gives := catalog.GivenBy(e.Cap); len(gives) > 0 {
			return strings.Join(gives, ", ")
		}
		return "-"
	})
	return true
}

// cells writes one row of columns, each wrapped within its width.
func (p *page) cells(label span, width int, cells []span) {
	wrapped := make([][]string, len(cells))
	height := 0
	for i, c := range cells {
		sub := &page{width: width}
		sub.para(span{}, 0, text(c.text))
		sub.flush()
		wrapped[i] = strings.Split(strings.TrimRight(sub.b.String(), "\n"), "\n")
		height = max(height, len(wrapped[i]))
	}
	for line := range height {
		if line > 0 {
			label = span{}
		}
		p.ink(label)
		at, want := ansi.StringWidth(label.text), labelWidth+gap
		for i, c := range cells {
			if line >= len(wrapped[i]) {
				want += width + gap
				continue
			}
			piece := strings.TrimRight(wrapped[i][line], " ")
			if piece != "" {
				p.flush()
				p.space(want - at)
				p.ink(span{piece, c.ink})
				at = want + ansi.StringWidth(piece)
			}
			want += width + gap
		}
		p.blank()
	}
}
