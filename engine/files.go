package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/leastcap/leastcap/caps"
)

// Files is what an instance shows of its files, also of one that never ran.
type Files interface {
	// Entry is what it executes.
	Entry(ctx context.Context) (Entry, error)
	// List gives the files and links of a directory without their content; of one
	// that is a link, nothing.
	List(ctx context.Context, dir string) ([]File, error)
	// Read gives a regular file, links followed. The error is [fs.ErrNotExist] if it
	// is not there.
	Read(ctx context.Context, name string) (*File, error)
}

// Entry is the command that an instance executes.
type Entry struct {
	Args []string
	Env  []string
	Dir  string
	User string // "" is root
}

// File is a file of an instance.
type File struct {
	Path string // absolute, in the instance
	Link string // where it leads, if it is a link
	caps.Program
	// Content is nil of what is larger than [MaxContent], or was only listed.
	Content []byte
}

// MaxContent is the most of a file that is read, in bytes.
const MaxContent = 256 << 20

// MaxListed is how many files of a directory are listed.
const MaxListed = 1 << 16

// content reads a file of that size. Its memory is asked for at once: what grows as it is
// read takes twice as much.
func content(r io.Reader, size int64) ([]byte, error) {
	data := make([]byte, size)
	n, err := io.ReadFull(r, data)
	return data[:n], err
}

// Archives copies a file or a directory out of an instance, as a tar. With follow a link
// is followed.
type Archives func(ctx context.Context, name string, follow bool) (io.ReadCloser, error)

// List is [Files]'s.
func (a Archives) List(ctx context.Context, dir string) ([]File, error) {
	var list []File
	err := a.each(ctx, dir, false, func(h *tar.Header, _ io.Reader) error {
		f, err := archived(h)
		if err != nil || f == nil {
			return err
		}
		// The directory's own name comes first.
		inner := path.Base(dir) + "/" + path.Base(h.Name)
		if path.Clean(h.Name) != inner {
			return nil // the link itself, or deeper
		}
		f.Path = path.Join(dir, path.Base(h.Name))
		if list = append(list, *f); len(list) == MaxListed {
			return io.EOF
		}
		return nil
	})
	return list, err
}

// Read is [Files]'s.
func (a Archives) Read(ctx context.Context, name string) (*File, error) {
	var f *File
	err := a.each(ctx, name, true, func(h *tar.Header, r io.Reader) (err error) {
		if f, err = archived(h); err != nil {
			return err
		}
		if f == nil {
			return io.EOF // a directory, whose files follow
		}
		f.Path = name
		if h.Typeflag == tar.TypeReg && h.Size <= MaxContent {
			if f.Content, err = content(r, h.Size); err != nil {
				return err
			}
		}
		return io.EOF
	})
	if err == nil && (f == nil || f.Link != "") {
		err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return f, err
}

// each goes over an archive until f says [io.EOF].
func (a Archives) each(ctx context.Context, name string, follow bool, f func(*tar.Header, io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the rest of the archive is not wanted
	archive, err := a(ctx, name, follow)
	if err != nil {
		return err
	}
	defer archive.Close()
	for r, first := tar.NewReader(archive), true; ; first = false {
		h, err := r.Next()
		switch {
		case err == io.EOF && first:
			return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("copy %s out of the container: %w", name, err)
		}
		if err := f(h, r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// archived is nil for what is neither a file nor a link.
func archived(h *tar.Header) (*File, error) {
	f := &File{Program: caps.Program{Mode: uint32(h.Mode) & 0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid)}}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeLink:
	case tar.TypeSymlink:
		f.Link = h.Linkname
	default:
		return nil, nil
	}
	value, ok := h.PAXRecords[paxFileCaps]
	if !ok {
		return f, nil
	}
	c, err := caps.ParseFileCaps([]byte(value))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	f.Caps = &c
	return f, nil
}

// ArchivedFileCaps reads the file capabilities of the first file of an archive, as an
// engine copies it out of a container; nil if it has none. path is for errors.
func ArchivedFileCaps(archive io.Reader, path string) (*caps.FileCaps, error) {
	h, err := tar.NewReader(archive).Next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s is not in the container any more", path)
		}
		return nil, fmt.Errorf("copy %s out of the container: %w", path, err)
	}
	value, ok := h.PAXRecords[paxFileCaps]
	if !ok {
		return nil, nil
	}
	c, err := caps.ParseFileCaps([]byte(value))
	return &c, err
}

// paxFileCaps is where the engines' archives keep an extended attribute.
const paxFileCaps = "SCHILY.xattr.security.capability"
