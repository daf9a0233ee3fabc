package oracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/caps"
)

// label marks the oracle's containers with its process.
const label = "io.leastcap.truth"

// outcome is one run's.
type outcome struct {
	ok     bool
	why    string
	starts []startOutcome
}

// startOutcome is what one start of a run showed.
type startOutcome struct {
	facts       map[string]bool
	exit        string
	ended       bool // by itself
	ready, stop time.Duration
}

// expectation is what the baselines showed, by start.
type expectation struct {
	must, may   map[string]bool
	exits       []string
	ended       bool
	ready, stop time.Duration
}

// runner runs one workload, one run after the other.
type runner struct {
	w    *truth.Workload
	c    *connector
	runs int
}

func docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return strings.TrimSpace(out.String()), fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(errOut.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// withoutCaps leaves the user's own capability flags out.
func withoutCaps(flags []string) []string {
	var out []string
	for i := 0; i < len(flags); i++ {
		switch {
		case flags[i] == "--cap-add" || flags[i] == "--cap-drop":
			i++
		case strings.HasPrefix(flags[i], "--cap-add=") || strings.HasPrefix(flags[i], "--cap-drop="):
		default:
			out = append(out, flags[i])
		}
	}
	return out
}

// line is the create line for a set, nil for what the workload has today.
func line(w *truth.Workload, set *caps.Set, more ...string) []string {
	words := append([]string{"create", "--label", fmt.Sprintf("%s=%d", label, os.Getpid())}, more...)
	if set == nil {
		words = append(words, w.Flags...)
	} else {
		words = append(words, withoutCaps(w.Flags)...)
		words = append(words, "--cap-drop=ALL")
		for _, name := range set.Docker() {
			words = append(words, "--cap-add="+name)
		}
	}
	return append(append(words, w.Image()), w.Command...)
}

// run makes one run: all starts. expect is nil for a baseline.
func (r *runner) run(ctx context.Context, set *caps.Set, expect []expectation) (o outcome, err error) {
	r.runs++
	var made []string
	defer func() {
		for _, id := range slices.Backward(made) {
			if _, rerr := docker(context.WithoutCancel(ctx), "rm", "-f", "-v", id); err == nil {
				err = rerr
			}
		}
	}()
	for n := range max(r.w.Starts, 1) {
		var more []string
		if n > 0 {
			more = []string{"--volumes-from", made[n-1]}
		}
		id, err := docker(ctx, line(r.w, set, more...)...)
		if err != nil {
			return o, err
		}
		made = append(made, id)
		var e *expectation
		if expect != nil {
			e = &expect[n]
		}
		s, why, err := r.start(ctx, id, e)
		if err != nil {
			return o, err
		}
		if why != "" {
			if len(made) > 1 {
				why = fmt.Sprintf("start %d: %s", n+1, why)
			}
			o.why = why
			return o, nil
		}
		o.starts = append(o.starts, s)
	}
	o.ok = true
	return o, nil
}

// grace is how long a workload is watched once it works.
const grace = time.Second

// start starts one container and watches it to its end. why says how it failed.
func (r *runner) start(ctx context.Context, id string, e *expectation) (s startOutcome, why string, err error) {
	r.c.follow(id)
	_, before := r.c.forget("")
	began := time.Now()
	if _, err := docker(ctx, "start", id); err != nil {
		r.c.forget(id)
		if ctx.Err() != nil {
			return s, "", ctx.Err()
		}
		return s, "not started: " + lastLine(err.Error()), nil
	}
	limit := 60 * time.Second
	if e != nil {
		limit = 3*e.ready + 4*time.Second
	}
	if why, err = r.works(ctx, id, began.Add(limit)); why != "" || err != nil {
		r.c.forget(id)
		if err == nil {
			why += lastLog(ctx, id)
		}
		return s, why, err
	}
	s.ready = time.Since(began)
	living := map[string]bool{}
	if s.ended, _ = r.state(ctx, id); !s.ended {
		for _, h := range r.w.Exec {
			name, command := split(h)
			if out, err := docker(ctx, "exec", id, "sh", "-c", command); err != nil {
				r.c.forget(id)
				return s, strings.TrimSpace("helper " + name + " failed: " + lastLine(out+"\n"+err.Error())), ctx.Err()
			}
		}
		for _, pause := range []time.Duration{0, grace} {
			time.Sleep(pause)
			for f := range r.snapshot(ctx, id) {
				living[f] = true
			}
		}
		s.ended, _ = r.state(ctx, id)
	}
	if s.ended && e != nil && !e.ended {
		r.c.forget(id)
		return s, "it ended by itself" + lastLog(ctx, id), nil
	}
	if !s.ended {
		args := []string{"stop"}
		if e != nil {
			args = append(args, "-t", strconv.Itoa(int((3*e.stop+2*time.Second).Round(time.Second)/time.Second)))
		}
		asked := time.Now()
		if _, err := docker(ctx, append(args, id)...); err != nil {
			return s, "", err
		}
		s.stop = time.Since(asked)
	}
	if s.exit, err = docker(ctx, "wait", id); err != nil {
		return s, "", err
	}
	time.Sleep(30 * time.Millisecond) // the last exits are on their way
	var lost int
	s.facts, lost = r.c.forget(id)
	if lost > before {
		return s, "", errors.New("the process connector lost messages")
	}
	for f := range living {
		s.facts[f] = true
	}
	if e == nil {
		if s.ended && s.exit != "0" {
			return s, "exit status " + s.exit + lastLog(ctx, id), nil
		}
		return s, "", nil
	}
	return s, e.compare(s), nil
}

// compare says what differs from the baselines, "" if nothing.
func (e *expectation) compare(s startOutcome) string {
	if !slices.Contains(e.exits, s.exit) {
		return "exit status " + s.exit
	}
	for _, f := range sorted(s.facts) {
		if !e.may[f] {
			return "a process was: " + f
		}
	}
	for _, f := range sorted(e.must) {
		if !s.facts[f] {
			return "no process was: " + f
		}
	}
	return ""
}

func sorted(facts map[string]bool) []string {
	var all []string
	for f := range facts {
		all = append(all, f)
	}
	slices.Sort(all)
	return all
}

// works waits until the workload works; why says that it does not.
func (r *runner) works(ctx context.Context, id string, deadline time.Time) (why string, err error) {
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(20*time.Second))
	defer cancel()
	env := append(os.Environ(), "LEASTCAP_CONTAINER="+id)
	if len(r.w.Checks) > 0 {
		out, err := docker(ctx, "inspect", "-f", "{{.NetworkSettings.IPAddress}} {{.State.Pid}}", id)
		if err != nil {
			return "", err
		}
		ip, pid, _ := strings.Cut(out, " ")
		env = append(env, "LEASTCAP_IP="+ip, "LEASTCAP_PID="+pid)
	}
	for {
		ended, status := r.state(ctx, id)
		switch {
		case len(r.w.Checks) > 0:
			passed, failed := r.checks(ctx, env, deadline)
			if passed {
				return "", nil
			}
			if ended {
				return "it ended before the check passed", nil
			}
			why = failed
		case status == "healthy", ended:
			return "", nil // its exit status is compared
		case status == "unhealthy":
			return "unhealthy", nil
		default:
			why = "neither healthy nor ended"
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return why, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (r *runner) checks(ctx context.Context, env []string, deadline time.Time) (bool, string) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for _, check := range r.w.Checks {
		name, command := split(check)
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Env = env
		cmd.WaitDelay = time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return false, strings.TrimSpace("check " + name + " failed: " + lastLine(string(out)))
		}
	}
	return true, ""
}

var named = regexp.MustCompile(`^([A-Za-z0-9_-]+):\s+([\s\S]+)$`)

// split takes the name off a command.
func split(command string) (name, rest string) {
	if m := named.FindStringSubmatch(command); m != nil {
		return m[1], m[2]
	}
	return "", command
}

// state says whether the container has ended, and its health.
func (r *runner) state(ctx context.Context, id string) (ended bool, health string) {
	out, err := docker(ctx, "inspect", "-f", "{{.State.Running}} {{if .State.Health}}{{.State.Health.Status}}{{end}}", id)
	if err != nil {
		return false, ""
	}
	running, health, _ := strings.Cut(out, " ")
	return running != "true", health
}

func (r *runner) snapshot(ctx context.Context, id string) map[string]bool {
	out, err := docker(ctx, "top", id, "-o", "pid")
	if err != nil {
		return nil
	}
	var pids []int
	for _, word := range strings.Fields(out) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return living(pids)
}

// lastLog is the last line of the container's output that speaks of
// permission, or else the last.
func lastLog(ctx context.Context, id string) string {
	cmd := exec.CommandContext(ctx, "docker", "logs", "--tail", "20", id)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, l := range slices.Backward(lines) {
		for _, word := range []string{"not permitted", "denied"} {
			if strings.Contains(strings.ToLower(l), word) {
				return "; " + strings.TrimSpace(l)
			}
		}
	}
	if l := lastLine(string(out)); l != "" {
		return "; " + l
	}
	return ""
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
