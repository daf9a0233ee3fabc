package image

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/leastcap/leastcap/caps"
)

// Privileges are the files of an image whose execution can give privileges.
type Privileges struct {
	// Files in the order of their layers, then of their paths.
	Files []PrivilegedFile
}

// PrivilegedFile is a regular file with a set-id bit or capabilities.
type PrivilegedFile struct {
	// Path is absolute; Links are the file's other names.
	Path  string
	Links []string
	caps.Program
	// Layer is the index in [Image.Layers] of the one that put it there.
	Layer int
}

// scanEntries is the most names of an image, each of which takes some 200 bytes
// of memory.
const scanEntries = 4_000_000

// Scan reads the layers without unpacking them. Files that a later layer
// removes or replaces are not in the result. All digests are verified.
func Scan(ctx context.Context, m *Image) (*Privileges, error) {
	s := &scanner{root: &node{dir: map[string]*node{}}}
	s.root.parent = s.root
	for i := range m.Layers {
		s.at = i + 1
		if err := m.layer(ctx, i, s.layer); err != nil {
			return nil, layerError(m, err)
		}
	}
	found := map[*PrivilegedFile][]string{}
	collect(s.root, "/", found)
	p := &Privileges{}
	for f, names := range found {
		slices.Sort(names)
		f.Path, f.Links = names[0], names[1:]
		if len(f.Links) == 0 {
			f.Links = nil
		}
		p.Files = append(p.Files, *f)
	}
	slices.SortFunc(p.Files, func(a, b PrivilegedFile) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), strings.Compare(a.Path, b.Path))
	})
	return p, nil
}

func collect(n *node, at string, found map[*PrivilegedFile][]string) {
	for name, c := range n.dir {
		p := path.Join(at, name)
		if c.file != nil {
			found[c.file] = append(found[c.file], p)
		}
		collect(c, p, found)
	}
}

// node is a name in the tree that the layers make.
type node struct {
	parent *node
	dir    map[string]*node // of a directory
	link   string           // of a symbolic link
	file   *PrivilegedFile  // of such a file, shared by its names
	// at is the last layer, from 1, that made it or something below it.
	at    int
	depth int
}

// scanner puts layers over each other as [unpacker] does, without content.
type scanner struct {
	root    *node
	at      int
	entries int
}

func (s *scanner) layer(r io.Reader) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
		if s.entries++; s.entries > scanEntries {
			return errors.New("more entries than the limit")
		}
		if err := s.entry(h); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func (s *scanner) entry(h *tar.Header) error {
	name, skip, err := entryName(h)
	if err != nil || skip {
		return err
	}
	base := path.Base(name)
	if strings.HasPrefix(base, whiteout) {
		return s.whiteout(path.Dir(name), base)
	}
	dir, err := s.resolve(path.Dir(name), true)
	if err != nil {
		return err
	}
	old := dir.dir[base]
	n := &node{parent: dir, depth: dir.depth + 1}
	switch h.Typeflag {
	case tar.TypeDir:
		if old != nil && old.dir != nil {
			n = old // merged
		} else {
			n.dir = map[string]*node{}
		}
	case tar.TypeSymlink:
		n.link = h.Linkname
	case tar.TypeLink:
		t, err := s.target(h.Linkname)
		if err != nil {
			return err
		}
		if t == old {
			return nil
		}
		n.link, n.file = t.link, t.file
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if n.file, err = s.file(h); err != nil {
			return err
		}
	}
	dir.dir[base] = n
	for ; n.at != s.at; n = n.parent {
		n.at = s.at
	}
	return nil
}

// file is nil for one without privileges.
func (s *scanner) file(h *tar.Header) (*PrivilegedFile, error) {
	f := &PrivilegedFile{Layer: s.at - 1, Program: caps.Program{Mode: uint32(h.Mode) & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid)}}
	if x, ok := h.PAXRecords[paxXattr+"security.capability"]; ok {
		c, err := caps.ParseFileCaps([]byte(x))
		if err != nil {
			return nil, err
		}
		f.Caps = &c
	}
	if f.Caps == nil && f.Mode&0o6000 == 0 {
		return nil, nil
	}
	return f, nil
}

func (s *scanner) whiteout(dir, base string) error {
	name, err := whiteoutName(base)
	if err != nil || name == "" {
		return err
	}
	d, err := s.resolve(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if base == opaque {
		s.clear(d)
	} else if n := d.dir[name]; n != nil {
		s.drop(d, name, n)
	}
	return nil
}

// clear removes what lower layers put below dir.
func (s *scanner) clear(dir *node) {
	for name, n := range dir.dir {
		s.drop(dir, name, n)
	}
}

func (s *scanner) drop(dir *node, name string, n *node) {
	if n.at == s.at {
		s.clear(n)
	} else {
		delete(dir.dir, name)
	}
}

// target is what a hard link names; its last component is not followed.
func (s *scanner) target(link string) (*node, error) {
	name, err := clean(link)
	if err != nil {
		return nil, fmt.Errorf("link to %q: %w", link, err)
	}
	dir, err := s.resolve(path.Dir(name), false)
	if err != nil {
		return nil, fmt.Errorf("link to %q: %w", link, err)
	}
	n := dir.dir[path.Base(name)]
	if n == nil {
		return nil, fmt.Errorf("link to %q: %w", link, fs.ErrNotExist)
	}
	if n.dir != nil {
		return nil, fmt.Errorf("link to %q: %w", link, syscall.EPERM)
	}
	return n, nil
}

// resolve finds a directory as a chroot would: absolute links begin at the
// root, and .. stops there.
func (s *scanner) resolve(name string, create bool) (*node, error) {
	todo := strings.Split(name, "/")
	at, links := s.root, 0
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		switch c {
		case "", ".":
			continue
		case "..":
			at = at.parent
			continue
		}
		next := at.dir[c]
		switch {
		case next == nil && !create:
			return nil, fs.ErrNotExist
		case next == nil:
			if at.depth > maxDepth {
				return nil, errDeep
			}
			next = &node{parent: at, dir: map[string]*node{}, depth: at.depth + 1}
			at.dir[c] = next
			at = next
			if s.entries++; s.entries > scanEntries {
				return nil, errors.New("more entries than the limit")
			}
		case next.link != "":
			if links++; links > maxLinks {
				return nil, errLinks
			}
			if strings.HasPrefix(next.link, "/") {
				at = s.root
			}
			todo = append(strings.Split(next.link, "/"), todo...)
		case next.dir != nil:
			at = next
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
		}
	}
	return at, nil
}
