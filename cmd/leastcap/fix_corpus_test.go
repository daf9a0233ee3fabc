package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/usage"
)

// corpusFix is fix of a directory, with a proven profile for every image in it.
func corpusFix(t *testing.T, dir string, tools *ownTools) (*definitions, *fixPlan) {
	t.Helper()
	f := &fixFlags{grant: true}
	f.noStore = true
	in, err := f.load(t.Context(), nil, []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	required := caps.Of(caps.Chown, caps.Setgid, caps.Setuid)
	for i := range in.subjects {
		s := &in.subjects[i]
		s.ProfileName = "a profile"
		s.Profile = &usage.Profile{Complete: true, Proven: true, Baseline: caps.All(), Required: required, Recommended: required, Unused: caps.All().Minus(required)}
	}
	return in, f.plan(t.Context(), in, in.audit(time.Now()), tools)
}

// tree are the files of a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	if err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		m[rel] = string(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// TestFixCorpus changes all that people really wrote, once with the line ends that it has
// and once with those of Windows. git is the judge of which lines changed, and the copy
// with other line ends the judge of what they became.
//
// The formats' own tools are asked about each of it, and agree.
func TestFixCorpus(t *testing.T) {
	testenv.Need(t, testenv.Command("git"), testenv.Command("systemd-analyze"))
	withVerifier(t)
	tools := newOwnTools(t.Context(), toolsAuto, true)
	defer func() {
		if err := tools.close(); err != nil {
			t.Error(err)
		}
	}()
	lf, cr := t.TempDir(), t.TempDir()
	for name, data := range testenv.Corpus(t, "*/*") {
		for dir, text := range map[string]string{lf: string(data), cr: crlf(string(data))} {
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	changed := map[string]map[string]bool{}
	for _, dir := range []string{lf, cr} {
		before := tree(t, dir)
		in, plan := corpusFix(t, dir, tools)
		for _, err := range plan.errs {
			t.Error(err)
		}
		for why, files := range plan.unasked {
			// An API server does not take it: there is a placeholder for a number.
			if len(files) > 1 || filepath.Base(files[0]) != "_archived_volumes_fibre_channel_fc.yaml" {
				t.Errorf("no tool was asked about %v: %s", files, why)
			}
		}
		for _, r := range plan.refusals {
			if strings.Contains(r.Reason, "nothing in the file is changed") {
				t.Error(r)
			}
		}
		changed[dir] = map[string]bool{}
		old := t.TempDir()
		for _, c := range plan.files {
			rel, _ := filepath.Rel(dir, c.Name)
			changed[dir][rel] = true
			if err := (&fixFlags{}).replace(c); err != nil {
				t.Error(err)
			}
			// Lines that an edit touches; one that is put in front of a line leaves it alone.
			touched := map[string]bool{}
			for _, e := range c.Edits {
				start := bytes.LastIndexByte(c.Before[:e.Start], '\n') + 1
				end := len(c.Before)
				if i := bytes.IndexByte(c.Before[e.End:], '\n'); i >= 0 {
					end = e.End + i
				}
				for line := range strings.Lines(string(c.Before[start:end])) {
					touched[strings.TrimRight(line, "\r\n")] = true
				}
			}
			was := filepath.Join(old, "was")
			if err := os.WriteFile(was, []byte(before[rel]), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _ := exec.Command("git", "diff", "--no-index", "-U0", "--minimal", was, c.Name).Output() // 1 is that they differ
			for line := range strings.Lines(string(out)) {
				if line = strings.TrimRight(line, "\r\n"); strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "--- ") && !touched[line[1:]] {
					t.Errorf("%s: a line changed that is no part of an edit: %s", rel, line)
				}
			}
		}
		after := tree(t, dir)
		for name := range after {
			if after[name] != before[name] && !changed[dir][name] {
				t.Errorf("%s changed", name)
			}
		}
		again, second := corpusFix(t, dir, tools)
		for _, c := range second.files {
			t.Errorf("%s would change again:\n%s", c.Name, unified(c))
		}
		if a, b := len(in.errs), len(again.errs); a != b || len(in.subjects) != len(again.subjects) {
			t.Errorf("%d containers and %d errors were %d and %d", len(again.subjects), b, len(in.subjects), a)
		}
		// What is left open is what was refused, with a reason.
		refused := map[string]bool{}
		for _, r := range plan.refusals {
			refused[r.Container.At.File+" "+r.Container.Path] = true
		}
		for _, f := range again.audit(time.Now()).Findings {
			if f.Want != nil && f.Rule.ID != "privileged" && !refused[f.At.File+" "+f.Container.Path] && f.Severity > audit.Low {
				t.Errorf("%s: not mended: %s", f.At, f.Message)
			}
		}
		t.Logf("%d containers in %d files: %d files changed, %d containers refused", len(in.subjects), len(in.files), len(plan.files), len(refused))
	}
	if len(changed[lf]) < 100 {
		t.Errorf("only %d files changed", len(changed[lf]))
	}
	one, other := tree(t, lf), tree(t, cr)
	for _, name := range slices.Sorted(maps.Keys(one)) {
		if crlf(one[name]) != other[name] {
			t.Errorf("%s differs with other line ends:\n%s", name, unifiedText(name, crlf(one[name]), other[name]))
		}
	}
}

func unifiedText(name, a, b string) string {
	return fmt.Sprintf("%q\n%q", name, firstDifference(a, b))
}

// firstDifference is a part of both.
func firstDifference(a, b string) [2]string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	part := func(s string) string { return s[max(0, i-80):min(len(s), i+80)] }
	return [2]string{part(a), part(b)}
}

// TestFixKilled kills fix --write at random moments: each file is what it was or what it
// should be, and the run after that finishes it and leaves nothing behind. Nor does
// leastcap-verifier, which ends when who asks it has ended.
func TestFixKilled(t *testing.T) {
	withVerifier(t)
	t.Setenv("TMPDIR", t.TempDir())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const files = 40
	const was = "services:\n  web:\n    image: nginx\n    cap_drop: [ALL]\n    cap_add: [CHOWN, chown, cap_chown]\n"
	const will = "services:\n  web:\n    image: nginx\n    cap_drop: [ALL]\n    cap_add: [CHOWN]\n"
	dir := t.TempDir()
	fresh := func() {
		for i := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("compose-%d.yaml", i)), []byte(was), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	begun := func() bool { // some file is another
		for i := range files {
			if info, err := os.Stat(filepath.Join(dir, fmt.Sprintf("compose-%d.yaml", i))); err == nil && info.Size() != int64(len(was)) {
				return true
			}
		}
		return false
	}
	start := func() *exec.Cmd {
		cmd := exec.Command(self, "fix", "--write", "--quiet", "--no-store", dir)
		cmd.Args[0] = "leastcap" // what TestMain goes by
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	fresh()
	began := time.Now()
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	const rounds = 30
	partly, left := 0, 0
	for round := range rounds {
		fresh()
		cmd := start()
		if round%2 == 0 {
			time.Sleep(rand.N(whole))
		} else { // where reading takes most of the time, writing is seldom met
			for end := time.Now().Add(time.Minute); !begun() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		done := 0
		for name, text := range tree(t, dir) {
			switch {
			case strings.HasPrefix(filepath.Base(name), ".leastcap-"):
				left++
			case text == will:
				done++
			case text != was:
				t.Fatalf("%s is neither the old nor the new file: %q", name, text)
			}
		}
		if done > 0 && done < files {
			partly++
		}
		if err := start().Wait(); err != nil {
			t.Fatal(err)
		}
		for name, text := range tree(t, dir) {
			if text != will {
				t.Fatalf("%s after the next run: %q", name, text)
			}
		}
	}
	if names, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		path, err := testenv.Verifier()
		if err != nil {
			t.Fatal(err)
		}
		running, _ := filepath.Glob("/proc/[0-9]*/exe")
		running = slices.DeleteFunc(running, func(exe string) bool { target, _ := os.Readlink(exe); return target != path })
		if len(running) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("it still runs: %v", running)
			break
		}
	}
	t.Logf("%d of %d were killed in the middle, %d temporary files were left and swept", partly, rounds, left)
	if partly == 0 {
		t.Error("no run was killed in the middle")
	}
}
