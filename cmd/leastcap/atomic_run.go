package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/charmbracelet/x/term"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/manifest/label"
)

// atomicCall is one call of an atomic verb.
type atomicCall struct {
	ctx            context.Context
	stdout, stderr io.Writer
	verb           string
	flags          *atomicFlags
	engine         string // docker, podman or nerdctl
	image, name    string
	args           []string
	env            map[string]string // of the label, and of what it runs
	opts           string            // the file whose contents are RUN_OPTS
}

func newAtomicCall(ctx context.Context, stdout, stderr io.Writer, verb string, f *atomicFlags, args []string) (*atomicCall, error) {
	a := &atomicCall{ctx: ctx, stdout: stdout, stderr: stderr, verb: verb, flags: f, image: args[0], args: args[1:], name: f.name}
	engines := cli.Engines()
	switch {
	case f.engine != "" && !slices.Contains(engines, f.engine):
		return nil, &usageError{fmt.Errorf("--engine %q is not known", f.engine), "use " + strings.Join(engines, ", ")}
	case f.engine != "":
		a.engine = f.engine
	default:
		a.engine = engines[0]
		for _, name := range engines {
			if _, err := exec.LookPath(name); err == nil {
				a.engine = name
				break
			}
		}
	}
	if a.name == "" {
		a.name = label.Name(a.image, f.spc)
	}
	return a, nil
}

// foundContainer is what is used of `docker container inspect`.
type foundContainer struct {
	ID    string `json:"Id"`
	Image string // its id
	State struct{ Running bool }

	Config struct {
		Image                                   string
		Labels                                  map[string]string
		Cmd                                     []string
		AttachStdin, AttachStdout, AttachStderr bool
	}
}

func (c *foundContainer) interactive() bool {
	return c.Config.AttachStdin && c.Config.AttachStdout && c.Config.AttachStderr
}

// container looks for a container, nil if there is none.
func (a *atomicCall) container(name string) (*foundContainer, error) {
	out, err := a.output("container", "inspect", name)
	if err != nil {
		if text := strings.ToLower(err.Error()); strings.Contains(text, "no such container") || strings.Contains(text, "no container with name") || strings.Contains(text, "not found") {
			return nil, nil
		}
		return nil, &engine.Error{Problem: "cannot look for container " + name, Reason: err.Error(), Hint: a.engine + " has to answer: try " + a.engine + " ps"}
	}
	var list []foundContainer
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		return nil, fmt.Errorf("%s container inspect %s: an answer that is not understood", a.engine, name)
	}
	c := &list[0]
	c.Config.Image = cmp.Or(c.Config.Image, c.Image) // nerdctl has the name there alone
	c.Image = cli.ImageID(a.ctx, a.engine, c.Image)
	return c, nil
}

func (a *atomicCall) output(args ...string) ([]byte, error) {
	var text strings.Builder
	cmd := exec.CommandContext(a.ctx, a.engine, args...)
	cmd.Stderr = &text
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed", a.engine)
	}
	if err != nil && text.Len() > 0 {
		err = errors.New(strings.TrimSpace(text.String()))
	}
	return out, err
}

// inspect looks at the image, and pulls it if it is not there.
func (a *atomicCall) inspect() (*localImage, error) {
	words := []string{a.engine, "run", a.image}
	if a.flags.display {
		words = []string{a.engine, "run", "--pull", "never", a.image}
	}
	line, err := cli.Parse(words)
	if err != nil {
		return nil, err
	}
	return inspectImage(a.ctx, a.stderr, line)
}

func (a *atomicCall) run() error {
	found, err := a.container(a.name)
	if err != nil {
		return err
	}
	img, err := a.inspect()
	if err != nil {
		return err
	}
	if found != nil && !a.flags.replace {
		return a.existing(found, img)
	}
	if _, _, ok := label.Lookup(img.Config.Labels, label.Install); ok && !a.flags.ignore && !a.flags.display {
		n, err := installed(img.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			say(a.stderr, "error: %s has a label INSTALL and was not installed", a.image)
			say(a.stderr, "hint: leastcap atomic install %s, or --ignore", a.image)
			return status(exitFindings)
		}
	}
	c, err := a.command(img, img.Config.Labels, label.Run)
	if err != nil {
		return err
	}
	if found != nil && !a.flags.display {
		if _, err := a.output("rm", "-f", found.ID); err != nil {
			return &engine.Error{Problem: "cannot remove container " + a.name, Reason: err.Error(), Hint: "give another --name"}
		}
	}
	return a.become(c)
}

// existing starts a container, or runs a command in it.
func (a *atomicCall) existing(c *foundContainer, img *localImage) error {
	if strings.TrimPrefix(c.Image, "sha256:") != strings.TrimPrefix(img.ID, "sha256:") {
		return &engine.Error{
			Problem: fmt.Sprintf("container %s is there already, of another image (%s, id %.19s) than %s is now", a.name, c.Config.Image, c.Image, a.image),
			Hint:    "--replace makes it anew; --name gives another one",
		}
	}
	execute := []string{a.engine, "exec"}
	if term.IsTerminal(os.Stdin.Fd()) {
		execute = append(execute, "-t")
	}
	execute = append(execute, "-i", a.name)
	command := a.args
	if len(command) == 0 && c.interactive() && c.State.Running {
		command = c.Config.Cmd
	}
	switch {
	case c.State.Running && len(command) > 0:
		return a.become(slices.Concat(execute, command))
	case c.State.Running:
		say(a.stderr, "container %s is running", a.name)
		return nil
	case len(command) > 0:
		start := []string{a.engine, "start", a.name}
		if a.flags.display {
			if err := a.become(start); err != nil {
				return err
			}
		} else if _, err := a.output(start[1:]...); err != nil {
			return &engine.Error{Problem: "cannot start container " + a.name, Reason: err.Error(), Hint: "--replace makes it anew"}
		}
		return a.become(slices.Concat(execute, command))
	case c.interactive():
		return a.become([]string{a.engine, "start", "-i", "-a", a.name})
	}
	return a.become([]string{a.engine, "start", a.name})
}

func (a *atomicCall) install() error {
	img, err := a.inspect()
	if err != nil {
		return err
	}
	if _, _, ok := label.Lookup(img.Config.Labels, label.Install); !ok {
		if !a.flags.quiet {
			say(a.stderr, "%s has no label INSTALL: there is nothing to do", a.image)
		}
		return nil
	}
	c, err := a.command(img, img.Config.Labels, label.Install)
	if err != nil {
		return err
	}
	if err := a.do(c); err != nil || a.flags.display {
		return err
	}
	return recordInstall(img.ID, a.image, a.name)
}

func (a *atomicCall) uninstall() error {
	img, err := a.inspect()
	if err != nil {
		return err
	}
	// What would be refused is refused before anything is removed.
	var c []string
	if _, _, ok := label.Lookup(img.Config.Labels, label.Uninstall); ok {
		if c, err = a.command(img, img.Config.Labels, label.Uninstall); err != nil {
			return err
		}
	}
	if !a.flags.display {
		if err := a.removeContainers(img); err != nil {
			return err
		}
	}
	if c != nil {
		if err := a.do(c); err != nil || a.flags.display {
			return err
		}
		return forgetInstall(img.ID, a.name)
	}
	if !a.flags.display {
		if err := forgetInstall(img.ID, a.name); err != nil {
			return err
		}
		if n, err := installed(img.ID); err != nil || n > 0 {
			return err
		}
	}
	return a.do([]string{a.engine, "rmi", a.image})
}

// removeContainers removes the one that was named, and all of the image with --force.
func (a *atomicCall) removeContainers(img *localImage) error {
	failed := func(name string, err error) error {
		return &engine.Error{Problem: "cannot remove container " + name, Reason: err.Error(), Hint: "remove it by hand: " + a.engine + " rm " + name}
	}
	if a.flags.name != "" {
		c, err := a.container(a.name)
		if err != nil {
			return err
		}
		if c != nil {
			if strings.TrimPrefix(c.Image, "sha256:") != strings.TrimPrefix(img.ID, "sha256:") {
				return &engine.Error{Problem: fmt.Sprintf("container %s is of another image: %s", a.name, c.Config.Image), Hint: "name one of " + a.image}
			}
			if c.State.Running {
				if _, err := a.output("stop", c.ID); err != nil {
					return failed(a.name, err)
				}
			}
			// One that was run with --rm is gone by now, or will be.
			if c, err = a.container(c.ID); err != nil {
				return err
			}
			if c != nil {
				if _, err := a.output("rm", "-f", c.ID); err != nil && !absent(err) {
					return failed(a.name, err)
				}
			}
		}
	}
	out, err := a.output("ps", "-a", "--filter", "ancestor="+img.ID, "--format", "{{.Names}}")
	if err != nil {
		return &engine.Error{Problem: "cannot look for containers of " + a.image, Reason: err.Error(), Hint: "try " + a.engine + " ps -a"}
	}
	names := strings.Fields(string(out))
	if len(names) > 0 && !a.flags.force {
		return &engine.Error{Problem: "containers of " + a.image + " are left: " + strings.Join(names, ", "), Hint: "remove them, name one with --name, or all with --force"}
	}
	for _, name := range names {
		if _, err := a.output("rm", "-f", name); err != nil {
			return failed(name, err)
		}
	}
	return nil
}

func (a *atomicCall) stop() error {
	names := []string{a.image, a.name}
	if a.flags.name != "" {
		names = names[1:]
	}
	for _, name := range names {
		c, err := a.container(name)
		if err != nil {
			return err
		}
		if c == nil {
			continue
		}
		a.name, a.image = name, c.Config.Image
		if _, _, ok := label.Lookup(c.Config.Labels, label.Stop); !ok {
			return a.do([]string{a.engine, "stop", name})
		}
		img := &localImage{ID: c.Image}
		img.Config.Labels = c.Config.Labels
		words, err := a.command(img, c.Config.Labels, label.Stop)
		if err != nil {
			return err
		}
		return a.do(words)
	}
	return &engine.Error{Problem: "there is no container " + strings.Join(slices.Compact(names), " or "), Hint: a.engine + " ps -a lists them; --name names one"}
}

// command makes words of a label, shows what they ask for, and refuses what is too much.
func (a *atomicCall) command(img *localImage, labels map[string]string, which string) ([]string, error) {
	a.env = label.Environment(os.Environ(), a.name, a.image, a.flags.opts)
	if err := a.system(labels); err != nil {
		return nil, err
	}
	_, text, ok := label.Lookup(labels, which)
	if !ok { // only RUN has a default
		d := label.Default{Program: a.engine, TTY: term.IsTerminal(os.Stdin.Fd()), Detach: a.flags.detach, SPC: a.flags.spc}
		line, err := cli.Understand(append(d.Words(a.name, a.image), a.args...), nil)
		if err != nil {
			return nil, err
		}
		if k, err := knownNeeds(img, line); err != nil {
			return nil, err
		} else if k.known && !a.flags.spc {
			a.note("%s has no label RUN; it gets what %s says: %v", a.image, k.source, k.set)
			return line.Run(&k.set, nil), nil
		}
		return line.Words(), nil
	}
	if a.flags.spc || a.flags.detach {
		say(a.stderr, "warning: --spc and --detach mean nothing here, as %s has a label RUN", a.image)
	}
	c, err := label.Parse(text, a.env, a.args)
	if err != nil {
		var e *label.Error
		if errors.As(err, &e) {
			return nil, &usageError{fmt.Errorf("label %s of %s: %w", which, a.image, err), e.Hint}
		}
		return nil, err
	}
	for _, l := range c.Lost {
		say(a.stderr, "warning: label %s: %q was deleted, as its variable is not set", which, l.Text)
	}
	u, err := a.understand(which, c)
	if err != nil {
		return nil, err
	}
	return u.words, a.judge(which, u, img, c)
}

// system puts in the variables that the system knows.
func (a *atomicCall) system(labels map[string]string) error {
	if dir, err := os.Getwd(); err == nil {
		a.env["PWD"] = dir
	}
	uid := "0"
	if data, err := os.ReadFile("/proc/self/loginuid"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32); err == nil && n <= 1<<31-1 {
			uid = strconv.FormatUint(n, 10)
		}
	}
	if a.env["SUDO_UID"] == "" {
		a.env["SUDO_UID"] = uid
	}
	if a.env["SUDO_GID"] == "" {
		a.env["SUDO_GID"] = uid // what atomic does, though its manual says the group's
		if u, err := user.LookupId(a.env["SUDO_UID"]); err == nil {
			a.env["SUDO_GID"] = u.Gid
		}
	}
	_, file, ok := label.Lookup(labels, label.RunOptsFile)
	if !ok || a.verb != "run" {
		return nil
	}
	c, err := label.Parse(file, a.env, nil)
	if err != nil || len(c.Words) != 1 || !path.IsAbs(c.Words[0]) {
		return &usageError{fmt.Errorf("label %s of %s: %q is no absolute path", label.RunOptsFile, a.image, file), "build the image again with one"}
	}
	info, err := os.Stat(c.Words[0])
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	const most = 1 << 16 // bytes
	if err == nil && info.Size() > most {
		err = fmt.Errorf("larger than %d bytes", most)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(c.Words[0])
	}
	if err != nil {
		return &usageError{fmt.Errorf("label %s of %s: read %s: %w", label.RunOptsFile, a.image, c.Words[0], err), "look at the file"}
	}
	a.env["RUN_OPTS"], a.opts = string(data), c.Words[0]
	return nil
}

// understood is a label's line.
type understood struct {
	words []string
	line  *cli.Line  // run and create
	other *cli.Other // all else
}

// understand holds the words to what may be run.
func (a *atomicCall) understand(which string, c *label.Command) (*understood, error) {
	typed := c.Words[0]
	program := path.Base(typed)
	if !slices.Contains(cli.Engines(), program) {
		say(a.stderr, "error: refused: label %s of %s starts %q, and only docker, podman and nerdctl are run for a label: no shell, no sudo, nothing else", which, a.image, typed)
		say(a.stderr, "hint: look at it, and run it by hand: %s", cli.Quote(c.Words))
		return nil, status(exitFindings)
	}
	if program != a.engine {
		// Podman's command is made to take docker's place.
		if program != "docker" || a.flags.engine == "" && a.engine != "podman" {
			return nil, &usageError{fmt.Errorf("label %s of %s is for %s, and %s has the image", which, a.image, program, a.engine), "give --engine " + program}
		}
		typed = a.engine
	}
	// The path is a stranger's word. It may stand if it is one that PATH has.
	if _, err := exec.LookPath(typed); err != nil || !slices.Contains(filepath.SplitList(os.Getenv("PATH")), path.Dir(typed)) {
		typed = a.engine
	}
	u := &understood{words: append([]string{typed}, c.Words[1:]...)}
	var err error
	if u.other, err = cli.ParseOther(u.words); err == nil {
		return u, nil
	}
	var unknown *cli.LineError
	if errors.As(err, &unknown) && (unknown.Word == "run" || unknown.Word == "create") {
		u.other = nil
		u.line, err = cli.Understand(u.words, nil)
	}
	if err != nil {
		hint := "look at the label, and run by hand what it means"
		if len(c.Lost) > 0 {
			hint = "set what was deleted: " + lostNames(c.Lost)
		}
		return nil, &usageError{fmt.Errorf("label %s of %s: %w", which, a.image, err), hint}
	}
	// A flag whose value was deleted takes the next word for one.
	for _, l := range c.Lost {
		for _, f := range u.line.Flags {
			if l.Whole && f.Words == 2 && f.Word+1 == l.At {
				return nil, &usageError{fmt.Errorf("label %s of %s: %s lost its value %q, whose variable is not set, and would take %q", which, a.image, f.Typed, l.Text, f.Value),
					"set it: " + lostNames([]label.Lost{l})}
			}
		}
	}
	return u, nil
}

func lostNames(lost []label.Lost) string {
	var list []string
	for _, l := range lost {
		if v := l.Variable(); v != "" {
			list = append(list, v+"=…")
		}
	}
	return strings.Join(list, " ")
}

// note says what --quiet leaves out.
func (a *atomicCall) note(format string, args ...any) {
	if !a.flags.quiet {
		say(a.stderr, format, args...)
	}
}

// print shows the command: with --display it is the answer.
func (a *atomicCall) print(words []string) error {
	if a.flags.display {
		_, err := fmt.Fprintln(a.stdout, cli.Quote(words))
		return err
	}
	fmt.Fprintln(a.stderr, cli.Quote(words))
	return nil
}

func (a *atomicCall) environ() []string {
	if a.env == nil {
		return os.Environ()
	}
	list := make([]string, 0, len(a.env))
	for _, k := range slices.Sorted(maps.Keys(a.env)) {
		list = append(list, k+"="+a.env[k])
	}
	return list
}

// become executes the command in leastcap's place.
func (a *atomicCall) become(words []string) error {
	if err := a.print(words); err != nil || a.flags.display {
		return err
	}
	return execute(words, a.environ())
}

// do runs the command to its end.
func (a *atomicCall) do(words []string) error {
	if err := a.print(words); err != nil || a.flags.display {
		return err
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, a.environ()
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return status(128 + int(ws.Signal()))
		}
		return status(exit.ExitCode())
	}
	return err
}
