// Package helm finds out where a chart takes from what it renders: which key of values.yaml
// a template puts at a place of a manifest. It reads the templates with text/template's own
// parser and follows what they name; it renders nothing, and says so where that is what it
// would take.
package helm

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// ChartFile is what makes a directory a chart.
const ChartFile = "Chart.yaml"

const valuesFile = "values.yaml"

// Bounds for what is read of a chart.
const (
	maxTemplates = 2000
	maxTemplate  = 1 << 20
)

// A Chart is a chart's directory.
type Chart struct {
	Name string
	// Dir is how the user names its directory.
	Dir string

	files   fs.FS
	texts   map[string]*text // by path from the chart's directory
	defines map[string]*define
	values  map[string]yaml.Node // of the chart, and of those in it, by their directory
	pages   map[string]*page     // by path, once they are asked for
}

// text is a template's.
type text struct {
	path  string
	data  []byte
	lines *manifest.Lines
	tree  *parse.Tree // nil if it cannot be read
	err   error
}

// define is a named template.
type define struct {
	in   *text
	list *parse.ListNode
}

// Read reads a chart. dir is its name for positions.
func Read(files fs.FS, dir string) (*Chart, error) {
	c := &Chart{
		Dir: dir, files: files, texts: map[string]*text{}, defines: map[string]*define{},
		values: map[string]yaml.Node{}, pages: map[string]*page{},
	}
	name, err := chartName(files, dir)
	if err != nil {
		return nil, err
	}
	c.Name = name
	return c, c.readChart(".", 0)
}

// chartName is the name in Chart.yaml.
func chartName(files fs.FS, dir string) (string, error) {
	data, err := readFile(files, ChartFile)
	if err != nil {
		return "", fmt.Errorf("%s is no chart: %w", dir, err)
	}
	root, err := document(path.Join(dir, ChartFile), data)
	if err != nil {
		return "", err
	}
	name := root.At("name").Value()
	if name == "" {
		return "", fmt.Errorf("%s names no chart", path.Join(dir, ChartFile))
	}
	return name, nil
}

// readFile reads a regular file that is no bigger than may be: a stranger's chart can have a
// pipe or a device in the place of one.
func readFile(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(files, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", name)
	case info.Size() > manifest.MaxSize:
		return nil, fmt.Errorf("%s has %d MiB, and at most %d are read", name, info.Size()>>20, manifest.MaxSize>>20)
	}
	return fs.ReadFile(files, name)
}

func document(name string, data []byte) (yaml.Node, error) {
	f, err := yaml.Read(manifest.Source{Name: name, Data: data})
	if err != nil {
		return yaml.Node{}, err
	}
	docs := f.Documents()
	return docs[0].Parse()
}

// readChart reads one, and those in its charts directory.
func (c *Chart) readChart(dir string, depth int) error {
	if data, err := readFile(c.files, path.Join(dir, valuesFile)); err == nil {
		// In values that cannot be read no key has a place; its name stays right.
		c.values[dir], _ = document(path.Join(c.Dir, dir, valuesFile), data)
	}
	err := fs.WalkDir(c.files, path.Join(dir, "templates"), func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !e.Type().IsRegular() || !slices.Contains([]string{".yaml", ".yml", ".tpl", ".txt"}, path.Ext(name)):
			return nil
		case len(c.texts) >= maxTemplates:
			return fmt.Errorf("%s has more than %d templates", c.Dir, maxTemplates)
		}
		return c.readTemplate(name)
	})
	if err != nil || depth > 5 {
		return err
	}
	charts, err := fs.ReadDir(c.files, path.Join(dir, "charts"))
	if err != nil {
		return nil // it has none
	}
	for _, sub := range charts {
		if at := path.Join(dir, "charts", sub.Name()); sub.IsDir() {
			if err := c.readChart(at, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Chart) readTemplate(name string) error {
	data, err := readFile(c.files, name)
	t := &text{path: name, data: data, lines: manifest.NewLines(path.Join(c.Dir, name), data), err: err}
	c.texts[name] = t
	if err != nil {
		return nil // said where it matters, as below
	}
	if len(data) > maxTemplate {
		t.err = fmt.Errorf("%s is bigger than any template", name)
		return nil
	}
	tree := parse.New(name)
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if t.tree, t.err = tree.Parse(string(data), "", "", trees); t.err != nil {
		return nil
	}
	for name, tree := range trees {
		if tree != t.tree && tree.Root != nil {
			c.defines[name] = &define{t, tree.Root}
		}
	}
	return nil
}

// An Asked place is one of a rendered manifest.
type Asked struct {
	// Source is what `helm template` notes above the document: chart/templates/x.yaml.
	Source string
	// Kind is the document's.
	Kind string
	// Path leads to the place. Of a list of containers the item is found by Container, its name.
	Path      []string
	Container string
}

// Has says whether a rendered document is of this chart.
func (c *Chart) Has(source string) bool {
	name, _, _ := strings.Cut(source, "/")
	return name == c.Name
}

// Origin says where a place of a rendered manifest comes from.
func (c *Chart) Origin(a Asked) *manifest.Origin {
	_, name, _ := strings.Cut(a.Source, "/")
	t := c.texts[name]
	switch {
	case t == nil && strings.Contains(name, "charts/"):
		return &manifest.Origin{Why: name + " is not in " + c.Dir + ": the chart in it is packed, or not fetched"}
	case t == nil:
		return &manifest.Origin{Why: name + " is not in " + c.Dir}
	case t.err != nil:
		return &manifest.Origin{Template: manifest.Pos{File: path.Join(c.Dir, name)}, Why: "the template cannot be read: " + t.err.Error()}
	}
	p := c.pages[name]
	if p == nil {
		p = c.draw(t)
		c.pages[name] = p
	}
	if p.err != nil {
		return &manifest.Origin{Template: manifest.Pos{File: path.Join(c.Dir, name)}, Why: p.err.Error()}
	}
	docs := slices.DeleteFunc(slices.Clone(p.docs), func(n *node) bool { return !n.isKind(a.Kind) })
	return c.look(p, a, docs...)
}

// owner is the directory of the chart that a template is of.
func owner(template string) string {
	if i := strings.LastIndex(template, "templates/"); i > 0 {
		if j := strings.LastIndex(template[:i], "/templates/"); j >= 0 { // templates/templates
			i = j + 1
		}
		return path.Clean(template[:i])
	}
	return "."
}

// key makes a key of a path from a template's root, as the chart's own values.yaml has it:
// Values.a.b, in the chart sub also as sub.a.b of the chart above.
func (c *Chart) key(template string, ref []string) manifest.ValuesKey {
	dir := owner(template)
	above := []string{}
	for part := range strings.SplitSeq(dir, "/") {
		if part != "." && part != "charts" {
			above = append(above, part)
		}
	}
	names := ref[1:]
	if len(names) > 0 && names[0] == "global" { // is the same in all
		above = nil
	}
	full := slices.Concat(above, names)
	k := manifest.ValuesKey{Key: dotted(full)}
	top := c.values["."]
	k.At, k.Written = find(top, full)
	if !k.Written && dir != "." {
		if at, ok := find(c.values[dir], names); ok {
			k.At = at // its default, which the chart above can change
		}
	}
	return k
}

// dotted writes a key as helm's --set takes it.
func dotted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ReplaceAll(n, ".", `\.`)
	}
	return strings.ReplaceAll(strings.Join(out, "."), "."+each, each)
}

// find follows keys as far as they are there.
func find(n yaml.Node, names []string) (at manifest.Pos, whole bool) {
	for _, name := range names {
		e := n.Get(name)
		if !e.Exists() {
			return at, false
		}
		at, n = e.Key.Pos(), e.Value
	}
	return at, len(names) > 0
}
