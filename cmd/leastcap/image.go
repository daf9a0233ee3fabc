package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

func newImage(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "What images say about privilege: look, write, prove",
		Long: `Look at what images say about privilege, write into their labels what they need, prove
it, and remove those that were unpacked for the embedded runtime.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unknown command %q", "image "+args[0]), "leastcap image --help lists the commands"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImageInspect(stdout), newImagePrune(stdout, stderr), newImageLabel(stdout, stderr), newImageVerify(stdout, stderr))
	return cmd
}

// imageRefHelp says what an image reference can be.
const imageRefHelp = `REF is an image, found in this order:
  a path             that begins with / or ., or a file that is there: an OCI layout,
                     an archive of docker save or of an OCI layout, a root file system
                     directory or its tar
  a name or an ID    of docker's, else of podman's images
  a name             in a registry, with the credentials of docker login

or where its prefix says:
  docker-daemon:NAME  podman:NAME  docker://NAME (a registry)  oci:DIR[:TAG]
  docker-archive:FILE  oci-archive:FILE  tar:FILE  dir:DIR`

func newImageInspect(stdout io.Writer) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "inspect [flags] REF",
		Short: "Say what an image itself says about privilege",
		Long: `Say what an image itself says about privilege: user, entrypoint, command and labels;
every file with set-uid or set-gid bits or file capabilities, and which layer put it
there; and what follows: which members of the bounding set an exec of those files
needs, and what a user other than root could gain by it, with Docker's default
capabilities and with none. Files that a later layer removes or replaces do not count.

Nothing is run or unpacked, and no privileges are needed beyond those of the engine.

` + imageRefHelp + `

--output json is one document, "version": "` + report.ImageVersion + `", in which
fields are only ever added:
  reference, source, id, digest, platform, user, entrypoint, command, labels
  declared       what the label ` + labelCaps + ` names, or null
  layers         digest, diff_id and history of each, lowest first
  files          path, links, mode (octal), uid, gid, layer (from 1), capabilities,
                 set_uid, set_gid, executable_by (everyone, group, owner, nobody),
                 exec_needs, non_root
  exec_needs     the capabilities without which exec of one of the files fails
  non_root       docker and none: exec (it works), root (it becomes root), capabilities

Exit status:
  0    done
  2    wrong usage, or a REF that can name no image
  3    the image could not be found or read, is damaged, or the output not be written
  130  interrupted`,
		Example: `  leastcap image inspect nginx
  leastcap image inspect --output json ./image.tar | jq -r '.files[].path'`,
		DisableFlagsInUseLine: true,
		Args:                  oneImage("leastcap image inspect REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(output, "text", "json"); err != nil {
				return err
			}
			v, err := inspect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				return report.ImageJSON(stdout, v)
			}
			return report.ImageText(stdout, v, styleOf(stdout))
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// oneImage takes one image reference.
func oneImage(how string) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 || len(args) == 1 && args[0] == "":
			return &usageError{errors.New("no image is named"), "use " + how}
		case len(args) > 1:
			return &usageError{fmt.Errorf("too many arguments: %s", strings.Join(args[1:], " ")), "use " + how}
		}
		return nil
	}
}

// inspect reads all of an image.
func inspect(ctx context.Context, ref string) (v *report.Image, err error) {
	m, err := image.Open(ctx, ref, image.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	found, err := image.Scan(ctx, m)
	if err != nil {
		return nil, err
	}
	cfg := m.Config.Config
	v = &report.Image{
		Reference: m.Ref, Source: m.Source, ID: m.ID, Digest: m.Digest,
		User: cfg.User, Entrypoint: cfg.Entrypoint, Command: cfg.Cmd, Labels: cfg.Labels,
	}
	if m.Config.OS != "" {
		v.Platform = m.Config.OS + "/" + m.Config.Architecture
		if m.Config.Variant != "" {
			v.Platform += "/" + m.Config.Variant
		}
	}
	if label, ok := cfg.Labels[labelCaps]; ok {
		set, all, err := caps.ParseList([]string{label})
		if all {
			set = caps.All()
		}
		if err != nil {
			v.DeclaredError = err.Error()
		} else {
			v.Declared = &set
		}
	}
	for _, l := range m.Layers {
		v.Layers = append(v.Layers, report.ImageLayer{Digest: l.Digest, DiffID: l.DiffID, History: l.History})
	}
	for _, f := range found.Files {
		v.Add(report.NewImageFile(f.Path, f.Links, f.Layer+1, f.Program))
	}
	return v, nil
}

func newImagePrune(stdout, stderr io.Writer) *cobra.Command {
	var all bool
	var limit, output string
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "Remove unpacked images",
		Long: `Remove root file systems that were unpacked for the embedded runtime: the longest
unused ones until the rest is within the limit, or all of them. Those that a container
uses stay, and what a killed leastcap left half unpacked is removed too. The images
themselves, in an engine or a registry, are not touched.

They are in /var/lib/leastcap/images, of other users than root in
$XDG_CACHE_HOME/leastcap/images; LEASTCAP_IMAGES names another directory. The limit
also holds without this command: unpacking an image makes room for it.

--output json is one document: directory, removed and kept (id, ref, bytes,
last_used), and freed in bytes.

Exit status:
  0    done
  2    wrong usage
  3    the directory could not be read or changed, or the output not be written
  130  interrupted`,
		Example: `  leastcap image prune
  leastcap image prune --all`,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("too many arguments: %s", strings.Join(args, " ")), "use leastcap image prune [--all]"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := known(output, "text", "json"); err != nil {
				return err
			}
			bytes, err := units.RAMInBytes(limit)
			if err != nil || bytes <= 0 {
				return &usageError{fmt.Errorf("--limit %q is no size", limit), "write it as 500MiB or 10GiB; --all removes everything"}
			}
			return prune(cmd.Context(), stdout, stderr, all, bytes, output)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&all, "all", "a", false, "all that no container uses")
	cmd.Flags().StringVar(&limit, "limit", units.BytesSize(image.DefaultCacheLimit), "how much may stay")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func prune(ctx context.Context, stdout, stderr io.Writer, all bool, limit int64, output string) error {
	dir, err := image.CacheDir()
	if err != nil {
		return err
	}
	c, err := image.OpenCache(dir, limit)
	if err != nil {
		return err
	}
	removed, freed, err := c.Prune(ctx, all)
	if err != nil {
		return err
	}
	kept, err := c.Entries()
	if err != nil {
		return err
	}
	if output == "json" {
		data, err := json.MarshalIndent(struct {
			Directory string        `json:"directory"`
			Removed   []image.Entry `json:"removed"`
			Kept      []image.Entry `json:"kept"`
			Freed     int64         `json:"freed"`
		}{dir, append([]image.Entry{}, removed...), append([]image.Entry{}, kept...), freed}, "", "  ")
		if err != nil {
			return err
		}
		_, err = stdout.Write(append(usage.EscapeJSON(data), '\n'))
		return err
	}
	var b strings.Builder
	for _, e := range removed {
		fmt.Fprintf(&b, "removed %s\n", entryText(e))
	}
	fmt.Fprintf(&b, "freed %s\n", units.BytesSize(float64(freed)))
	if _, err := io.WriteString(stdout, b.String()); err != nil {
		return err
	}
	var bytes int64
	for _, e := range kept {
		bytes += e.Bytes
	}
	switch {
	case all && len(kept) > 0:
		for _, e := range kept {
			say(stderr, "in use: %s", entryText(e))
		}
	case bytes > limit:
		say(stderr, "%s are in use, more than the limit of %s", units.BytesSize(float64(bytes)), units.BytesSize(float64(limit)))
	}
	return nil
}

// entryText is for one line.
func entryText(e image.Entry) string {
	_, hex, _ := strings.Cut(e.ID, ":")
	s := hex[:min(len(hex), 12)]
	if e.Ref != "" {
		s += " " + report.Clean(filepath.ToSlash(e.Ref), 100)
	}
	return fmt.Sprintf("%s (%s)", s, units.BytesSize(float64(e.Bytes)))
}
