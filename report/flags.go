package report

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/syntax"

	"github.com/leastcap/leastcap/usage"
)

// JSON writes the profile file.
func JSON(w io.Writer, p *usage.Profile) error {
	data, err := p.Marshal()
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// Flags writes only what is to be given: a container engine's flags on one
// line, or for a command of the host the lines of a [Service] section. It is
// an error if nothing was learned: "drop everything" would be the wrong answer.
func Flags(w io.Writer, p *usage.Profile) error {
	if unknown(p) {
		return errors.New("the profile is incomplete and unproven, and names no capability to keep: nothing was learned")
	}
	lines := systemd(p)
	if len(lines) == 0 {
		lines = []string{strings.Join(Quote(flags(p), false), " ")}
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// flags are the profile's, or made from its recommended set.
func flags(p *usage.Profile) []string {
	if len(p.Use.Flags) > 0 {
		return p.Use.Flags
	}
	out := []string{"--cap-drop=ALL"}
	for _, name := range p.Recommended.Docker() {
		out = append(out, "--cap-add="+name)
	}
	return out
}

// systemd are the lines of a [Service] section for a command of the host; none
// for a container.
func systemd(p *usage.Profile) []string {
	lines := p.Use.Systemd
	if len(lines) == 0 && isCommand(p) {
		lines = []string{"CapabilityBoundingSet=" + strings.Join(p.Recommended.Names(), " ")}
	}
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = Clean(line, 4*longest) // all 41 names are 700 characters
	}
	return out
}

// plainFlag is a word with "=" in it that no shell touches, unless it is the
// first of a line. syntax.Quote, which sees one word only, would quote it.
var plainFlag = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-]+=[A-Za-z0-9_@%+:,./=-]*$`)
})

// quote writes a word for a shell, without any control character: Bash's $'…'
// stands where POSIX has no way to write one. First says that it begins a
// command line, where "a=b" would be an assignment.
func quote(word string, first bool) string {
	if !first && plainFlag().MatchString(word) {
		return word
	}
	word = strings.ReplaceAll(word, "\x00", "") // no argument can hold it
	q, err := syntax.Quote(word, syntax.LangPOSIX)
	if err != nil {
		q, err = syntax.Quote(word, syntax.LangBash)
	}
	if err != nil {
		q = "'" + strings.ReplaceAll(Clean(word, 4*longest), "'", `'\''`) + "'"
	}
	return q
}

// Quote writes words for a shell to read back the same; command says that they
// begin with a command's name.
func Quote(words []string, command bool) []string {
	out := make([]string, len(words))
	for i, word := range words {
		out[i] = quote(word, command && i == 0)
	}
	return out
}

// fold writes quoted words as one command over as many lines as the width
// takes, joined by backslashes.
func fold(words []string, width int) []string {
	const more, indent = ` \`, "  "
	var lines []string
	line := ""
	for i, word := range words {
		ends := len(more)
		if i == len(words)-1 {
			ends = 0
		}
		switch {
		case i == 0:
			line = word
		case len(line)+1+len(word)+ends > width:
			lines = append(lines, line+more)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
