package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
	"github.com/leastcap/leastcap/watch"
)

// profileFiles are the profiles that a watch keeps.
type profileFiles struct {
	dir, hook string
	files     map[string]*profileFile // by name
	names     map[string]string       // by their subjects' keys: a container may be renamed
	said      map[string]string       // why one could not be written, by their subjects' keys
	failed    bool                    // one is not written
	lost      bool                    // nor will be
}

func newProfileFiles(dir, hook string) *profileFiles {
	return &profileFiles{dir: dir, hook: hook, files: map[string]*profileFile{}, names: map[string]string{}, said: map[string]string{}}
}

// profileFile is one, and whose it is now.
type profileFile struct {
	owner string         // a subject's key
	ended bool           // so that another subject of the same name may go on with it
	prior *usage.Profile // what was there when its owner came; nil: nothing
	last  *usage.Profile // what was written
}

// write brings a subject's profile up to date.
func (p *profileFiles) write(s *watch.Tracked, now time.Time) error {
	name := p.names[s.Key()]
	if name == "" {
		name = watch.FileName(&s.Subject)
	}
	f, err := p.claim(name, s)
	if err != nil {
		return err
	}
	if f == nil { // another's: of the same name, or of another image
		id := strings.TrimPrefix(s.ImageID, "sha256:")
		if s.ID != "" && (id == "" || p.files[name] != nil && p.files[name].owner != "") {
			id = s.ID
		}
		name = strings.TrimSuffix(name, ".json") + "." + id[:min(12, len(id))] + ".json"
		if f, err = p.claim(name, s); err != nil {
			return err
		}
		if f == nil {
			return fmt.Errorf("%s is of another workload: the profile of %s is not written", filepath.Join(p.dir, name), s.Label())
		}
	}
	p.names[s.Key()] = name
	profile := watch.Profile(s, f.prior, now)
	profile.Hook, profile.Kernel, profile.Tool = p.hook, proc.Kernel(), "leastcap "+version
	if f.prior != nil && !watch.WatchedBefore(f.prior) {
		if profile, err = usage.Merge(false, usage.Named{Name: name, Profile: f.prior}, usage.Named{Name: "watch", Profile: profile}); err != nil {
			return fmt.Errorf("merge with %s: %w", filepath.Join(p.dir, name), err)
		}
	}
	if err := writeFile(filepath.Join(p.dir, name), profile); err != nil {
		return err
	}
	f.last, f.ended = profile, !s.Ended.IsZero()
	return nil
}

// claim gives the file of that name to a subject; nil if it is another's.
func (p *profileFiles) claim(name string, s *watch.Tracked) (*profileFile, error) {
	f := p.files[name]
	switch {
	case f == nil:
		f = new(profileFile)
		path := filepath.Join(p.dir, name)
		data, err := os.ReadFile(path)
		if err == nil {
			if f.prior, err = usage.Parse(data); err != nil {
				return nil, fmt.Errorf("%s is left alone: %w", usage.At(path, err), err)
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look for an earlier profile: %w", err)
		}
		if f.prior != nil && usage.Different(f.prior, watch.Profile(s, nil, time.Now())) {
			return nil, nil
		}
		p.files[name] = f
	case f.owner == s.Key():
		return f, nil
	case !f.ended, f.last != nil && usage.Different(f.last, watch.Profile(s, nil, time.Now())):
		return nil, nil
	default:
		f.prior = f.last
	}
	f.owner, f.ended = s.Key(), false
	return f, nil
}

// drop forgets a subject that has ended. Its file, which was written, is looked for when
// another of its name comes.
func (p *profileFiles) drop(key string) {
	if f := p.files[p.names[key]]; f != nil && f.owner == key {
		delete(p.files, p.names[key])
	}
	delete(p.names, key)
	delete(p.said, key)
}
