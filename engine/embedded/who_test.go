//go:build linux

package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/internal/testenv"
)

// TestIdentify: a root file system is a stranger's. What it has in the place of
// /etc/passwd is read only if it is a file.
func TestIdentify(t *testing.T) {
	const passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/:/bin/sh\n"
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, etc string) {
			if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	node := func(name string, mode uint32, dev uint64) func(*testing.T, string) {
		return func(t *testing.T, etc string) {
			if mode != unix.S_IFIFO {
				testenv.Need(t, testenv.Root)
			}
			if err := unix.Mknod(filepath.Join(etc, name), mode|0o600, int(dev)); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := func(name, to string) func(*testing.T, string) {
		return func(t *testing.T, etc string) {
			if err := os.Symlink(to, filepath.Join(etc, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	type make = func(*testing.T, string)
	for _, tt := range []struct {
		name, user string
		groups     []string
		make       []make
		uid, gid   uint32
		wrong      string
	}{
		{name: "a name", user: "web", make: []make{write("passwd", passwd)}, uid: 33, gid: 44},
		{name: "a group's name", user: "web:staff", make: []make{write("passwd", passwd), write("group", "staff:x:50:\n")}, uid: 33, gid: 50},
		{name: "no files", user: "7:8", uid: 7, gid: 8},
		{name: "a link inside", user: "web", make: []make{link("passwd", "/etc/other"), write("other", passwd)}, uid: 33, gid: 44},
		{name: "a link to nowhere", user: "7", make: []make{link("passwd", "/nosuch/file")}, uid: 7},
		{name: "the host's", user: "daemon", make: []make{link("passwd", "../../../../../../../../../../etc/shadow")}, wrong: `"daemon" is not in the image`},
		{name: "a pipe", user: "web", make: []make{node("passwd", unix.S_IFIFO, 0)}, wrong: "/etc/passwd cannot be used: it is no regular file"},
		{name: "a pipe for groups", user: "7", make: []make{node("group", unix.S_IFIFO, 0)}, wrong: "/etc/group cannot be used"},
		{name: "a link to a pipe", user: "web", make: []make{link("passwd", "pipe"), node("pipe", unix.S_IFIFO, 0)}, wrong: "no regular file"},
		{name: "a device", user: "web", make: []make{node("passwd", unix.S_IFCHR, unix.Mkdev(1, 5))}, wrong: "no regular file"}, // zero(4)
		{name: "no end of a line", user: "web", make: []make{write("passwd", strings.Repeat("x", 1<<20))}, wrong: "token too long"},
		{name: "a loop", user: "web", make: []make{link("passwd", "passwd")}, wrong: "/etc/passwd cannot be used"},
		{name: "more groups", user: "7", groups: []string{"nosuch"}, wrong: "--group-add"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			etc := filepath.Join(root, "etc")
			if err := os.Mkdir(etc, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range tt.make {
				f(t, etc)
			}
			p, err := Identify(root, &bundle.Container{User: tt.user, Groups: tt.groups})
			switch {
			case tt.wrong != "":
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("%v, want %q", err, tt.wrong)
				}
			case err != nil:
				t.Error(err)
			case p.UID != tt.uid || p.GID != tt.gid:
				t.Errorf("user %d:%d, want %d:%d", p.UID, p.GID, tt.uid, tt.gid)
			}
		})
	}
}
