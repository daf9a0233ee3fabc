package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/line"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// ownerLabel marks the containers that leastcap creates with the process that
// did ("HOST/PID-STARTTIME"), so that a later start removes what only SIGKILL
// can leave.
const ownerLabel = "io.leastcap.owner"

// Workload is a container command line, run through its own command.
type Workload struct {
	line  *Line
	owner string
}

var _ engine.Workload = (*Workload)(nil)

// New understands a command line. Flags newer than leastcap's tables are looked
// up in the installed command's own help.
func New(ctx context.Context, argv []string) (*Workload, error) {
	line, err := Parse(argv)
	if errors.Is(err, ErrUnknownFlag) {
		if t, ok := installedTable(argv); ok {
			line, err = ParseWith(argv, t)
		}
	}
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	return &Workload{line: line, owner: host + "/" + string(proc.Self())}, nil
}

// installedTable reads the flags of the line's own engine: `docker run --help`.
func installedTable(argv []string) (*Table, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	name, ok := Recognise(argv)
	if !ok {
		return nil, false
	}
	t, err := TableFor(name)
	if err != nil {
		return nil, false
	}
	help, err := exec.CommandContext(ctx, name, "run", "--help").Output()
	if err != nil {
		return nil, false
	}
	flags := line.ParseHelp(string(help))
	return t.With(nil, flags, flags), true
}

// Line is the command line as it was understood.
func (w *Workload) Line() *Line { return w.line }

// Privileged implements [engine.Workload].
func (w *Workload) Privileged() bool { return w.line.Privileged() }

// Today gives what the engine gives the line, by the engine's rules. A user that the
// image names does not change the bounding set.
func (w *Workload) Today() (caps.Set, error) {
	name := w.line.Engine
	if name == "nerdctl" {
		name = "docker" // pkg/cmd/container/run_security_linux.go: the same rules
	}
	r, err := rules.For(name)
	if err != nil {
		return 0, err
	}
	result, err := r.Apply(rules.Request{Add: w.line.CapAdd(), Drop: w.line.CapDrop(), Privileged: w.line.Privileged(), User: w.line.User()})
	return result.Runtime.Bounding, err
}

// Persistent implements [engine.Workload]: anonymous volumes are new in every
// run, all others stay, unless named ones are to be fresh.
func (w *Workload) Persistent(fresh bool) bool {
	if w.line.Has("volumes-from") {
		return true
	}
	for i := range w.line.Flags {
		if v, ok := w.line.Flags[i].Volume(); ok && v.Stays(fresh) {
			return true
		}
	}
	return false
}

// Volumes implements [engine.Workload]: the line's, and those that the image
// declares.
func (w *Workload) Volumes(ctx context.Context) (bool, error) {
	if w.line.Has("volumes-from") || w.line.Has("volume") || w.line.Has("mount") {
		return true, nil
	}
	// A root file system in a directory is no image, and declares none.
	out, err := w.run(ctx, "image", "inspect", "--format", "{{len .Config.Volumes}}", w.line.Image)
	return err == nil && out != "0", ctx.Err()
}

// Exclusive implements [engine.Workload].
func (w *Workload) Exclusive() string {
	l := w.line
	switch {
	case l.Name() != "":
		return "the line gives it a name"
	case slices.ContainsFunc(l.Publish(), fixedPort):
		return "the line gives it a port of the host"
	case l.Has("ip") || l.Has("ip6") || l.Has("mac-address"):
		return "the line gives it an address"
	case slices.ContainsFunc(l.Networks(), func(n string) bool {
		return n == "host" || strings.HasPrefix(n, "container:") || strings.HasPrefix(n, "ns:")
	}):
		return "it shares a network with others"
	}
	return ""
}

// fixedPort says whether a --publish names the host's port: HOST:CONTAINER or
// IP:HOST:CONTAINER, not CONTAINER, nor IP::CONTAINER.
func fixedPort(publish string) bool {
	i := strings.LastIndexByte(publish, ':')
	return i > 0 && publish[i-1] != ':'
}

// Remarks implements [engine.Workload].
func (w *Workload) Remarks() []string {
	if w.line.Interactive() || w.line.TTY() {
		return []string{"-i and -t were left out: nobody types, and standard input is at its end"}
	}
	return nil
}

// Use implements [engine.Workload].
func (w *Workload) Use(set caps.Set, unconfined bool) usage.Use {
	flags := []string{"--cap-drop=ALL"}
	for _, name := range set.Docker() {
		flags = append(flags, "--cap-add="+name)
	}
	return usage.Use{Command: w.line.Recommend(set, unconfined), Flags: flags}
}

// base is the words before the verb: the command as the user typed it, with
// its wrapper (sudo) and global flags.
func (w *Workload) base() []string {
	return slices.Concat(w.line.Prefix, []string{w.line.Program}, w.line.Global)
}

// maxOutput bounds what is kept of a command's output, in bytes; an inspect
// of a container is a few kilobytes.
const maxOutput = 1 << 20

// run runs one of the engine's commands to its end.
func (w *Workload) run(ctx context.Context, args ...string) (stdout string, err error) {
	return w.exec(ctx, slices.Concat(w.base(), args))
}

func (w *Workload) exec(ctx context.Context, argv []string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, errOut := engine.Tail{Max: maxOutput}, engine.Tail{Max: maxOutput}
	cmd.Stdout, cmd.Stderr = &out, &errOut
	engine.Group(cmd)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if errors.Is(err, exec.ErrNotFound) {
			return "", &engine.Error{Problem: fmt.Sprintf("%s is not installed", argv[0]), Hint: fmt.Sprintf("install %s, or give its path", argv[0]), Absent: true}
		}
		return out.String(), w.explain(errOut.String(), err)
	}
	return strings.TrimSpace(out.String()), nil
}

// explain turns what the command printed into an error with a next step.
func (w *Workload) explain(text string, err error) error {
	reason := message(text)
	if reason == "" {
		reason = err.Error()
	}
	e := &engine.Error{Problem: w.line.Engine + " failed", Reason: reason}
	e.Hint = fmt.Sprintf("see whether %s takes the line by itself: leastcap runs it as it stands, with other capabilities", w.line.Engine)
	lower := strings.ToLower(text)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(lower, word) })
	}
	switch {
	case has("cannot connect to the docker daemon", "is the docker daemon running", "cannot connect to podman", "cannot access containerd"):
		e.Problem, e.Absent = w.line.Engine+" is not running", true
		e.Hint = "start it (systemctl start docker), or point DOCKER_HOST at the engine that runs"
		if w.line.Engine == "nerdctl" {
			e.Hint = "start containerd (systemctl start containerd), or name its socket: nerdctl --address"
		}
	case has("error during connect"):
		e.Hint = fmt.Sprintf("%s info says whether the engine answers; DOCKER_HOST and docker context say which one is meant", w.line.Engine)
	case has("permission denied while trying to connect"):
		e.Problem, e.Absent = w.line.Engine+" does not let this user in", true
		e.Hint = "run leastcap as root: sudo leastcap …"
	case has("unable to find image", "no such image", "pull access denied", "manifest unknown", "repository does not exist", "initializing source", "short-name", "failed to resolve reference"):
		e.Problem = fmt.Sprintf("image %q was not found, here or in its registry", w.line.Image)
		e.Hint = fmt.Sprintf("check the name (%s images), build it, or pull it first (%[1]s pull %s)", w.line.Engine, w.line.Image)
	case has("is already in use", "is already used by id"):
		if name := w.line.Name(); name != "" {
			e.Problem = fmt.Sprintf("a container named %q exists already", name)
			e.Hint = fmt.Sprintf("remove it (%s rm %s), or leave --name out while learning", w.line.Engine, name)
		}
	case has("port is already allocated", "address already in use"):
		e.Problem = "a published port is taken"
		e.Hint = "stop what uses it, or leave -p out while learning: the check can use $LEASTCAP_IP"
	}
	return e
}

// message is the error itself, without the noise that engines print around it:
// the last line that calls itself an error, else the first of all.
func message(text string) string {
	first, last := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "See '"), strings.HasPrefix(line, "Run '"), strings.HasPrefix(line, "Usage:"), strings.HasPrefix(line, "WARNING:"),
			// What follows is only the container's id.
			strings.Contains(line, "failed to start containers"):
			continue
		}
		if first == "" {
			first = line
		}
		if msg, ok := fatal(line); ok {
			last = msg
		} else if strings.HasPrefix(strings.TrimPrefix(line, "docker: "), "Error") {
			last = line
		}
	}
	found := cmp.Or(last, first)
	for _, prefix := range []string{"docker: ", "Error response from daemon: ", "Error: "} {
		found = strings.TrimPrefix(found, prefix)
	}
	return found
}

// fatal is what a line of nerdctl's says, which it writes as a log (logrus' TextFormatter);
// false if it does not end the command.
func fatal(line string) (string, bool) {
	_, rest, ok := strings.Cut(line, " level=fatal msg=")
	if !strings.HasPrefix(line, "time=") || !ok {
		return "", false
	}
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		rest, _ = strconv.Unquote(quoted) // it is quoted
	}
	// "1 errors:" stands before the first.
	if count, after, ok := strings.Cut(rest, "\n"); ok && strings.HasSuffix(count, " errors:") {
		rest = after
	}
	return strings.ReplaceAll(strings.TrimSpace(rest), "\n", ": "), true
}

// Inspect implements [engine.Workload].
func (w *Workload) Inspect(ctx context.Context) (usage.Subject, error) {
	s := usage.Subject{Kind: "container", Engine: w.line.Engine, Command: w.line.Words(), Image: w.line.Image, User: w.line.User()}
	// Does the engine answer at all? An absent image is pulled by the baseline's
	// create, as the user's own line would do it.
	if _, err := w.run(ctx, "version", "--format", "{{.Server.Version}}"); err != nil && w.line.Engine == "docker" {
		return s, err
	}
	return s, nil
}

// image fills in what only a container tells: which image it really got.
func (w *Workload) image(ctx context.Context, s *usage.Subject, id string) {
	image, err := w.run(ctx, "inspect", "--type", "container", "--format", "{{.Image}}", id)
	if err != nil {
		return
	}
	if isImageID(image) {
		s.ImageID = image
	}
	out, err := w.run(ctx, "image", "inspect", "--format", "{{.ID}} {{json .RepoDigests}}", image)
	if err != nil {
		return
	}
	var digests []string
	s.ImageID, out, _ = strings.Cut(out, " ")
	if json.Unmarshal([]byte(out), &digests) == nil && len(digests) > 0 {
		s.Digest = digests[0]
	}
}

// containerID is the full one: it has to be found in cgroups' names.
var containerID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{64}$`)
})

// Prepare creates the container.
func (w *Workload) Prepare(ctx context.Context, g engine.Grant) (engine.Instance, error) {
	r := Rewrite{
		Labels: []string{ownerLabel + "=" + w.owner}, Unconfined: g.Unconfined,
		// Nobody is attached: an open standard input would never end.
		Drop: []string{"interactive", "tty"},
	}
	if !g.Baseline {
		r.Caps = &g.Set
	}
	r.Fresh = g.Fresh
	if before, ok := g.After.(*instance); ok {
		r.VolumesFrom = before.id
		if w.line.Name() != "" { // it is this one's now
			if _, err := w.run(ctx, "rename", before.id, "leastcap-before-"+before.id[:12]); err != nil {
				return nil, err
			}
		}
	}
	argv := w.line.Create(r)
	id, err := w.exec(ctx, argv)
	if err != nil {
		return nil, err
	}
	if i := strings.LastIndexByte(id, '\n'); i >= 0 {
		id = id[i+1:] // what was pulled is told first
	}
	if !containerID().MatchString(id) {
		return nil, fmt.Errorf("%s create: no container id in its answer %q", w.line.Engine, id)
	}
	return &instance{w: w, id: id, exited: make(chan struct{})}, nil
}

// remove ends and removes a container. Podman's own clean-up after a container that has
// ended, another process of it, may still hold a mount, for which Podman does not wait. Docker
// does not wait for who removes it already (moby daemon/delete.go); its name is taken until then.
func (w *Workload) remove(ctx context.Context, id string) error {
	return engine.WhileBusy(ctx, func() (busy bool, err error) {
		_, err = w.run(ctx, "rm", "-f", "-v", id)
		var e *engine.Error
		if !errors.As(err, &e) {
			return false, err
		}
		if strings.Contains(strings.ToLower(e.Reason), "no such container") {
			return false, nil
		}
		return strings.Contains(e.Reason, "already in progress") || w.line.Engine == "podman" && strings.Contains(e.Reason, "root filesystem"), err
	})
}

// Clean removes this process's containers, and those of dead ones on this host.
func (w *Workload) Clean(ctx context.Context) error {
	out, err := w.run(ctx, "ps", "-aq", "--no-trunc", "--filter", "label="+ownerLabel)
	if err != nil {
		return err
	}
	host, _, _ := strings.Cut(w.owner, "/")
	var errs []error
	for id := range strings.FieldsSeq(out) {
		owner, err := w.run(ctx, "inspect", "--type", "container", "--format", fmt.Sprintf("{{index .Config.Labels %q}}", ownerLabel), id)
		if err != nil {
			continue // removed meanwhile
		}
		on, process, _ := strings.Cut(owner, "/")
		if owner == w.owner || on == host && !proc.Owner(process).Alive() {
			errs = append(errs, w.remove(ctx, id))
		}
	}
	return errors.Join(errs...)
}
