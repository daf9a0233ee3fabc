package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/manifest"
)

// A starting is what tells one workload of an image from another: what is kept of what was
// learned is found by it (see storeFile).
type starting struct {
	image      string
	entrypoint []string // nil for the image's own
	command    []string // with what is behind the first word of the entry point
	user       string
}

// startOf says what a container of an image starts, or why that cannot be known. image is ""
// for one that is not known.
func startOf(c *manifest.Container, image string) (*starting, error) {
	unknown := func(what string, why string) error { return fmt.Errorf("its %s cannot be known: %s", what, why) }
	if c.Format == "dockerfile" && c.Kind == "image" {
		return nil, errors.New("its image has yet to be built")
	}
	switch {
	case image == "" && c.Image.State == manifest.Unknown:
		return nil, unknown("image", c.Image.Why)
	case image == "":
		return nil, errors.New("it names no image")
	case c.User.State == manifest.Unknown:
		return nil, unknown("user", c.User.Why)
	}
	w := &starting{image: image, user: c.User.V}
	for _, f := range c.Facts { // of Kubernetes
		if group, ok := f.Value.Get(); ok && f.Key == "runAsGroup" && w.user != "" {
			w.user += ":" + group
		}
	}
	for _, a := range []struct {
		args manifest.Args
		what string
		to   *[]string
	}{{c.Entrypoint, "entry point", &w.entrypoint}, {c.Command, "command", &w.command}} {
		if a.args.State == manifest.Unset {
			continue
		}
		list, ok := manifest.Line(a.args)
		if !ok {
			why := a.args.Why
			for _, word := range a.args.V {
				if word.State != manifest.Known {
					why = word.Why
				}
			}
			return nil, unknown(a.what, why)
		}
		*a.to = list
	}
	switch {
	case c.Entrypoint.State == manifest.Unset && c.Command.State == manifest.Known && len(w.command) == 0:
		return nil, errors.New("it takes the image's command away and gives none, which docker run cannot")
	case len(w.entrypoint) > 1: // the flag takes one word
		w.command = slices.Concat(w.entrypoint[1:], w.command)
		w.entrypoint = w.entrypoint[:1]
	}
	return w, nil
}

// words are a line that starts it: flags before, and what tells it from others.
func (w *starting) words(before ...string) []string {
	line := slices.Clone(before)
	if w.user != "" {
		line = append(line, "--user="+w.user)
	}
	if w.entrypoint != nil {
		line = append(line, "--entrypoint="+strings.Join(w.entrypoint, " "))
	}
	return append(append(line, w.image), w.command...)
}

// is says whether a line that was learned starts the same.
func (w *starting) is(line *cli.Line) bool {
	entrypoint, ok := line.Entrypoint()
	own := ""
	if len(w.entrypoint) > 0 {
		own = w.entrypoint[0]
	}
	return ok == (w.entrypoint != nil) && entrypoint == own && slices.Equal(line.Command, w.command) && line.User() == w.user
}

// learnAll learns what is needed by containers of which nothing is known. One that
// cannot be learned is said, and stops no other.
func (f *fixFlags) learnAll(ctx context.Context, stderr io.Writer, in *definitions) error {
	done := map[string]bool{}
	for i := range in.subjects {
		s := &in.subjects[i]
		c := s.Container
		if s.Profile != nil || c.Format == "dockerfile" && c.Kind == "image" {
			continue
		}
		image, err := in.imageHere(ctx, c)
		var w *starting
		if err == nil {
			if image == "" && c.Image.State != manifest.Unknown {
				continue // a unit, a process
			}
			w, err = startOf(c, image)
		}
		var line *learnLine
		if err == nil {
			line, err = lineFor(c, w)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			say(stderr, "%s is not learned: %v", c.Name, err)
			var u *unbuiltError
			if errors.As(err, &u) && u.build != "" {
				say(stderr, "hint: %s builds it; then run this again", u.build)
			}
			continue
		}
		if c.Build.State != manifest.Unset {
			line.note("%s is taken as it was built last; %s builds it anew", image, in.of[c].buildLine(c))
		}
		if key := cli.Quote(w.words()); done[key] {
			continue
		} else {
			done[key] = true
		}
		var args []string
		for _, check := range f.checksOf(c) {
			args = append(args, "--check", check)
		}
		if f.engine != "" {
			args = append(args, "--engine", f.engine)
		}
		args = append(args, "--")
		shown := line.words
		if l, err := cli.UnderstandAs("docker", line.words, nil); err == nil {
			shown = l.WithoutValues() // variables may be secrets
		}
		say(stderr, "learning %s: leastcap learn %s", c.Name, cli.Quote(slices.Concat(args, shown)))
		for _, note := range line.notes {
			say(stderr, "note: %s", note)
		}
		learn := newLearn(io.Discard, stderr)
		learn.SilenceErrors, learn.SilenceUsage = true, true
		learn.SetArgs(slices.Concat(args, line.words))
		if err := learn.ExecuteContext(ctx); err != nil {
			if ctx.Err() != nil {
				return err
			}
			var s2 status
			if !errors.As(err, &s2) { // which has said so itself
				text, hint, _ := explain(err)
				say(stderr, "error: %s", text)
				if hint != "" {
					say(stderr, "hint: %s", hint)
				}
			}
			say(stderr, "%s was not learned, and stays as it is", c.Name)
		}
	}
	return nil
}

// checksOf are the checks for a container.
func (f *fixFlags) checksOf(c *manifest.Container) []string {
	var list []string
	for _, check := range f.checks {
		if name, command, ok := strings.Cut(check, "="); ok && name == c.Name {
			list = append(list, command)
		} else if !ok || strings.ContainsAny(name, " /") {
			list = append(list, check)
		}
	}
	return list
}

// A learnLine is a line of docker for what a definition says, and what of that is not in it.
type learnLine struct {
	words []string
	notes []string
}

func (l *learnLine) flag(name, value string) { l.words = append(l.words, "--"+name+"="+value) }

func (l *learnLine) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

// lineFor makes the line that runs a container as it is defined, with the capabilities that
// its engine gives it today. The host's files are not written.
func lineFor(c *manifest.Container, w *starting) (*learnLine, error) {
	l := &learnLine{words: []string{"docker", "run"}}
	if err := l.capabilities(c); err != nil {
		return nil, err
	}
	if manifest.Is(c.ReadOnlyRoot, true) {
		l.words = append(l.words, "--read-only")
	}
	if manifest.Is(c.NoNewPrivs, true) {
		l.flag("security-opt", "no-new-privileges")
	}
	for _, o := range []struct {
		name string
		v    manifest.Text
	}{{"seccomp", c.Seccomp}, {"apparmor", c.AppArmor}} {
		if v, ok := o.v.Get(); ok && strings.EqualFold(v, "unconfined") {
			l.flag("security-opt", o.name+"=unconfined")
		}
	}
	for _, s := range c.Sysctls {
		if v, ok := s.Value.Get(); ok {
			l.flag("sysctl", s.Key+"="+v)
		} else {
			l.note("the sysctl %s is left out: %s", s.Key, s.Value.Why)
		}
	}
	l.namespaces(c)
	for _, m := range c.Mounts {
		l.mount(m)
	}
	for _, d := range c.Devices {
		host, ok := d.Host.Get()
		if !ok {
			l.note("a device is left out: where it is on the host is not said")
			continue
		}
		inside, ok := d.Container.Get()
		if !ok || inside == "" {
			inside = host
		}
		l.flag("device", host+":"+inside+":"+d.Rights)
	}
	for _, f := range c.Facts {
		if groups, ok := f.Value.Get(); ok && (f.Key == "group_add" || f.Key == "group-add") {
			for group := range strings.FieldsSeq(groups) {
				l.flag("group-add", group)
			}
		}
	}
	for _, v := range c.Env {
		value, ok := v.Value.Get()
		switch {
		case ok:
			l.flag("env", v.Key+"="+value)
		case v.Key == "":
			l.note("some variables are left out: %s", v.Value.Why)
		default:
			l.note("the variable %s is left out: %s", v.Key, v.Value.Why)
		}
	}
	if dir, ok := c.WorkDir.Get(); ok && dir != "" {
		l.flag("workdir", dir)
	}
	l.words = w.words(l.words...)
	return l, nil
}

// capabilities are those that it has today; without any wish Docker's own default.
func (l *learnLine) capabilities(c *manifest.Container) error {
	switch {
	case manifest.Is(c.Privileged, true):
		l.words = append(l.words, "--privileged")
		return nil
	case c.Privileged.State == manifest.Unknown:
		return fmt.Errorf("whether it is privileged cannot be known: %s", c.Privileged.Why)
	}
	given, err := c.Given("")
	if err != nil {
		return fmt.Errorf("what it has today cannot be known: %w", err)
	}
	docker, err := rules.For("docker")
	switch {
	case err != nil:
		return err
	case given.Set == docker.Default:
	case given.Set == caps.All():
		l.flag("cap-add", "ALL")
	default:
		l.flag("cap-drop", "ALL")
		for _, name := range given.Set.Docker() {
			l.flag("cap-add", name)
		}
	}
	return nil
}

func (l *learnLine) namespaces(c *manifest.Container) {
	flags := map[string]string{"net": "network", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroupns"}
	seen := map[string]bool{}
	for _, n := range c.Namespaces {
		with, ok := n.With.Get()
		switch flag := flags[n.Kind]; {
		case flag == "" || seen[n.Kind]: // user namespaces are the engine's to set up
		case ok && (with == "host" || with == "none"):
			seen[n.Kind] = true
			l.flag(flag, with)
		case ok:
			l.note("it shares the %s namespace of %s, which is not there", n.Kind, with)
		}
	}
}

// mount gives a volume of its own for what would be written, and the host's for the rest.
func (l *learnLine) mount(m manifest.Mount) {
	target, ok := m.Target.Get()
	if !ok || target == "" {
		l.note("a mount is left out: where it goes is not known")
		return
	}
	switch m.Type {
	case "tmpfs":
		l.flag("tmpfs", target)
		return
	case "volume", "emptyDir", "persistentVolumeClaim", "ephemeral":
		l.flag("volume", target)
		return
	case "bind", "hostPath":
	default:
		l.note("the %s at %s is left out: it is not here", m.Type, target)
		return
	}
	source, ok := m.Source.Get()
	if home, err := os.UserHomeDir(); ok && err == nil && (source == "~" || strings.HasPrefix(source, "~/")) {
		source = home + source[1:]
	}
	source, err := filepath.Abs(source)
	info, serr := os.Stat(source)
	switch {
	case !ok:
		l.note("%s is an empty volume: what is mounted there is not known: %s", target, m.Source.Why)
	case err != nil || serr != nil:
		l.note("%s is an empty volume: %s is not here", target, source)
	case strings.ContainsAny(source+target, ",\"\n"):
		l.note("%s is an empty volume: the name of %s cannot be given", target, source)
	case info.IsDir() && !manifest.Is(m.ReadOnly, true) && manifest.SensitivePath(source) == "":
		l.note("%s is an empty volume, so that nothing is written to %s", target, source)
	default:
		l.flag("mount", "type=bind,source="+source+",target="+target+",readonly")
		return
	}
	l.flag("volume", target)
}
