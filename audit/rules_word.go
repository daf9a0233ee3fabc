package audit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/manifest"
)

// entries are all that are about the engine's set, in the order of the file's lists.
func (s *subject) entries() []entry {
	return append(append([]entry{}, s.adds...), s.drops...)
}

// kubernetes says that Pod Security and the CRI read the names.
func (s *subject) kubernetes() bool { return s.c.Format == "kubernetes" }

func checkUnknown(s *subject) {
	for _, e := range s.entries() {
		var unknown *caps.UnknownError
		if !errors.As(e.err, &unknown) {
			continue
		}
		f := Finding{Severity: Medium, At: e.Word.At, Word: e.Word.Raw}
		f.Message = fmt.Sprintf("%s %ss %q, which is no capability", s.c.Name, e.Action, e.Word.V)
		switch {
		case s.engine == nil:
		case s.engine.Name == "containerd" || s.engine.Name == "runc":
			f.Message += fmt.Sprintf(": %s ignores it", engineTitle(s.engine.Name))
			if e.Action == manifest.Drop && s.dropAll == nil { // beside ALL it changes nothing
				f.Severity = High
				f.Gain = "What should be dropped is kept."
			}
		default:
			f.Message += fmt.Sprintf(": %s refuses to start the container", engineTitle(s.engine.Name))
		}
		if strings.ContainsAny(e.Word.V, ", ") {
			f.Mend = "Write each capability by itself: an entry is one."
		} else if unknown.Suggestion != "" {
			one, err := caps.ParseCap(unknown.Suggestion)
			if err == nil {
				word := spellAs(e.Word.Raw, one)
				if s.kubernetes() {
					word = one.Docker()
				}
				f.Message += fmt.Sprintf("; did you mean %s?", word)
				f.Mend = fmt.Sprintf("Write %s.", word)
				// Not mended by itself: it is a guess, and to add what was never given is
				// for the user to say. To drop more than before could break it.
			}
		}
		s.report(f)
	}
}

// spellAs writes a capability as a word is spelt.
func spellAs(like string, c caps.Cap) string {
	name := c.Docker()
	if strings.HasPrefix(strings.ToUpper(like), "CAP_") {
		name = c.Name()
	}
	if like == strings.ToLower(like) {
		name = strings.ToLower(name)
	}
	return name
}

func checkSpelling(s *subject) {
	if !s.kubernetes() {
		return
	}
	for _, e := range s.entries() {
		if e.err != nil {
			continue
		}
		right := "ALL"
		if !e.all {
			right = e.cap.Docker()
		}
		if e.Word.V == right {
			continue
		}
		f := Finding{Severity: Low, At: e.Word.At, Word: e.Word.Raw, Mend: fmt.Sprintf("Write %s.", right)}
		if !e.all {
			f.Caps = caps.Of(e.cap)
		}
		prefixed := strings.HasPrefix(strings.ToUpper(e.Word.V), "CAP_")
		switch {
		case prefixed && e.Action == manifest.Drop && (e.all || s.err == nil && !s.holds().Has(e.cap)):
			f.Message = fmt.Sprintf("%s drops %s, which containerd takes for CAP_%s and ignores", s.c.Name, e.Word.V, strings.ToUpper(e.Word.V))
			f.Want = &manifest.Want{Correct: []manifest.Correction{{At: e.Word.At, Word: right}}}
		case prefixed && e.Action == manifest.Drop:
			f.Severity = High
			f.Message = fmt.Sprintf("%s drops %s, which containerd takes for CAP_%s and ignores: it is kept there", s.c.Name, e.Word.V, strings.ToUpper(e.Word.V))
			f.Gain = "What should be dropped is kept."
			f.Want = &manifest.Want{Correct: []manifest.Correction{{At: e.Word.At, Word: right}}}
		case prefixed:
			f.Severity = Medium
			f.Message = fmt.Sprintf("%s adds %s, which containerd takes for CAP_%s and ignores: only CRI-O gives it", s.c.Name, e.Word.V, strings.ToUpper(e.Word.V))
			if s.c.Target.Chosen && s.engine != nil && s.engine.Name == "crio" && s.err == nil && s.given.Set.Has(e.cap) {
				f.Severity = Low // it has it, and goes on having it
				f.Want = &manifest.Want{Correct: []manifest.Correction{{At: e.Word.At, Word: right}}}
			}
			// Else to correct it would give the container on containerd what it does not have.
		default:
			f.Message = fmt.Sprintf("%s %ss %q: Pod Security knows only %s", s.c.Name, e.Action, e.Word.V, right)
			f.Want = &manifest.Want{Correct: []manifest.Correction{{At: e.Word.At, Word: right}}}
		}
		s.report(f)
	}
}

func checkDuplicate(s *subject) {
	for _, list := range [][]entry{s.adds, s.drops} {
		seen, all := caps.Set(0), false
		for _, e := range list {
			if e.err != nil {
				continue
			}
			again := e.all && all || !e.all && seen.Has(e.cap)
			if e.all {
				all = true
			} else {
				seen = seen.With(e.cap)
			}
			if !again {
				continue
			}
			f := Finding{Severity: Note, At: e.Word.At, Word: e.Word.Raw}
			f.Message = fmt.Sprintf("%s %ss %s twice", s.c.Name, e.Action, e.Word.V)
			f.Want = &manifest.Want{Remove: []manifest.Pos{e.Word.At}}
			s.report(f)
		}
	}
	if s.dropAll == nil || s.addAll != nil {
		return
	}
	added := s.added()
	for _, e := range s.drops {
		if e.err != nil || e.all || added.Has(e.cap) { // what is added too, is no duplicate
			continue
		}
		s.report(Finding{
			Severity: Note, At: e.Word.At, Word: e.Word.Raw, Caps: caps.Of(e.cap),
			Message: fmt.Sprintf("%s drops %s beside ALL", s.c.Name, e.Word.V),
			Want:    &manifest.Want{Remove: []manifest.Pos{e.Word.At}},
		})
	}
}

// added are the capabilities that are added by name.
func (s *subject) added() caps.Set {
	var set caps.Set
	for _, e := range s.adds {
		if e.err == nil && !e.all {
			set = set.With(e.cap)
		}
	}
	return set
}

func checkVoid(s *subject) {
	if s.engine == nil || s.c.Stated != nil {
		return
	}
	if s.privileged {
		for _, e := range s.drops {
			s.report(Finding{
				Severity: High, At: e.Word.At, Word: e.Word.Raw, Related: []manifest.Pos{s.c.Privileged.At},
				Message: fmt.Sprintf("%s drops %s and is privileged: it has it all the same", s.c.Name, e.Word.Raw),
				Gain:    "What should be dropped is kept.", Mend: "Take privileged away.",
			})
		}
		for _, e := range s.adds {
			s.report(Finding{
				Severity: Low, At: e.Word.At, Word: e.Word.Raw, Related: []manifest.Pos{s.c.Privileged.At},
				Message: fmt.Sprintf("%s adds %s and is privileged: it has it anyway", s.c.Name, e.Word.Raw),
				Mend:    "Take privileged away, and keep this.",
			})
		}
		return
	}
	if s.err != nil {
		return
	}
	holds := s.given.Set
	for _, e := range s.drops {
		switch {
		case e.err != nil:
		case e.all && s.addAll != nil && !holds.Empty():
			s.report(Finding{
				Severity: High, At: e.Word.At, Word: e.Word.Raw, Related: []manifest.Pos{s.addAll.Word.At},
				Message: fmt.Sprintf("%s drops ALL and adds ALL: %s gives it all", s.c.Name, engineTitle(s.engine.Name)),
				Gain:    "What should be dropped is kept.", Mend: "Remove the ALL that is added.",
				Want: &manifest.Want{Remove: []manifest.Pos{e.Word.At}},
			})
		case !e.all && holds.Has(e.cap) && !s.prefixIgnored(e):
			f := Finding{
				Severity: High, At: e.Word.At, Word: e.Word.Raw, Caps: caps.Of(e.cap),
				Message: fmt.Sprintf("%s drops %s and adds it: %s gives it", s.c.Name, e.cap, engineTitle(s.engine.Name)),
				Gain:    "What should be dropped is kept.", Mend: "Remove it from the list to add.",
				Want: &manifest.Want{Remove: []manifest.Pos{e.Word.At}},
			}
			if at, ok := s.find(s.adds, e.cap); ok {
				f.Related = append(f.Related, at)
			}
			s.report(f)
		}
	}
	for _, e := range s.adds {
		switch {
		case e.err != nil:
		case e.all && s.dropAll != nil && holds.Empty():
			s.report(Finding{
				Severity: Low, At: e.Word.At, Word: e.Word.Raw, Related: []manifest.Pos{s.dropAll.Word.At},
				Message: fmt.Sprintf("%s adds ALL and drops ALL: %s gives it nothing", s.c.Name, engineTitle(s.engine.Name)),
				Mend:    "Remove the ALL that is added.",
				Want:    &manifest.Want{Remove: []manifest.Pos{e.Word.At}},
			})
		case !e.all && !holds.Has(e.cap) && !s.prefixIgnored(e):
			f := Finding{
				Severity: Low, At: e.Word.At, Word: e.Word.Raw, Caps: caps.Of(e.cap),
				Message: fmt.Sprintf("%s adds %s and drops it: %s does not give it", s.c.Name, e.cap, engineTitle(s.engine.Name)),
				Mend:    "Remove it from the list to add.",
				Want:    &manifest.Want{Remove: []manifest.Pos{e.Word.At}},
			}
			if at, ok := s.find(s.drops, e.cap); ok {
				f.Related = append(f.Related, at)
			}
			s.report(f)
		}
	}
}

// prefixIgnored says that name-spelling reports the entry already.
func (s *subject) prefixIgnored(e entry) bool {
	return s.kubernetes() && strings.HasPrefix(strings.ToUpper(e.Word.V), "CAP_")
}

func (s *subject) find(list []entry, c caps.Cap) (manifest.Pos, bool) {
	for _, e := range list {
		if e.err == nil && !e.all && e.cap == c {
			return e.Word.At, true
		}
	}
	return manifest.Pos{}, false
}

// checkEngines compares the engines of the target with one default for all, so that only
// what was written makes a difference.
func checkEngines(s *subject) {
	s.clientRefuses()
	if s.privileged || s.c.Stated != nil || s.c.Target.Chosen || len(s.c.Target.Engines) < 2 || len(s.c.Caps) == 0 {
		return
	}
	req, unknown := s.c.Request()
	if len(unknown) > 0 {
		return
	}
	req.Version = ""
	type answer struct {
		engine string
		set    caps.Set
		err    error
	}
	var answers []answer
	for _, name := range s.c.Target.Engines {
		r, err := rules.For(name)
		if err != nil {
			continue
		}
		req.Default = &s.engine.Default
		result, err := r.Apply(req)
		answers = append(answers, answer{name, result.Set, err})
	}
	for i := 1; i < len(answers); i++ {
		a, b := answers[0], answers[i]
		if a.err == nil && b.err == nil && a.set == b.set || a.err != nil && b.err != nil {
			continue
		}
		f := Finding{Severity: Medium, At: s.c.Caps[0].Word.At, Word: a.engine + "/" + b.engine}
		switch {
		case a.err != nil:
			f.Message = fmt.Sprintf("%s: %v; %s gives it %s", s.c.Name, a.err, engineTitle(b.engine), names(b.set))
		case b.err != nil:
			f.Message = fmt.Sprintf("%s: %s gives it %s; %v", s.c.Name, engineTitle(a.engine), names(a.set), b.err)
		default:
			f.Caps = a.set.Union(b.set).Minus(a.set.Intersect(b.set))
			more, less := a, b
			if a.set.Minus(b.set).Empty() {
				more, less = b, a
			}
			f.Message = fmt.Sprintf("%s: %s gives it %s, which %s does not", s.c.Name, engineTitle(more.engine), names(more.set.Minus(less.set)), engineTitle(less.engine))
		}
		s.report(f)
	}
}

// clientRefuses is about Nomad, whose clients let a task add what their allow_caps has; the
// default of that is also what a task gets.
func (s *subject) clientRefuses() {
	if s.c.Format != "nomad" || s.c.Target.Default == nil || s.privileged {
		return
	}
	for _, e := range s.adds {
		if e.err != nil || !e.all && s.c.Target.Default.Has(e.cap) {
			continue
		}
		f := Finding{Severity: Note, At: e.Word.At, Word: "allow_caps " + e.Word.Raw, Mend: "Add it to allow_caps of the docker plugin on the clients that run this, if it is needed."}
		what := "ALL"
		if !e.all {
			what, f.Caps = e.cap.String(), caps.Of(e.cap)
		}
		f.Message = fmt.Sprintf("%s adds %s, and Nomad does not start it where a client's allow_caps is the default", s.c.Name, what)
		s.report(f)
	}
}

// checkInert looks for added capabilities that no process can use.
func checkInert(s *subject) {
	if s.privileged || s.err != nil || s.c.Stated != nil {
		return
	}
	for _, e := range s.adds {
		if e.err != nil || e.all || !s.given.Set.Has(e.cap) {
			continue
		}
		f := Finding{Severity: Low, At: e.Word.At, Word: e.Word.Raw, Caps: caps.Of(e.cap)}
		remove := &manifest.Want{Remove: []manifest.Pos{e.Word.At}}
		entry := knowledge(e.cap)
		switch {
		case s.ownUsers && entry.UserNamespace.Effect == catalog.UserUseless:
			f.Message = fmt.Sprintf("%s adds %s, which counts in the initial user namespace only, and has one of its own", s.c.Name, e.cap)
			f.Want = remove
		case s.nonRoot() && s.given.Runtime.Ambient.Has(e.cap):
			continue // Podman
		case s.nonRoot() && (manifest.Is(s.c.NoNewPrivs, true) || s.Image != nil && len(s.Image.Programs) == 0):
			f.Message = fmt.Sprintf("%s adds %s and does not run as root: nothing in it can use that", s.c.Name, e.cap)
			f.Want = remove
		case s.nonRoot() && s.Image == nil:
			f.Message = fmt.Sprintf("%s adds %s and does not run as root: only a set-uid program or one with file capabilities can use that", s.c.Name, e.cap)
		case e.cap == caps.NetBindService && s.dropsNetBind() && s.everyPort():
			f.Severity = Note
			f.Message = fmt.Sprintf("%s adds net_bind_service, and Docker lets everybody bind every port", s.c.Name)
			f.Mend = "Remove it, if no engine but Docker (20.10 or later) and containerd (2.0 or later) runs this."
		default:
			continue
		}
		s.report(f)
	}
}

// dropsNetBind: only where it would be gone otherwise is it worth saying.
func (s *subject) dropsNetBind() bool {
	if s.dropAll != nil {
		return true
	}
	_, ok := s.find(s.drops, caps.NetBindService)
	return ok
}

// everyPort says that the engine sets net.ipv4.ip_unprivileged_port_start to 0: Docker
// does since 20.10, in a network namespace of the container's own (moby
// daemon/oci_linux.go), unless the user set another.
func (s *subject) everyPort() bool {
	if s.engine.Name != "docker" || s.c.Shares("net") {
		return false
	}
	for _, p := range s.c.Sysctls {
		if p.Key == "net.ipv4.ip_unprivileged_port_start" {
			return manifest.Is(p.Value, "0")
		}
	}
	return true
}

// checkKnown says why nothing is said.
func checkKnown(s *subject) {
	var e *manifest.Error
	if errors.As(s.err, &e) {
		s.report(Finding{Severity: Note, At: e.At, Word: e.Reason, Message: e.Reason, Mend: e.Hint})
		return
	}
	var refused *rules.Error
	if errors.As(s.err, &refused) && !s.reportedWord() {
		s.report(Finding{
			Severity: Medium, At: s.firstEntry(), Word: refused.Reason,
			Message: fmt.Sprintf("%s: %v", s.c.Name, refused), Mend: "Correct the lists: the container does not start as they are.",
		})
	}
}

// reportedWord says that a word was found unknown, which is why the engine refuses.
func (s *subject) reportedWord() bool {
	for _, e := range s.entries() {
		if e.err != nil {
			return true
		}
	}
	return false
}

func (s *subject) firstEntry() manifest.Pos {
	if len(s.c.Caps) > 0 {
		return s.c.Caps[0].Word.At
	}
	return s.c.At
}
