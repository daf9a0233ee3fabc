package usage_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

func TestFold(t *testing.T) {
	check := usage.Check{Cap: caps.Chown, Verdict: usage.Granted, Phase: usage.Start, Syscall: "chown", Path: "/first", Count: 2}
	other := check
	other.Path, other.Count = "/second", 3
	later := check
	later.Phase = usage.Stop
	a := &usage.Record{
		Launch: &caps.State{Bounding: caps.Of(caps.Chown)},
		Sets:   map[usage.Phase]usage.Sets{usage.Start: {Granted: caps.Of(caps.Chown)}},
		Checks: []usage.Check{check, later}, Execs: []usage.Exec{{Path: "/b"}},
		Identities: []usage.Identity{{Exe: "/b", Root: "/"}}, ChecksSeen: 5, Lost: map[string]uint64{"tasks": 1},
	}
	b := &usage.Record{
		Sets:   map[usage.Phase]usage.Sets{usage.Start: {Granted: caps.Of(caps.Kill)}, usage.Stop: {Denied: caps.Of(caps.Kill)}},
		Checks: []usage.Check{other}, Execs: []usage.Exec{{Path: "/a"}, {Path: "/b"}},
		Identities: []usage.Identity{{Exe: "/a", Root: "/"}, {Exe: "/b", Root: "/"}}, ChecksSeen: 1, Lost: map[string]uint64{"tasks": 2},
	}
	got := usage.Fold(a, b)
	if all := got.All(); all.Granted != caps.Of(caps.Chown, caps.Kill) || all.Denied != caps.Of(caps.Kill) {
		t.Errorf("sets %+v", all)
	}
	if len(got.Checks) != 2 || got.Checks[0].Count != 5 || got.Checks[0].Path != "/first" {
		t.Errorf("checks %+v", got.Checks)
	}
	if len(got.Execs) != 2 || got.Execs[0].Path != "/a" || len(got.Identities) != 2 || got.ChecksSeen != 6 || got.Lost["tasks"] != 3 || got.Launch == nil {
		t.Errorf("%+v", got)
	}
	if got.Complete() {
		t.Error("what was lost is forgotten")
	}
	// Folding changes nothing of what it folds.
	if a.Checks[0].Count != 2 || a.Lost["tasks"] != 1 {
		t.Error("fold changed its argument")
	}
	if d := cmp.Diff(usage.Fold(a, b), usage.Fold(a, b)); d != "" {
		t.Error("not deterministic:", d)
	}
}

func TestComplete(t *testing.T) {
	for _, c := range []struct {
		name string
		r    usage.Record
		want bool
	}{
		{"empty", usage.Record{}, true},
		{"lost", usage.Record{Lost: map[string]uint64{"sets": 1}}, false},
		{"unread executable", usage.Record{Execs: []usage.Exec{{Path: "/x", Unknown: "gone"}}}, false},
		{"one that was not executed", usage.Record{Execs: []usage.Exec{{Path: "/x", Failed: true, Unknown: "gone"}}}, true},
	} {
		if got := c.r.Complete(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestProfileFile(t *testing.T) {
	p := &usage.Profile{
		Version: usage.Version, Baseline: caps.Of(caps.Chown, caps.Cap(50)), Required: caps.Of(caps.Chown),
		Subject: usage.Subject{Kind: "command", Command: []string{"a <b> & c"}},
		Sets:    map[usage.Phase]usage.Sets{usage.Steady: {Granted: caps.Of(caps.Chown)}},
	}
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"required": [`, `"CAP_CHOWN"`, `"50"`, `"optional": []`, `a <b> & c`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in\n%s", want, data)
		}
	}
	back, err := usage.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, back); d != "" {
		t.Error(d)
	}
	for name, text := range map[string]string{
		"not JSON": "hello", "another version": `{"version":"leastcap.profile/v9"}`, "no version": `{}`,
		"wrong type": `{"version":"leastcap.profile/v1","required":7}`, "unknown capability": `{"version":"leastcap.profile/v1","required":["CAP_NOPE"]}`,
	} {
		if _, err := usage.Parse([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	long := strings.Repeat("\n", 5000)
	for text, want := range map[string]string{
		`{"version": "é", }`:                       "f:1:18",
		`{"version":"leastcap.profile/v1",` + long: "f:5000:1",
		`{"version":"leastcap.profile/v1",` + long + `"required": 7, "optional": []}`: "f",
		`{"version":"leastcap.profile/v1",` + long + `"subject": [], "required": []}`: "f:5001:12",
		`{"version":"leastcap.profile/v9"}`:                                           "f",
	} {
		_, err := usage.Parse([]byte(text))
		if got := usage.At("f", err); err == nil || got != want {
			t.Errorf("%.50q: %v at %s, want %s", text, err, got, want)
		}
	}
	// Fields that a later version adds are let be.
	if _, err := usage.Parse([]byte(`{"version":"leastcap.profile/v1","later":1}`)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":"leastcap.profile/v1","required":["CAP_CHOWN"],"sets":{"start":{"granted":["KILL"]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := usage.Parse(data)
		if err != nil {
			return
		}
		out, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := usage.Parse(out)
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, out)
		}
		if out2, _ := again.Marshal(); string(out2) != string(out) {
			t.Fatalf("written twice, differs:\n%s\n%s", out, out2)
		}
	})
}
