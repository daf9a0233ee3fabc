package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/leastcap/leastcap/manifest/reading"
)

// readCompose loads the project twice.
func readCompose(req *reading.Request) (*reading.Answer, error) {
	s, err := newStage(req)
	if err != nil {
		return nil, err
	}
	defer s.remove()
	before, as, err := s.load(false)
	if err != nil {
		return unread(err), nil
	}
	after, err := s.loadAs(true, as)
	if err != nil {
		return &reading.Answer{After: unread(err).Before}, nil
	}
	return reading.Compose(before, after), nil
}

// unread is the answer where nothing could be read before the edit.
func unread(err error) *reading.Answer {
	return &reading.Answer{Before: reading.Reading{Problems: []reading.Problem{{Text: short(err), Unread: true}}}}
}

// stageDepth is how many directories a stage has above the root that it shows. A name climbs
// with "..", and at most as many times: see [outside].
const stageDepth = 40

// maxClimb is how often a name in a definition may say "..".
const maxClimb = 32

// A stage has copies of a project's files in a directory of their own, each where it would be
// below the root, so that compose-go opens these and no others.
type stage struct {
	req       *reading.Request
	dir, root string
	main      []string // as staged
}

func newStage(req *reading.Request) (*stage, error) {
	s := &stage{req: req}
	others := false
	for _, f := range req.Files {
		if !filepath.IsAbs(f.Name) {
			return nil, fmt.Errorf("%s is no absolute name", f.Name)
		}
		others = others || f.Role == reading.Other
	}
	dir := "project" // which is not there: what is given in memory is enough
	if others {
		var err error
		if dir, err = os.MkdirTemp(".", "project-"); err != nil {
			return nil, err
		}
	}
	var err error
	if s.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	s.root = filepath.Join(s.dir, strings.Repeat("d/", stageDepth))
	for _, f := range req.Files {
		if f.Role == reading.Main {
			s.main = append(s.main, s.name(f.Name))
		}
	}
	if len(s.main) == 0 {
		return nil, errors.New("there is no main file")
	}
	if !others {
		return s, nil
	}
	for _, f := range req.Files {
		if err := s.write(&f, false); err != nil {
			s.remove()
			return nil, err
		}
	}
	return s, nil
}

func (s *stage) remove() { _ = os.RemoveAll(s.dir) } // who started this removes the rest

// name is where a file is on the stage.
func (s *stage) name(name string) string { return filepath.Join(s.root, filepath.Clean(name)) }

func (s *stage) write(f *reading.File, after bool) error {
	name := s.name(f.Name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, f.Data(after), 0o600)
}

// A manner is how variables are treated.
type manner int

const (
	substituted manner = iota // what has no value is blank, as for docker compose
	literally                 // left as they are, as by docker compose config --no-interpolate
)

// load loads in the first manner in which the project can be loaded. One without its
// variables (a port that is blank) often cannot be loaded with blanks.
func (s *stage) load(after bool) (map[string]any, manner, error) {
	model, err := s.loadAs(after, substituted)
	if err == nil {
		return model, substituted, nil
	}
	if model, lerr := s.loadAs(after, literally); lerr == nil {
		return model, literally, nil
	}
	return nil, 0, err
}

func (s *stage) loadAs(after bool, m manner) (map[string]any, error) {
	details := types.ConfigDetails{WorkingDir: filepath.Dir(s.main[0]), Environment: environ()}
	for i := range s.req.Files {
		f := &s.req.Files[i]
		switch f.Role {
		case reading.Main:
			details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: s.name(f.Name), Content: f.Data(after)})
		case reading.Env:
			vars, err := dotenv.ParseWithLookup(bytes.NewReader(f.Data(after)), os.LookupEnv)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			for key, value := range vars {
				if _, set := details.Environment[key]; !set {
					details.Environment[key] = value
				}
			}
		case reading.Other:
			if !f.Same {
				if err := s.write(f, after); err != nil {
					return nil, err
				}
			}
		}
	}
	options := func(o *loader.Options) {
		o.SetProjectName("project", true)
		// What a service's files (env_file, label_file) say is no part of the definition, and
		// may be secret.
		o.SkipResolveEnvironment, o.SkipResolveLabels = true, true
		o.SkipConsistencyCheck, o.SkipNormalization = true, true
		o.Profiles = []string{"*"}
		o.SkipInterpolation = m == literally
		o.Interpolate.Substitute = required
		o.ResourceLoaders = []loader.ResourceLoader{outside{s}}
	}
	ctx := context.Background()
	model, err := loader.LoadModelWithContext(ctx, details, options)
	if err != nil {
		return nil, s.plain(err)
	}
	if m == substituted {
		// As docker compose goes on: into its own types. That changes the model.
		if _, err := loader.ModelToProject(clone(model).(map[string]any), loader.ToOptions(&details, []func(*loader.Options){options}), details); err != nil {
			return nil, s.plain(err)
		}
	}
	return model, nil
}

// plain takes the stage out of an error's text.
func (s *stage) plain(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), s.root, ""))
}

// required is compose-go's substitution, for which a variable that has to be set (${X:?}) is
// an error. Whoever starts the project sets it; what it is set to is not of the definition.
func required(text string, mapping template.Mapping) (string, error) {
	for {
		out, err := template.Substitute(text, mapping)
		var missing *template.MissingRequiredError
		if !errors.As(err, &missing) {
			return out, err
		}
		name, inner := missing.Variable, mapping
		if value, ok := inner(name); ok && value != "" {
			return out, err // it is not for want of a value
		}
		mapping = func(key string) (string, bool) {
			if key == name {
				return "required", true
			}
			return inner(key)
		}
	}
}

// environ are the variables that it was started with, which are those of who asks.
func environ() types.Mapping {
	m := types.Mapping{}
	for _, v := range os.Environ() {
		if key, value, ok := strings.Cut(v, "="); ok && key != "" {
			m[key] = value
		}
	}
	return m
}

// clone copies maps and lists.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = clone(e)
		}
		return m
	case []any:
		list := slices.Clone(v)
		for i, e := range list {
			list[i] = clone(e)
		}
		return list
	}
	return v
}

// outside is asked for the names that lead off the stage: an absolute one is looked up on it,
// what is elsewhere (a git repository, a registry) is not fetched.
type outside struct{ *stage }

// Accept takes over what compose-go would look for in the file system as it is.
func (o outside) Accept(name string) bool {
	return remote(name) || filepath.IsAbs(name) && !o.staged(name) || strings.Count(name, "..") > maxClimb
}

func (o outside) staged(name string) bool {
	rel, err := filepath.Rel(o.root, name)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// Load is where the file is on the stage.
func (o outside) Load(_ context.Context, name string) (string, error) {
	if remote(name) || !filepath.IsAbs(name) {
		return "", fmt.Errorf("%s is not fetched", name)
	}
	return o.name(name), nil
}

// Dir is the directory that relative names in the file are relative to.
func (o outside) Dir(name string) string {
	if !o.staged(name) {
		name = o.name(name)
	}
	return filepath.Dir(name)
}

// remote is what docker compose fetches (docker/compose pkg/remote: git.go, oci.go), and what
// looks like it.
func remote(name string) bool {
	return strings.Contains(name, "://") || strings.HasPrefix(name, "git@") || strings.HasPrefix(name, "github.com/") || strings.HasPrefix(name, "oci:")
}
