package proof_test

import (
	"regexp"
	"slices"
	"strings"
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
		if (len(e.Kernels) == 0) != (e.Measured == proof.Never) {
			fail("measured %q, on %q", e.Measured, e.Kernels)
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

// named is the experiment of that name.
func named(t *testing.T, name string) proof.Experiment {
	t.Helper()
	for _, e := range proof.All() {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("no experiment %s", name)
	return proof.Experiment{}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct{ name, sentence, confined, nested string }{
		{"chown", "chown(2) of one's own file to another user gives EPERM without it", "",
			"a user namespace of its own is enough"},
		{"chmod-setgid", "chmod(2) to 2755 of one's own file of a group that one is not in succeeds without it too, but gives mode 0755 instead of mode 2755", "",
			"a user namespace of its own is enough"},
		{"reboot", "reboot(2) gives EPERM without it; with it the kernel goes on, here to EINVAL", "",
			"a user namespace of its own helps in new namespaces alone"},
		{"kexec", "kexec_load(2) gives EPERM without it; with it the kernel goes on, here to EINVAL", "under Docker's confinement it gives EPERM even with it",
			"a user namespace of its own does not help"},
		{"bind-port", "bind(2) to port 80 where net.ipv4.ip_unprivileged_port_start is 1024 gives EACCES without it", "under Docker's confinement it works without it",
			"a user namespace of its own helps in new namespaces alone"},
		{"kill", "kill(2) of another user's process gives EPERM without it", "",
			"a user namespace of its own helps with the processes in it alone"},
	} {
		e := named(t, tt.name)
		if got := e.Sentence(); got != tt.sentence {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.sentence)
		}
		if got := e.Confined(); got != tt.confined {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.confined)
		}
		if got := e.Asked.Nested(); got != tt.nested {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.nested)
		}
	}
}

func TestDetails(t *testing.T) {
	for name, want := range map[string]string{
		"chown":                  "a user namespace of its own is enough; measured on Linux " + strings.Join(proof.Kernels()[:len(proof.Kernels())-1], ", ") + " and " + proof.Kernels()[len(proof.Kernels())-1],
		"load-module":            "a user namespace of its own does not help; it shows only with loadable modules (CONFIG_MODULES); measured on Linux 6.12",
		"limit-usermode-helpers": "setpcap is needed besides; a user namespace of its own does not help; under Docker's confinement it gives EROFS even with it; measured on Linux 5.10, 6.1, 6.12, 6.18 and 7.3",
		"read-maps":              "each of perfmon and sys_admin does in its place; a user namespace of its own helps with the processes in it alone; on older kernels neither perfmon nor sys_admin did in its place (6.12); measured on Linux 6.18 and 7.3",
	} {
		if got := strings.Join(named(t, name).Details(), "; "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	never := proof.Experiment{Asked: proof.Own, Measured: proof.Never}
	if got := never.MeasuredOn(); got != "not measured yet" {
		t.Errorf("an experiment that nobody made: %q", got)
	}
}

// TestAsked: where it was measured to be asked is among the places that the catalog has.
func TestAsked(t *testing.T) {
	for _, e := range proof.All() {
		in := catalog.Namespace(e.Asked)
		if in.Means() == "" {
			t.Errorf("%s: the catalog has no namespace %q", e.Name, e.Asked)
		}
		asked := catalog.Get(e.Cap).AskedIn
		// The parent of a user namespace that a process makes is its own.
		if e.Asked == proof.Own && slices.Contains(asked, catalog.InParent) {
			continue
		}
		if !slices.Contains(asked, in) {
			t.Errorf("%s: %v is asked for in %s, the catalog says %v", e.Name, e.Cap, e.Asked, asked)
		}
	}
}

// TestInCatalog: what was measured is among the catalog's checks, with the same outcome.
func TestInCatalog(t *testing.T) {
	for _, e := range proof.All() {
		call, _, _ := strings.Cut(e.Operation, "(")
		if call == "prlimit" { // the C library's name
			call = "prlimit64"
		}
		call = catalog.Family(call)
		ok := slices.ContainsFunc(catalog.Get(e.Cap).Checks, func(c catalog.Check) bool {
			errno := ""
			if e.Without.Errno() {
				errno = string(e.Without)
			}
			return slices.Contains(c.Calls, call) && (c.Errno == errno || strings.Contains(c.Note, string(e.Without)))
		})
		if !ok {
			t.Errorf("%s: %s gives %s without %v, which no check of the catalog says", e.Name, call, e.Without, e.Cap)
		}
	}
}

// What follows from where the kernel asks is filled in.
func TestFollows(t *testing.T) {
	for name, want := range map[string][2]proof.Outcome{
		"chown": {"works", "works"}, "bind-port": {"EACCES", "works"}, "mknod": {"EPERM", "EPERM"},
		"audit-message": {"ECONNREFUSED", "ECONNREFUSED"}, // stands in the file
	} {
		if e := named(t, name); e.Child != want[0] || e.New != want[1] {
			t.Errorf("%s: %s and %s, want %s and %s", name, e.Child, e.New, want[0], want[1])
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
