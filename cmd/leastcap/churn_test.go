package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

// TestInChurn: while ten thousand processes come and go in two containers and on the host,
// ps, by either way, top and watch put each where it belongs; and a container that takes
// the name of one that has gone is not taken for that.
func TestInChurn(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(tiny), testenv.Command("gcc"))
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The name of a process tells where it belongs.
	program := func(name string) string {
		out := filepath.Join(dir, name)
		if msg, err := exec.Command("gcc", "-O1", "-static", "-pthread", "-o", out, "../../probe/testdata/workload.c").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, msg)
		}
		return out
	}
	first := program("churn-one")
	if err := os.Link(first, filepath.Join(dir, "churn-two")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(first, filepath.Join(dir, "churn-host")); err != nil {
		t.Fatal(err)
	}
	one, two := fmt.Sprintf("leastcap-test-one-%d", os.Getpid()), fmt.Sprintf("leastcap-test-two-%d", os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", one, two).Run() })
	// Each waits for a file before it begins, and goes on until there is another.
	const churn = `/w/%[1]s churn %[2]s 3500; until [ -e /w/enough ]; do /w/%[1]s churn %[2]s 100; done`
	start := func(name, program, what string) string {
		return engineCommand(t, []string{"docker"}, "run", "-d", "--name", name, "--network", "none", "-v", dir+":/w:ro", tiny,
			"sh", "-c", fmt.Sprintf("until [ -e /w/go ]; do sleep 0.1; done; "+churn+"; exec sleep 600", program, what))
	}
	s := newStream(t)
	waitFor(t, "watch looks", func() bool { return strings.Contains(s.stderr.String(), "Ctrl-C ends") })
	where := map[string]string{"churn-host": ""}
	where["churn-one"] = start(one, "churn-one", "setgid")
	where["churn-two"] = start(two, "churn-two", "setuid")

	use, err := openUsage("")
	if err != nil {
		t.Fatal(err)
	}
	defer use.Close()
	top := topSampler{usage: use, names: newContainerNames()}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	host := exec.Command("sh", "-c", strings.ReplaceAll(fmt.Sprintf(churn, "churn-host", "setgid"), "/w/", dir+"/"))
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- host.Wait() }()

	seen := map[string]int{}
	hold := func(way string, list []proc.Process) {
		t.Helper()
		engine.Place("/", list)
		for _, p := range list {
			if want, ok := where[p.Comm]; ok {
				seen[way+" "+p.Comm]++
				if p.Container != want {
					t.Errorf("%s: process %d, %s, is in %q, not in %q", way, p.PID, p.Comm, p.Container, want)
				}
			}
		}
	}
	sees := func(way string) bool {
		for comm := range where {
			if seen[way+" "+comm] < 3 {
				return false
			}
		}
		return true
	}
	enough := func() bool {
		return sees("/proc") && sees("the iterator") && sees("top")
	}
	end := time.Now().Add(time.Minute)
	for running := true; running; {
		if enough() || time.Now().After(end) {
			if err := os.WriteFile(filepath.Join(dir, "enough"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		list, _, err := proc.List("/proc", proc.ListOptions{Containers: proc.Each})
		if err != nil {
			t.Fatal(err)
		}
		hold("/proc", list)
		if list, err = probe.Tasks(probe.TaskOptions{All: true}); err != nil {
			t.Fatal(err)
		}
		hold("the iterator", list)
		for _, c := range top.sample(t.Context()).Containers {
			for _, p := range c.Processes {
				if want, ok := where[p.Command]; ok {
					seen["top "+p.Command]++
					if c.id() != want {
						t.Errorf("top: process %d, %s, is in %q, not in %q", p.PID, p.Command, c.id(), want)
					}
				}
			}
		}
	}
	for _, way := range []string{"/proc", "the iterator", "top"} {
		if !sees(way) {
			t.Errorf("%s did not see enough of it: %v", way, seen)
		}
	}

	// Another takes the name.
	runDocker(t, "rm", "-f", one)
	again := engineCommand(t, []string{"docker"}, "run", "-d", "--name", one, "--cap-drop", "ALL", "--network", "none", tiny, "sleep", "600")
	for _, p := range processesOf(t, one) {
		if p.Container.ID != again || p.Bounding != 0 {
			t.Errorf("ps: %+v has %v", p.Container, p.Bounding)
		}
	}
	waitFor(t, "top knows the new one", func() bool {
		var of *report.ProcContainer
		for _, c := range top.sample(t.Context()).Containers {
			switch {
			case c.id() == where["churn-one"]:
				t.Fatal("top shows a container that has gone")
			case c.id() == again:
				of = c.ProcContainer
			}
		}
		return of != nil && of.Name == one
	})

	// Watch has everything, and no more.
	s.expect(one, "use setgid")
	s.expect(one, "end")
	if code := s.cmd.Process.Signal(syscall.SIGINT); code != nil {
		t.Fatal(code)
	}
	totals := map[string]caps.Set{}
	for e := range s.events {
		if e.Event == "summary" && e.Subject.ID != "" {
			totals[e.Subject.ID] = e.Total.Used
		}
	}
	_ = s.cmd.Wait()
	for id, want := range map[string]caps.Set{where["churn-one"]: caps.Of(caps.Setgid), where["churn-two"]: caps.Of(caps.Setuid), again: 0} {
		if got, ok := totals[id]; !ok || got != want {
			t.Errorf("watch: %.12s used %v (%v), want %v", id, got, ok, want)
		}
	}
}
