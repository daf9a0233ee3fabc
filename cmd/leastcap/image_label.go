package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/manifest/dockerfile"
	"github.com/leastcap/leastcap/manifest/label"
	"github.com/leastcap/leastcap/usage"
)

func newImageLabel(stdout, stderr io.Writer) *cobra.Command {
	var profile, tag string
	var write bool
	cmd := &cobra.Command{
		Use:   "label [flags] --profile FILE REF|DOCKERFILE",
		Short: "Write a learned profile into the labels RUN and " + labelCaps,
		Long: `Write what a profile recommends into two labels: ` + labelCaps + `, which
leastcap run and Podman read, and RUN, which leastcap atomic run and projectatomic's
atomic run. RUN is made of the line that was learned from:

  /usr/bin/docker run [FLAGS] --cap-drop=all --cap-add=… ${IMAGE} [COMMAND]

It is detached, interactive, removed at its end or named (--name ${NAME}) only where
that line was: -d is not added. Kept are the flags that say what the container is (user,
entry point, ports, security options, namespaces, devices, volumes by name). What is of
the machine or could be secret is left out, and that is said: environment, directories
of the host, networks by name, limits.

A Dockerfile gets them in its last build stage; one that is there is replaced where it
stands, and every other byte is kept. The new text is printed; --write changes the file.

REF is an engine's image (NAME, podman:NAME), docker://NAME in a registry,
oci:DIR[:TAG], or docker-archive:FILE. The labels are printed; --write makes the new
image in the same place, --tag in another: a name or tag of the same kind, or a whole
reference. Its digest is printed. Of an index of several platforms every image gets them.
What has the labels already is not touched.

Exit status:
  0  done
  2  wrong usage, or a profile or a Dockerfile that cannot be read
  3  the image could not be read or written, or output not be written`,
		Example: `  leastcap image label --profile nginx.json Dockerfile
  leastcap image label --profile nginx.json --write Dockerfile
  leastcap image label --profile nginx.json --tag nginx:least nginx
  leastcap image label --profile nginx.json --write docker://registry.example.com/nginx:1`,
		DisableFlagsInUseLine: true,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 1 || args[0] == "":
				return &usageError{errors.New("one image or Dockerfile is to be named"), "use leastcap image label --profile FILE REF|DOCKERFILE"}
			case profile == "":
				return &usageError{errors.New("no --profile is given"), "leastcap learn --profile FILE writes one"}
			case write && cmd.Flags().Changed("tag"):
				return &usageError{errors.New("--write and --tag contradict each other"), "leave one of them out"}
			case cmd.Flags().Changed("tag") && tag == "":
				return &usageError{errors.New("--tag is empty"), "name the new image"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := readProfile(cmd.InOrStdin(), profile)
			if err != nil {
				return err
			}
			labels, err := profileLabels(stderr, p)
			if err != nil {
				return err
			}
			is, err := isDockerfile(args[0])
			switch {
			case err != nil:
				return err
			case is && tag != "":
				return &usageError{fmt.Errorf("%s is a Dockerfile, and --tag names an image", args[0]), "use --write, and build it with a tag"}
			case is:
				return labelDockerfile(stdout, stderr, args[0], labels, write)
			}
			return labelImage(cmd.Context(), stdout, stderr, args[0], tag, labels, write || tag != "")
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&profile, "profile", "", "what leastcap learn --profile wrote; - is standard input")
	fl.BoolVar(&write, "write", false, "change the Dockerfile, or the image where it is")
	fl.StringVar(&tag, "tag", "", "put the new image there")
	return cmd
}

// isDockerfile tells a text from an archive; what is no file is an image.
func isDockerfile(name string) (bool, error) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return false, &usageError{err, "name a file that can be read"}
	}
	defer f.Close()
	head := make([]byte, 512) // a tar's header, which ends in zeros
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return false, &usageError{err, "name a file that can be read"}
	}
	return bytes.IndexByte(head[:n], 0) < 0, nil
}

// maxDockerfile is the most bytes that are read as one.
const maxDockerfile = 16 << 20

func labelDockerfile(stdout, stderr io.Writer, name string, labels map[string]string, write bool) error {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxDockerfile {
		err = fmt.Errorf("%s: larger than any Dockerfile (%d bytes)", name, maxDockerfile)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return &usageError{err, "name a Dockerfile"}
	}
	var list []dockerfile.Label
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, dockerfile.Label{Name: key, Value: labels[key]})
	}
	out, err := dockerfile.SetLabels(data, list...)
	if err != nil {
		return &usageError{fmt.Errorf("%s: %w", name, err), "mend it, or put the labels in by hand: " + labelText(labels)}
	}
	switch {
	case !write:
		_, err = stdout.Write(out)
	case bytes.Equal(out, data):
		say(stderr, "%s has these labels already", name)
	default:
		err = replaceFile(name, out)
	}
	return err
}

func labelText(labels map[string]string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, key+"="+labels[key])
	}
	return cli.Quote(words)
}

func labelImage(ctx context.Context, stdout, stderr io.Writer, ref, to string, labels map[string]string, write bool) error {
	if !write {
		for _, key := range slices.Sorted(maps.Keys(labels)) {
			if _, err := fmt.Fprintf(stdout, "%s=%s\n", key, labels[key]); err != nil {
				return err
			}
		}
		say(stderr, "nothing is changed: --write or --tag NAME makes the image")
		return nil
	}
	done, err := image.SetLabels(ctx, ref, labels, to, image.Options{})
	if err != nil {
		return err
	}
	if !done.Changed {
		say(stderr, "%s has these labels already", ref)
	} else {
		say(stderr, "%s has the labels", done.Place)
	}
	_, err = fmt.Fprintln(stdout, done.Digest)
	return err
}

// keptFlags of the line that was learned from say what the container is. The rest is of
// the machine, or could be secret.
var keptFlags = append(strings.Fields(`publish expose user group-add entrypoint workdir tmpfs stop-signal stop-timeout shm-size ulimit sysctl
	security-opt network pid ipc uts userns cgroupns device device-cgroup-rule gpus volume restart name`), keptSwitches...)

// keptSwitches are those of them without a value.
var keptSwitches = strings.Fields("detach interactive tty rm init read-only publish-all")

// profileLabels are the labels that say what a profile recommends.
func profileLabels(stderr io.Writer, p *usage.Profile) (map[string]string, error) {
	words, left := []string{"/usr/bin/docker", "run"}, []string(nil)
	var command []string
	if p.Subject.Kind == "container" {
		line, err := provenLine(p)
		if err != nil {
			return nil, &usageError{fmt.Errorf("the line that the profile was learned from: %w", err), "learn it again with this version of leastcap"}
		}
		var flags []string
		if flags, left = labelFlags(line); len(left) > 0 {
			say(stderr, "left out of the label RUN, as it is of the machine or could be secret: %s", strings.Join(left, ", "))
		}
		words, command = append(words, flags...), line.Command
	}
	words = append(append(words, capFlags(p.Recommended)...), label.ImageVariable)
	text, err := label.Format(append(words, command...))
	if err != nil {
		return nil, &usageError{err, "learn it with a line without them: an image's own command and environment can hold what a label cannot"}
	}
	switch {
	case !p.Complete:
		say(stderr, "warning: the profile is not complete: more may be needed")
	case !p.Proven:
		say(stderr, "warning: the profile is not proven")
	}
	return map[string]string{label.Run: text, labelCaps: strings.Join(p.Recommended.Docker(), ",")}, nil
}

// provenLine is the line with what is recommended, as the profile has it, or else as the
// user typed it.
func provenLine(p *usage.Profile) (*cli.Line, error) {
	words := p.Use.Command
	if len(words) == 0 {
		words = p.Subject.Command
	}
	if len(words) > 4 && slices.Equal(words[1:4], []string{"run", "--engine", engineEmbedded}) {
		words = append([]string{"docker", "run"}, words[4:]...) // its flags are docker's
	}
	return cli.Understand(words, []cli.FlagSpec{rootfsFlag})
}

func capFlags(set caps.Set) []string {
	words := []string{"--cap-drop=all"}
	for c := range set.Values() {
		words = append(words, "--cap-add="+c.String())
	}
	return words
}

// labelFlags are those of the line that are kept, in one spelling, and the names of
// those that are not.
func labelFlags(line *cli.Line) (words, left []string) {
	host := map[string]bool{} // directories of the host, and options like those
	for _, ask := range line.Asks() {
		host[ask.Flag] = true
	}
	for i := range line.Flags {
		f := &line.Flags[i]
		text := "--" + f.Name
		switch {
		case f.Name == "cap-add" || f.Name == "cap-drop" || f.Name == "privileged":
			continue
		case f.Global || !slices.Contains(keptFlags, f.Name),
			f.Name == "volume" && (host["--volume="+f.Value] || f.Value == ""),
			f.Name == "network" && !slices.Contains([]string{"host", "none", "bridge"}, f.Value),
			strings.HasPrefix(f.Value, "container:") || strings.HasPrefix(f.Value, "ns:"),
			f.Name == "security-opt" && strings.ContainsAny(f.Value, "/{"):
			if f.Name == "env" { // not its value
				name, _, _ := strings.Cut(f.Value, "=")
				text += " " + name
			}
			if !slices.Contains(left, text) {
				left = append(left, text)
			}
			continue
		case f.Name == "name":
			words = append(words, "--name", label.NameVariable)
		case f.Value == "true" && slices.Contains(keptSwitches, f.Name):
			words = append(words, text)
		default:
			words = append(words, text+"="+f.Value)
		}
	}
	return words, left
}
