// Rules writes docs/rules.md, the page of what leastcap audit looks for.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/leastcap/leastcap/audit"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "rules: error: usage: rules FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], page(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "rules: error:", err)
		os.Exit(1)
	}
}

func page() []byte {
	var b bytes.Buffer
	b.WriteString(`<!-- Made by scripts/rules of the rules in package audit. -->

# What leastcap audit looks for

Each finding has the id of a rule, a severity, and a place. The severity comes from what the
capabilities at hand reach (docs/capabilities.md) in a container that shares with its host what
this one does: ` + "`critical`" + ` takes over the host, ` + "`high`" + ` is a way there or protection that is not
there, ` + "`medium`" + ` disturbs or discloses what is outside, ` + "`low`" + ` is more than needed within
the container, ` + "`note`" + ` is worth knowing.

A finding that you decide to live with is covered by an exception, which has a reason and a date:
see ` + "`leastcap audit --help`" + `.

| rule | |
|---|---|
`)
	for _, r := range audit.Rules() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", r.ID, r.ID, r.Title)
	}
	for _, r := range audit.Rules() {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n%s\n", r.ID, r.Title, r.What)
		item := func(title, text string) {
			if text != "" {
				fmt.Fprintf(&b, "\n- **%s**: %s", title, text)
			}
		}
		item("Severity", r.Severity+".")
		item("What an attacker gains", r.Gain)
		item("Mend", r.Mend)
		if len(r.Sources) > 0 {
			item("Sources", strings.Join(r.Sources, "; ")+".")
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}
