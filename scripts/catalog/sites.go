package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps/catalog"
)

// kernelPlace is a source of the form "file:function".
var kernelPlace = regexp.MustCompile(`^([A-Za-z0-9_/-]+\.[ch]):([a-z0-9_]+)$`)

// kernelPlaces are all that the catalog cites, sorted, each once.
func kernelPlaces() []string {
	var places []string
	add := func(source string) {
		for one := range strings.SplitSeq(source, ", ") {
			if kernelPlace.MatchString(one) {
				places = append(places, one)
			}
		}
	}
	for _, e := range catalog.All() {
		for _, s := range e.Sources {
			add(s)
		}
		for _, c := range e.Checks {
			add(c.Site)
		}
		for _, n := range e.Narrower {
			add(n.Source)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// sites looks for every place in a kernel's source, and writes those that it does not
// have. A function that only an architecture or an option has counts as there: the text
// is searched, nothing is compiled.
func sites(w io.Writer, tree fs.FS) error {
	places := kernelPlaces()
	missing := 0
	for _, place := range places {
		m := kernelPlace.FindStringSubmatch(place)
		src, err := fs.ReadFile(tree, m[1])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			fmt.Fprintf(w, "%s: no such file\n", place)
			missing++
		case err != nil:
			return err
		case !defines(src, m[2]):
			fmt.Fprintf(w, "%s: no such function\n", place)
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d places are not in this kernel", missing, len(places))
	}
	fmt.Fprintf(w, "all %d places are in this kernel\n", len(places))
	return nil
}

// defines reports whether C source defines a function or a system call. Its definition
// begins a line, and the parentheses are followed by a body and no semicolon.
func defines(src []byte, name string) bool {
	name = regexp.QuoteMeta(name)
	function := regexp.MustCompile(`(?m)^[a-z_][^\n;=]*\b` + name + `\([^;{]*\)[^;{]*\{`)
	split := regexp.MustCompile(`(?m)^` + name + `\([^;{]*\)[^;{]*\{`) // the type stands in the line before
	call := regexp.MustCompile(`SYSCALL_DEFINE\d\(` + name + `\b`)
	return function.Match(src) || split.Match(src) || call.Match(src)
}
