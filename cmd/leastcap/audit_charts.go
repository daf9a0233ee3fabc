package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/helm"
)

// charts are those that rendered files are of.
type charts struct {
	list  []*helm.Chart
	named int // how many of them, the first ones, the user named
}

// findCharts reads the charts that are named, and for what was rendered from others those
// that lie beside.
func findCharts(named []string, subjects []audit.Subject) (charts, error) {
	c := charts{named: len(named)}
	for _, dir := range named {
		chart, err := helm.Read(os.DirFS(dir), filepath.Clean(dir))
		if err != nil {
			return c, &usageError{fmt.Errorf("--chart %s: %w", dir, err), "give the directory that has " + helm.ChartFile}
		}
		c.list = append(c.list, chart)
	}
	looked := map[string]bool{}
	for i := range subjects {
		container := subjects[i].Container
		if dir, template := splitTemplate(container.At.File); template != "" && container.Owner != nil && container.Owner.Source == "" {
			// One that is YAML though it is not rendered.
			if chart, err := helm.Read(os.DirFS(dir), dir); err == nil {
				container.Owner.Source = chart.Name + "/" + template
				if c.of(container.Owner.Source) == nil {
					c.list = append(c.list, chart)
				}
			}
		}
		source := chartSource(container)
		if source == "" || c.of(source) != nil {
			continue
		}
		name, _, _ := strings.Cut(source, "/")
		dir := "."
		if file := subjects[i].Container.At.File; file != stdinName {
			dir = filepath.Dir(file)
		}
		if looked[dir+"\x00"+name] {
			continue
		}
		looked[dir+"\x00"+name] = true
		for _, dir := range besides(dir) {
			// One that cannot be read was not named: nothing depends on it.
			if chart, err := helm.Read(os.DirFS(dir), dir); err == nil && chart.Name == name {
				c.list = append(c.list, chart)
				break
			}
		}
	}
	return c, nil
}

// besides are the charts' directories beside a file: the file's own, the one above, and
// those in them and in charts.
func besides(dir string) []string {
	var list []string
	add := func(dir string) {
		if _, err := os.Stat(filepath.Join(dir, helm.ChartFile)); err == nil && !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	for _, base := range []string{dir, filepath.Join(dir, "charts"), filepath.Join(dir, "..")} {
		add(filepath.Clean(base))
		entries, err := os.ReadDir(base)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				add(filepath.Join(base, e.Name()))
			}
		}
	}
	return list
}

// splitTemplate takes the name of a chart's template apart: the chart's directory, and the
// path in it, "" if it is none.
func splitTemplate(name string) (dir, template string) {
	name = filepath.ToSlash(name)
	i := strings.LastIndex(name, "templates/")
	if i < 0 || i > 0 && name[i-1] != '/' {
		return "", ""
	}
	dir = filepath.Clean(name[:i])
	if i == 0 {
		dir = "."
	}
	if _, err := os.Stat(filepath.Join(dir, helm.ChartFile)); err != nil {
		return "", ""
	}
	return dir, name[i:]
}

// ofTemplate says what to look at instead of a chart's template that was not rendered, and
// which values its containers take: "" if it is none.
func ofTemplate(name string) string {
	dir, template := splitTemplate(name)
	if template == "" {
		return ""
	}
	hint := fmt.Sprintf("it is a template of a chart: helm template %s | leastcap audit --chart %s -", dir, dir)
	chart, err := helm.Read(os.DirFS(dir), dir)
	if err != nil {
		return hint
	}
	var keys []string
	for _, k := range chart.Capabilities(template) {
		if keys = append(keys, k.Key); k.Written {
			keys[len(keys)-1] += fmt.Sprintf(" (%s)", k.At)
		}
	}
	if len(keys) > 0 {
		hint = "its containers have their capabilities from the chart's values: " + strings.Join(keys, ", ") + "; " + hint
	}
	return hint
}

// chartSource is the template that a container was rendered from, "" if it is none.
func chartSource(c *manifest.Container) string {
	if c == nil || c.Owner == nil || !strings.Contains(c.Owner.Source, "/") {
		return ""
	}
	return c.Owner.Source
}

// of is the chart that a template is of, nil if it is not known.
func (c charts) of(source string) *helm.Chart {
	for _, chart := range c.list {
		if source != "" && chart.Has(source) {
			return chart
		}
	}
	return nil
}

func (d *definitions) sayUnusedCharts(stderr io.Writer) {
	for _, chart := range d.charts.list[:d.charts.named] {
		if !slices.ContainsFunc(d.subjects, func(s audit.Subject) bool { return chart.Has(chartSource(s.Container)) }) {
			say(stderr, "warning: nothing was rendered from %s, the chart %s: helm template notes it above each document", chart.Dir, chart.Name)
		}
	}
}

// origin says where the place of a finding comes from, nil if that is no chart that is known.
func (c charts) origin(f *audit.Finding) *manifest.Origin {
	if c.of(chartSource(f.Container)) == nil {
		return nil
	}
	return c.originOf(f.Container, chartPath(f))
}

// originOf says where a place in a container's document comes from.
func (c charts) originOf(container *manifest.Container, path []string) *manifest.Origin {
	source := chartSource(container)
	chart := c.of(source)
	if chart == nil {
		return nil
	}
	return chart.Origin(helm.Asked{Source: source, Kind: container.Owner.Kind, Path: path, Container: container.Name})
}

// containerPath leads to a container in its document.
func containerPath(c *manifest.Container) []string {
	own := c.Path
	if strings.HasPrefix(own, "#") { // the document's number
		_, own, _ = strings.Cut(own, " ")
	}
	return strings.Split(own, ".")
}

// capabilitiesPath leads to a container's capabilities, where they are or would be.
func capabilitiesPath(c *manifest.Container) []string {
	return append(containerPath(c), "securityContext", "capabilities")
}

// chartPath leads to the place in the document that a finding is about: where it is written,
// or would be.
func chartPath(f *audit.Finding) []string {
	c := f.Container
	container := containerPath(c)
	pod := container[:max(len(container)-2, 0)]
	of := func(base []string, names ...string) []string { return slices.Concat(base, names) }
	capabilities := capabilitiesPath(c)
	for _, r := range c.Caps {
		if r.Word.At == f.At {
			return of(capabilities, r.Action.String())
		}
	}
	for kind, key := range map[string]string{"net": "hostNetwork", "pid": "hostPID", "ipc": "hostIPC"} {
		for _, n := range c.Namespaces {
			if n.Kind == kind && n.With.At == f.At {
				return of(pod, key)
			}
		}
	}
	for _, m := range c.Mounts {
		if m.At == f.At {
			return of(container, "volumeMounts")
		}
	}
	switch {
	case f.At == c.Privileged.At && c.Privileged.State != manifest.Unset:
		return of(container, "securityContext", "privileged")
	case f.Rule.ID == "no-new-privileges", f.Rule.ID == "set-id-programs",
		f.At == c.NoNewPrivs.At && c.NoNewPrivs.State != manifest.Unset:
		return of(container, "securityContext", "allowPrivilegeEscalation")
	case f.Rule.ID == "needless-root":
		return of(container, "securityContext", "runAsUser")
	}
	return capabilities
}
