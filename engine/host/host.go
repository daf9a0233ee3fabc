// Package host runs commands of the host as workloads, each in a cgroup of its
// own and with a reduced bounding set, as systemd would with
// CapabilityBoundingSet= and AmbientCapabilities=.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Workload is a command with its arguments.
type Workload struct {
	argv      []string
	path      string // of the executable
	user      *user.User
	hierarchy proc.Hierarchy
	baseline  caps.Set
	dir       string // the cgroup below which instances get theirs
	// Output, if it is set, gets what instances write, as they write it.
	Output io.Writer
	owner  proc.Owner

	mu sync.Mutex
	n  int
}

var _ engine.Workload = (*Workload)(nil)

// New prepares to run a command; userName is "" for the user that leastcap
// runs as. The cgroups are made in the hierarchy that the probe watches.
func New(argv []string, userName string, h proc.Hierarchy) (*Workload, error) {
	w := &Workload{argv: argv, hierarchy: h, owner: proc.Self()}
	var err error
	if w.path, err = exec.LookPath(argv[0]); err != nil {
		return nil, &engine.Error{Problem: fmt.Sprintf("cannot run %q", argv[0]), Reason: errors.Unwrap(err).Error(),
			Hint: "give a command that is in $PATH, its path, or a docker, podman or nerdctl run line"}
	}
	if w.path, err = filepath.Abs(w.path); err != nil {
		return nil, err
	}
	if userName != "" {
		if w.user, err = lookupUser(userName); err != nil {
			return nil, &engine.Error{Problem: fmt.Sprintf("cannot run as user %q", userName), Reason: err.Error(), Hint: "give a name or a number that /etc/passwd knows"}
		}
	}
	if w.baseline, err = proc.Bounding(os.Getpid()); err != nil {
		return nil, err
	}
	own, err := h.PathOf(os.Getpid())
	if err != nil {
		return nil, err
	}
	w.dir = filepath.Join(h.Mount, own)
	if _, err := os.Stat(w.dir); err != nil {
		w.dir = h.Mount // our own path lies outside what is mounted here
	}
	return w, nil
}

func lookupUser(name string) (*user.User, error) {
	if _, err := strconv.Atoi(name); err == nil {
		return user.LookupId(name)
	}
	return user.Lookup(name)
}

// Inspect implements [engine.Workload].
func (w *Workload) Inspect(context.Context) (usage.Subject, error) {
	s := usage.Subject{Kind: "command", Command: w.argv}
	if w.user != nil {
		s.User = w.user.Username
	}
	return s, nil
}

// Privileged implements [engine.Workload]: a host command's privileges are
// its capabilities.
func (w *Workload) Privileged() bool { return false }

// Persistent implements [engine.Workload]: the host's files stay.
func (w *Workload) Persistent(bool) bool { return true }

// Volumes implements [engine.Workload]: the host's file system.
func (w *Workload) Volumes(context.Context) (bool, error) { return true, nil }

// Exclusive implements [engine.Workload].
func (w *Workload) Exclusive() string {
	return "it runs on the host, whose files and ports there are once"
}

// Remarks implements [engine.Workload].
func (w *Workload) Remarks() []string { return nil }

// Use gives the lines of a systemd unit's [Service] section.
func (w *Workload) Use(set caps.Set, _ bool) usage.Use {
	names := strings.Join(set.Names(), " ")
	lines := []string{"CapabilityBoundingSet=" + names}
	if w.user != nil {
		lines = append([]string{"User=" + w.user.Username}, append(lines, "AmbientCapabilities="+names)...)
	} else {
		lines = append(lines, "AmbientCapabilities=")
	}
	return usage.Use{Systemd: lines}
}

const cgroupPrefix = "leastcap-"

// cgroupName is "leastcap-OWNER-N"; a cgroup with any other name is not ours.
var cgroupName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("^" + cgroupPrefix + `(` + proc.OwnerPattern + `)-\d+$`)
})

// Prepare makes the cgroup.
func (w *Workload) Prepare(_ context.Context, g engine.Grant) (engine.Instance, error) {
	w.mu.Lock()
	w.n++
	dir := filepath.Join(w.dir, fmt.Sprintf("%s%s-%d", cgroupPrefix, w.owner, w.n))
	w.mu.Unlock()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, &engine.Error{Problem: "cannot make a cgroup for the command", Reason: err.Error(),
			Hint: "leastcap needs root and a writable cgroup file system at " + w.hierarchy.Mount}
	}
	id, err := inode(dir)
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	set := g.Set
	if g.Baseline {
		set = w.baseline
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find our own executable: %w", err)
	}
	spec := LaunchSpec{Cgroup: []byte(dir), Path: []byte(w.path), Bounding: uint64(set)}
	for _, word := range w.argv {
		spec.Argv = append(spec.Argv, []byte(word))
	}
	if w.user != nil {
		if err := spec.setUser(w.user); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(self, LaunchVerb, spec.encode())
	out := &engine.Tail{Max: 64 << 10}
	cmd.Stdout, cmd.Stderr = out, out
	if w.Output != nil {
		both := io.MultiWriter(out, w.Output)
		cmd.Stdout, cmd.Stderr = both, both
	}
	cmd.SysProcAttr = ownSession()
	// A process that left the cgroup may keep the output open.
	cmd.WaitDelay = time.Second
	return &instance{self: self, spec: spec, dir: dir, id: id, cmd: cmd, out: out, v2: w.hierarchy.V2(), exited: make(chan struct{})}, nil
}

// Clean removes the cgroups of this process and of dead ones, with what runs
// in them.
func (w *Workload) Clean(context.Context) error {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		m := cgroupName().FindStringSubmatch(e.Name())
		if m == nil || !e.IsDir() {
			continue
		}
		owner := proc.Owner(m[1])
		if owner == w.owner || !owner.Alive() {
			errs = append(errs, proc.RemoveCgroup(filepath.Join(w.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Today is what the command has when it is not reduced: all that leastcap has.
func (w *Workload) Today() (caps.Set, error) { return w.baseline, nil }
