package usage

import (
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

const (
	dropAll  = "--cap-drop=ALL"
	bounding = "CapabilityBoundingSet="
	ambient  = "AmbientCapabilities="
)

// joinUse spells a set as the profile does with its own.
func joinUse(p *Profile, set caps.Set) Use {
	if p.Subject.Kind == "command" {
		return Use{Systemd: systemdLines(p.Use.Systemd, p.Recommended, set)}
	}
	return Use{Command: replaceFlags(p.Use.Command, p.Recommended, set), Flags: flags(set.Docker())}
}

func flags(names []string) []string {
	out := []string{dropAll}
	for _, name := range names {
		out = append(out, "--cap-add="+name)
	}
	return out
}

// replaceFlags replaces the words for one set in a command line by those for
// another; nil if they do not stand there as [engine/cli] puts them.
func replaceFlags(line []string, from, to caps.Set) []string {
	sorted := func(s caps.Set) []string { return flags(slices.Sorted(slices.Values(s.Docker()))) }
	old := sorted(from)
	at := slices.Index(line, dropAll)
	if at < 0 || len(line)-at < len(old) {
		return nil
	}
	rest := line[at+len(old):]
	if !slices.Equal(line[at:at+len(old)], old) || len(rest) > 0 && strings.HasPrefix(rest[0], "--cap-") {
		return nil
	}
	return slices.Concat(line[:at], sorted(to), rest)
}

// systemdLines replaces one set in the lines of a [Service] section by another;
// nil if they do not hold it.
func systemdLines(lines []string, from, to caps.Set) []string {
	spell := func(s caps.Set) string { return strings.Join(s.Names(), " ") }
	// Without a user it runs as root and needs no ambient set, which is spelled
	// as the empty one.
	user := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "User=") })
	out := slices.Clone(lines)
	found := false
	for i, line := range out {
		switch line {
		case bounding + spell(from):
			out[i], found = bounding+spell(to), true
		case ambient + spell(from):
			if user || !from.Empty() {
				out[i] = ambient + spell(to)
			}
		}
	}
	if !found {
		return nil
	}
	return out
}
