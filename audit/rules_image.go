package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

func checkSetID(s *subject) {
	if s.Image == nil || len(s.Image.Programs) == 0 || s.privileged || manifest.Is(s.c.NoNewPrivs, true) {
		return
	}
	holds := s.holds()
	if s.err != nil {
		return
	}
	var paths []string
	gains := caps.Set(0)
	for _, p := range s.Image.Programs {
		paths = append(paths, p.Path)
		if p.SetID {
			gains = gains.Union(holds)
		}
		gains = gains.Union(p.Caps.Intersect(holds))
	}
	f := Finding{Severity: Low, At: firstPos(s.c.Image.At, s.c.At), Caps: gains}
	if s.nonRoot() && !gains.Empty() {
		f.Severity = Medium
	}
	if !s.nonRoot() {
		f.Gain = "Processes that gave up root get it back by executing one of them."
	}
	slices.Sort(paths)
	const shown = 3
	text := strings.Join(paths[:min(shown, len(paths))], ", ")
	if more := len(paths) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	f.Message = fmt.Sprintf("%s does not set no_new_privs, and its image has %s", s.c.Name, text)
	// A workload may rely on them: a change is only safe if there are none.
	s.report(f)
}

func checkNoNewPrivs(s *subject) {
	if s.Image == nil || len(s.Image.Programs) > 0 || s.privileged || s.c.NoNewPrivs.State != manifest.Unset {
		return
	}
	f := Finding{Severity: Note, At: s.c.At, Message: s.c.Name + " does not set no_new_privs, and nothing in its image needs it unset"}
	// Whoever has sys_admin is allowed privilege escalation by Kubernetes, which refuses both.
	if s.err == nil && !s.holds().Has(caps.SysAdmin) {
		f.Want = &manifest.Want{NoNewPrivs: true}
	}
	s.report(f)
}

// buildsImage says that the container is an image that a Dockerfile makes, or one as it
// is: nobody has asked an engine for anything yet.
func (s *subject) buildsImage() bool { return s.c.Format == "dockerfile" && s.c.Kind == "image" }

// labelCaps is where an image says which capabilities it needs
// (containers/podman pkg/specgen/generate/security_linux.go).
const labelCaps = "io.containers.capabilities"

// imageNeeds compares what an image says that it needs with what was learned. An image
// cannot drop anything, and is not blamed for it.
func (s *subject) imageNeeds() {
	if !s.usable() {
		return
	}
	need := s.Profile.Recommended
	f := Finding{Severity: Low, At: s.c.At, Caps: need, Word: labelCaps, Proven: true, Want: &manifest.Want{Exactly: &need}}
	f.Message = fmt.Sprintf("%s does not say that it needs %s, as %s has it", s.c.Name, names(need), s.ProfileName)
	for _, l := range s.c.Labels {
		if l.Key != labelCaps {
			continue
		}
		text, known := l.Value.Get()
		set, all, err := caps.ParseList([]string{text})
		if !known || err == nil && !all && set == need {
			return
		}
		f.At = l.Value.At
		f.Message = fmt.Sprintf("%s says that it needs %s, and %s that it needs %s", s.c.Name, strings.TrimSpace(text), s.ProfileName, names(need))
	}
	f.Gain = "Whoever runs it gives it the engine's default, for want of knowing better."
	f.Mend = "Set the label " + labelCaps + "; leastcap fix does."
	s.report(f)
}

// checkPrograms looks at what a Dockerfile gives to files of the image.
func checkPrograms(s *subject) {
	for _, fact := range s.c.Facts {
		what, known := fact.Value.Get()
		if !known {
			continue
		}
		f := Finding{Severity: Low, At: firstPos(fact.Value.At, fact.KeyAt), Word: what}
		switch fact.Key {
		case "setcap":
			f.Caps = fileCaps(what)
			worst, level := s.worst(f.Caps)
			if !f.Caps.Empty() {
				f.Severity = min(severityOf(level), Medium) // it takes an engine that gives it, too
				f.Gain = gain(s.sharing, worst)
			}
			f.Message = fmt.Sprintf("%s gives a file capabilities (%s): whoever executes it has them, and it does not start where an engine does not give them", s.c.Name, what)
			f.Mend = "Give the capabilities to the container's user in another way, or say with the label " + labelCaps + " that it needs them."
		case "set-uid", "set-gid":
			f.Message = fmt.Sprintf("%s makes a file %s (%s): whoever executes it has its owner's rights", s.c.Name, fact.Key, what)
			f.Gain = "A process that gave up root gets it back by executing it."
			f.Mend = "Leave the bit away, and set no-new-privileges where the image is run."
		default:
			continue
		}
		s.report(f)
	}
}

// fileCaps are those that a text of cap_from_text(3) names: "cap_net_raw+ep /bin/ping".
func fileCaps(text string) caps.Set {
	set := caps.Set(0)
	for _, word := range strings.Fields(text) {
		list, _, _ := strings.Cut(word, "+")
		list, _, _ = strings.Cut(list, "=")
		for name := range strings.SplitSeq(list, ",") {
			if c, err := caps.ParseCap(name); err == nil && strings.HasPrefix(strings.ToLower(name), "cap_") {
				set = set.With(c)
			}
		}
	}
	return set
}

// checkBuild looks for steps of a build that are privileged themselves.
func checkBuild(s *subject) {
	for _, fact := range s.c.Facts {
		v, known := fact.Value.Get()
		how := ""
		switch {
		case !known:
		case fact.Key == "run --security" && v == "insecure":
			how = "RUN --security=insecure"
		case fact.Key == "build.privileged" && v == "true":
			how = "build: privileged: true"
		case fact.Key == "build.entitlements" && slices.Contains(strings.Fields(v), "security.insecure"):
			how = "the entitlement security.insecure"
		}
		if how != "" {
			s.report(Finding{
				Severity: High, At: firstPos(fact.Value.At, fact.KeyAt), Word: how,
				Message: fmt.Sprintf("%s is built with privileged steps (%s)", s.c.Name, how),
			})
		}
	}
}

// checkLabel looks at a command in a label: whoever does what the label says trusts the
// image with what it asks for.
func checkLabel(s *subject) {
	if s.c.Kind != "label" {
		return
	}
	var asks []string
	f := Finding{Severity: Medium, At: s.c.At}
	if s.privileged {
		asks = append(asks, "--privileged")
		f.Severity = Critical
	}
	for _, e := range s.adds {
		switch {
		case e.err != nil || s.engine != nil && !e.all && s.engine.Default.Has(e.cap):
			continue
		case e.all:
			f.Severity = Critical
		default:
			f.Severity = max(f.Severity, severityOf(s.level(e.cap)))
			f.Caps = f.Caps.With(e.cap)
		}
		asks = append(asks, "--cap-add "+e.Word.V)
	}
	for _, n := range s.c.Namespaces {
		if manifest.Is(n.With, "host") {
			asks = append(asks, "the host's "+n.Kind+" namespace")
		}
	}
	for _, m := range s.c.Sensitive() {
		asks = append(asks, m.Source.V+" of the host")
		f.Severity = max(f.Severity, High)
	}
	for _, d := range s.c.Devices {
		asks = append(asks, "the device "+d.Host.Raw)
	}
	if len(asks) == 0 {
		return
	}
	f.Word = strings.Join(asks, "; ")
	f.Message = fmt.Sprintf("the %s asks whoever runs the image for %s", s.c.Name, join(asks))
	s.report(f)
}
