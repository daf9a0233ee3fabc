package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

func merged(t testing.TB, force bool, in ...usage.Named) *usage.Profile {
	t.Helper()
	p, err := usage.Merge(force, in...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func diff(t testing.TB, a, b usage.Named, style Style) string {
	t.Helper()
	var out bytes.Buffer
	if err := Diff(&out, usage.Compare(a, b), style); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// database is learned with an empty volume, or with one that was used.
func database(fresh bool) usage.Named {
	required, optional := caps.Of(caps.Setgid, caps.Setuid), caps.Of(caps.DacOverride)
	if fresh {
		required, optional = required.With(caps.Chown, caps.DacOverride), 0
	}
	p := profile("db:17", docker14(), required, optional, "-v", "data:/data", "db:17")
	p.Subject.Checks = []string{"pg_isready -h $LEASTCAP_IP"}
	p.Sets = map[usage.Phase]usage.Sets{usage.Start: {Granted: required.Union(optional)}}
	for _, c := range required.Union(optional).Caps() {
		find(p, c).Checks = []usage.Check{check(c, "/usr/bin/db", "chown", `chown("/data", 999, 999)`, "", "setattr_prepare", 1)}
	}
	if fresh {
		return usage.Named{Name: "fresh.json", Profile: p}
	}
	p.Kernel = "6.1.0"
	stop := check(caps.Setuid, "/usr/bin/db", "setuid", "setuid(999)", "", "__sys_setuid", 1)
	stop.Phase = usage.Stop
	find(p, caps.Setuid).Checks = append(find(p, caps.Setuid).Checks, stop)
	return usage.Named{Name: "used.json", Profile: p}
}

func TestGoldenMerged(t *testing.T) {
	fresh, used := database(true), database(false)
	p := merged(t, false, fresh, used)
	golden(t, "merged.txt", render(t, p, Style{}))
	golden(t, "merged.flags", flagsOf(t, p))
	again := database(true)
	again.Name, again.Profile.Seconds = "again.json", 20
	golden(t, "merged-alike.txt", render(t, merged(t, false, fresh, again), Style{}))
	cut := usage.Named{Name: "cut.json", Profile: cutShort()}
	cut.Profile.Subject.Digest = "sha256:0123456789abcdef"
	golden(t, "merged-forced.txt", render(t, merged(t, true, cut, used), Style{}))

	golden(t, "diff.txt", diff(t, fresh, used, Style{}))
	golden(t, "diff-none.txt", diff(t, fresh, fresh, Style{}))
	golden(t, "diff-facts.txt", diff(t, usage.Named{Name: "a.json", Profile: substitutes()}, usage.Named{Name: "b.json", Profile: func() *usage.Profile {
		p := substitutes()
		p.Kernel, p.Proven, p.Baseline = "6.1.0", false, p.Baseline.With(caps.SysPtrace)
		return p
	}()}, Style{}))
}

// Every two examples are merged and compared; the pages are printed characters
// within the width, and colour adds nothing to the words.
func TestMergedPrintedCharactersOnly(t *testing.T) {
	for a, p := range examples() {
		for b, q := range examples() {
			name := a + " and " + b
			x, y := usage.Named{Name: a, Profile: p}, usage.Named{Name: b + "\x1b[2J\n", Profile: q}
			m := merged(t, true, x, y)
			for _, width := range []int{40, 80} {
				page := diff(t, x, y, Style{Width: width})
				printed(t, name, page)
				for line := range strings.Lines(page) {
					if w := ansi.StringWidth(line); w > width {
						t.Errorf("%s: %d columns: %q", name, w, line)
					}
				}
				if stripped := ansi.Strip(diff(t, x, y, Style{Width: width, Color: true})); stripped != page {
					t.Errorf("%s: colour changes the text", name)
				}
				printed(t, name, render(t, m, Style{Width: width}))
			}
			printed(t, name, flagsOf(t, m))
		}
	}
}

func TestDiffJSON(t *testing.T) {
	d := usage.Compare(database(true), database(false))
	var b bytes.Buffer
	if err := DiffJSON(&b, d); err != nil {
		t.Fatal(err)
	}
	var back usage.Diff
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Version != usage.DiffVersion || back.Same || len(back.Changes) != len(d.Changes) {
		t.Errorf("%s", b.Bytes())
	}
	if err := errors.Join(DiffJSON(broken{}, d), Diff(broken{}, d, Style{})); err == nil {
		t.Error("no error")
	}
}

// FuzzProfiles reads two files as profiles: whatever they hold, showing, merging
// and comparing them ends well and prints no control character.
func FuzzProfiles(f *testing.F) {
	for _, p := range examples() {
		data, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, data)
	}
	odd := hostile()
	odd.Runs, odd.Seconds, odd.Lost = -1, -1e308, map[string]uint64{"\x1b[2J": 1 << 63}
	for i := range odd.Capabilities {
		odd.Capabilities[i].Without = &usage.Proof{Trial: []int{-1 << 63, 1<<63 - 1}[i%2]}
	}
	odd.Substitutes = append(odd.Substitutes, usage.Substitute{Adopted: true, Trial: -7})
	odd.Conflicts = []usage.Conflict{{Cap: caps.Chown, Claims: []usage.Claim{{Source: "\x1b[2J", Status: "\a", Phases: []usage.Phase{"\x1b", "", "", "", ""}}}}, {Cap: caps.Chown}}
	data, err := odd.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, data)
	odd.Merged = []usage.Source{{Name: "\x1b[2J", SHA256: "x", Trials: -1}}
	claims, err := odd.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(claims, data)
	whole, err := merged(f, true, database(true), usage.Named{Name: "\x1b[2J", Profile: hostile()}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, data)
	f.Add([]byte(`{"version":"leastcap.profile/v1"}`), []byte(`{"version":"leastcap.profile/v1","trials":[],"capabilities":[{"capability":"63","without":{"trial":5}}]}`))

	f.Fuzz(func(t *testing.T, a, b []byte) {
		p, err := usage.Parse(a)
		if err != nil {
			return
		}
		q, err := usage.Parse(b)
		if err != nil {
			return
		}
		x, y := usage.Named{Name: "a\x1b", Profile: p}, usage.Named{Name: "b", Profile: q}
		printed(t, "show", render(t, p, Style{}))
		printed(t, "diff", diff(t, x, y, Style{}))
		m, err := usage.Merge(true, x, y)
		if err != nil {
			return
		}
		printed(t, "merge", render(t, m, Style{}))
		back, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := usage.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := usage.Merge(true, usage.Named{Name: "m", Profile: again}, x); err != nil {
			t.Errorf("a merged profile cannot be merged: %v", err)
		}
	})
}
