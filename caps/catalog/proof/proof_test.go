package proof_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/caps/catalog/proof"
)

// TestComplete: every capability is shown, and in the order of their numbers.
func TestComplete(t *testing.T) {
	var seen caps.Set
	last := caps.Cap(0)
	names := map[string]bool{}
	for _, e := range proof.All() {
		if e.Cap < last {
			t.Errorf("%s of %v stands behind %v", e.Name, e.Cap, last)
		}
		last, seen = e.Cap, seen.With(e.Cap)
		if names[e.Name] {
			t.Errorf("%s is there twice", e.Name)
		}
		names[e.Name] = true
	}
	if missing := caps.All().Minus(seen); !missing.Empty() {
		t.Errorf("no experiment shows %v", missing)
	}
	for c := range caps.Last + 1 {
		for _, e := range proof.Of(c) {
			if e.Cap != c {
				t.Errorf("%s of %v is among those of %v", e.Name, e.Cap, c)
			}
		}
	}
}

func TestExperiments(t *testing.T) {
	operation := regexp.MustCompile(`^[a-z][a-z0-9_]*\(([0-9]|[A-Z][A-Z0-9_]*)\)( [^,;]*[^.,; ])?$`)
	place := regexp.MustCompile(`^[a-z0-9_/]+\.[ch]:[a-z0-9_]+$`)
	for _, e := range proof.All() {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%s: "+format, append([]any{e.Name}, args...)...)
		}
		if !operation.MatchString(e.Operation) {
			fail("operation %q does not begin with a system call, or is no clause", e.Operation)
		}
		if !place.MatchString(e.Source) {
			fail("source %q is no file:function", e.Source)
		}
		if e.Asked.Means() == "" {
			fail("asked %q", e.Asked)
		}
		if e.With == "" || e.Without == "" || e.With == e.Without {
			fail("with %q, without %q", e.With, e.Without)
		}
		// An errno with the capability is chosen, and so has a reason.
		if e.With.Errno() && e.Harmless == "" {
			fail("it does not say why it is made to fail with %s", e.With)
		}
		if (e.Since == "") != (e.Before == "") {
			fail("since %q, before %q: one says nothing without the other", e.Since, e.Before)
		}
		if e.Measured == proof.Never && len(e.Needs) == 0 {
			fail("it was never measured, and does not say what it needs for that")
		}
		for _, n := range e.Needs {
			if f, ok := proof.FeatureNamed(n); !ok || f.Means == "" {
				fail("needs %q, which is no feature", n)
			}
		}
		for _, c := range append(e.Others, e.Also...) {
			if c == e.Cap {
				fail("%v is beside itself", c)
			}
		}
	}
}

// TestOthers: what was measured to do in a capability's place is what the catalog says.
func TestOthers(t *testing.T) {
	narrower := func(of, sub caps.Cap) bool {
		return slices.ContainsFunc(catalog.Get(of).Narrower, func(n catalog.Narrower) bool { return n.Cap == sub })
	}
	for _, e := range proof.All() {
		for _, o := range e.Others {
			if !narrower(o, e.Cap) && !narrower(e.Cap, o) {
				t.Errorf("%s: %v does in the place of %v, and the catalog has neither as a substitute of the other", e.Name, o, e.Cap)
			}
		}
	}
}

func TestSentence(t *testing.T) {
	for name, want := range map[string]string{
		"chown":        "chown(2) of one's own file to another user gives EPERM without it",
		"chmod-setgid": "chmod(2) to 2755 of one's own file of a group that one is not in succeeds without it too, but gives mode 0755 instead of mode 2755",
		"reboot":       "reboot(2) gives EPERM without it; with it the kernel goes on, here to EINVAL",
	} {
		found := false
		for _, e := range proof.All() {
			if e.Name == name {
				found = true
				if got := e.Sentence(); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		}
		if !found {
			t.Errorf("no experiment %s", name)
		}
	}
}

// What a caller does to an experiment stays with the caller.
func TestCopies(t *testing.T) {
	proof.All()[0].Name = "changed"
	got := proof.Of(caps.Bpf)[0]
	got.Others[0] = caps.Chown
	if proof.All()[0].Name == "changed" || proof.Of(caps.Bpf)[0].Others[0] == caps.Chown {
		t.Error("a caller changed the table")
	}
}
