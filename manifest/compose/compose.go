// Package compose reads Compose files and edits their services.
//
// A service is what several places say together: its own mapping, what YAML merges into
// it, the services it extends, files that override it, files that include it. Here each
// of them is a layer, and a fact is looked up through the layers, so that its place is
// known. The rules are compose-go's, which substitutes the variables here, and whose
// whole loader is what the tests compare with, and what leastcap-verifier asks before a
// file is written; it is not part of the command, since it costs milliseconds at every
// start (its JSON schema's regular expressions).
package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// Format is this package as a format.
var Format = manifest.Format{
	Name:      "compose",
	Title:     "Compose file",
	Recognise: Recognise,
	Parse:     Parse,
	Edit:      Edit,
	Verify:    Verify,
}

// names are the files that docker compose takes by itself, in this order, and those that
// it puts over them (compose-go cli/options.go).
var (
	names     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	overrides = []string{"compose.override.yaml", "compose.override.yml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// Recognise looks for services at the beginning of a line, whose entries say an image, a
// build or the like.
func Recognise(name string, data []byte) manifest.Likelihood {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	known := strings.Contains(base, "compose") && (strings.HasSuffix(base, ".yml") || strings.HasSuffix(base, ".yaml"))
	at := bytes.Index(data, []byte("services"))
	for ; at >= 0; at = next(data, at, "services") {
		before := bytes.TrimSuffix(bytes.TrimSuffix(data[:at], []byte(`"`)), []byte("'"))
		after := bytes.TrimLeft(data[at+len("services"):], `"' `)
		top := len(before) == 0 || before[len(before)-1] == '\n' || string(before) == "\ufeff"
		flow := len(bytes.TrimSpace(bytes.TrimPrefix(before, []byte("\ufeff")))) == 1 && bytes.TrimSpace(bytes.TrimPrefix(before, []byte("\ufeff")))[0] == '{'
		if (top || flow) && len(after) > 0 && after[0] == ':' && (known || !others().Match(after[1:])) {
			break
		}
	}
	switch {
	case at < 0 && known && (bytes.HasPrefix(data, []byte("include:")) || bytes.Contains(data, []byte("\ninclude:"))):
		return manifest.Likely
	case at < 0:
		return manifest.No
	case known:
		return manifest.Sure
	}
	for _, key := range []string{"image:", "build:", "extends:", `"image"`, `"build"`} {
		if bytes.Contains(data[at:], []byte(key)) {
			return manifest.Likely
		}
	}
	return manifest.Maybe
}

// others is what other programs have behind the key: a list (Travis CI, GitLab CI), or a word
// (nsswitch.conf).
var others = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(\s*(#[^\n]*\n\s*)*(-\s|\[)|[ \t]*[^\s#&*!{])`)
})

func next(data []byte, at int, word string) int {
	i := bytes.Index(data[at+1:], []byte(word))
	if i < 0 {
		return -1
	}
	return at + 1 + i
}

// Parse returns the services of a project, those of included files too. A file that
// overrides another one, which stands beside it, has none of its own: it is read with
// that one.
func Parse(src manifest.Source) ([]*manifest.Container, error) {
	p := load(src)
	out := make([]*manifest.Container, len(p.services))
	for i, s := range p.services {
		c := s.Container // the trees are not kept
		out[i] = &c
	}
	return out, errors.Join(p.errs...)
}

// A project is all that a file leads to.
type project struct {
	src      manifest.Source
	files    map[string]*file // by name; nil where one could not be read
	unread   map[string]error // why it could not be opened
	services []*service
	errs     []error
	resolved int // layers, a limit to what a few lines of extends can stand for
}

// maxLayers bounds the work that a project may ask for.
const maxLayers = 10000

// A file is one that is part of the project.
type file struct {
	name string
	doc  *yaml.Document
	root yaml.Node
	env  func(string) (string, bool)
	dir  string
}

func load(src manifest.Source) *project {
	p := &project{src: src, files: map[string]*file{}}
	if src.Over == nil && p.overridesAnother() {
		return p
	}
	dir := path.Dir(src.Name)
	env := p.environment(dir, path.Join(dir, ".env"), src.Env)
	main := p.add(src.Name, src.Data, env)
	if main == nil {
		return p
	}
	layers := p.fileLayers(main, nil)
	over := src.Over
	if name := p.overrideOf(src.Name); name != "" && over == nil {
		over = []string{name}
	}
	for _, name := range over {
		f := p.open(name, env)
		if f == nil {
			p.errs = append(p.errs, &manifest.Error{At: manifest.Pos{File: name}, Reason: "the file cannot be read"})
			continue
		}
		// Relative paths are from the first file's directory (docker compose --project-directory).
		f.dir = dir
		layers = p.stack(layers, p.fileLayers(f, nil))
	}
	p.read(layers)
	return p
}

// overrideOf is the file that docker compose puts over this one, "" if there is none.
func (p *project) overrideOf(name string) string {
	dir, base := path.Split(name)
	for _, n := range names {
		if n != base {
			continue
		}
		for _, o := range overrides {
			if p.exists(dir + o) {
				return dir + o
			}
		}
	}
	return ""
}

// overridesAnother says that the source is such a file itself, and its base is there.
func (p *project) overridesAnother() bool {
	dir, base := path.Split(p.src.Name)
	for _, o := range overrides {
		if o != base {
			continue
		}
		for _, n := range names {
			if p.exists(dir+n) && p.overrideOf(dir+n) == p.src.Name {
				return true
			}
		}
	}
	return false
}

func (p *project) exists(name string) bool {
	if name == p.src.Name {
		return true
	}
	if p.src.Open == nil {
		return false
	}
	_, err := p.src.Open(name)
	return err == nil
}

// environment is what variables are looked up in: the caller's, then the file .env.
func (p *project) environment(dir, name string, outer func(string) (string, bool)) func(string) (string, bool) {
	if outer == nil {
		outer = func(string) (string, bool) { return "", false }
	}
	if p.src.Open == nil {
		return outer
	}
	data, err := p.src.Open(name)
	if err != nil {
		return outer
	}
	vars, err := dotenv.ParseWithLookup(bytes.NewReader(data), outer)
	if err != nil {
		p.errs = append(p.errs, envError(name, data, err))
		return outer
	}
	return func(key string) (string, bool) {
		if v, ok := outer(key); ok {
			return v, true
		}
		v, ok := vars[key]
		return v, ok
	}
}

// open reads another file of the project, nil if that cannot be.
func (p *project) open(name string, env func(string) (string, bool)) *file {
	if f, ok := p.files[name]; ok {
		return f
	}
	if name == p.src.Name {
		return p.add(name, p.src.Data, env)
	}
	if p.src.Open == nil {
		return nil
	}
	data, err := p.src.Open(name)
	if err != nil {
		p.files[name] = nil
		if p.unread == nil {
			p.unread = map[string]error{}
		}
		var of *fs.PathError
		if errors.As(err, &of) {
			err = of.Err // the name is said beside it
		}
		p.unread[name] = err
		return nil
	}
	return p.add(name, data, env)
}

// failUnread says that another file, which the node names, could not be opened, and why.
func (p *project) failUnread(n yaml.Node, written, name string) {
	if err := p.unread[name]; err != nil {
		p.fail(n, "%s cannot be read: %v", written, err)
		return
	}
	p.fail(n, "%s cannot be read", written)
}

func (p *project) add(name string, data []byte, env func(string) (string, bool)) *file {
	p.files[name] = nil
	f, err := yaml.Read(manifest.Source{Name: name, Data: data})
	if err != nil {
		p.errs = append(p.errs, err)
		return nil
	}
	// Of several documents compose-go merges all. Nobody writes them; the first one is
	// read, and the rest is said to be unread.
	docs := f.Documents()
	root, err := docs[0].Parse()
	if err != nil {
		p.errs = append(p.errs, err)
		return nil
	}
	for i := range docs[1:] {
		if other, err := docs[i+1].Parse(); err != nil || other.Exists() {
			p.errs = append(p.errs, &manifest.Error{At: f.Lines().Pos(docs[i+1].Start, docs[i+1].Start),
				Reason: "a second document in a Compose file is not looked at", Hint: "write a file for each"})
			break
		}
	}
	if root.Exists() && !root.IsMapping() {
		p.fail(root, "a Compose file is a mapping")
		return nil
	}
	p.errs = append(p.errs, docs[0].Duplicates()...)
	p.files[name] = &file{name: name, doc: &docs[0], root: root, env: env, dir: path.Dir(name)}
	return p.files[name]
}

// maxErrors is how much of what is wrong with a project is said.
const maxErrors = 100

func (p *project) fail(n yaml.Node, format string, args ...any) {
	if len(p.errs) >= maxErrors {
		return
	}
	p.errs = append(p.errs, &manifest.Error{At: n.Pos(), Reason: fmt.Sprintf(format, args...)})
}
