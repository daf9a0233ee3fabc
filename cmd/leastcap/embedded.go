package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/charmbracelet/x/term"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// engineEmbedded is the name of the runtime in this program among the engines.
const engineEmbedded = "embedded"

// source is an image, or a directory, with its root file system unpacked.
type source struct {
	*image.Image
	tree *image.Tree
}

func (s *source) Close() error { return errors.Join(s.tree.Close(), s.Image.Close()) }

// openSource finds the image and unpacks it, once.
func openSource(ctx context.Context, ref string, rootfs bool) (*source, error) {
	if rootfs {
		ref = "dir:" + ref
	}
	img, err := image.Open(ctx, ref, image.Options{})
	if err != nil {
		return nil, err
	}
	cache, err := image.OpenCache("", 0)
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	tree, err := cache.RootFS(ctx, img)
	if err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return &source{img, tree}, nil
}

// local is what choose looks at.
func (s *source) local() *localImage {
	l := &localImage{ID: s.ID, Os: s.Config.OS, Architecture: s.Config.Architecture}
	if s.Source == "registry" {
		l.RepoDigests = []string{s.Ref} // not by digest: what is found has to fit the id
	}
	l.Config.User, l.Config.Labels = s.Config.Config.User, s.Config.Config.Labels
	return l
}

// container puts together what the line asks for and what the image says.
func (s *source) container(line *cli.Line, own []cli.FlagSpec) (*bundle.Container, error) {
	c, err := cli.Container(line, own)
	if err != nil {
		return nil, err
	}
	cfg := s.Config.Config
	img := &bundle.Image{
		Entrypoint: cfg.Entrypoint, Cmd: cfg.Cmd, Env: cfg.Env, Dir: cfg.WorkingDir, User: cfg.User,
		Stop: cfg.StopSignal, Labels: cfg.Labels,
	}
	for v := range cfg.Volumes {
		img.Volumes = append(img.Volumes, v)
	}
	slices.Sort(img.Volumes)
	for p := range cfg.ExposedPorts {
		img.Ports = append(img.Ports, p)
	}
	if h := cfg.Healthcheck; h != nil {
		img.Health = &bundle.Health{Interval: h.Interval, Timeout: h.Timeout, Start: h.StartPeriod, Retries: h.Retries}
		switch {
		case len(h.Test) > 1 && h.Test[0] == "CMD":
			img.Health.Test = h.Test[1:]
		case len(h.Test) > 1 && h.Test[0] == "CMD-SHELL":
			img.Health.Test = []string{"/bin/sh", "-c", h.Test[1]}
		}
	}
	c.Apply(img, entrypoint(line))
	if line.Bool("publish-all") {
		if err := publishAll(c, img.Ports); err != nil {
			return nil, err
		}
	}
	if len(c.Args) == 0 {
		return nil, &usageError{fmt.Errorf("no command: image %s names none", line.Image), "put it behind the image"}
	}
	return c, nil
}

// entrypoint is the user's, empty if it takes the image's away, nil if there is none.
func entrypoint(line *cli.Line) []string {
	e, ok := line.Entrypoint()
	switch {
	case !ok:
		return nil
	case e == "":
		return []string{}
	}
	return []string{e}
}

func publishAll(c *bundle.Container, exposed []string) error {
	for _, e := range exposed {
		var p bundle.Port
		number, protocol, ok := strings.Cut(e, "/")
		if !ok {
			protocol = "tcp"
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return &usageError{fmt.Errorf("the image exposes port %q: %w", e, err), "name the ports with -p in the place of -P"}
		}
		p.Container = uint16(n)
		if p.Protocol = protocol; protocol != "tcp" && protocol != "udp" {
			return &usageError{fmt.Errorf("the image exposes port %q: only tcp and udp are published", e), "name the ports with -p in the place of -P"}
		}
		c.Ports = append(c.Ports, p)
	}
	return nil
}

// embeddedWorkload prepares to learn a line on the embedded runtime. close is to be
// called when all is done. own says that the line is leastcap's making, and so is to be
// told as its own.
func embeddedWorkload(ctx context.Context, line *cli.Line, own bool) (w engine.Workload, close func() error, err error) {
	if err := embedded.Sweep(); err != nil {
		return nil, nil, fmt.Errorf("remove what an earlier leastcap left: %w", err)
	}
	src, err := openSource(ctx, line.Image, line.Bool("rootfs"))
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, src.Close())
		}
	}()
	c, err := src.container(line, nil)
	if err != nil {
		return nil, nil, err
	}
	docker, err := rules.For("docker")
	if err != nil {
		return nil, nil, err
	}
	baseline, err := docker.Apply(rules.Request{Add: line.CapAdd(), Drop: line.CapDrop(), Privileged: c.Privileged, User: c.User, Available: proc.Available()})
	if err != nil {
		return nil, nil, &usageError{err, "change the flags"}
	}
	tell := func(words []string) []string {
		if own {
			return slices.Concat([]string{"leastcap", "run", "--engine", engineEmbedded}, words[2:])
		}
		return words
	}
	w, err = embedded.New(embedded.Request{
		Container: c, RootFS: src.tree.Path, Baseline: baseline.Runtime,
		Subject: usage.Subject{Kind: "container", Engine: engineEmbedded, Command: tell(line.Words()), Image: line.Image, ImageID: src.ID, Digest: src.Digest, User: line.User()},
		Use: func(set caps.Set, unconfined bool) usage.Use {
			return usage.Use{Command: tell(line.Recommend(set, unconfined)), Flags: exactFlags(set)}
		},
	})
	return w, src.Close, err
}

// runEmbedded runs the container to its end, in the foreground, with the state that
// was chosen.
func runEmbedded(ctx context.Context, stdout, stderr io.Writer, line *cli.Line, src *source, g *given) (err error) {
	c, err := src.container(line, runFlags)
	if err != nil {
		return err
	}
	if line.Detach() {
		return &usageError{errors.New("--detach needs an engine: a container of the embedded runtime lives no longer than leastcap"), "leave it out, or use --engine docker"}
	}
	c.State = g.result.Runtime
	if err := embedded.Sweep(); err != nil {
		say(stderr, "warning: what an earlier leastcap left could not be removed: %v", err)
	}
	o := embedded.Options{Container: c, RootFS: src.tree.Path, Stdout: stdout, Stderr: stderr}
	if c.Stdin {
		o.Stdin = os.Stdin
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, append(hangup(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)...)
	defer signal.Stop(signals)
	k, err := embedded.Run(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Remove()) }()
	if file := line.CIDFile(); file != "" {
		if err := writeNew(file, k.ID()); err != nil {
			return err
		}
	}
	if c.TTY {
		defer rawTerminal(k)()
	}
	go func() {
		asked := 0
		for s := range signals {
			if s == syscall.SIGWINCH {
				resize(k)
				continue
			}
			// What does not heed them is ended, as docker's command ends itself
			// (docker/cli cmd/docker/docker.go forceExitAfter3TerminationSignals).
			if s == syscall.SIGINT || s == syscall.SIGTERM {
				if asked++; asked >= forceful {
					_ = k.Signal(syscall.SIGKILL)
					continue
				}
			}
			if !line.Has("sig-proxy") || line.Bool("sig-proxy") {
				_ = k.Signal(s) // it may have ended
			}
		}
	}()
	exit := k.Wait()
	switch {
	case exit.Err != nil:
		return exit.Err
	case !exit.Started:
		say(stderr, "error: %s: %s", line.Image, exit.Message)
	}
	if exit.Code != 0 {
		return status(exit.Code)
	}
	return nil
}

// forceful is how many times to be asked to end is enough.
const forceful = 3

// rootless runs the same command as root of a user namespace, if the user is not root.
// There the user's directories would not be found.
func rootless() (again bool, code int, err error) {
	images, err := image.CacheDir()
	if err != nil {
		return false, 0, err
	}
	profiles, err := storeDir()
	if err != nil {
		return false, 0, err
	}
	return embedded.Rootless("LEASTCAP_IMAGES="+images, storeVariable+"="+profiles)
}

// writeNew writes a file that must not be there.
func writeNew(name, text string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return &usageError{fmt.Errorf("--cidfile: %w", err), "name a file that is not there yet"}
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// rawTerminal passes every key on, and returns what undoes it.
func rawTerminal(k *embedded.Container) func() {
	resize(k)
	old, err := term.MakeRaw(os.Stdin.Fd())
	if err != nil {
		return func() {} // no terminal
	}
	return func() { _ = term.Restore(os.Stdin.Fd(), old) }
}

func resize(k *embedded.Container) {
	if w, h, err := term.GetSize(os.Stdout.Fd()); err == nil {
		_ = k.Resize(uint16(w), uint16(h)) // only a matter of looks
	}
}

// rootfsLine makes the line of learn --image and --rootfs.
func rootfsLine(ref string, rootfs bool, args []string) (*cli.Line, error) {
	words := []string{"docker", "run"}
	if rootfs {
		dir, err := filepath.Abs(ref)
		if err != nil {
			return nil, err
		}
		words, ref = append(words, "--rootfs"), dir
	}
	return cli.Understand(slices.Concat(words, []string{ref}, args), []cli.FlagSpec{rootfsFlag})
}

// rootfsFlag is Podman's: the image is a directory.
var rootfsFlag = cli.FlagSpec{Name: "rootfs", Type: "bool", NoOpt: "true"}
