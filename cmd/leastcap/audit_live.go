package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	inspected "github.com/leastcap/leastcap/manifest/inspect"
	"github.com/leastcap/leastcap/manifest/label"
	shellwords "github.com/leastcap/leastcap/manifest/words"
	"github.com/leastcap/leastcap/proc"
)

// liveHelp describes the arguments that name no file.
const liveHelp = `In place of files it can be asked what runs:

  leastcap audit docker [CONTAINER...]    Docker's running containers, or these
  leastcap audit podman [CONTAINER...]    Podman's
  leastcap audit proc [PID...]            this machine's processes that have capabilities
  leastcap audit image REF...             what images hold: a container of each as its
                                          engine would start it (or audit REF, if REF is
                                          the name of no file)
  leastcap audit bundle DIR...            OCI bundles

A file or directory of that name is meant with ./ before it.`

// liveWords are the arguments that name what runs.
var liveWords = []string{"docker", "podman", "proc", "image", "bundle"}

// loadLive reads what runs. ok is false if args name files.
func (f *sourceFlags) loadLive(ctx context.Context, args []string) (d *definitions, ok bool, err error) {
	if len(args) == 0 || !slices.Contains(liveWords, args[0]) {
		return nil, false, nil
	}
	word, args := args[0], args[1:]
	d = &definitions{config: &audit.Config{}}
	switch word {
	case "docker", "podman":
		err = d.loadEngine(ctx, word, args)
	case "proc":
		err = d.loadProcesses(args)
	case "image":
		if len(args) == 0 {
			return nil, true, &usageError{errors.New("no image is named"), "use leastcap audit image REF"}
		}
		for _, ref := range args {
			err = errors.Join(err, d.loadImage(ctx, ref))
		}
	case "bundle":
		if len(args) == 0 {
			return nil, true, &usageError{errors.New("no bundle is named"), "use leastcap audit bundle DIR"}
		}
		for i, dir := range args {
			args[i] = filepath.Join(dir, "config.json")
		}
		d, err = f.load(ctx, nil, args)
		return d, true, err
	}
	if err != nil {
		return nil, true, err
	}
	if d.config, err = f.loadConfig(ctx, []string{"."}); err != nil {
		return nil, true, err
	}
	d.excepted = d.config.Exceptions
	profiles, err := f.loadProfiles(ctx)
	if err != nil {
		return nil, true, err
	}
	for i := range d.subjects {
		if image, ok := d.subjects[i].Container.Image.Get(); ok {
			profiles.find(&d.subjects[i], []string{image})
		} else {
			profiles.find(&d.subjects[i], nil)
		}
	}
	d.unused = profiles.unused(d.subjects)
	if f.images {
		err = d.lookIntoImages(ctx)
	}
	return d, true, err
}

// lookIntoImages reads the images that an engine has here; of others nothing is known.
func (d *definitions) lookIntoImages(ctx context.Context) error {
	type answer struct {
		image *audit.Image
		err   error
	}
	seen := map[string]answer{}
	for i := range d.subjects {
		s := &d.subjects[i]
		ref, ok := s.Container.Image.Get()
		if !ok || s.Image != nil {
			continue
		}
		a, ok := seen[ref]
		if !ok {
			a.image, a.err = localImageOf(ctx, ref)
			seen[ref] = a
			if a.err != nil {
				d.errs = append(d.errs, &manifest.Error{At: s.Container.Image.At, Err: a.err, Hint: "docker pull gets an image; without --images nobody looks"})
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		s.Image = a.image
	}
	return nil
}

// localImageOf looks into an image of docker, else of podman; no registry is asked.
func localImageOf(ctx context.Context, ref string) (*audit.Image, error) {
	found, _, err := privilegedImage(ctx, "docker-daemon:"+ref)
	if err != nil {
		if other, _, perr := privilegedImage(ctx, "podman:"+ref); perr == nil {
			return other, nil
		}
	}
	return found, err
}

// loadEngine asks an engine for its containers.
func (d *definitions) loadEngine(ctx context.Context, engine string, names []string) error {
	if _, err := exec.LookPath(engine); err != nil {
		return &usageError{fmt.Errorf("%s is not installed", engine), "leastcap audit proc shows containers of every engine by their processes"}
	}
	if len(names) == 0 {
		out, err := output(ctx, engine, "ps", "--quiet", "--no-trunc")
		if err != nil {
			return err
		}
		if names = strings.Fields(out); len(names) == 0 {
			return nil
		}
	}
	out, err := output(ctx, engine, slices.Concat([]string{"container", "inspect"}, names)...)
	if err != nil {
		return err
	}
	list, err := inspected.Parse(manifest.Source{Name: engine, Data: []byte(out)})
	if err != nil {
		return err
	}
	if _, err := withoutImages(ctx, engine, list); err != nil {
		return err
	}
	version, _ := output(ctx, engine, "version", "--format", "{{.Server.Version}}")
	for _, c := range list {
		c.At.File = engine + " " + c.Name
		c.Target = manifest.Target{Engines: []string{engine}, Version: strings.TrimSpace(version), Chosen: true}
		d.subjects = append(d.subjects, audit.Subject{Container: c})
	}
	return nil
}

// withoutImages takes from containers that an engine told of what their images say. gone are
// those whose image the engine does not have any more: there is nothing to compare with.
func withoutImages(ctx context.Context, engine string, list []*manifest.Container) (gone []*manifest.Container, err error) {
	line := []string{"image", "inspect"}
	for _, c := range list {
		if id := inspected.ImageID(c); id != "" && !slices.Contains(line, id) {
			line = append(line, id)
		}
	}
	if len(line) == 2 {
		return list, nil
	}
	out, _ := exec.CommandContext(ctx, engine, line...).Output() // of one that is not there it says so, and tells of the others
	if len(bytes.TrimSpace(out)) == 0 {
		return list, ctx.Err()
	}
	if gone, err = inspected.WithoutImages(list, out); err != nil {
		return nil, fmt.Errorf("%s: %w", engine, err)
	}
	return gone, nil
}

// inspectedImages asks engines for the images of containers that their inspect told of, where
// something is known of such images.
func (d *definitions) inspectedImages(ctx context.Context, profiles *learned) error {
	of := map[string][]*manifest.Container{}
	for i := range d.files {
		for _, c := range d.files[i].containers {
			if c.Format == inspected.Format.Name && profiles.of(c) {
				of[c.Target.Engines[0]] = append(of[c.Target.Engines[0]], c)
			}
		}
	}
	for engine, list := range of {
		gone := list
		if engine == "docker" || engine == "podman" {
			var err error
			if gone, err = withoutImages(ctx, engine, list); err != nil {
				return err
			}
		}
		for _, c := range gone {
			d.uncompared = append(d.uncompared, fmt.Sprintf("what was learned of %s is not compared with %s: its image is not here any more, so that it is not known what it starts of its own", c.Image.V, c.Name))
		}
	}
	return nil
}

// output runs a command of an engine; its error says what it printed.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return "", fmt.Errorf("%s %s: %s", name, args[0], strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return string(out), nil
}

// loadImage makes a container of an image as docker run would without flags.
func (d *definitions) loadImage(ctx context.Context, ref string) error {
	v, labels, err := privilegedImage(ctx, ref)
	if err != nil {
		return err
	}
	at := manifest.Pos{File: ref}
	c := &manifest.Container{
		Format: "image", Path: ref, Name: ref, Kind: "image", At: at,
		Target: manifest.Target{Engines: []string{"docker"}, Why: "nothing says which engine runs it"},
		Image:  manifest.Of(ref, ref, at),
	}
	d.subjects = append(d.subjects, audit.Subject{Container: c, Image: v})
	lines, errs := labelContainers(ref, labels)
	d.errs = append(d.errs, errs...)
	for _, c := range lines {
		d.subjects = append(d.subjects, audit.Subject{Container: c, Image: v})
	}
	return nil
}

// labelContainers are the containers that the commands in an image's labels would start.
func labelContainers(ref string, labels map[string]string) (list []*manifest.Container, errs []*manifest.Error) {
	at := manifest.Pos{File: ref}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !slices.ContainsFunc([]string{label.Run, label.Install, label.Uninstall, label.Stop}, func(l string) bool { return strings.EqualFold(l, name) }) {
			continue
		}
		command, err := label.Parse(labels[name], map[string]string{"IMAGE": ref, "NAME": label.Name(ref, false)}, nil)
		if err != nil {
			errs = append(errs, &manifest.Error{At: at, Reason: "the label " + name + " is no command: " + err.Error()})
			continue
		}
		var ws []shellwords.Word
		for _, w := range command.Words {
			ws = append(ws, shellwords.New(w, w, 0, 0, nil))
		}
		line, err := flags.Parse(ws, manifest.NewLines(ref, []byte(labels[name])))
		if err != nil {
			for _, e := range manifest.Errors(err) {
				errs = append(errs, &manifest.Error{At: at, Reason: "the label " + name + ": " + e.Reason, Err: e.Err})
			}
		}
		if line == nil {
			continue // a command, and not one of an engine
		}
		c := line.Container
		unplaced(c, at)
		c.Format, c.Path, c.Name, c.Kind, c.At = "image", ref+" label "+name, "label "+name, "label", at
		list = append(list, c)
	}
	return list, errs
}

// unplaced takes the places away that a definition has in a text which nobody can open.
func unplaced(c *manifest.Container, at manifest.Pos) {
	c.Privileged.At, c.User.At, c.NoNewPrivs.At, c.Image.At = at, at, at, at
	for i := range c.Caps {
		c.Caps[i].Word.At, c.Caps[i].List = at, at
	}
	for i := range c.Namespaces {
		c.Namespaces[i].With.At = at
	}
	for i := range c.Mounts {
		c.Mounts[i].At = at
	}
	for i := range c.Devices {
		c.Devices[i].At = at
	}
}

// privilegedImage is what the rules want to know of an image, and its labels.
func privilegedImage(ctx context.Context, ref string) (found *audit.Image, labels map[string]string, err error) {
	m, err := image.Open(ctx, ref, image.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	scan, err := image.Scan(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	out := &audit.Image{User: m.Config.Config.User}
	if label, ok := m.Config.Config.Labels[labelCaps]; ok {
		out.Label = &label
	}
	for _, f := range scan.Files {
		p := audit.Program{Path: f.Path, SetID: f.SetUID() || f.SetGID()}
		if f.Caps != nil {
			p.Caps = f.Caps.Permitted
		}
		out.Programs = append(out.Programs, p)
	}
	return out, m.Config.Config.Labels, nil
}

// loadProcesses makes a container of each process that has capabilities: one for all
// threads and processes of one program that have the same.
func (d *definitions) loadProcesses(args []string) error {
	list, unreadable, err := proc.List("/proc", proc.ListOptions{Containers: proc.Each})
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	if unreadable > 0 {
		d.errs = append(d.errs, &manifest.Error{At: manifest.Pos{File: "/proc"}, Reason: fmt.Sprintf("%d processes could not be read", unreadable), Hint: "run leastcap as root"})
	}
	type key struct {
		command, container string
		uid                uint32
		state              caps.State
	}
	seen := map[key]bool{}
	host := proc.Host("/proc")
	for i := range list {
		p := &list[i]
		if p.PID == os.Getpid() || len(args) > 0 && !slices.Contains(args, fmt.Sprint(p.PID)) {
			continue
		}
		k := key{p.Comm, p.Container, p.UID, p.State}
		if p.State.Permitted.Empty() && len(args) == 0 || seen[k] {
			continue
		}
		seen[k] = true
		d.subjects = append(d.subjects, audit.Subject{Container: processContainer(p, &host)})
	}
	if len(args) > 0 && len(d.subjects) == 0 {
		return &usageError{fmt.Errorf("there is no process %s", strings.Join(args, ", ")), "leastcap ps -a lists them"}
	}
	return nil
}

func processContainer(p *proc.Process, host *proc.Namespaces) *manifest.Container {
	at := manifest.Pos{File: fmt.Sprintf("process %d", p.PID)}
	state := p.State
	c := &manifest.Container{
		Format: "proc", Path: fmt.Sprintf("%s/%s", p.Container, p.Comm), Name: p.Comm, Kind: "process", At: at,
		Target: manifest.Target{Engines: []string{"systemd"}, Chosen: true},
		Stated: &state, User: manifest.Of(userName(p.UID), fmt.Sprint(p.UID), at),
		NoNewPrivs: manifest.Of(p.NoNewPrivs, fmt.Sprint(p.NoNewPrivs), at),
	}
	if p.Container != "" {
		c.Kind = fmt.Sprintf("process in %s container %.12s", p.Engine, p.Container)
		c.Target = manifest.Target{Chosen: true}
	}
	confined := proc.Confined("/proc", p)
	own := confined.Namespaces.Own(host)
	for _, kind := range []string{"pid", "net", "ipc"} {
		if !slices.Contains(own, kind) && p.Container != "" {
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: kind, With: manifest.Of("host", "host", at)})
		}
	}
	return c
}

// imageRefs takes the images out of arguments: what is no file and does not look like one.
func imageRefs(args []string) (files, refs []string) {
	for _, arg := range args {
		_, err := os.Stat(arg)
		if arg != stdinArg && err != nil && looksLikeImage(arg) {
			refs = append(refs, arg)
		} else {
			files = append(files, arg)
		}
	}
	return files, refs
}

// looksLikeImage: a tag or a digest, or a registry's name before it; nothing that ends
// like a file.
func looksLikeImage(arg string) bool {
	if strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".") {
		return false
	}
	last := arg[strings.LastIndexByte(arg, '/')+1:]
	return strings.Contains(last, ":") || strings.Contains(arg, "@") || filepath.Ext(last) == ""
}
