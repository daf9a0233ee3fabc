package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	securejoin "github.com/cyphar/filepath-securejoin"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
)

// Tree is a root file system in a directory.
type Tree struct {
	Root string
	// Mounted, if set, says where on this machine a path of the instance really is, ""
	// for one that is in Root.
	Mounted func(name string) string
}

// Place gives the path on this machine, which does not leave the root.
func (t Tree) Place(name string) (string, error) {
	if t.Mounted != nil {
		if p := t.Mounted(path.Clean(name)); p != "" {
			return p, nil
		}
	}
	return securejoin.SecureJoin(t.Root, name)
}

// List is [Files]'s.
func (t Tree) List(_ context.Context, dir string) ([]File, error) {
	parent, err := t.Place(path.Dir(path.Clean(dir)))
	if err != nil {
		return nil, err
	}
	at := filepath.Join(parent, path.Base(dir))
	if fi, err := os.Lstat(at); err != nil || !fi.IsDir() {
		return nil, err
	}
	d, err := os.Open(at)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(MaxListed)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var list []File
	for _, e := range entries {
		name := filepath.Join(at, e.Name())
		fi, err := e.Info()
		if err != nil || !fi.Mode().IsRegular() && fi.Mode().Type() != fs.ModeSymlink {
			continue // gone meanwhile, or neither
		}
		f := File{Path: path.Join(dir, e.Name()), Program: program(fi)}
		if fi.Mode().Type() == fs.ModeSymlink {
			if f.Link, err = os.Readlink(name); err != nil {
				continue
			}
		} else if f.Caps, err = proc.FileCaps(name); err != nil {
			continue
		}
		list = append(list, f)
	}
	return list, nil
}

// Read is [Files]'s.
func (t Tree) Read(_ context.Context, name string) (*File, error) {
	at, err := t.Place(name)
	if err != nil {
		return nil, err
	}
	r, err := openRegular(at)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	fi, err := r.Stat()
	if err != nil {
		return nil, err
	}
	f := &File{Path: name, Program: program(fi)}
	if f.Caps, err = proc.FileCaps(at); err != nil {
		return nil, err
	}
	if fi.Size() <= MaxContent {
		f.Content, err = content(r, fi.Size())
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) { // it became shorter
			return nil, err
		}
	}
	return f, nil
}

func program(fi fs.FileInfo) caps.Program {
	p := caps.Program{}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		p.Mode, p.UID, p.GID = st.Mode&0o7777, st.Uid, st.Gid
	}
	return p
}
