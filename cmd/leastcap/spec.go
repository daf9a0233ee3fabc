package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// specFlags are leastcap's own among docker's.
var specFlags = []cli.FlagSpec{
	{Name: "bundle", Type: "string"},
	{Name: "profile", Type: "string"},
	{Name: "rules", Type: "string"},
	{Name: "explain", Type: "bool", NoOpt: "true"},
	rootfsFlag,
}

func newSpec(stdout, stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "spec [flags] IMAGE [COMMAND] [ARG...]",
		Short: "Write an OCI bundle's config.json for an image and what it needs",
		Long: `Write the OCI runtime specification (config.json) of a container: what the image says,
docker's defaults and its run flags, and the capabilities that leastcap run would give.
runc, crun and other OCI runtimes run it.

      --bundle DIR      make the directory, with config.json and the image unpacked in
                        rootfs; without it config.json is printed, for a rootfs that
                        is beside it
      --profile FILE    give what a learned profile recommends
      --rules NAME      give what an engine would: docker, podman, containerd, crio, runc
      --explain         say where each capability comes from
      --rootfs          IMAGE is a directory

What only an engine adds is not in it: the network's interfaces, published ports,
/etc/hosts and /etc/resolv.conf. Anonymous volumes are directories of rootfs.

Exit status:
  0  done
  2  wrong usage
  3  the image could not be looked at, or the bundle not be written`,
		Example: `  leastcap spec --bundle /run/bundle --profile nginx.json nginx && runc run -b /run/bundle web
  leastcap spec --cap-add net_raw alpine ping -c1 127.0.0.1 > config.json`,
		DisableFlagParsing:    true, // they are docker's
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || slices.Contains(args[:1], "--help") || slices.Contains(args[:1], "-h") {
				return cmd.Help()
			}
			return writeSpec(cmd.Context(), stdout, stderr, args)
		},
	}
}

func writeSpec(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	line, err := cli.UnderstandAs("docker", slices.Concat([]string{"docker", "run"}, args), specFlags)
	if err != nil {
		return err
	}
	dir := line.Value("bundle")
	if line.Has("bundle") {
		if _, err := os.Lstat(dir); err == nil || dir == "" {
			return &usageError{fmt.Errorf("--bundle %q: it is there already", dir), "name a directory that is to be made"}
		}
	}
	src, err := openSource(ctx, line.Image, line.Bool("rootfs"))
	if err != nil {
		return err
	}
	defer src.Close() // a lock on what is unpacked
	c, err := src.container(line, specFlags)
	if err != nil {
		return err
	}
	g, err := choose(line, src.local(), nil)
	if err != nil {
		return err
	}
	if line.Bool("explain") {
		g.explain(stderr, line)
	}
	for _, w := range g.warnings {
		say(stderr, "warning: %s", w)
	}
	c.State = g.result.Runtime
	for _, m := range c.Mounts {
		if m.Type == bundle.Volume && m.Source != "" {
			return &usageError{fmt.Errorf("volume %q: an OCI bundle knows directories only", m.Source), "give its directory: -v /path:" + m.Target}
		}
	}
	c.Mounts = slices.DeleteFunc(c.Mounts, func(m bundle.Mount) bool { return m.Type == bundle.Volume })
	if c.Hostname == "" {
		c.Hostname = "leastcap"
	}
	who, err := embedded.Identify(src.tree.Path, c)
	if err != nil {
		return err
	}
	s, err := bundle.Spec(c, who, "rootfs")
	if err != nil {
		return &usageError{err, "change the flags"}
	}
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	data = append(usage.EscapeJSON(data), '\n')
	if dir == "" {
		_, err := stdout.Write(data)
		return err
	}
	return makeBundle(ctx, dir, src, data)
}

// makeBundle makes the directory in one step.
func makeBundle(ctx context.Context, dir string, src *source, config []byte) (err error) {
	parent := filepath.Dir(filepath.Clean(dir))
	proc.SweepTemp(parent)
	tmp, err := os.MkdirTemp(parent, proc.TempPattern())
	if err != nil {
		return &usageError{fmt.Errorf("--bundle %s: %w", dir, err), "name a directory in one that is there"}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := os.WriteFile(filepath.Join(tmp, "config.json"), config, 0o644); err != nil {
		return err
	}
	if err := image.Unpack(ctx, src.Image, filepath.Join(tmp, "rootfs"), image.Limits{}); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o711); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}
