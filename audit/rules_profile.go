package audit

import (
	"fmt"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// checkUnneeded is about what was added by name; of the engine's default keeps-default
// speaks.
func checkUnneeded(s *subject) {
	if !s.usable() || s.privileged || s.err != nil || s.addAll != nil {
		return
	}
	extra := s.holds().Minus(s.Profile.Recommended)
	// Of what was not in the baseline the profile says nothing.
	extra = extra.Intersect(s.Profile.Baseline)
	if s.c.Stated == nil && s.dropAll == nil {
		extra = extra.Intersect(s.added())
	}
	if extra.Empty() {
		return
	}
	worst, level := s.worst(extra)
	need := s.Profile.Recommended
	f := Finding{
		Severity: s.grades(level), At: s.c.At, Caps: extra, Gain: gain(s.sharing, worst),
		Message: fmt.Sprintf("%s has %s, and %s says that it works without", s.c.Name, names(extra), s.ProfileName),
		Want:    &manifest.Want{Exactly: &need}, Proven: true,
		Mend: "Drop ALL and add " + names(need) + ".",
	}
	if need.Empty() {
		f.Mend = "Drop ALL."
	}
	if at, ok := s.find(s.adds, worst); ok {
		f.At = at
	}
	s.report(f)
}

func checkMissing(s *subject) {
	if s.Profile == nil || !s.Profile.Complete || s.privileged || s.err != nil {
		return
	}
	need := s.Profile.Required
	if missing := need.Minus(s.holds()); !missing.Empty() {
		f := Finding{
			Severity: High, At: s.c.At, Caps: missing,
			Message: fmt.Sprintf("%s does not get %s, and %s says that it fails without", s.c.Name, names(missing), s.ProfileName),
		}
		if s.usable() {
			exactly := s.Profile.Recommended
			f.Want, f.Proven = &manifest.Want{Exactly: &exactly}, true
		} else {
			f.Severity = Medium // used, and not shown to be needed
			f.Message = fmt.Sprintf("%s does not get %s, and %s, which is not proven, says that it needs it", s.c.Name, names(missing), s.ProfileName)
		}
		s.report(f)
	}
	inferred := s.Profile.Portability.Inferred.Minus(s.holds())
	if inferred.Empty() || s.engine == nil || s.Profile.Subject.Engine == s.engine.Name {
		return
	}
	f := Finding{
		Severity: Note, At: s.c.At, Caps: inferred, Word: "inferred",
		Message: fmt.Sprintf("%s may need %s under %s: %s was learned elsewhere, where less is needed (inferred, not proven)", s.c.Name, names(inferred), engineTitle(s.engine.Name), s.ProfileName),
		Mend:    "Learn it on this engine, or set net.ipv4.ip_unprivileged_port_start.",
	}
	s.report(f)
}

func checkNeedlessRoot(s *subject) {
	if !s.usable() || s.privileged || s.c.User.State == manifest.Unknown || s.nonRoot() {
		return
	}
	if s.c.User.State == manifest.Unset && s.Image == nil && s.Profile.Subject.User != "" {
		return // the image's user is not known, and the profile is of another
	}
	if !s.Profile.Recommended.Empty() || !s.Profile.Portability.Inferred.Empty() {
		return
	}
	root := false
	for _, id := range s.Profile.Identities {
		root = root || id.UIDs[1] == 0
	}
	if !root {
		return
	}
	s.report(Finding{
		Severity: Low, At: firstPos(s.c.User.At, s.c.At), Caps: caps.Set(0),
		Message: fmt.Sprintf("%s runs as root, and %s says that it needs no capability", s.c.Name, s.ProfileName),
	})
}

func firstPos(list ...manifest.Pos) manifest.Pos {
	for _, p := range list {
		if !p.IsZero() {
			return p
		}
	}
	return manifest.Pos{}
}
