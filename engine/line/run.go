package line

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
)

// Run returns the line as it stands, without the flags that are the caller's own
// and not the engine's, and with exactly this set, or as the user asked if it is
// nil.
func (l *Line) Run(set *caps.Set, own []string) []string {
	r := rewriting{verb: l.Verb, drop: make(map[string]bool, len(own))}
	for _, name := range own {
		r.drop[name] = true
	}
	if set != nil {
		r.replaceCaps, r.caps = true, l.capWords(*set, false)
	}
	return l.render(r)
}

// UnderstandAs parses a line with an engine's table and the caller's own flags alone:
// the installed engine is not asked.
func UnderstandAs(engine string, argv []string, own []FlagSpec) (*Line, error) {
	t, err := TableFor(engine)
	if err != nil {
		return nil, err
	}
	return ParseWith(argv, t.With(nil, own, own))
}

// Engines are the commands that are understood, the first choice first.
func Engines() []string { return slices.Clone(engines) }

// WithoutValues returns the line's words with the values of environment variables
// left out, which can be secrets: --env NAME means one that is set elsewhere.
func (l *Line) WithoutValues() []string {
	words := l.Words()
	for i, w := range words[:len(l.Prefix)] {
		if name, _, ok := strings.Cut(w, "="); ok && envName().MatchString(name) {
			words[i] = name + "="
		}
	}
	for i := range l.Flags {
		f := &l.Flags[i]
		name, _, ok := strings.Cut(f.Value, "=")
		if at := f.Word + f.Words - 1; f.Name == "env" && ok {
			words[at] = strings.TrimSuffix(words[at], f.Value) + name
		}
	}
	return words
}

var envName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })
