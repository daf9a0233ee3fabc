package audit

import (
	"fmt"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/manifest"
)

// What follows is k8s.io/pod-security-admission/policy, the checks that are about
// capabilities and what makes them void; names are compared as they are written.

// allowedByBaseline are the names that check_capabilities_baseline.go takes.
func allowedByBaseline() caps.Set {
	d, _ := catalog.FindDefault("pss-baseline")
	return d.Caps
}

func checkBaseline(s *subject) {
	if !s.kubernetes() {
		return
	}
	allowed := allowedByBaseline()
	var words []string
	set := caps.Set(0)
	var at manifest.Pos
	for _, e := range s.adds {
		if e.err == nil && !e.all && e.Word.V == e.cap.Docker() && allowed.Has(e.cap) {
			continue
		}
		if e.Word.State != manifest.Known {
			continue
		}
		words = append(words, e.Word.V)
		if e.err == nil && !e.all {
			set = set.With(e.cap)
		}
		at = firstPos(at, e.Word.At)
	}
	var asks []string
	if len(words) > 0 {
		asks = append(asks, "adds "+strings.Join(words, ", "))
	}
	if s.privileged {
		asks = append(asks, "is privileged")
		at = firstPos(at, s.c.Privileged.At)
	}
	for _, n := range s.c.Namespaces {
		if manifest.Is(n.With, "host") && (n.Kind == "pid" || n.Kind == "net" || n.Kind == "ipc") {
			asks = append(asks, "shares the host's "+n.Kind+" namespace")
			at = firstPos(at, n.With.At)
		}
	}
	if len(asks) == 0 {
		return
	}
	s.report(Finding{Severity: Medium, At: at, Caps: set, Word: strings.Join(asks, "; "),
		Message: fmt.Sprintf("%s %s, which the Pod Security Standard baseline forbids", s.c.Name, join(asks))})
}

func checkRestricted(s *subject) {
	if !s.kubernetes() || s.windows() {
		return
	}
	var unmet []string
	var at manifest.Pos
	dropped := false
	for _, e := range s.drops {
		dropped = dropped || manifest.Is(e.Word, "ALL")
	}
	if !dropped && !s.unknownWord() {
		unmet = append(unmet, "does not drop ALL")
	}
	for _, e := range s.adds {
		if e.Word.State == manifest.Known && e.Word.V != "NET_BIND_SERVICE" {
			unmet = append(unmet, "adds "+e.Word.V)
			at = firstPos(at, e.Word.At)
		}
	}
	if s.c.NoNewPrivs.State != manifest.Unknown && !manifest.Is(s.c.NoNewPrivs, true) {
		unmet = append(unmet, "allows privilege escalation")
		at = firstPos(at, s.c.NoNewPrivs.At)
	}
	if len(unmet) == 0 {
		return
	}
	s.report(Finding{Severity: Note, At: firstPos(at, s.c.At), Word: strings.Join(unmet, "; "),
		Message: fmt.Sprintf("%s %s, which the Pod Security Standard restricted forbids", s.c.Name, join(unmet))})
}

// windows pods are exempt from it since 1.25 (check_capabilities_restricted.go).
func (s *subject) windows() bool {
	for _, f := range s.c.Facts {
		if f.Key == "os" {
			return manifest.Is(f.Value, "windows")
		}
	}
	return false
}

func (s *subject) unknownWord() bool {
	if s.c.CapsWhy != "" {
		return true
	}
	for _, e := range s.drops {
		if e.Word.State == manifest.Unknown {
			return true
		}
	}
	return false
}

// join is for a sentence: "a, b and c".
func join(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
