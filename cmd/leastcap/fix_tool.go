package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/systemd"
	"github.com/leastcap/leastcap/proc"
)

// toolTime is how long a format's own tool may take.
const toolTime = 20 * time.Second

// askTool has the format's own tool read what would be written, where this machine has one:
// systemd-analyze for units. An error says where it sees something else than was wanted; a
// tool that is not there, or cannot answer, has nothing to say.
func askTool(f *manifest.Format, after manifest.Source, changes []manifest.Change) error {
	if f.Name != systemd.Format.Name || !slices.ContainsFunc(changes, func(c manifest.Change) bool {
		return c.Container.Path == "unit" && c.Container.Kind == "unit" && c.Want.Exactly != nil
	}) {
		return nil
	}
	list, _ := f.Parse(after)
	i := slices.IndexFunc(list, func(c *manifest.Container) bool { return c.Path == "unit" })
	if i < 0 || list[i].Stated == nil {
		return nil
	}
	seen, asked, err := analyze(after)
	if err != nil {
		return err
	}
	if different := seen.Minus(list[i].Stated.Bounding).Union(list[i].Stated.Bounding.Minus(seen)).Intersect(asked); !different.Empty() {
		return fmt.Errorf("%s: systemd-analyze does not read %v as it is meant", after.Name, different)
	}
	return nil
}

// analyze asks systemd-analyze for a unit's bounding set: seen of those that were asked for,
// which are none if it cannot answer.
func analyze(src manifest.Source) (seen, asked caps.Set, err error) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil || !strings.HasSuffix(src.Name, ".service") {
		return 0, 0, nil
	}
	proc.SweepTemp(os.TempDir()) // what a killed one left
	root, err := os.MkdirTemp("", proc.TempPattern())
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	for name, data := range systemd.Files(src) {
		name = filepath.Join(root, "etc/systemd/system", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return 0, 0, err
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return 0, 0, err
		}
	}
	unit := path.Base(src.Name)
	unit = strings.Replace(unit, "@.", "@x.", 1) // of a template some instance
	ctx, cancel := context.WithTimeout(context.Background(), toolTime)
	defer cancel()
	out, _ := exec.CommandContext(ctx, tool, "security", "--offline=yes", "--root="+root, "--no-pager", "--json=short", unit).Output()
	var tests []struct {
		Set   *bool  `json:"set"` // true: it is not there
		Field string `json:"json_field"`
	}
	if json.Unmarshal(out, &tests) != nil { // older ones know no --offline
		return 0, 0, nil
	}
	for _, t := range tests {
		name, ok := strings.CutPrefix(t.Field, "CapabilityBoundingSet_")
		c, err := caps.ParseCap(name)
		if !ok || err != nil || t.Set == nil {
			continue // one for several
		}
		if asked = asked.With(c); !*t.Set {
			seen = seen.With(c)
		}
	}
	return seen, asked, nil
}
