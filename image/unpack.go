package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Limits keep an archive from filling the disk; zero is the default.
type Limits struct {
	Bytes   int64 // of file contents, holes included; default 128 GiB
	Entries int64 // default 10 million
}

func (l Limits) orDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = 128 << 30
	}
	if l.Entries == 0 {
		l.Entries = 10_000_000
	}
	return l
}

// Unpack makes the image's root file system in dir, which must not exist yet;
// its parent must be the caller's alone to write. After an error nothing is left.
//
// As root, owners and devices are the image's. Otherwise everything is the
// caller's, and devices and file capabilities are left out. Of extended
// attributes security.capability and user.* are kept.
func Unpack(ctx context.Context, m *Image, dir string, limits Limits) (err error) {
	if runtime.GOOS != "linux" {
		return errors.New("unpacking an image needs Linux")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(dir))
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{ctx: ctx, root: root, left: limits.orDefault(), owner: os.Geteuid() == 0}
	defer u.forget()
	for i := range m.Layers {
		if err := m.layer(ctx, i, u.layer); err != nil {
			return layerError(m, err)
		}
	}
	return nil
}

// layerError is what is wrong with a layer, with what to do about it.
func layerError(m *Image, err error) error {
	var hint string
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, fs.ErrPermission):
		// Of this machine, and not of the image.
	default:
		hint = "the image is broken, or made to do harm: fetch it anew, or build it again"
	}
	return &Error{m.Ref, err, hint}
}

// removeAll also removes directories whose modes forbid it to their owner.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700) // RemoveAll below has the error
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// unpacker puts layers over each other. Every path is resolved inside the root
// first, one component at a time, as a chroot would; the os.Root then refuses
// whatever would leave it all the same.
type unpacker struct {
	ctx   context.Context
	root  *os.Root
	left  Limits
	owner bool

	here map[string]bool        // what this layer made
	dirs map[string]*tar.Header // directories whose mode and time come last

	// The last parent, since archives go directory by directory. Every removal
	// forgets it.
	lastName, lastPath string
	last               *os.Root
}

func (u *unpacker) forget() {
	if u.last != nil {
		_ = u.last.Close() // a directory that was only read
		u.last = nil
	}
}

func (u *unpacker) layer(r io.Reader) error {
	u.here, u.dirs = map[string]bool{}, map[string]*tar.Header{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
		if u.left.Entries--; u.left.Entries < 0 {
			return errors.New("more entries than the limit")
		}
		// Holes are read without reading the layer.
		if err := u.entry(h, &ctxReader{u.ctx, tr}); err != nil {
			return fmt.Errorf("%s: %w", quote(h.Name), err)
		}
	}
	return u.finishDirs()
}

const (
	maxPath  = 4096 // bytes, PATH_MAX of include/uapi/linux/limits.h
	maxDepth = 512  // directories; removing a tree holds a descriptor for each
)

// clean gives the name below the root, "." for the root itself.
func clean(name string) (string, error) {
	if err := checkPath(name); err != nil {
		return "", err
	}
	if strings.ContainsRune(name, 0) {
		return "", errors.New("a zero byte in the name")
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", errors.New("the name has a .. in it")
	}
	return path.Clean(strings.TrimLeft(name, "/")), nil
}

// quote shortens a name to what fits a message.
func quote(name string) string {
	const most = 100
	if len(name) > most {
		return fmt.Sprintf("%q…", name[:most])
	}
	return strconv.Quote(name)
}

var (
	errDeep  = fmt.Errorf("deeper than %d directories", maxDepth)
	errLinks = errors.New("too many symbolic links")
)

func checkPath(p string) error {
	if len(p) >= maxPath {
		return fmt.Errorf("a path of %d bytes", len(p))
	}
	if strings.Count(p, "/") > maxDepth {
		return errDeep
	}
	return nil
}

const (
	whiteout = ".wh."
	aufs     = ".wh..wh." // what it kept for itself
	opaque   = ".wh..wh..opq"
	maxLinks = 40 // MAXSYMLINKS of include/linux/namei.h
)

// entryName gives the name below the root of what an entry makes. skip is for
// entries that make nothing: the root itself, and what is not of the tree.
func entryName(h *tar.Header) (name string, skip bool, err error) {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return "", true, nil
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeGNUSparse, tar.TypeCont:
	default:
		return "", false, fmt.Errorf("unknown type %q", h.Typeflag)
	}
	if name, err = clean(h.Name); err != nil {
		return "", false, err
	}
	if name == "." && h.Typeflag != tar.TypeDir {
		return "", false, errors.New("the root is not a directory")
	}
	return name, name == "." || strings.HasPrefix(name, aufs) && name != opaque, nil
}

// whiteoutName is the name that a whiteout's takes away, opaque for all of the
// directory, "" for what aufs kept for itself.
func whiteoutName(base string) (string, error) {
	if base == opaque {
		return opaque, nil
	}
	if strings.HasPrefix(base, aufs) {
		return "", nil
	}
	name := strings.TrimPrefix(base, whiteout)
	if name == "" || name == "." || name == ".." {
		return "", errors.New("a whiteout of nothing")
	}
	return name, nil
}

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name, skip, err := entryName(h)
	if err != nil {
		return err
	}
	if name == "." {
		u.dirs["."] = h
	}
	if skip {
		return nil
	}
	base := path.Base(name)
	if strings.HasPrefix(base, whiteout) {
		return u.whiteout(path.Dir(name), base)
	}
	parent, dir, err := u.parent(path.Dir(name), true)
	if err != nil {
		return err
	}
	full := path.Join(dir, base)
	old, err := parent.Lstat(base)
	if err == nil && !(old.IsDir() && h.Typeflag == tar.TypeDir) {
		// A link to itself would lose its target.
		if h.Typeflag == tar.TypeLink {
			if t, err := u.target(h.Linkname); err == nil && t == full {
				return nil
			}
		}
		if err := parent.RemoveAll(base); err != nil {
			return err
		}
		if old.IsDir() {
			u.forget()
			delete(u.dirs, full)
			if parent, _, err = u.parent(path.Dir(name), false); err != nil {
				return err
			}
		} else if old.Mode()&fs.ModeSymlink != 0 {
			defer u.forget()
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u.here[full] = true
	for d := dir; d != "." && !u.here[d]; d = path.Dir(d) {
		u.here[d] = true // an opaque parent must not take it away
	}

	switch h.Typeflag {
	case tar.TypeDir:
		u.dirs[full] = h
		if old != nil && old.IsDir() {
			return nil
		}
		return parent.Mkdir(base, 0o700)
	case tar.TypeLink:
		target, err := u.target(h.Linkname)
		if err != nil {
			return err
		}
		return u.root.Link(target, full)
	case tar.TypeSymlink:
		if err := parent.Symlink(h.Linkname, base); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if made, err := mknod(parent, base, h); err != nil || !made {
			return err
		}
	default:
		return u.file(parent, base, h, r)
	}
	if u.owner {
		if err := parent.Lchown(base, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil // os.Root sets no times of links
	}
	if err := parent.Chmod(base, h.FileInfo().Mode()); err != nil {
		return err
	}
	return parent.Chtimes(base, time.Time{}, h.ModTime)
}

func (u *unpacker) file(parent *os.Root, base string, h *tar.Header, r io.Reader) (err error) {
	if u.left.Bytes -= h.Size; h.Size < 0 || u.left.Bytes < 0 {
		return errors.New("more bytes than the limit")
	}
	f, err := parent.OpenFile(base, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := copySparse(f, r, h.Size); err != nil {
		return err
	}
	// In this order: chown clears the set-uid bits and the capabilities (chown(2)).
	if u.owner {
		if err := f.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := f.Chmod(h.FileInfo().Mode()); err != nil {
		return err
	}
	if err := setXattrs(f, h); err != nil {
		return err
	}
	return parent.Chtimes(base, time.Time{}, h.ModTime)
}

var zeros [64 << 10]byte

// copySparse leaves holes for blocks of zeros.
func copySparse(f *os.File, r io.Reader, size int64) error {
	buf := make([]byte, min(int64(len(zeros)), max(size, 1)))
	var n int64
	for {
		k, err := io.ReadFull(r, buf)
		if k == len(zeros) && bytes.Equal(buf, zeros[:]) {
			if _, err := f.Seek(int64(k), io.SeekCurrent); err != nil {
				return err
			}
		} else if k > 0 {
			if _, err := f.Write(buf[:k]); err != nil {
				return err
			}
		}
		n += int64(k)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && n == size {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
	}
	if n != size {
		return fmt.Errorf("%d bytes, and its header says %d", n, size)
	}
	return f.Truncate(size)
}

func (u *unpacker) whiteout(dir, base string) error {
	name, err := whiteoutName(base)
	if err != nil || name == "" {
		return err
	}
	parent, full, err := u.parent(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer u.forget()
	if base == opaque {
		return u.clear(full)
	}
	// Whiteouts are for the layers below.
	if p := path.Join(full, name); u.here[p] {
		if info, err := parent.Lstat(name); err != nil || !info.IsDir() {
			return err
		}
		return u.clear(p)
	}
	return parent.RemoveAll(name)
}

// clear removes what lower layers put below dir.
func (u *unpacker) clear(dir string) error {
	d, err := u.root.Open(dir)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	for _, n := range names {
		p := path.Join(dir, n)
		if !u.here[p] {
			if err := u.root.RemoveAll(p); err != nil {
				return err
			}
			continue
		}
		if info, err := u.root.Lstat(p); err != nil {
			return err
		} else if info.IsDir() {
			if err := u.clear(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// target resolves what a hard link names; its last component is not followed.
func (u *unpacker) target(link string) (string, error) {
	name, err := clean(link)
	if err != nil {
		return "", fmt.Errorf("link to %q: %w", link, err)
	}
	dir, err := u.resolve(path.Dir(name), false)
	if err != nil {
		return "", fmt.Errorf("link to %q: %w", link, err)
	}
	return path.Join(dir, path.Base(name)), nil
}

func (u *unpacker) parent(name string, create bool) (*os.Root, string, error) {
	if u.last != nil && u.lastName == name {
		return u.last, u.lastPath, nil
	}
	p, err := u.resolve(name, create)
	if err != nil {
		return nil, "", err
	}
	r, err := u.root.OpenRoot(p)
	if err != nil {
		return nil, "", err
	}
	u.forget()
	u.last, u.lastName, u.lastPath = r, name, p
	return r, p, nil
}

// resolve gives the path without symbolic links that name has inside the root:
// absolute links begin at the root, and .. stops there. With create, missing
// directories are made, 0755 as other tools do.
func (u *unpacker) resolve(name string, create bool) (string, error) {
	todo := strings.Split(name, "/")
	at, links := ".", 0
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		switch c {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, c)
		if err := checkPath(next); err != nil {
			return "", err
		}
		info, err := u.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) && create:
			if err := u.root.Mkdir(next, 0o755); err != nil {
				return "", err
			}
			at = next
		case err != nil:
			return "", err
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", errLinks
			}
			t, err := u.root.Readlink(next)
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(t, "/") {
				at = "."
			}
			todo = append(strings.Split(t, "/"), todo...)
		case info.IsDir():
			at = next
		default:
			return "", &fs.PathError{Op: "open", Path: next, Err: syscall.ENOTDIR}
		}
	}
	return at, nil
}

// finishDirs sets the modes and times of directories, which making what is in
// them would change or prevent; the deepest first.
func (u *unpacker) finishDirs() error {
	names := make([]string, 0, len(u.dirs))
	for n := range u.dirs {
		names = append(names, n)
	}
	slices.Sort(names)
	slices.Reverse(names)
	for _, n := range names {
		if err := u.finishDir(n, u.dirs[n]); err != nil {
			return fmt.Errorf("%q: %w", n, err)
		}
	}
	return nil
}

func (u *unpacker) finishDir(n string, h *tar.Header) error {
	at, err := u.resolve(n, false)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && at != n {
		return nil // replaced since
	}
	if err != nil {
		return err
	}
	f, err := u.root.Open(n)
	if err != nil {
		return err
	}
	defer f.Close()
	if u.owner {
		if err := f.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := setXattrs(f, h); err != nil {
		return err
	}
	mode := h.FileInfo().Mode()
	if !u.owner {
		mode |= 0o700 // the next layer, and the cache, have to get in
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return u.root.Chtimes(n, time.Time{}, h.ModTime)
}
