package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// trial is the one command that is looked at.
type trial struct {
	ref  proc.ScopeRef
	base []string // an engine's command, before the verb; none for a host's command
	id   string   // the container's
	root string   // the container's root directory, if this program runs it

	cgroups map[string]string // directories, by the cgroups as the probe names them, once they were found
	mounts  *[]hostMount      // nil: nobody asked yet
}

// hostMount is a directory or file of this host that a container has; without a source it is
// something else, a tmpfs, say.
type hostMount struct{ Source, Destination string }

// dir is the directory of a cgroup of the command's. The probe does not know the names of
// those above that are older than it.
func (t *trial) dir(mount, within string) string {
	if t.cgroups[within] == "" {
		_ = filepath.WalkDir(mount, func(dir string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.HasSuffix(dir, within) {
				if t.cgroups == nil {
					t.cgroups = make(map[string]string)
				}
				t.cgroups[within] = dir
				return fs.SkipAll
			}
			return nil // or it was removed meanwhile
		})
	}
	return t.cgroups[within]
}

func (t *trial) has(p probe.Place) bool {
	if t.ref.ID != 0 {
		return slices.Contains(p.Within, t.ref.ID)
	}
	return strings.Contains(p.Path, t.ref.Name) && !strings.Contains(p.Path, "conmon")
}

const (
	// stopping is how long the end may take.
	stopping = 30 * time.Second
	// answering is how long an engine may take to give a container's output or file. It takes
	// a moment; one that is busy is waited for.
	answering = 15 * time.Second
)

// command runs one command as it is, and explains what it is refused.
func (w *whyLook) command(ctx context.Context, args []string) (err error) {
	var workload engine.Workload
	t := new(trial)
	asked := "" // the engine
	out := w.stderr
	if w.quiet {
		out = io.Discard
	}
	_, isContainer := cli.Recognise(args)
	switch {
	case w.engine != "" && !isContainer:
		return &usageError{fmt.Errorf("--engine %s needs a docker run line", w.engine), "give one behind --: leastcap why --engine " + w.engine + " -- docker run IMAGE"}
	case w.engine != "":
		line, err := cli.Understand(args, []cli.FlagSpec{rootfsFlag})
		if err != nil {
			return err
		}
		own, done, err := embeddedWorkload(ctx, line, false)
		if err != nil {
			return err
		}
		defer done() // a lock on what is unpacked
		workload = own
	case isContainer:
		c, err := cli.New(ctx, args)
		if err != nil {
			return err
		}
		line := c.Line()
		asked = line.Engine
		t.base = slices.Concat(line.Prefix, []string{line.Program}, line.Global)
		workload = c
	}
	p, err := openProbe(probe.Options{Running: true, Refusals: true, Hook: w.hook})
	if err != nil {
		return err
	}
	defer p.Close()
	w.lookout = &lookout{probe: p, names: newNamer(ctx, w.stderr)}
	if workload == nil {
		h, err := host.New(args, "", p.Hierarchy())
		if err != nil {
			return err
		}
		h.Output = out
		workload = h
	}
	answered := func() {}
	if asked != "" {
		answered = waiting(w.stderr, slow, asked)
	}
	defer answered()
	if err := workload.Clean(ctx); err != nil {
		return err
	}
	if _, err := workload.Inspect(ctx); err != nil {
		return err
	}
	answered() // now an image may have to be pulled
	inst, err := workload.Prepare(ctx, engine.Grant{Baseline: true})
	if err != nil {
		return err
	}
	defer ending(ctx, w.stderr, slowEnd, func() {})()
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopping)
		defer cancel()
		if rerr := inst.Remove(clean); rerr != nil {
			err = errors.Join(err, fmt.Errorf("remove what was started: %w", rerr))
		}
	}()
	t.ref = inst.Scope()
	t.id = t.ref.Name
	if rooted, ok := inst.(interface{ Root() string }); ok {
		t.root = rooted.Root()
	}
	w.trial = t
	if err := inst.Start(ctx); err != nil {
		return err
	}
	logs := t.follow(ctx, out)
	if err := w.loop(ctx, inst.Exited()); err != nil {
		return err
	}
	select {
	case <-inst.Exited():
	default:
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopping)
		_ = inst.Stop(stop, -1) // what does not stop is removed
		cancel()
		if err := w.look(time.Now(), true); err != nil { // of its end
			return err
		}
	}
	logs()
	if w.engine != "" {
		fmt.Fprintln(out, strings.TrimSuffix(inst.Logs(ctx, mostLines), "\n"))
	}
	if !isContainer {
		w.hintAt()
	}
	started := true
	select {
	case <-inst.Exited():
		exit := inst.Exit()
		started = exit.Started
		if exit.Err != nil {
			return exit.Err
		}
		if !exit.Started || exit.Code != 0 {
			say(w.stderr, "the command %v", exit)
		}
	default:
	}
	if err := w.conclude(); err != nil || started {
		return err
	}
	return status(exitUsage) // nothing was refused because nothing ran
}

// mostLines is how much of an embedded container's output is shown.
const mostLines = 1000

// hintAt says that a command had others do its work, where this looks at nothing.
func (w *whyLook) hintAt() {
	groups, err := w.probe.Survey(w.chosen)
	if err != nil {
		return // which the summary says
	}
	for _, g := range groups {
		client := advise.Client(g.Record)
		if client == "" && slices.ContainsFunc(g.Record.Execs, func(e usage.Exec) bool { return path.Base(e.Path) == "leastcap" }) {
			client = "leastcap"
		}
		if client == "" {
			continue
		}
		say(w.stderr, "warning: the command ran %s: what that had run elsewhere was not looked at", client)
		say(w.stderr, "hint: leastcap why without a command looks at all that runs; leastcap why -- docker run …, with --engine embedded too, at a container")
		return
	}
}

// follow copies a container's output as it comes; the function that it returns waits for
// the end of it.
func (t *trial) follow(ctx context.Context, out io.Writer) func() {
	if t.base == nil || out == io.Discard {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	argv := slices.Concat(t.base, []string{"logs", "-f", t.id})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	engine.Group(cmd)
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = out, out
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Run() // without it there is less to see, and no less to know
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(answering):
		}
		cancel()
		<-done
	}
}

// look reads what is known of a file of a container that may have ended: nil if that
// cannot be said. Directories on the way come first, as [proc.Look] has it.
func (t *trial) look(file string, uid, gid uint32, inDir bool) *usage.File {
	if t.root != "" {
		f, err := proc.LookIn(t.root, file, uid, gid, inDir)
		if err != nil {
			return nil
		}
		return f
	}
	if t.base == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), answering)
	defer cancel()
	if f := t.mounted(ctx, file, uid, gid, inDir); f != nil {
		return f
	}
	f, err := t.copied(ctx, file)
	if err == nil && !inDir {
		return f
	}
	dir, derr := t.copied(ctx, path.Dir(file))
	if derr != nil {
		return nil
	}
	dir.Blocker, dir.Exists = path.Dir(file), err == nil
	return dir
}

// mounted is look for a file in what the container has of this host: nil if it is not.
func (t *trial) mounted(ctx context.Context, file string, uid, gid uint32, inDir bool) *usage.File {
	if t.mounts == nil {
		t.mounts = new([]hostMount)
		argv := slices.Concat(t.base, []string{"inspect", "--format", "{{json .Mounts}}", t.id})
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		engine.Group(cmd)
		if out, err := cmd.Output(); err == nil {
			_ = json.Unmarshal(out, t.mounts) // else the engine's cp knows as much
		}
	}
	var of hostMount
	within := ""
	for _, m := range *t.mounts {
		rest, ok := strings.CutPrefix(path.Clean(file), m.Destination)
		if ok && (rest == "" || rest[0] == '/') && len(m.Destination) > len(of.Destination) {
			of, within = m, rest
		}
	}
	if of.Source == "" {
		return nil
	}
	f, err := proc.LookIn(of.Source, "/"+within, uid, gid, inDir)
	if errors.Is(err, syscall.ENOTDIR) && within == "" { // one file
		f, err = proc.LookIn(path.Dir(of.Source), "/"+path.Base(of.Source), 0, 0, false)
	}
	if err != nil {
		return nil
	}
	if f.Blocker != "" {
		f.Blocker = path.Join(of.Destination, f.Blocker)
	}
	return f
}

// copied is a file's header in the archive that the engine's cp makes.
func (t *trial) copied(ctx context.Context, file string) (*usage.File, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the rest of the archive is not wanted
	argv := slices.Concat(t.base, []string{"cp", "-L", t.id + ":" + file, "-"})
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	engine.Group(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	h, err := tar.NewReader(out).Next()
	if err != nil {
		return nil, err
	}
	f := &usage.File{Exists: true, Unmounted: true, UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: uint32(h.Mode) & 0o7777}
	if c, err := caps.ParseFileCaps([]byte(h.PAXRecords["SCHILY.xattr.security.capability"])); err == nil {
		f.Caps = &c
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f.Mode |= 0o100000
	case tar.TypeDir:
		f.Mode |= 0o040000
	case tar.TypeChar:
		f.Mode |= 0o020000
		f.Device, f.DeviceName = proc.Device(false, uint32(h.Devmajor), uint32(h.Devminor))
	case tar.TypeBlock:
		f.Mode |= 0o060000
		f.Device, f.DeviceName = proc.Device(true, uint32(h.Devmajor), uint32(h.Devminor))
	}
	return f, nil
}
