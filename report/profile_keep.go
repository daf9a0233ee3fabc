package report

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

// shown is how many checks of one capability are shown; the profile has all.
const shown = 3

// keep is what stays, and why.
func (r *profileReport) keep() {
	n := r.Recommended.Len()
	if unknown(r.Profile) {
		r.section("KEEP", "not known")
		return
	}
	if n == 0 {
		r.section("KEEP", "nothing")
		return
	}
	about := count(n, "capability")
	required := r.Required.Intersect(r.Recommended)
	switch {
	case !r.Proven:
		about += ", not proven"
	case r.Recommended == r.Required && r.eachFails() && n == 1:
		about += ": it fails without it"
	case r.Recommended == r.Required && r.eachFails() && n == 2:
		about += ": it fails without either of them"
	case r.Recommended == r.Required && r.eachFails():
		about += ": it fails without any one of them"
	case !required.Empty() && r.Recommended != r.Required:
		about += fmt.Sprintf(", %d of them required", required.Len())
	}
	r.section("KEEP", about)
	for _, c := range catalog.ByDanger(r.Recommended) {
		r.blank()
		r.kept(c)
	}
}

// eachFails reports whether every required capability was taken away by
// itself and missed.
func (r *profileReport) eachFails() bool {
	for c := range r.Required.Values() {
		f := r.finding(c)
		if f.Without == nil || f.Without.Passed {
			return false
		}
	}
	return true
}

// finding is what is known of c, if only that it is there.
func (r *profileReport) finding(c caps.Cap) usage.Finding {
	for _, f := range r.Capabilities {
		if f.Cap == c {
			return f
		}
	}
	return usage.Finding{Cap: c}
}

// kept is one capability that stays.
func (r *profileReport) kept(c caps.Cap) {
	f := r.finding(c)
	r.name(c)
	for _, s := range r.Substitutes {
		if s.Adopted && s.Use == c {
			r.line("instead", text(fmt.Sprintf("of %v, which is wider%s", s.For, because(s.Reason))))
		}
	}
	switch {
	case f.Without != nil && f.Without.Passed:
		r.line("kept", text(fmt.Sprintf("because it was used, though run %d passed without it", f.Without.Trial+1)))
	case f.Without == nil && r.Used.Has(c) && !r.observed():
		r.line("kept", text("because it was used; whether it is needed was not tried"))
	case f.Without == nil && !r.Used.Has(c) && r.Observed != nil && !r.Observed.StartSeen:
		r.line("kept", text("though nothing was seen to use it: a start may"))
	}
	r.conflict(c)
	r.evidence(f)
	r.without(f.Without)
}

// name is a capability's name and what it grants.
func (r *profileReport) name(c caps.Cap) {
	entry := catalog.Get(c)
	grants := entry.Grants
	if grants == "" {
		grants = "newer than this leastcap, which does not know what it grants"
	}
	r.para(span{"  " + c.String(), strong}, r.nameCol, text(grants))
	if entry.Danger == catalog.Host && !isCommand(r.Profile) {
		r.line("danger", span{"it " + entry.Danger.Means(), caution})
	}
}

// line is a labelled paragraph below a name.
func (r *profileReport) line(label string, spans ...span) {
	r.para(span{"    " + label, faint}, max(r.nameCol, len("    without  ")), spans...)
}

// evidence says who asked for it, or in which other way the need shows.
func (r *profileReport) evidence(f usage.Finding) {
	lines := 0
	for i, c := range f.Checks {
		if i == shown {
			r.line("", span{fmt.Sprintf("and in %s (the profile has all)", count(len(f.Checks)-shown, "other way")), faint})
			break
		}
		r.line("asked", text(call(c)))
		r.line("", span{circumstances(c), faint})
		lines++
	}
	for _, e := range f.Execs {
		if e.Caps == nil {
			continue
		}
		r.line("exec", text(fmt.Sprintf("%s has the file capabilities %v: without them it cannot even be executed", Clean(e.Path, 200), e.Caps)))
		lines++
	}
	for _, c := range f.Capsets {
		r.line("asked", text(capset(c)))
		r.line("", span{fmt.Sprintf("%s, %s, %s", who(c.Process), when(c.Phase), times(c.Count)), faint})
		lines++
	}
	if lines == 0 && slices.Contains(f.Reasons, "trial") {
		found := "no check for it was seen; only the run without it told"
		if r.unaided() {
			found = "by the run without it alone"
		}
		r.line("found", text(found))
		if f.Suggested != "" {
			r.line("", span{"suggested by " + Clean(f.Suggested, 120), faint})
		}
	}
}

// without says how the run without it went, if there was one. That it passed
// has been said.
func (r *profileReport) without(w *usage.Proof) {
	if w == nil {
		return
	}
	if !w.Passed {
		run := fmt.Sprintf("run %d ", w.Trial+1)
		reason := w.Reason
		if reason == "" && w.Trial >= 0 && w.Trial < len(r.Trials) {
			reason = failure(r.Trials[w.Trial])
		}
		r.line("without", text(run), span{"failed", strong}, text(because(reason)))
	}
	if w.Log != "" {
		r.line("log", text(w.Log))
	}
	for i, c := range w.Denied {
		if i == shown {
			break
		}
		if w.Passed || w.Log == "" {
			said := refused(c)
			if w.Passed {
				said += "; the workload went on"
			}
			r.line("denied", text(said))
		}
	}
}

// call is what was asked for: a system call, as a person would write it.
func call(c usage.Check) string {
	s := Clean(c.Call, 250)
	if s == "" && c.Syscall != "" {
		s = Clean(c.Syscall, 40) + "()"
	}
	if s == "" {
		s = "outside of any system call"
	}
	if quoted := strconv.Quote(c.Path); c.Path != "" && !strings.Contains(c.Call, quoted) {
		s += " on " + Clean(quoted, 120)
	}
	return s
}

// circumstances are who asked, when, where in the kernel and how often.
func circumstances(c usage.Check) string {
	words := []string{who(c.Process), when(c.Phase)}
	if c.Launch {
		words = []string{"the runtime's last step, with the container's own credentials"}
	}
	if c.Start > 1 {
		words = append(words, fmt.Sprintf("not before start %d", c.Start))
	}
	if len(c.During) > 0 {
		words = append(words, "during "+Clean(strings.Join(c.During, " and "), 80))
	}
	words = append(words, times(c.Count))
	if c.Function != "" {
		words = append(words, "in "+Clean(c.Function, 60)+"()")
	}
	if c.Beyond {
		words = append(words, "of a user namespace outside its own")
	}
	if c.Verdict == usage.Denied {
		words = append(words, "denied")
	}
	return strings.Join(words, ", ")
}

// refused is a check that was denied, and what came of it.
func refused(c usage.Check) string {
	s := call(c)
	if c.Process.Comm != "" {
		s += " of " + Clean(c.Process.Comm, 40)
	}
	s += " " + when(c.Phase)
	switch {
	case c.Failed > 0 && c.Errno != "":
		s += fmt.Sprintf(", which failed %s with %s", times(c.Failed), Clean(c.Errno, 20))
	case c.Failed > 0:
		s += fmt.Sprintf(", which failed %s", times(c.Failed))
	}
	return s
}

// who is a process as far as it is known.
func who(p usage.Process) string {
	s := Clean(p.Comm, 40)
	switch {
	case s == "":
		s = Clean(path.Base(p.Exe), 40)
	case p.Exe != "":
		s += " (" + Clean(p.Exe, 120) + ")"
	}
	if p.UID != p.EUID {
		return fmt.Sprintf("%s as uid %d, euid %d", s, p.UID, p.EUID)
	}
	return fmt.Sprintf("%s as uid %d", s, p.UID)
}

// when is a phase in words.
func when(p usage.Phase) string {
	switch p {
	case usage.Start:
		return "at start"
	case usage.Steady:
		return "while running"
	case usage.Stop:
		return "at stop"
	}
	return Clean(string(p), 20)
}

// capset is a use of capset(2) or of the ambient set, in libcap's notation.
func capset(c usage.Capset) string {
	if c.Call == "ambient_raise" {
		return fmt.Sprintf("ambient_raise(%v)", c.Permitted)
	}
	set := caps.Text{Effective: c.Effective, Permitted: c.Permitted, Inheritable: c.Inheritable}
	return fmt.Sprintf("%s(%v)", Clean(c.Call, 40), set)
}

// failure says why a trial failed.
func failure(t usage.Trial) string {
	if t.Reason != "" {
		return t.Reason
	}
	switch t.Failure {
	case "check":
		return "its check failed"
	case "guard":
		return "its processes ran with other identities"
	case "exit":
		if t.Exit != nil {
			return fmt.Sprintf("it ended with status %d", *t.Exit)
		}
		return "it ended with an error"
	case "died":
		return "it died"
	case "start":
		return "it did not start"
	case "timeout":
		return "it took too long"
	}
	return t.Failure
}
