package audit

import (
	"slices"
	"strings"
)

// Fold notes which findings another one of the same container explains already, so that a
// person reads of one cause once. Each stays a finding with its own rule, fingerprint and
// exception: one that an exception or a baseline takes away explains no other.
func Fold(findings []*Finding) {
	for _, f := range findings {
		f.Within, f.Folds = nil, nil
	}
	of := map[string][]*Finding{}
	for _, f := range findings {
		if f.Container != nil && f.Exception == nil {
			key := f.Container.At.File + "\x00" + f.Container.Path
			of[key] = append(of[key], f)
		}
	}
	for _, list := range of {
		var causes []*Finding // those that explain others at all
		for _, f := range list {
			if slices.Contains(folders, f.Rule.ID) {
				causes = append(causes, f)
			}
		}
		for _, f := range list {
			i := slices.IndexFunc(causes, func(by *Finding) bool { return by.Container == f.Container && explains(by, f) })
			if i < 0 {
				continue
			}
			by := causes[i]
			f.Within = by
			by.Folds = append(by.Folds, f)
			if !slices.Contains(by.Related, f.At) && f.At != by.At {
				by.Related = append(by.Related, f.At)
			}
		}
	}
}

// folders are the rules whose findings explain others.
var folders = []string{"dangerous-combination", "engine-socket"}

// explains says that all of what a finding says is in another, which is no less severe.
func explains(by, f *Finding) bool {
	if by.Severity < f.Severity {
		return false
	}
	switch {
	case by.Rule.ID == "dangerous-combination" && f.Rule.ID == "adds-capability":
		// What is added reaches the host by way of what is shared: that is in both.
		return f.Caps.SubsetOf(by.Caps)
	case by.Rule.ID == "engine-socket" && f.Rule.ID == "dangerous-combination":
		// Who has the socket needs no capability; other mounts are a cause of their own.
		return f.At == by.At && len(f.Container.Sensitive()) == 1
	}
	return false
}

// Rules are the ids of the finding's rule and of those that it explains, for people: each
// can have an exception.
func (f *Finding) Rules() string {
	ids := []string{f.Rule.ID}
	for _, o := range f.Folds {
		if !slices.Contains(ids, o.Rule.ID) {
			ids = append(ids, o.Rule.ID)
		}
	}
	return strings.Join(ids, ", ")
}
