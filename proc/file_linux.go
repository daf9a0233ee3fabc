package proc

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/usage"
)

// Look says what a process's path leads to, in the process's own root directory: the
// first directory on the way that the user may not search, or the directory that it is
// in, if inDir says that this is what the call changes or nothing is there, or the file.
func Look(pid int, file string, uid, gid uint32, inDir bool) (*usage.File, error) {
	return LookIn(fmt.Sprintf("/proc/%d/root", pid), file, uid, gid, inDir)
}

// LookIn is Look with a directory that is the root directory.
func LookIn(dir, file string, uid, gid uint32, inDir bool) (*usage.File, error) {
	if !strings.HasPrefix(file, "/") {
		return nil, fmt.Errorf("%q is no absolute path", file)
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("the root directory %s: %w", dir, err)
	}
	defer unix.Close(root)
	file = path.Clean(file)
	for i := 1; i < len(file); i++ { // each directory on the way, the root first
		if file[i-1] != '/' {
			continue
		}
		dir := path.Clean(file[:i])
		f, err := lookAt(root, dir)
		if err != nil {
			return nil, err
		}
		if !f.May(uid, gid, 1) {
			f.Blocker = dir
			return f, nil
		}
	}
	f, err := lookAt(root, file)
	if errors.Is(err, unix.ENOENT) || err == nil && inDir && file != "/" {
		dir, derr := lookAt(root, path.Dir(file))
		if derr != nil {
			return nil, derr
		}
		dir.Blocker, dir.Exists = path.Dir(file), err == nil
		if err == nil { // nor can such a file be removed or renamed: fs/namei.c:may_delete
			dir.Immutable = dir.Immutable || f.Immutable
		}
		return dir, nil
	}
	if err == nil {
		if dir, derr := lookAt(root, path.Dir(file)); derr == nil {
			f.Shared = dir.Mode&unix.S_ISVTX != 0 && dir.Mode&0o022 != 0 && f.UID != dir.UID
		}
	}
	return f, err
}

func lookAt(root int, file string) (*usage.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(root, file, &how)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f := &usage.File{Exists: true, UID: st.Uid, GID: st.Gid, Mode: st.Mode}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		f.Device, f.DeviceName = Device(st.Mode&unix.S_IFMT == unix.S_IFBLK, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err == nil {
		f.ReadOnly = fs.Flags&unix.ST_RDONLY != 0
		f.NoExec = fs.Flags&unix.ST_NOEXEC != 0
		f.NoSetID = fs.Flags&unix.ST_NOSUID != 0
	}
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, &stx); err == nil {
		f.Immutable = stx.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		f.Caps, _ = FileCaps(fmt.Sprintf("/proc/self/fd/%d", fd)) // unreadable: as if there were none
	}
	return f, nil
}

// Device names a device: "b 8:0", and its file on this machine, "/dev/sda" (Documentation/
// admin-guide/sysfs-rules.rst; DEVNAME of its uevent); "" if it has none.
func Device(block bool, major, minor uint32) (number, name string) {
	dir, kind := "char", "c"
	if block {
		dir, kind = "block", "b"
	}
	number = fmt.Sprintf("%s %d:%d", kind, major, minor)
	data, err := os.ReadFile(fmt.Sprintf("/sys/dev/%s/%d:%d/uevent", dir, major, minor))
	if err != nil {
		return number, ""
	}
	for line := range strings.Lines(string(data)) {
		if dev, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return number, path.Join("/dev", dev)
		}
	}
	return number, ""
}
