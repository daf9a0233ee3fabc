package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

type inode struct{ dev, ino uint64 }

// inodeOf is for files with more than one name only.
func inodeOf(info fs.FileInfo) (inode, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 {
		return inode{}, false
	}
	return inode{uint64(st.Dev), st.Ino}, true
}

// kept says which extended attributes go with a file: its capabilities and the
// user's own. Others (trusted, system ACLs, SELinux labels) are of the machine
// that built the image.
func kept(name string) bool {
	return name == "security.capability" || strings.HasPrefix(name, "user.")
}

func readXattrs(path string) (map[string]string, error) {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out map[string]string
	val := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if !kept(name) {
			continue
		}
		n, err := unix.Lgetxattr(path, name, val)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string]string{}
		}
		out[paxXattr+name] = string(val[:n])
	}
	return out, nil
}

func setXattrs(f *os.File, h *tar.Header) error {
	for k, v := range h.PAXRecords {
		name, ok := strings.CutPrefix(k, paxXattr)
		if !ok || !kept(name) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, []byte(v), 0); err != nil {
			// Only root sets capabilities, and some file systems have no user.*.
			if name != "security.capability" && errors.Is(err, unix.ENOTSUP) ||
				os.Geteuid() != 0 && errors.Is(err, unix.EPERM) {
				continue
			}
			return &fs.PathError{Op: "setxattr " + name, Path: h.Name, Err: err}
		}
	}
	return nil
}

// mknod makes a device or pipe; a device only as root, and else it is left out.
func mknod(parent *os.Root, base string, h *tar.Header) (bool, error) {
	mode := uint32(h.Mode & 0o7777)
	switch h.Typeflag {
	case tar.TypeChar:
		mode |= unix.S_IFCHR
	case tar.TypeBlock:
		mode |= unix.S_IFBLK
	default:
		mode |= unix.S_IFIFO
	}
	dir, err := parent.Open(".")
	if err != nil {
		return false, err
	}
	defer dir.Close()
	dev := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	err = unix.Mknodat(int(dir.Fd()), base, mode, int(dev))
	if errors.Is(err, unix.EPERM) && h.Typeflag != tar.TypeFifo {
		return false, nil
	}
	return err == nil, err
}

// private holds that dir is the caller's and closed to all others.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: dir, Err: errors.New("not a directory")}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, not to user %d", dir, st.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %#o, want 0700)", dir, info.Mode().Perm())
	}
	return nil
}

// flock takes a lock or is errLocked.
func flock(f *os.File, kind lockKind) error {
	how := unix.LOCK_SH
	if kind == lockExclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		case err != nil:
			return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		default:
			return nil
		}
	}
}

// lockDir locks a directory of the caller's, or is errLocked. The lock says
// nothing if the directory is gone by then, which is an error too.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = flock(f, lockExclusive)
	var opened, named fs.FileInfo
	if err == nil {
		opened, err = f.Stat()
	}
	if err == nil {
		named, err = os.Lstat(dir)
	}
	if err == nil && !os.SameFile(opened, named) {
		err = fs.ErrNotExist
	}
	if err == nil {
		if st, ok := opened.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
			err = fs.ErrPermission
		}
	}
	if err != nil {
		_ = f.Close() // only a lock
		return nil, err
	}
	return f, nil
}

// diskUsage is in bytes; hard links count once.
func diskUsage(dir string) (int64, error) {
	var n int64
	seen := map[inode]bool{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if id, ok := inodeOf(info); ok && !d.IsDir() {
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			n += st.Blocks * 512 // stat(2)
		}
		return nil
	})
	return n, err
}

// syncFS writes the file system of dir to its disk.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
