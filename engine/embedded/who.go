package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/moby/sys/user"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
)

// Identify finds the container's user in its own /etc/passwd and /etc/group, and its
// devices on the host.
func Identify(rootfs string, c *bundle.Container) (bundle.Process, error) {
	var p bundle.Process
	passwd, err := etc(rootfs, "passwd")
	if err != nil {
		return p, err
	}
	group, err := etc(rootfs, "group")
	if err != nil {
		return p, err
	}
	u, err := user.GetExecUser(c.User, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return p, &engine.Error{Problem: fmt.Sprintf("user %q is not in the image", c.User), Reason: err.Error(), Hint: "name one that its /etc/passwd has, or a number"}
	}
	p.UID, p.GID = uint32(u.Uid), uint32(u.Gid)
	groups := u.Sgids
	if len(c.Groups) > 0 {
		more, err := user.GetAdditionalGroups(c.Groups, bytes.NewReader(group))
		if err != nil {
			return p, &engine.Error{Problem: "--group-add", Reason: err.Error(), Hint: "name groups that the image's /etc/group has, or numbers"}
		}
		groups = append(groups, more...)
	}
	// moby daemon/oci_linux.go getUser: the primary group is among them.
	p.Groups = append(p.Groups, p.GID)
	for _, g := range groups {
		if uint32(g) != p.GID {
			p.Groups = append(p.Groups, uint32(g))
		}
	}
	p.HostDevices, err = hostDevices(c)
	return p, err
}

// maxEtc is in bytes: large directories have some megabytes.
const maxEtc = 64 << 20

// etc reads a file of the root file system, which is a stranger's: to open a pipe would
// wait for ever, and to open a device would do what that device does. A file that is not
// there is empty, as for Docker.
func etc(rootfs, name string) ([]byte, error) {
	bad := func(reason string) error {
		return &engine.Error{Problem: "the image's /etc/" + name + " cannot be used", Reason: reason, Hint: "build the image with a regular file there, or with none"}
	}
	path, err := securejoin.SecureJoin(rootfs, "/etc/"+name)
	if err != nil {
		return nil, bad(err.Error())
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, bad(err.Error())
	}
	if !info.Mode().IsRegular() {
		return nil, bad("it is no regular file")
	}
	// Nobody writes to it meanwhile but who could do worse; such a one must not block.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, bad(err.Error())
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxEtc+1))
	if err != nil {
		return nil, bad(err.Error())
	}
	if len(data) > maxEtc {
		return nil, bad(fmt.Sprintf("it has more than %d bytes", maxEtc))
	}
	return data, nil
}
