package reading

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Compose is the answer of two projects as compose-go has them in its canonical form, which
// `docker compose config` prints: all words and lists where the file may have several ways
// to say a thing. What a container has is taken out of the two.
func Compose(before, after map[string]any) *Answer {
	a := &Answer{Whole: true, Before: Reading{Containers: services(before)}, After: Reading{Containers: services(after)}}
	if path, differ := difference(before, after); differ {
		a.Changed = []string{strings.Join(path, ".")}
	}
	return a
}

// services takes out of the project's services what a [Container] has.
func services(project map[string]any) []Container {
	var list []Container
	for _, section := range []string{"services", "jobs"} {
		all, _ := project[section].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			s, ok := all[name].(map[string]any)
			if !ok {
				continue
			}
			c := Container{Path: section + "." + name, Name: name}
			c.Add, c.Drop = words(s["cap_add"]), words(s["cap_drop"])
			c.Privileged = truth(s["privileged"])
			for _, key := range []string{"cap_add", "cap_drop", "privileged"} {
				delete(s, key)
			}
			if options, ok := s["security_opt"].([]any); ok {
				rest := slices.DeleteFunc(slices.Clone(options), func(o any) bool {
					given, set := noNewPrivs(fmt.Sprint(o))
					if given {
						c.NoNewPrivs = set // of two the last counts (moby daemon/daemon_unix.go parseSecurityOpt)
					}
					return given
				})
				if s["security_opt"] = rest; len(rest) == 0 {
					delete(s, "security_opt")
				}
			}
			list = append(list, c)
		}
	}
	return list
}

// noNewPrivs reads an option as Docker does (moby daemon/daemon_unix.go parseSecurityOpt).
func noNewPrivs(option string) (given, set bool) {
	if option == "no-new-privileges" {
		return true, true
	}
	i := strings.IndexAny(option, "=:")
	if i < 0 || option[:i] != "no-new-privileges" {
		return false, false
	}
	switch option[i+1:] { // strconv.ParseBool
	case "1", "t", "T", "TRUE", "true", "True":
		return true, true
	}
	return true, false
}

func words(v any) []string {
	var list []string
	items, _ := v.([]any)
	for _, item := range items {
		list = append(list, fmt.Sprint(item))
	}
	return list
}

// truth: without interpolation a bool may be a string still.
func truth(v any) bool { return v == true || v == "true" }
