package report

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// Profile writes a learned result for a person: what stays and why, what can
// go, what to know about it, and last, next to the prompt, what to type.
func Profile(w io.Writer, p *usage.Profile, style Style) error {
	r := &profileReport{Profile: p, page: newPage(style)}
	for _, c := range (p.Recommended | p.Baseline&^p.Unused).Caps() {
		r.nameCol = max(r.nameCol, len("  ")+len(c.String())+len("  "))
	}
	r.headline()
	r.keep()
	r.drop()
	r.notes()
	r.use()
	return r.writeTo(w)
}

// profileReport is a page about a profile.
type profileReport struct {
	*usage.Profile
	*page
	// nameCol is the column of the text beside a capability's name.
	nameCol int
}

// section begins a part of the page.
func (r *profileReport) section(title, about string) {
	r.blank()
	r.para(span{title, strong}, len(title)+2, span{about, strong})
}

func (r *profileReport) headline() {
	var loud []string
	if !r.Complete {
		loud = append(loud, "INCOMPLETE")
	}
	switch {
	case r.baselineFailure() != "":
		loud = append(loud, "FAILS AS IT IS")
	case r.observed():
		loud = append(loud, "OBSERVED ONLY")
	case !r.Proven:
		loud = append(loud, "NOT PROVEN")
	}
	spans := []span{{subject(r.Profile) + ": ", strong}}
	if len(loud) > 0 {
		spans = append(spans, span{strings.Join(loud, ", ") + ": ", alarm})
	}
	cost := fmt.Sprintf(" (%s, %s)", count(len(r.Trials), "run"), seconds(r.Seconds))
	if r.Proven && r.Complete {
		cost = fmt.Sprintf(", proven in %s (%s)", count(len(r.Trials), "run"), seconds(r.Seconds))
	}
	ink := strong
	if len(loud) == 0 {
		ink = good
	}
	r.para(span{}, 0, append(spans, span{r.claim() + cost, ink})...)
	r.facts()
	r.merged()

	if !r.Complete {
		r.para(span{}, 0, text("Something could be missing below:"))
		r.bullets(r.incomplete())
	}
	switch {
	case r.baselineFailure() != "":
		r.para(span{}, 0, text("It does not pass even with all that it has today: "+r.baselineFailure()+
			". Nothing can be learned before it does."))
	case r.observed():
		r.para(span{}, 0, text("Nothing was taken away to see what fails without it: this is what one look showed,"+
			" not what is needed."))
	case r.failed() != "":
		r.para(span{}, 0, text("The set below did not pass when it was run by itself: "+r.failed()+". Do not rely on it."))
	case !r.Proven:
		r.para(span{}, 0, text("It was not shown that the set below is enough. Do not rely on it."))
	}
}

// claim is what the headline says of the capabilities.
func (r *profileReport) claim() string {
	all, kept := r.Baseline.Len(), r.Recommended.Len()
	used := (r.Required | r.Optional | r.Used).Len()
	switch {
	case r.observed() && used == 0:
		return "no use of a capability was seen"
	case r.observed():
		return fmt.Sprintf("%d of %s used", used, are(all, used))
	case kept == 0 && !r.Proven:
		return "no need was seen, which shows nothing yet"
	case kept == 0 && all == 0:
		return "has no capability, and needs none"
	case kept == 0 && !r.Complete:
		return fmt.Sprintf("passed with none of its %s", count(all, "capability"))
	case kept == 0:
		return fmt.Sprintf("needs none of its %s", count(all, "capability"))
	case !r.Proven:
		return fmt.Sprintf("%d of %s perhaps enough", kept, are(all, kept))
	case r.Recommended != r.Required:
		return fmt.Sprintf("%d of %s enough", kept, are(all, kept))
	case !r.Complete:
		return fmt.Sprintf("at least %d of %s required", kept, are(all, kept))
	}
	return fmt.Sprintf("%d of %s required", kept, are(all, kept))
}

// are is "14 capabilities are", or "is" where n of them is one.
func are(all, n int) string {
	if n == 1 {
		return count(all, "capability") + " is"
	}
	return count(all, "capability") + " are"
}

// facts is the line on what was looked at, and how.
func (r *profileReport) facts() {
	var facts []string
	add := func(format, value string) {
		if value != "" {
			facts = append(facts, fmt.Sprintf(format, Clean(value, 100)))
		}
	}
	add("%s", r.Subject.Engine)
	add("user %s", r.Subject.User)
	switch {
	case r.Subject.Digest != "":
		add("%s", shortDigest(r.Subject.Digest))
	default:
		add("image id %s", shortDigest(r.Subject.ImageID))
	}
	add("Linux %s", r.Kernel)
	switch n := len(r.Subject.Checks); {
	case n == 1:
		add("check: %s", r.Subject.Checks[0])
	case n > 1:
		add("%s", count(n, "check command"))
	default:
		facts = append(facts, "no check command")
	}
	r.para(span{}, 0, span{strings.Join(facts, ", "), faint})
}

// observed reports whether no trial was made.
func (r *profileReport) observed() bool {
	return !r.Proven && !slices.ContainsFunc(r.Trials, func(t usage.Trial) bool { return t.Kind != usage.Baseline })
}

// failed says how the recommended set failed by itself, if a trial tells.
func (r *profileReport) failed() string {
	for i, t := range slices.Backward(r.Trials) {
		if !t.Passed && t.Set == r.Recommended && t.Kind != usage.Baseline {
			return strings.TrimRight(fmt.Sprintf("run %d: %s", i+1, failure(t)), ". ")
		}
	}
	return ""
}

// baselineFailure says how the workload failed with all that it has today, or
// nothing.
func (r *profileReport) baselineFailure() string {
	why := ""
	for i, t := range r.Trials {
		switch {
		case t.Kind != usage.Baseline:
		case t.Passed:
			return ""
		case why == "":
			why = strings.TrimRight(fmt.Sprintf("run %d: %s", i+1, failure(t)), ". ")
		}
	}
	return why
}

// unknown reports whether the look failed, so that nothing is known, which is
// not the same as that nothing is needed.
func unknown(p *usage.Profile) bool { return p.Recommended.Empty() && !p.Complete && !p.Proven }

// incomplete says what is missing.
func (r *profileReport) incomplete() []string {
	why := slices.Clone(r.Notes)
	for _, what := range sortedKeys(r.Lost) {
		if n := r.Lost[what]; n > 0 {
			why = append(why, fmt.Sprintf("lost: %s (%d)", what, n))
		}
	}
	for _, e := range r.Execs {
		if e.Unknown != "" {
			why = append(why, fmt.Sprintf("the file capabilities of %s are not known: %s", e.Path, e.Unknown))
		}
	}
	if len(why) == 0 {
		why = append(why, "the profile does not say what")
	}
	return why
}

// isCommand reports whether a command of the host was learned.
func isCommand(p *usage.Profile) bool { return p.Subject.Kind == "command" }

// subject is what a person calls the workload.
func subject(p *usage.Profile) string {
	name := p.Subject.Image
	if isCommand(p) || name == "" {
		name = "workload"
		if len(p.Subject.Command) > 0 {
			name = path.Base(p.Subject.Command[0])
		}
	}
	if i := strings.Index(name, "@sha256:"); i > 0 {
		name = name[:i]
	}
	const most = 60
	if len(name) > most {
		name = path.Base(name)
	}
	return Clean(name, most)
}

// shortDigest is enough of a digest to compare by eye. Before it may stand what it is of,
// which may have a port: "localhost:5000/nginx@sha256:…".
func shortDigest(digest string) string {
	at := strings.LastIndexByte(digest, ':') + 1
	return digest[:at] + shorten(digest[at:], 12)
}

// bullets lists sentences; of very many the first.
func (r *profileReport) bullets(sentences []string) {
	const most = 12
	for i, s := range sentences {
		if i == most {
			s = fmt.Sprintf("and %d more (the profile has them)", len(sentences)-most)
		}
		r.para(span{"  -", faint}, 4, text(s))
		if i == most {
			return
		}
	}
}

// because is ": why", or nothing.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + strings.TrimRight(why, ". ")
}

// count is "1 run", "9 runs".
func count(n int, what string) string {
	switch stem, ok := strings.CutSuffix(what, "y"); {
	case n == 1:
		return "1 " + what
	case ok:
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// times is "once", "3 times".
func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// seconds is "13.4s", or "3 min 20 s".
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 2*time.Minute {
		return fmt.Sprintf("%.1fs", s)
	}
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}

// list is "a", "a and b", "a, b and c".
func list(cs []caps.Cap) string {
	words := make([]string, len(cs))
	for i, c := range cs {
		words[i] = c.String()
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
