package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
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

// labelNames are those of the atomic command, in any of its spellings.
var labelNames = []string{"run", "install", "uninstall", "stop"}

// checkLabels looks at commands in labels: formats that understand command lines put
// what they ask for into a fact "label:RUN:asks".
func checkLabels(s *subject) {
	for _, fact := range s.c.Facts {
		name, ok := strings.CutPrefix(fact.Key, "label:")
		name, what, _ := strings.Cut(name, ":")
		if !ok || what != "asks" || !slices.Contains(labelNames, strings.ToLower(name)) {
			continue
		}
		ask := fact.Value.V
		f := Finding{Severity: Medium, At: fact.Value.At, Word: name + " " + ask,
			Message: fmt.Sprintf("the label %s of %s asks for %s", name, s.c.Name, ask)}
		if one, err := caps.ParseCap(ask); err == nil {
			level := catalog.Get(one).DangerUnder()
			f.Severity, f.Caps, f.Gain = severityOf(level), caps.Of(one), gain(nil, one)
		} else if strings.Contains(ask, "privileged") || strings.EqualFold(ask, "all") {
			f.Severity = Critical
		}
		s.report(f)
	}
}
