package line

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// helpLine matches the line of one flag in a help text that pflag wrote
// (FlagSet.FlagUsages), which all three engines' are:
//
//	-e, --env list          Set environment variables
//	    --rm                Remove the container when it exits
//	    --cloud string[="default"]   Use a cloud context
//
// Two blanks or more stand between the flag and what it means; wrapped text is
// indented further than six.
var helpLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(
		`^(?:  -([A-Za-z0-9]), |      )--([A-Za-z0-9][A-Za-z0-9._-]*)` + // -e, --env
			`(?: ([^ \t]+(?: [^ \t]+)*?))?` + // list
			`(?:\[=([^\]]*)\])?` + // [="default"]
			`(?:[ \t]{2,}.*|[ \t]*)$`)
})

// repeatedTypes are pflag's (and docker/cli's) types whose values add up.
var repeatedTypes = []string{
	"list", "map", "mount", "network", "ulimit", "gpu-request",
	"strings", "stringArray", "stringSlice", "stringToString", "ints", "uints",
}

// ParseHelp reads the flags out of the output of "docker run --help" or of any
// command built on cobra. It is the way out when the installed engine is newer
// than the built-in table:
//
//	_, err := Parse(argv)
//	if errors.Is(err, ErrUnknownFlag) {
//		// run "docker run --help" and "docker create --help"
//		t, _ := TableFor("docker")
//		_, err = ParseWith(argv, t.With(nil, ParseHelp(run), ParseHelp(create)))
//	}
//
// A flag that shows no value is a boolean; deprecated and hidden flags do not
// show at all, which is why the result is added to a table and replaces none.
// Lines that are not flags are passed over; the result is in order of name.
func ParseHelp(help string) []FlagSpec {
	var list []FlagSpec
	for line := range strings.Lines(help) {
		m := helpLine().FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		f := FlagSpec{Short: m[1], Name: m[2], Type: m[3], NoOpt: strings.Trim(m[4], `"`)}
		if typ, noOpt, ok := strings.Cut(f.Type, "[="); ok {
			f.Type, f.NoOpt = typ, strings.Trim(noOpt, `"]`)
		}
		if f.Type == "" {
			f.Type = "bool"
			if f.NoOpt == "" {
				f.NoOpt = "true"
			}
		}
		f.Repeat = slices.Contains(repeatedTypes, f.Type)
		list = append(list, f)
	}
	// A name that is there twice is somebody's table, not a flag's; take the first.
	slices.SortStableFunc(list, func(a, b FlagSpec) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b FlagSpec) bool { return a.Name == b.Name })
}
