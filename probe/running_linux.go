package probe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Place is a cgroup that the probe looks at.
type Place struct {
	ID uint64
	// Path is within the hierarchy: "/docker/…". Names are cut at 127 bytes.
	Path string
	// Host: it is no container's.
	Host bool
	// Adopted: it is older than the look at it, and its start was not seen.
	Adopted bool
	Dead    bool // it was removed
	// Launched: a runtime was seen starting something in it.
	Launched bool
	// Within are the ids of it and of those above it, as far as they are known.
	Within []uint64
}

// Adopt looks at cgroups that exist already, and at all below them: what runs in them is
// the workload's own at once. Paths are within the hierarchy; "/" is everything, and "/."
// the outermost cgroup alone. It needs [Options.Running].
//
// One that is not there any more is seen when it is made anew. Those above are looked at too,
// without what else is below them: what is removed and made anew there, as a unit that is
// restarted, learns from them that it is the host's.
func (p *Probe) Adopt(paths ...string) error {
	for _, path := range paths {
		for _, up := range above(path) {
			if err := p.adoptTree(up, false); err != nil {
				return unavailable(err)
			}
		}
		if err := p.adoptTree(path, path != Alone); err != nil {
			return unavailable(err)
		}
	}
	if !slices.Contains(paths, "/") {
		p.learnPaths()
	}
	prog := p.coll.Programs[bpfProgAdopt]
	if prog == nil {
		return errors.New("the probe was not opened for what runs already")
	}
	l, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return unavailable(fmt.Errorf("attach the iterator over processes: %w", err))
	}
	defer l.Close()
	it, err := l.Open()
	if err != nil {
		return unavailable(fmt.Errorf("run the iterator over processes: %w", err))
	}
	defer it.Close()
	// It is run by being read, and writes nothing.
	if _, err := io.Copy(io.Discard, it); err != nil {
		return unavailable(fmt.Errorf("run the iterator over processes: %w", err))
	}
	return nil
}

// Alone is the path of the outermost cgroup without those below it.
const Alone = "/."

// above are the paths of the cgroups above one, from the top.
func above(cgroup string) (list []string) {
	for cgroup = path.Clean(cgroup); cgroup != "/"; list = append(list, cgroup) {
		cgroup = path.Dir(cgroup)
	}
	slices.Reverse(list)
	return list
}

// learnPaths takes note of where cgroups are that are not looked at: others may be made below.
func (p *Probe) learnPaths() {
	_ = filepath.WalkDir(p.hierarchy.Mount, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // removed meanwhile
		}
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil {
			p.mu.Lock()
			p.paths[st.Ino] = p.within(dir)
			p.mu.Unlock()
		}
		return nil
	})
}

// within is the path in the hierarchy of a cgroup's directory.
func (p *Probe) within(dir string) string {
	return "/" + strings.Trim(strings.TrimPrefix(dir, p.hierarchy.Mount), "/")
}

// adoptTree makes a scope of a cgroup, and of those below it if they are to be, from the top:
// one that is made meanwhile learns from its parent whether it is the host's.
func (p *Probe) adoptTree(path string, below bool) error {
	root := filepath.Join(p.hierarchy.Mount, path)
	return filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && dir != p.hierarchy.Mount {
			return nil // removed meanwhile
		}
		if err != nil {
			return fmt.Errorf("look for cgroups: %w", err)
		}
		if !d.IsDir() {
			return nil
		}
		if !below && dir != root {
			return fs.SkipDir
		}
		var st, up unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return nil // removed meanwhile
		}
		within := p.within(dir)
		id, _ := proc.ContainerAt(within)
		isHost := id == "" && (p.isContainer == nil || !p.isContainer(within))
		s := bpfScope{PortStart: -1, Adopted: 1, Host: boolByte(isHost), Phase: uint8(slices.Index(usage.Phases, usage.Steady))}
		if within != "/" {
			if err := unix.Stat(filepath.Dir(dir), &up); err == nil {
				s.Parent = up.Ino
			}
			copy(s.Name[:len(s.Name)-1], filepath.Base(dir))
			s.Level = uint32(strings.Count(within, "/"))
		}
		p.mu.Lock()
		p.paths[st.Ino] = within
		p.mu.Unlock()
		end := unpreempted()
		err = p.coll.Maps[bpfMapScopes].Update(st.Ino, s, ebpf.UpdateNoExist)
		end()
		switch {
		case errors.Is(err, ebpf.ErrKeyExist):
			return p.mendScope(st.Ino, s.Host)
		case err != nil:
			return fmt.Errorf("look at the cgroup %s: %w", within, err)
		}
		return nil
	})
}

// mendScope: one that was made before its parent was known was taken for a container's.
func (p *Probe) mendScope(id uint64, host uint8) error {
	defer unpreempted()()
	var s bpfScope
	m := p.coll.Maps[bpfMapScopes]
	if err := m.Lookup(id, &s); err != nil || s.Host == host {
		return nil // removed meanwhile, or right
	}
	s.Host, s.Userns, s.UsernsInum = host, 0, 0
	return m.Update(id, s, ebpf.UpdateExist)
}

// News is a number that grows with each first of a kind: while it stays what it is, no
// record has anything new but higher counts.
func (p *Probe) News() (uint64, error) {
	var n uint64
	if err := p.coll.Variables[bpfVarNews].Get(&n); err != nil {
		return 0, unavailable(fmt.Errorf("read the counter of news: %w", err))
	}
	return n, nil
}

// Group is what was seen in some cgroups together.
type Group struct {
	Places []Place // the outermost first
	Record *usage.Record
}

// Survey gives a record for each group of cgroups; those that group calls "" are left
// out. What was lost since [Open], and can be of any, is in each record.
func (p *Probe) Survey(group func(Place) string) (map[string]*Group, error) {
	groups, err := p.survey(group)
	return groups, unavailable(err)
}

func (p *Probe) survey(group func(Place) string) (map[string]*Group, error) {
	all, err := p.scopes()
	if err != nil {
		return nil, err
	}
	read, err := p.contents()
	if err != nil {
		return nil, err
	}
	groups := map[string]*Group{}
	p.mu.Lock()
	known := maps.Clone(p.paths)
	p.mu.Unlock()
	for id, s := range all {
		place := placeOf(all, known, id, s)
		name := group(place)
		if name == "" {
			continue
		}
		g := groups[name]
		if g == nil {
			g = new(Group)
			groups[name] = g
		}
		g.Places = append(g.Places, place)
	}
	for _, g := range groups {
		slices.SortFunc(g.Places, func(a, b Place) int {
			return cmp.Or(cmp.Compare(all[a.ID].Level, all[b.ID].Level), cmp.Compare(a.ID, b.ID))
		})
		w := &Watch{p: p, lost: p.opened, read: read}
		for _, place := range g.Places {
			w.scopes = append(w.scopes, place.ID)
		}
		if g.Record, err = w.recordOf(); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

func placeOf(all map[uint64]bpfScope, known map[uint64]string, id uint64, s bpfScope) Place {
	var within []uint64
	for at, n := id, 0; n < len(all); n++ {
		within = append(within, at)
		s, ok := all[at]
		if !ok {
			break
		}
		at = s.Parent
	}
	return Place{Within: within, ID: id, Path: pathOf(all, known, id), Host: s.Host != 0, Adopted: s.Adopted != 0, Dead: s.Dead != 0, Launched: s.Launched > 0}
}

// pathOf joins the names of a cgroup and those above it, as far as they are known.
func pathOf(all map[uint64]bpfScope, known map[uint64]string, id uint64) string {
	path := ""
	for range len(all) {
		if top, ok := known[id]; ok {
			return cmp.Or(strings.TrimSuffix(top, "/")+path, "/")
		}
		s, ok := all[id]
		if !ok || s.Level == 0 {
			break
		}
		path = "/" + cString(s.Name[:]) + path
		id = s.Parent
	}
	return cmp.Or(path, "/")
}

// SetPhase says that from now on things happen in another phase, in cgroups that are
// known by their ids.
func (p *Probe) SetPhase(phase usage.Phase, ids ...uint64) error {
	w := &Watch{p: p, scopes: ids}
	return unavailable(w.setPhase(phase))
}

// Forget frees what the maps hold of cgroups that are gone.
func (p *Probe) Forget(ids ...uint64) {
	w := &Watch{p: p, scopes: ids}
	w.forget()
}
