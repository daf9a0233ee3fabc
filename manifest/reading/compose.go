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
	for _, project := range []map[string]any{before, after} {
		// What an extension has in it (x-common, for services to merge) is nothing by itself:
		// where it is used it is looked at.
		for key, value := range project {
			if strings.HasPrefix(key, "x-") {
				scrub(value)
			}
		}
	}
	a := &Answer{Whole: true, Before: Reading{Containers: services(before)}, After: Reading{Containers: services(after)}}
	if path := Difference(before, after); path != "" {
		a.Changed = []string{path}
	}
	return a
}

// scrub takes out what a [Container] has, of a service that is no service.
func scrub(v any) {
	switch v := v.(type) {
	case map[string]any:
		take(v)
		for _, e := range v {
			scrub(e)
		}
	case []any:
		for _, e := range v {
			scrub(e)
		}
	}
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
			c := take(s)
			c.Path, c.Name = section+"."+name, name
			list = append(list, c)
		}
	}
	return list
}

// take takes out of a service what a [Container] has.
func take(s map[string]any) (c Container) {
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
	return c
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

// truth: where variables are left as they are a bool may be a word still
// (compose-go loader/interpolate.go toBoolean).
func truth(v any) bool {
	word, ok := v.(string)
	if !ok {
		return v == true
	}
	switch strings.ToLower(word) {
	case "true", "y", "yes", "on":
		return true
	}
	return false
}
