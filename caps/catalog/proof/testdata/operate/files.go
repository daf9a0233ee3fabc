package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	own        = "/files/own"
	theirs     = "/files/theirs"
	theirGroup = "/files/own-of-their-group"
	labelled   = "/files/labelled"
)

var files = map[string]operation{
	"chown": {do: func(scene) (string, error) {
		return outcome(unix.Chown(own, otherUser, -1))
	}},
	"write-file": {do: func(scene) (string, error) { return open(theirs, unix.O_WRONLY) }},
	"read-file":  {do: func(scene) (string, error) { return open(theirs, unix.O_RDONLY) }},
	"open-by-handle": {do: func(scene) (string, error) {
		// The handle is of a file that no mount of this container shows.
		text, err := os.ReadFile("/shared/handle")
		if err != nil {
			return "", err
		}
		var kind int32
		var encoded string
		if _, err := fmt.Sscan(string(text), &kind, &encoded); err != nil {
			return "", err
		}
		handle, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return "", err
		}
		mount, err := unix.Open("/shared", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(mount)
		fd, err := unix.OpenByHandleAt(mount, unix.NewFileHandle(kind, handle), unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
			return outcome(err)
		}
		defer unix.Close(fd)
		data := make([]byte, 64)
		n, err := unix.Read(fd, data)
		if err != nil || !bytes.HasPrefix(data[:max(n, 0)], []byte("secret of the host")) {
			return "", fmt.Errorf("read %q, %v", data[:max(n, 0)], err)
		}
		return works, nil
	}},
	"chmod": {do: func(scene) (string, error) { return outcome(unix.Chmod(theirs, 0o640)) }},
	"chmod-setgid": {do: func(scene) (string, error) {
		if err := unix.Chmod(theirGroup, 0o2755); err != nil {
			return outcome(err)
		}
		return mode(theirGroup)
	}},
	"write-setuid": {
		prepare: func(scene) error {
			if err := os.WriteFile("/tmp/setuid", nil, 0o600); err != nil {
				return err
			}
			return unix.Chmod("/tmp/setuid", 0o4755)
		},
		do: func(scene) (string, error) {
			fd, err := unix.Open("/tmp/setuid", unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return outcome(err)
			}
			defer unix.Close(fd)
			if _, err := unix.Write(fd, []byte("x")); err != nil {
				return outcome(err)
			}
			return mode("/tmp/setuid")
		},
	},
	"set-immutable": {
		prepare: func(scene) error { return os.WriteFile("/tmp/immutable", nil, 0o600) },
		do: func(scene) (string, error) {
			fd, err := unix.Open("/tmp/immutable", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return "", err
			}
			defer unix.Close(fd)
			flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
			if err != nil {
				return "", fmt.Errorf("the file system has no flags: %w", err)
			}
			const immutable = 0x10 // FS_IMMUTABLE_FL
			if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|immutable); err != nil {
				return outcome(err)
			}
			// So that the file can be removed.
			return outcome(unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags&^immutable))
		},
	},
	"mknod": {do: func(scene) (string, error) {
		return outcome(unix.Mknod("/files/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	}},
	"lease": {
		prepare: func(scene) error {
			_, _, err := asOther("file", "/tmp/leased", "644")
			return err
		},
		do: func(scene) (string, error) {
			fd, err := unix.Open("/tmp/leased", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return "", err
			}
			defer unix.Close(fd)
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
			return outcome(err)
		},
	},
	"set-file-caps": {do: func(scene) (string, error) {
		// linux/capability.h vfs_cap_data, revision 2: net_raw permitted.
		value := make([]byte, 20)
		copy(value, []byte{0, 0, 0, 2, 0, 1 << 5})
		return outcome(unix.Setxattr(own, "security.capability", value, 0))
	}},
	"set-trusted-xattr": {do: func(scene) (string, error) {
		return outcome(unix.Setxattr(own, "trusted.leastcap", []byte("x"), 0))
	}},
	"chroot": {do: func(scene) (string, error) { return outcome(unix.Chroot("/files")) }},
	"mount": {do: func(scene) (string, error) {
		return outcome(unix.Mount("proof", "/mnt", "tmpfs", 0, "size=4k"))
	}},
	"follow-map-files": {do: func(scene) (string, error) {
		names, err := os.ReadDir("/proc/self/map_files")
		if err != nil {
			return "", err
		}
		if len(names) == 0 {
			return "", fmt.Errorf("/proc/self/map_files is empty")
		}
		return open("/proc/self/map_files/"+names[0].Name(), unix.O_RDONLY)
	}},
	"set-smack-label": {do: func(scene) (string, error) {
		return outcome(unix.Setxattr(own, "security.SMACK64", []byte("proof"), 0))
	}},
	"read-smack-file": {do: func(scene) (string, error) { return open(labelled, unix.O_RDONLY) }},
	"remove-apparmor-profile": {do: func(scene) (string, error) {
		fd, err := unix.Open("/sys/kernel/security/apparmor/.remove", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return outcome(err)
		}
		defer unix.Close(fd)
		_, err = unix.Write(fd, []byte("leastcap-no-such-profile"))
		return outcome(err)
	}},
}

func open(path string, flags int) (string, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return outcome(err)
	}
	defer unix.Close(fd)
	return works, nil
}

// mode is a file's, as the outcome.
func mode(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("mode %04o", st.Mode&0o7777), nil
}
