package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

var dockerSet = caps.Set(0xa80425fb)

// topTestModel is a machine with three containers.
func topTestModel() topModel {
	at := time.Date(2026, 11, 27, 12, 30, 0, 0, time.UTC)
	id := func(c string) string { return strings.Repeat(c, 64) }
	shell := report.Process{PID: 70, User: "root", Command: "sh", Effective: dockerSet, Permitted: dockerSet}
	return topModel{
		full: caps.All(), width: 80, height: 24, sort: "risk", selected: nothing, watching: "all",
		sample: topSample{At: at, Processes: 90, Containers: []topContainer{
			{Held: caps.All(), Processes: make([]report.Process, 80)},
			{
				ProcContainer: &report.ProcContainer{ID: id("a"), Engine: "docker", Name: "web", Image: "nginx", Asked: &report.ProcAsked{CapAdd: []string{"NET_ADMIN"}}},
				Held:          dockerSet, Processes: []report.Process{shell, shell},
				Use: &topUse{
					Start: true, Granted: map[caps.Cap]uint64{caps.Chown: 3, caps.Setuid: 1}, Denied: map[caps.Cap]uint64{caps.SysAdmin: 7},
					Denials: []topDenial{{At: at, Cap: caps.SysAdmin, Process: "sh", Call: "mount(\"x\")", Errno: "EPERM", Count: 7}},
				},
			},
			{
				ProcContainer: &report.ProcContainer{ID: id("b"), Engine: "podman", Name: "evil\x1b[2J\n"}, Held: caps.Of(caps.SysAdmin, caps.Chown),
				Processes: make([]report.Process, 7), Use: &topUse{Denials: []topDenial{{At: at.Add(-time.Minute), Cap: caps.Chown, Process: "x\x1b]0;", Call: "chown"}}},
			},
			{ProcContainer: &report.ProcContainer{ID: id("c")}, Processes: make([]report.Process, 1)},
		}},
	}
}

func frameOf(m tea.Model) string { return ansi.Strip(m.(topModel).frame()) }

func press(m tea.Model, keys ...string) tea.Model {
	for _, k := range keys {
		msg := tea.KeyPressMsg{}
		switch k {
		case "enter":
			msg.Code = tea.KeyEnter
		case "esc":
			msg.Code = tea.KeyEscape
		case "tab":
			msg.Code = tea.KeyTab
		case "up":
			msg.Code = tea.KeyUp
		case "down":
			msg.Code = tea.KeyDown
		case "backspace":
			msg.Code = tea.KeyBackspace
		case "space":
			msg.Code, msg.Text = tea.KeySpace, " "
		default:
			msg.Code, msg.Text = []rune(k)[0], k
		}
		m, _ = m.Update(msg)
	}
	return m
}

func TestTopFrame(t *testing.T) {
	want := `leastcap top  3 containers, 90 processes                                12:30:00
by risk; use: all
  CONTAINER       PROCS  HELD                       USED             DENIED
> evil\x1b[2J         7  chown, sys_admin           -                -
  web                 2  docker default             chown, setuid    sys_admin
  cccccccccccc        1  none                       ?                ?
  (no container)     80  full                       ?                ?













DENIED, THE LATEST FIRST
  12:30:00  web  sys_admin  sh: mount("x") = EPERM, 7 times
  12:29:00  evil\x1b[2J  chown  x\x1b]0;: chown (did not fail)
q quit  ↑↓ move  enter detail  tab by capability  / filter  s sort  ? help`
	got := frameOf(topTestModel())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever the size, a frame is that large at most, and nothing of a workload controls
// the terminal.
func TestTopSizes(t *testing.T) {
	for _, page := range []topPage{pageContainers, pageCapabilities, pageDetail, pageHelp} {
		for _, size := range [][2]int{{80, 24}, {200, 60}, {40, 10}, {20, 6}, {0, 0}} {
			m := topTestModel()
			m.page, m.width, m.height, m.selected = page, size[0], size[1], strings.Repeat("a", 64)
			m.filter, m.sample.Trouble = "e", "something\x1b is wrong"
			width, height := m.size()
			lines := strings.Split(m.frame(), "\n")
			if len(lines) > height {
				t.Errorf("page %d at %v: %d lines", page, size, len(lines))
			}
			for _, line := range lines {
				text := ansi.Strip(line)
				if ansi.StringWidth(text) > width || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
					t.Errorf("page %d at %v: %q", page, size, text)
				}
			}
		}
	}
}

// TestTopNarrow: what holds a capability is counted where there is no room for its name.
func TestTopNarrow(t *testing.T) {
	m := topTestModel()
	m.page, m.width, m.height = pageCapabilities, 40, 12
	frame := frameOf(m)
	if !strings.Contains(frame, " HELD  USED  DENIED\n") || strings.Contains(frame, "DANGER") || !strings.Contains(frame, "2: …") {
		t.Errorf("got\n%s", frame)
	}
	// The keys at the bottom are the page's own, and the help has all of them.
	for page, want := range map[topPage]string{
		pageContainers: "enter detail", pageCapabilities: "tab containers", pageDetail: "esc back", pageHelp: "q: quit",
	} {
		m.page, m.height = page, 10
		m.selected = m.sample.Containers[1].id()
		if frame := frameOf(m); !strings.Contains(frame, want) {
			t.Errorf("no %q in\n%s", want, frame)
		}
	}
}

// TestTopLarge: where there is room, more of what was denied is seen.
func TestTopLarge(t *testing.T) {
	m := topTestModel()
	for i := range 30 {
		c := &m.sample.Containers[1]
		c.Use.Denials = append(c.Use.Denials, topDenial{At: m.sample.At, Cap: caps.Chown, Process: "x", Call: fmt.Sprintf("chown(%d)", i)})
	}
	for height, want := range map[int]int{24: 5, 60: 13} {
		m.height = height
		if got := strings.Count(frameOf(m), " chown  x: "); got != want-1 { // and one of sys_admin or of evil's
			t.Errorf("%d lines have %d, want %d", height, got, want)
		}
	}
}

func TestTopKeys(t *testing.T) {
	var m tea.Model = topTestModel()
	has := func(what string, wants ...string) {
		t.Helper()
		text := frameOf(m)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", what, want, text)
			}
		}
	}
	m = press(m, "down", "enter")
	has("detail", "web\n", "image      nginx", "asked      --cap-add=NET_ADMIN", "holds      docker default", "sys_admin            host      -      -           7")
	m = press(m, "G")
	has("its end", "70        root          sh")
	m = press(m, "up", "g")
	has("its begin", "image      nginx")
	m = press(m, "esc", "tab")
	has("capabilities", "> sys_admin           host      evil", "web", "2: evil")
	m = press(m, "tab", "s", "s")
	has("sorted", "by processes", "> web")
	m = press(m, "r")
	has("reversed", "by processes, reversed")
	m = press(m, "r", "/", "W", "e", "x", "backspace", "q")
	has("typing", "filter: Weq_", "nothing fits")
	m = press(m, "backspace", "enter")
	has("filtered", "filter: We ", "> web")
	if strings.Contains(frameOf(m), "cccc") {
		t.Error("the filter lets through what does not fit")
	}
	m = press(m, "esc", "/", "s", "y", "s", "_", "a", "d", "m", "i", "n", "enter")
	has("by capability", "evil", "(no container)")
	if strings.Contains(frameOf(m), "web     ") {
		t.Error("web does not hold it")
	}
	m = press(m, "esc", "?")
	has("help", "any key: back", "by capability, and back")
	m = press(m, "q")
	has("after it", "CONTAINER")
	m = press(m, "space")
	has("paused", "PAUSED 12:30:00")
	m, _ = m.Update(sampleMsg(topSample{At: time.Date(2026, 1, 1, 1, 1, 1, 0, time.UTC)}))
	has("still", "12:30:00", "web")
	m = press(m, "p")
	m, _ = m.Update(sampleMsg(topSample{At: time.Date(2026, 1, 1, 1, 1, 1, 0, time.UTC)}))
	has("going on", "01:01:01", "nothing fits")
	m = press(m, "down", "up", "enter", "tab", "down", "tab") // with nothing there
	m, _ = m.Update(tea.WindowSizeMsg{Width: 50, Height: 9})
	has("smaller", "leastcap top")
	if _, cmd := m.Update(tea.KeyPressMsg{Code: 'q', Text: "q"}); cmd == nil {
		t.Error("q does not quit")
	}
	if _, cmd := m.Update(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}); cmd == nil {
		t.Error("ctrl+c does not quit")
	}
}

// The selection stays with the container, wherever it is sorted to, and with a container
// that has ended the detail says so.
func TestTopSelection(t *testing.T) {
	m := press(topTestModel(), "down").(topModel)
	if got := m.shown()[m.at()].name(); got != "web" {
		t.Fatal(got)
	}
	m = press(m, "s").(topModel) // by name
	if got := m.shown()[m.at()].name(); got != "web" {
		t.Error(got)
	}
	m = press(m, "enter").(topModel)
	m.sample.Containers = m.sample.Containers[:1]
	if text := frameOf(m); !strings.Contains(text, "has ended") {
		t.Error(text)
	}
}

func TestTopGroup(t *testing.T) {
	id := strings.Repeat("a", 64)
	list := []proc.Process{{PID: 1}, {PID: 2, Container: id, Engine: "docker"}, {PID: 3, Container: id, Engine: "docker"}}
	rows := []report.Process{
		{PID: 1, Effective: caps.All()},
		{PID: 2, Permitted: caps.Of(caps.Chown), Bounding: caps.Of(caps.Chown, caps.Kill), OwnUser: true},
		{PID: 3, Bounding: caps.Of(caps.Chown), Threads: []report.ProcThread{{Effective: caps.Of(caps.Setuid)}}, OwnUser: true},
	}
	got := topGroup(list, rows, func(id, engine, _ string) *report.ProcContainer {
		return &report.ProcContainer{ID: id, Engine: engine, Asked: &report.ProcAsked{Set: caps.Of(caps.Chown)}}
	})
	if len(got) != 2 || got[0].ProcContainer != nil || got[0].OwnUser || got[1].Held != caps.Of(caps.Chown, caps.Setuid) ||
		got[1].Could != caps.Of(caps.Chown, caps.Kill) || got[1].Beyond != caps.Of(caps.Kill) || !got[1].OwnUser || len(got[1].Processes) != 2 {
		t.Errorf("%+v", got)
	}
}

// Names are of containers that are there: with its last process a container's is
// forgotten, and one that nobody knows has its id.
func TestContainerNames(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	n := newContainerNames()
	n.known[a] = &namedContainer{&report.ProcContainer{ID: a, Name: "old"}, time.Now()}
	n.wait = false
	n.busy = true // nothing is looked up
	n.learn(t.Context(), []proc.Process{{PID: 1, Container: a}, {PID: 2, Container: b}})
	if got := n.get(a, "docker", ""); got.Name != "old" {
		t.Errorf("%+v", got)
	}
	if got := n.get(b, "podman", "pod"); got.Label() != b[:12] || got.Engine != "podman" || got.Pod != "pod" {
		t.Errorf("%+v", got)
	}
	n.learn(t.Context(), []proc.Process{{PID: 2, Container: b}})
	if got := n.get(a, "docker", ""); got.Name != "" {
		t.Errorf("the name of a container that has ended: %+v", got)
	}
}

// What a record says becomes counts and refusals, with the time of their last repetition.
func TestUseOf(t *testing.T) {
	r := &usage.Record{
		Sets: map[usage.Phase]usage.Sets{usage.Phases[0]: {Granted: caps.Of(caps.Chown, caps.Kill), Denied: caps.Of(caps.SysAdmin)}},
		Checks: []usage.Check{
			{Cap: caps.Chown, Verdict: usage.Granted, Count: 5},
			{Cap: caps.SysAdmin, Verdict: usage.Denied, Count: 2, Call: "mount()", Errno: "EPERM", Process: usage.Process{Comm: "sh"}},
			{Cap: caps.SysTime, Verdict: usage.Denied, Beyond: true, Count: 9},
		},
	}
	seen := map[denialKey]*topDenial{}
	first, second := time.Unix(1, 0), time.Unix(2, 0)
	use := useOf(r, seen, first)
	want := topUse{
		Granted: map[caps.Cap]uint64{caps.Chown: 5, caps.Kill: 1}, Denied: map[caps.Cap]uint64{caps.SysAdmin: 2},
		Denials: []topDenial{{At: first, Cap: caps.SysAdmin, Process: "sh", Call: "mount()", Errno: "EPERM", Count: 2}},
	}
	if diff := cmp.Diff(want, use); diff != "" {
		t.Error(diff)
	}
	if use := useOf(r, seen, second); !use.Denials[0].At.Equal(first) {
		t.Error("what is not repeated is dated anew")
	}
	r.Checks[1].Count++
	if use := useOf(r, seen, second); !use.Denials[0].At.Equal(second) || use.Denials[0].Count != 3 {
		t.Errorf("%+v", use.Denials)
	}
	// The same in another of its cgroups is one refusal, and not dated anew by itself.
	r.Checks = append(r.Checks, r.Checks[1])
	r.Checks[3].Count, r.Checks[3].Errno = 4, ""
	third := time.Unix(3, 0)
	for _, now := range []time.Time{third, time.Unix(4, 0)} {
		if use := useOf(r, seen, now); len(use.Denials) != 1 || !use.Denials[0].At.Equal(third) || use.Denials[0].Count != 7 || use.Denials[0].Errno != "EPERM" {
			t.Errorf("%v: %+v", now, use.Denials)
		}
	}
}

// What has not been there for long is forgotten when there is too much of it.
func TestUseOfLong(t *testing.T) {
	seen := map[denialKey]*topDenial{}
	check := usage.Check{Cap: caps.SysAdmin, Verdict: usage.Denied, Count: 1, Call: "mount()"}
	for i := range topSeen + 10 {
		other := usage.Check{Cap: caps.SysResource, Verdict: usage.Denied, Count: 1, Call: fmt.Sprintf("write(%d)", i)}
		use := useOf(&usage.Record{Checks: []usage.Check{check, other}}, seen, time.Unix(int64(i), 0))
		if len(use.Denials) < min(i+2, 2) || len(seen) > topSeen {
			t.Fatalf("%d: %d are shown, %d remembered", i, len(use.Denials), len(seen))
		}
	}
	if d := seen[keyOf(&check)]; d == nil || !d.At.Equal(time.Unix(0, 0)) {
		t.Errorf("what is still there: %+v", d)
	}
}

// TestTopTerminal runs top on a terminal of its own, and looks at how it leaves that: at
// "q", at SIGTERM and at SIGQUIT; and in between, at a SIGTSTP and the SIGCONT after it.
func TestTopTerminal(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Command("script"))
	bin := testenv.Leastcap(t)
	for _, how := range []string{"q", "SIGTERM", "SIGQUIT", "SIGTSTP"} {
		t.Run(how, func(t *testing.T) {
			line := "stty rows 24 cols 80; stty -g; sh -c 'echo pid $$; exec " + bin + " top'; code=$?; echo; echo status $code; stty -g"
			cmd := exec.Command("script", "-qefc", line, "/dev/null")
			cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=1")
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			const enter, leave = "\x1b[?1049h", "\x1b[?1049l"
			done, stopped, quit := false, false, false
			pid := 0
			for buf := make([]byte, 4096); ; {
				n, err := out.Read(buf)
				text.Write(buf[:n])
				if !done && strings.Contains(text.String(), "CONTAINER") {
					done = true
					if how == "q" {
						_, _ = io.WriteString(in, "q")
					} else {
						_, rest, _ := strings.Cut(text.String(), "pid ")
						if _, err := fmt.Sscan(rest, &pid); err != nil || pid <= 1 {
							t.Fatalf("%v: %q", err, text.String())
						}
						if err := syscall.Kill(pid, map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT, "SIGTSTP": syscall.SIGTSTP}[how]); err != nil {
							t.Fatal(err)
						}
					}
				}
				if how == "SIGTSTP" && !stopped && strings.Contains(text.String(), leave) {
					stopped = true
					waitFor(t, "top is stopped", func() bool {
						stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
						return err == nil && strings.Contains(string(stat), ") T ")
					})
					if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
						t.Fatal(err)
					}
				}
				if stopped && !quit && strings.Count(text.String(), enter) == 2 {
					quit = true
					_, _ = io.WriteString(in, "q")
				}
				if err != nil {
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					break
				}
			}
			_ = cmd.Wait()
			all := text.String()
			times := map[string]int{"q": 1, "SIGTERM": 1, "SIGQUIT": 1, "SIGTSTP": 2}[how]
			if strings.Count(all, enter) != times || strings.LastIndex(all, leave) < strings.LastIndex(all, enter) {
				t.Errorf("the other screen is not left: %q", all)
			}
			lines := strings.Fields(ansi.Strip(all))
			status := map[string]string{"q": "0", "SIGTERM": "130", "SIGQUIT": "130", "SIGTSTP": "0"}[how]
			if !strings.Contains(all, "status "+status) || lines[0] != lines[len(lines)-1] {
				t.Errorf("status is not %s, or the terminal was %s and is %s: %q", status, lines[0], lines[len(lines)-1], all)
			}
		})
	}
}
