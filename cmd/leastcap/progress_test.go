package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/usage"
)

// run returns the events of one run.
func runEvents(n int, t usage.Trial) []learn.Event {
	var events []learn.Event
	for _, s := range []learn.Step{learn.Starting, learn.Checking, learn.Settling, learn.Stopping, learn.Done} {
		e := learn.Event{Trial: n, Of: 9, Kind: t.Kind, Set: t.Set, Removed: t.Removed, Added: t.Added, Step: s}
		if s == learn.Done {
			e.Outcome = &t
		}
		events = append(events, e)
	}
	return events
}

func learning() []learn.Event {
	four := caps.Of(caps.Chown, caps.DacOverride, caps.Setgid, caps.Setuid)
	var events []learn.Event
	for i, t := range []usage.Trial{
		{Kind: usage.Baseline, Passed: true, Seconds: 1.64},
		{Kind: usage.Predict, Set: four.Without(caps.Setgid), Failure: "check", Seconds: 30},
		{Kind: usage.Repair, Set: four, Added: caps.Of(caps.Setgid), Passed: true, Seconds: 1.6},
		{Kind: usage.Remove, Set: four.Without(caps.Chown), Removed: caps.Of(caps.Chown), Failure: "exit", Reason: "exited 1\x1b[2J\n", Seconds: 0.9},
		{Kind: usage.Replace, Removed: caps.Of(caps.DacOverride), Added: caps.Of(caps.DacReadSearch), Passed: true, Seconds: 1.5},
		{Kind: usage.Confirm, Set: four, Passed: true, Seconds: 1.5},
		{Kind: usage.Confirm, Passed: true, Seconds: 1.5},
	} {
		events = append(events, runEvents(i+1, t)...)
	}
	return events
}

func TestPlainProgress(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, true)
	for _, e := range learning() {
		p.Event(e)
	}
	p.Close()
	const want = `run 1 of 9: baseline: passed, 1.6 s
run 2 of 9: with the predicted 3: failed, 30.0 s: check
run 3 of 9: with setgid added: passed, 1.6 s
run 4 of 9: without chown: failed, 0.9 s: exited 1\x1b[2J
run 5 of 9: dac_read_search in place of dac_override: passed, 1.5 s
run 6 of 9: with the final 4: passed, 1.5 s
run 7 of 9: with no capability: passed, 1.5 s
`
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestProgressToFile(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, enabled := range []bool{false, true} {
		p := newProgress(file, enabled)
		for _, e := range learning() {
			p.Event(e)
		}
		p.Close()
		data, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(string(data), "\x1b\r") || (len(data) > 0) != enabled {
			t.Errorf("enabled %t: %q", enabled, data)
		}
	}
}

func TestLiveLine(t *testing.T) {
	e := learn.Event{Trial: 4, Of: 9, Kind: usage.Remove, Removed: caps.Of(caps.Setgid), Step: learn.Checking}
	for _, tt := range []struct {
		width int
		looks looks
		want  string
	}{
		{120, unicodeLooks, "⠙ ━━━━──────── run 4 of 9 · without setgid · waiting for the check · 4.1 s"},
		{120, asciiLooks, `/ ####........ run 4 of 9, without setgid, waiting for the check, 4.1 s`},
		{70, unicodeLooks, "⠙ run 4 of 9 · without setgid · waiting for the check · 4.1 s"},
		{37, unicodeLooks, "⠙ run 4 of 9 · without setgid · 4.1 s"},
		{36, unicodeLooks, "⠙ 4/9 · without setgid · 4.1 s"},
		{22, unicodeLooks, "⠙ 4/9 · without setgid"},
		{12, unicodeLooks, "⠙ 4/9 · wit…"},
		{0, unicodeLooks, ""},
		{-1, asciiLooks, ""},
	} {
		if got := ansi.Strip(tt.looks.live(e, 4100*time.Millisecond, 1, tt.width)); got != tt.want {
			t.Errorf("%d columns: %q, want %q", tt.width, got, tt.want)
		}
	}
}

func TestLiveLineFits(t *testing.T) {
	for _, e := range append(learning(), learn.Event{}, learn.Event{Trial: 12, Of: 3}) {
		for width := range 130 {
			line := unicodeLooks.live(e, time.Hour, 7, width)
			if w := ansi.StringWidth(line); w > width || strings.Contains(line, "\n") {
				t.Fatalf("%d columns of %d: %q", w, width, line)
			}
		}
	}
}

func TestFinishedLine(t *testing.T) {
	var got []string
	for _, e := range learning() {
		if e.Step == learn.Done {
			got = append(got, ansi.Strip(unicodeLooks.finished(e)))
		}
	}
	want := []string{
		"✓ baseline 1.6 s", "✗ with the predicted 3 30.0 s: check", "✓ with setgid added 1.6 s",
		`✗ without chown 0.9 s: exited 1\x1b[2J`, "✓ dac_read_search in place of dac_override 1.5 s",
		"✓ with the final 4 1.5 s", "✓ with no capability 1.5 s",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The live form changes no mode of the terminal, the cursor's included, and
// ends with the live line erased.
func TestLiveProgress(t *testing.T) {
	var b bytes.Buffer
	width := 80
	p := newLiveProgress(&b, func() int { return width }, time.Now, unicodeLooks)
	p.start()
	for _, e := range learning() {
		p.Event(e)
		p.tick()
	}
	p.mu.Lock()
	width = 30 // the line, of some 70 columns, is on three rows now
	p.mu.Unlock()
	p.Close()
	p.Close()
	end := b.Len()
	p.Event(learning()[0])
	p.tick()
	if b.Len() != end {
		t.Errorf("wrote %q after Close", b.String()[end:])
	}
	if !strings.HasSuffix(b.String(), "\r\x1b[K\x1b[A\x1b[K\x1b[A\x1b[K") {
		t.Errorf("ends with %q", b.String()[max(0, end-20):])
	}
	if got := strings.Count(b.String(), "\n"); got != 7 {
		t.Errorf("%d lines, want one for each run", got)
	}
	for _, s := range regexp.MustCompile(`\x1b(\[[0-9;?]*[a-zA-Z]|[^\[])`).FindAllString(b.String(), -1) {
		if !strings.HasSuffix(s, "m") && s != ansi.EraseLineRight && s != ansi.CUU1 {
			t.Errorf("writes %q", s)
		}
	}
}

// Nothing was shown, so there is nothing to erase.
func TestLiveProgressClosedAtOnce(t *testing.T) {
	var b bytes.Buffer
	p := newLiveProgress(&b, func() int { return 80 }, time.Now, asciiLooks)
	p.start()
	p.Close()
	if b.Len() > 0 {
		t.Errorf("wrote %q", b.String())
	}
}

func TestLooksFor(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want looks
	}{
		{nil, asciiLooks},
		{map[string]string{"LANG": "de_DE.UTF-8"}, unicodeLooks},
		{map[string]string{"LANG": "C.utf8"}, unicodeLooks},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, asciiLooks},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.UTF-8"}, unicodeLooks},
	} {
		if got := looksFor(func(name string) string { return tt.env[name] }); got.passed != tt.want.passed {
			t.Errorf("%v: %q", tt.env, got.passed)
		}
	}
}
