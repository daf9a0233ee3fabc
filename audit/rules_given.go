package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/manifest"
)

func checkPrivileged(s *subject) {
	if !s.privileged {
		return
	}
	f := Finding{Severity: Critical, At: s.c.Privileged.At, Caps: s.given.Set,
		Message: fmt.Sprintf("%s is privileged", s.c.Name)}
	if s.usable() {
		need := s.Profile.Recommended
		f.Message += fmt.Sprintf("; %s says that it needs %s", s.ProfileName, names(need))
		// A profile does not know of devices and settings, and so this is not safe by itself.
		f.Want = &manifest.Want{Exactly: &need, Unprivileged: true}
		f.Proven = true
		f.Mend = "Take privileged away, drop ALL and add " + names(need) + "; give devices and mounts by name."
		if need.Empty() {
			f.Mend = "Take privileged away and drop ALL; give devices and mounts by name."
		}
	}
	s.report(f)
}

// nearlyAll is how few may be missing so that it is "all but".
const nearlyAll = 6

func checkAddsAll(s *subject) {
	if s.holdsAll() {
		f := Finding{Severity: Critical, At: s.statedAt(caps.SysAdmin), Caps: s.holds(), Message: s.c.Name + " has all capabilities"}
		if missing := caps.All().Minus(s.holds()); !missing.Empty() {
			f.Message += " but " + names(missing)
		}
		if s.host() {
			f.Severity, f.Gain = Medium, "Whoever takes it over has the machine."
			if s.nonRoot() && s.given.Runtime.Permitted.Empty() {
				f.Severity = Low
				f.Message = s.c.Name + " starts without a capability, and may get all by a set-uid program"
				f.Gain = "Whoever finds a set-uid program that can be misused has the machine."
				f.Mend = "Set NoNewPrivileges=yes, or limit it with CapabilityBoundingSet=."
				s.report(f)
				return
			}
			f.Mend = "Limit it with CapabilityBoundingSet=; leastcap learn -- COMMAND finds what it needs."
		}
		s.report(f)
		return
	}
	if s.addAll == nil || s.privileged {
		return
	}
	f := Finding{Severity: Critical, At: s.addAll.Word.At, Word: s.addAll.Word.Raw, Caps: s.holds()}
	switch {
	case s.err == nil && s.given.Set.Empty():
		return // void: another rule says so
	case s.err == nil && s.given.Set != caps.All():
		f.Message = fmt.Sprintf("%s adds ALL and has all capabilities but %d", s.c.Name, caps.All().Minus(s.given.Set).Len())
		_, level := s.worst(s.given.Set)
		f.Severity = severityOf(level)
	default:
		f.Message = fmt.Sprintf("%s adds ALL", s.c.Name)
	}
	worst, _ := s.worst(s.holds())
	f.Gain = gain(s.sharing, worst)
	s.report(f)
}

// checkAdds grades what is added by name, and what a format states that has no engine's
// default below.
func checkAdds(s *subject) {
	if s.privileged {
		return
	}
	if s.holdsAll() {
		return
	}
	if s.c.Stated != nil {
		for c := range s.holds().Values() {
			s.grade(c, s.statedAt(c), "")
		}
		return
	}
	seen := caps.Set(0)
	for _, e := range s.adds {
		if e.err != nil || e.all || seen.Has(e.cap) || s.err == nil && !s.holds().Has(e.cap) {
			continue
		}
		seen = seen.With(e.cap)
		s.grade(e.cap, e.Word.At, e.Word.Raw)
	}
}

// holdsAll: a format that states the sets states nearly all.
func (s *subject) holdsAll() bool {
	return s.c.Stated != nil && caps.All().Minus(s.holds()).Len() <= nearlyAll
}

// host says that it is no container: a unit or a process of the machine.
func (s *subject) host() bool { return onHost(s.c) }

func onHost(c *manifest.Container) bool {
	return len(c.Target.Engines) > 0 && c.Target.Engines[0] == "systemd"
}

// grades is how bad it is that a container holds a capability of this danger. On the host
// there is nothing to get out of: what has the machine in the end is medium there.
func (s *subject) grades(l catalog.Level) Severity {
	switch {
	case !s.host():
		return severityOf(l)
	case l == catalog.Host || l == catalog.Unknown:
		return Medium
	}
	return Low
}

// statedAt is where a format that states sets names a capability first.
func (s *subject) statedAt(c caps.Cap) manifest.Pos {
	for i := range s.c.Caps {
		r := &s.c.Caps[i]
		if one, all, err := r.Capability(); err == nil && !all && one == c && r.Action == manifest.Add {
			return r.Word.At
		}
	}
	return s.c.At
}

func (s *subject) grade(c caps.Cap, at manifest.Pos, word string) {
	level := s.level(c)
	if level == catalog.Inside {
		return
	}
	f := Finding{Severity: s.grades(level), At: at, Caps: caps.Of(c), Word: word}
	f.Message = fmt.Sprintf("%s adds %s, which %s", s.c.Name, c, levelMeans(level))
	if s.c.Stated != nil {
		f.Message = fmt.Sprintf("%s has %s, which %s", s.c.Name, c, levelMeans(level))
	}
	f.Gain = gain(s.sharing, c)
	if instead := knowledge(c).Instead; len(instead) > 0 {
		f.Mend = "Instead: " + alternative(instead[0])
	}
	if s.usable() {
		switch {
		case s.Profile.Required.Has(c):
			f.Severity = Note
			f.Message += fmt.Sprintf("; %s says that it is needed", s.ProfileName)
		case !s.Profile.Recommended.Has(c):
			return // unneeded-capability says so, and mends it
		}
	}
	s.report(f)
}

func alternative(a catalog.Alternative) string {
	if a.How == "" {
		return a.Do + "."
	}
	return a.Do + " (" + a.How + ")."
}

// levelMeans is what a level means in a container whose sharing is known already.
func levelMeans(l catalog.Level) string {
	switch l {
	case catalog.Host:
		return "is a way to take over the host"
	case catalog.Unknown:
		return "leastcap does not know"
	}
	return l.Means()
}

// gain is the worst that a capability reaches from a container that shares these.
func gain(shared []catalog.Sharing, c caps.Cap) string {
	var best *catalog.Reach
	e := knowledge(c)
	for i := range e.Container.Reaches {
		r := &e.Container.Reaches[i]
		if r.Shared != catalog.SharesNothing && !slices.Contains(shared, r.Shared) {
			continue
		}
		if best == nil || r.Level > best.Level {
			best = r
		}
	}
	if best == nil {
		return ""
	}
	return sentence("a process can " + best.What)
}

// sentence gives a clause a capital and a period.
func sentence(clause string) string {
	if clause == "" {
		return ""
	}
	return strings.ToUpper(clause[:1]) + strings.TrimSuffix(clause[1:], ".") + "."
}

// checkCombination looks for capabilities that only what the container shares makes
// dangerous.
func checkCombination(s *subject) {
	if s.privileged || s.err != nil || s.ownUsers || s.host() {
		return
	}
	added := caps.Set(0)
	for _, e := range s.adds {
		if e.err == nil && !e.all {
			added = added.With(e.cap)
		}
	}
	for _, shared := range s.sharing {
		if shared == catalog.SharesBridge { // what everybody shares is no combination
			continue
		}
		set, what := caps.Set(0), ""
		for _, c := range byDanger(s.holds()) {
			e := knowledge(c)
			if e.DangerUnder(shared) != catalog.Host || e.DangerUnder() == catalog.Host || e.Danger == catalog.Unknown {
				continue
			}
			if set.Empty() {
				what = gain([]catalog.Sharing{shared}, c)
			}
			set = set.With(c)
		}
		if set.Empty() || s.usable() && set.SubsetOf(s.Profile.Required) {
			continue
		}
		f := Finding{Severity: High, At: s.sharedAt(shared), Caps: set, Word: shared.String(), Gain: what}
		if !set.Intersect(added).Empty() {
			f.Severity = Critical
		}
		f.Message = fmt.Sprintf("%s %s and holds %s", s.c.Name, s.sharedText(shared), names(set))
		f.Mend = fmt.Sprintf("Do not share it, or drop %s.", names(set))
		if c, ok := onlyOne(set.Intersect(added)); ok { // also what the finding of the added one says
			if instead := knowledge(c).Instead; len(instead) > 0 {
				f.Mend += " Instead of " + c.String() + ": " + alternative(instead[0])
			}
		}
		s.report(f)
	}
}

func onlyOne(set caps.Set) (caps.Cap, bool) {
	if set.Len() != 1 {
		return 0, false
	}
	return set.Caps()[0], true
}

// sharedAt is where it is written that a container shares something.
func (s *subject) sharedAt(shared catalog.Sharing) manifest.Pos {
	kind := map[catalog.Sharing]string{catalog.SharesPID: "pid", catalog.SharesNetwork: "net", catalog.SharesIPC: "ipc"}[shared]
	for _, n := range s.c.Namespaces {
		if n.Kind == kind && manifest.Is(n.With, "host") {
			return n.With.At
		}
	}
	if m := s.c.Sensitive(); shared == catalog.SharesMount && len(m) > 0 {
		return m[0].At
	}
	if shared == catalog.SharesDevice && len(s.c.Devices) > 0 {
		return s.c.Devices[0].At
	}
	return s.c.At
}

func (s *subject) sharedText(shared catalog.Sharing) string {
	if m := s.c.Sensitive(); shared == catalog.SharesMount && len(m) > 0 {
		return fmt.Sprintf("mounts %s (%s)", m[0].Source.V, m[0].Why)
	}
	if shared == catalog.SharesDevice && len(s.c.Devices) > 0 {
		return "has the device " + s.c.Devices[0].Host.Raw
	}
	return shared.Means()
}

// sockets are where engines listen.
var sockets = []string{"/docker.sock", "/podman.sock", "/containerd.sock", "/crio.sock"}

func checkSocket(s *subject) {
	for _, m := range s.c.Sensitive() {
		p := m.Source.V
		if !slices.ContainsFunc(sockets, func(end string) bool { return strings.HasSuffix(p, end) }) {
			continue
		}
		f := Finding{Severity: Critical, At: m.At, Word: p, Message: fmt.Sprintf("%s mounts %s, %s", s.c.Name, p, m.Why)}
		if manifest.Is(m.ReadOnly, true) {
			f.Message += "; read-only does not keep anybody from writing to a socket"
		}
		s.report(f)
	}
}

func checkDefault(s *subject) {
	if s.privileged || s.err != nil || s.engine == nil || s.c.Stated != nil || s.addAll != nil || s.dropAll != nil {
		return
	}
	if s.buildsImage() {
		s.imageNeeds()
		return
	}
	kept := s.holds().Intersect(s.engine.Default)
	for _, e := range s.adds {
		if e.err == nil && !e.all {
			kept = kept.Without(e.cap) // asked for
		}
	}
	if kept.Empty() {
		return
	}
	worst, level := s.worst(kept)
	f := Finding{Severity: Low, At: s.c.At, Caps: kept}
	if level > catalog.Inside || level == catalog.Unknown {
		f.Severity = Medium
	}
	f.Message = fmt.Sprintf("%s does not drop ALL, and keeps %d of %s default capabilities", s.c.Name, kept.Len(), s.whoseDefault())
	if kept == s.engine.Default {
		f.Message = fmt.Sprintf("%s does not drop ALL, and keeps %s %d default capabilities", s.c.Name, s.whoseDefault(), kept.Len())
	}
	if f.Severity == Medium {
		f.Gain = gain(s.sharing, worst)
	} else {
		f.Gain = "Power inside the container that the workload may never use, and whoever takes it over will."
	}
	if s.usable() {
		need := s.Profile.Recommended
		f.Want, f.Proven = &manifest.Want{Exactly: &need}, true
		f.Mend = "Drop ALL and add " + names(need) + ", which " + s.ProfileName + " says is all that it needs."
		if need.Empty() {
			f.Mend = "Drop ALL: " + s.ProfileName + " says that it needs none."
		}
	}
	s.report(f)
}

var engineTitles = map[string]string{"docker": "Docker", "podman": "Podman", "containerd": "containerd", "crio": "CRI-O", "runc": "runc"}

func engineTitle(name string) string {
	if t, ok := engineTitles[name]; ok {
		return t
	}
	return name
}

// whoseDefault is who decides what a container gets that asks for nothing.
func (s *subject) whoseDefault() string {
	if s.c.Format == "nomad" && s.c.Target.Default != nil {
		return "Nomad's"
	}
	return possessive(s.engine.Name)
}

func possessive(engine string) string { return engineTitle(engine) + "'s" }

// names is for people: "chown, kill", "no capability".
func names(set caps.Set) string {
	switch {
	case set.Empty():
		return "no capability"
	case set == caps.All():
		return "all capabilities"
	}
	return strings.ReplaceAll(set.String(), ",", ", ")
}
