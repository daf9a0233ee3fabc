package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// Declaration writes whether what an image declares, in source, suffices and is
// minimal.
func Declaration(w io.Writer, p *usage.Profile, source string) error {
	d := p.Declared
	if d == nil {
		_, err := fmt.Fprintf(w, "%s: what it declares could not be tried\n", Clean(p.Subject.Image, 200))
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s declares %s, in %s\n", Clean(p.Subject.Image, 200), listed(d.Set), Clean(source, 100))
	if d.Suffices {
		b.WriteString("  suffices       it runs with exactly that\n")
	} else {
		fmt.Fprintf(&b, "  is too little  %s\n", Clean(d.Reason, 300))
		if !d.Missing.Empty() {
			fmt.Fprintf(&b, "                 it needs %s as well\n", listed(d.Missing))
		}
	}
	switch {
	case d.Unneeded.Empty() && d.Suffices:
		b.WriteString("  is minimal     it fails without any one of them\n")
		if d.Set.Empty() {
			b.Reset()
			fmt.Fprintf(&b, "%s declares that it needs nothing, in %s\n  suffices       it runs without any capability\n", Clean(p.Subject.Image, 200), Clean(source, 100))
		}
	case !d.Unneeded.Empty():
		fmt.Fprintf(&b, "  is too much    it works without %s\n", listed(d.Unneeded))
	}
	if !p.Proven {
		fmt.Fprintf(&b, "  not proven     %s\n", Clean(strings.Join(p.Notes, "; "), 500))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func listed(set caps.Set) string {
	if set.Empty() {
		return "no capabilities"
	}
	var names []string
	for c := range set.Values() {
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}
