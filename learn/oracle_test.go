package learn_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
)

// The oracle finds the truth by running alone: each of Docker's capabilities
// is taken away by itself, with the docker command and /proc and nothing of
// probe, usage, advise or learn. Its identities are those of the processes that
// live once the check has passed, so it knows less than the guard and never more.

type workload struct {
	name    string
	flags   []string // docker run flags
	command []string
	check   string // "": the exit status of a command that ends by itself
	want    caps.Set
}

func (w workload) line(flags ...string) []string {
	return slices.Concat([]string{"docker", "run"}, w.flags, flags, []string{servicesImage}, w.command)
}

// oracle gives the capabilities whose removal alone changes the outcome.
func (w workload) oracle(t *testing.T) caps.Set {
	t.Helper()
	want := w.run(t)
	if !strings.HasPrefix(want, "ok") {
		t.Fatalf("oracle: %s fails with all of Docker's capabilities: %s", w.name, want)
	}
	if again := w.run(t); again != want {
		t.Fatalf("oracle: %s differs between two runs:\n%s\n%s", w.name, want, again)
	}
	var required caps.Set
	for _, c := range docker14.Caps() {
		got := w.run(t, "--cap-drop", c.Docker())
		if got != want && strings.HasPrefix(got, "ok") {
			got = w.run(t, "--cap-drop", c.Docker()) // one may have been on its way to its user
		}
		if got != want {
			required = required.With(c)
		}
	}
	return required
}

// run gives "ok" and the identities, or what failed.
func (w workload) run(t *testing.T, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	docker := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "docker", args...).Output()
		return strings.TrimSpace(string(out)), err
	}
	line := w.line(append(flags, "-d")...)
	id, err := docker(line[1:]...)
	if id != "" { // also of one whose entry point could not be executed
		defer exec.Command("docker", "rm", "-f", "-v", id).Run()
	}
	if err != nil {
		return "not started"
	}
	if w.check == "" {
		code, err := docker("wait", id)
		if err != nil {
			t.Fatal(err)
		}
		if code != "0" {
			return "exit status " + code
		}
		return "ok"
	}
	ip, _ := docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", id)
	// It is tried for that long, and so often that a slow machine gets more time: a check that
	// hangs counts for ten.
	end := time.Now().Add(4 * time.Second)
	for tries := 20; ; tries-- {
		if state, _ := docker("inspect", "-f", "{{.State.Running}}", id); state != "true" {
			return "ended"
		}
		cctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		check := exec.CommandContext(cctx, "sh", "-c", w.check)
		check.Env = append(os.Environ(), "LEASTCAP_IP="+ip, "LEASTCAP_CONTAINER="+id)
		check.WaitDelay = time.Second
		err := check.Run()
		if cctx.Err() != nil {
			tries -= 9
		}
		cancel()
		if err == nil {
			return "ok" + identitiesOf(t, docker, id)
		}
		if tries <= 1 && time.Now().After(end) {
			return "check"
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func identitiesOf(t *testing.T, docker func(...string) (string, error), id string) string {
	t.Helper()
	top, err := docker("top", id, "-o", "pid")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, word := range strings.Fields(top)[1:] {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatalf("docker top: %q", top)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		var ids []string
		for line := range strings.Lines(string(status)) {
			for _, field := range []string{"Name:", "Uid:", "Gid:", "Groups:", "NoNewPrivs:", "Seccomp:"} {
				if strings.HasPrefix(line, field) {
					ids = append(ids, strings.Join(strings.Fields(line), " "))
				}
			}
		}
		if s := "\n" + strings.Join(ids, " "); !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	slices.Sort(found)
	return strings.Join(found, "")
}
