package embedded

import (
	"fmt"
	"os"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/moby/sys/user"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
)

// Identify finds the container's user in its own /etc/passwd and /etc/group, and its
// devices on the host.
func Identify(rootfs string, c *bundle.Container) (bundle.Process, error) {
	var p bundle.Process
	etc := func(name string) string {
		path, err := securejoin.SecureJoin(rootfs, "/etc/"+name)
		if err != nil {
			return os.DevNull
		}
		return path
	}
	u, err := user.GetExecUserPath(c.User, &user.ExecUser{Home: "/"}, etc("passwd"), etc("group"))
	if err != nil {
		return p, &engine.Error{Problem: fmt.Sprintf("user %q is not in the image", c.User), Reason: err.Error(), Hint: "name one that its /etc/passwd has, or a number"}
	}
	p.UID, p.GID = uint32(u.Uid), uint32(u.Gid)
	groups := u.Sgids
	if len(c.Groups) > 0 {
		more, err := user.GetAdditionalGroupsPath(c.Groups, etc("group"))
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
