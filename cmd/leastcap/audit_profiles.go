package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/manifest"
	inspected "github.com/leastcap/leastcap/manifest/inspect"
	"github.com/leastcap/leastcap/usage"
)

// learned are the profiles that containers of files are compared with.
type learned struct {
	list []learnedProfile
}

type learnedProfile struct {
	// container is the one that the user named for it, "" for those of its image.
	container string
	name      string
	profile   *usage.Profile
	stored    bool
}

// loadProfiles reads what --profile names, and the store.
func (f *sourceFlags) loadProfiles(ctx context.Context) (*learned, error) {
	l := &learned{}
	for _, arg := range f.profiles {
		container, file, ok := strings.Cut(arg, "=")
		if _, err := os.Stat(arg); !ok || err == nil {
			container, file = "", arg
		}
		data, err := readWhole(ctx, file, nil, maxNamed, "a profile")
		if cerr := ctx.Err(); cerr != nil {
			return nil, cerr
		}
		var p *usage.Profile
		if err == nil {
			p, err = usage.Parse(data)
		}
		if err != nil {
			return nil, &usageError{fmt.Errorf("--profile %s: %w", usage.At(file, err), err), "leastcap learn --profile FILE writes one"}
		}
		l.list = append(l.list, learnedProfile{container, filepath.Base(file), p, false})
	}
	if f.noStore {
		return l, nil
	}
	dir, err := storeDir()
	if err != nil {
		return l, nil // there is no place where one could be
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if p, err := usage.Parse(data); err == nil { // profile list says what is wrong with one
			l.list = append(l.list, learnedProfile{"", "what was learned of " + p.Subject.Image, p, true})
		}
	}
	return l, nil
}

// find gives a container its profile: one that was named for it, else one of its image,
// those that were named first and of these one that was learned with its command. A profile
// of the store must be of its command and user, too: the newest of those. images are the
// names that its image may have.
func (l *learned) find(s *audit.Subject, images []string) {
	take := func(p *learnedProfile) { s.Profile, s.ProfileName = p.profile, p.name }
	for i := range l.list {
		if p := &l.list[i]; p.container != "" && (p.container == s.Container.Name || p.container == s.Container.Path) {
			take(p)
			return
		}
	}
	if len(images) == 0 {
		return
	}
	var own *starting
	var err error
	var named, stored *learnedProfile
	fits := false // named was learned with its command
	for i := range l.list {
		p := &l.list[i]
		if p.container != "" || !slices.ContainsFunc(images, func(image string) bool { return sameImage(p.profile, image) }) {
			continue
		}
		if own == nil && err == nil {
			own, err = startOf(s.Container, images[0])
		}
		same := err == nil && p.starts(own, s.Container)
		switch {
		case p.stored && same && (stored == nil || p.profile.Created.After(stored.profile.Created)):
			stored = p
		case !p.stored && (named == nil || same && !fits):
			named, fits = p, same
		}
	}
	switch {
	case named != nil:
		take(named)
	case stored != nil:
		take(stored)
	}
}

// of says whether the store has something of a container's image, whatever it starts.
func (l *learned) of(c *manifest.Container) bool {
	image, ok := c.Image.Get()
	return ok && slices.ContainsFunc(l.list, func(p learnedProfile) bool { return p.stored && sameImage(p.profile, image) })
}

// starts says whether what was learned starts as a container does. An engine tells the
// image's own user as the container's.
func (p *learnedProfile) starts(own *starting, c *manifest.Container) bool {
	line, err := storedLine(p.profile.Subject.Command)
	if err != nil {
		return false
	}
	if line.User() == "" && inspected.ImageUser(c) {
		same := *own
		same.user = ""
		own = &same
	}
	return own.is(line)
}

// sameImage compares names as engines read them: the registry, "library/" and ":latest"
// go without saying.
func sameImage(p *usage.Profile, image string) bool {
	if p.Subject.Image == "" {
		return false
	}
	if _, digest, ok := strings.Cut(image, "@"); ok && p.Subject.Digest != "" {
		return strings.HasSuffix(p.Subject.Digest, digest)
	}
	return shortName(p.Subject.Image) == shortName(image)
}

func shortName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	for _, prefix := range []string{"docker.io/", "index.docker.io/", "library/"} {
		image = strings.TrimPrefix(image, prefix)
	}
	if last := image[strings.LastIndexByte(image, '/')+1:]; !strings.Contains(last, ":") {
		image += ":latest"
	}
	return image
}

// unused lists the profiles that were named and that no container was found for.
func (l *learned) unused(subjects []audit.Subject) []string {
	var names []string
	for _, p := range l.list {
		if !p.stored && !slices.ContainsFunc(subjects, func(s audit.Subject) bool { return s.Profile == p.profile }) {
			names = append(names, p.name)
		}
	}
	return names
}
