package learn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
)

// TestSigns: root of a user namespace is root, whatever its number is here, and keeps nothing
// as another user.
func TestSigns(t *testing.T) {
	testenv.Need(t, testenv.Root)
	for _, c := range []struct {
		name string
		as   syscall.Credential
		want signs
	}{
		{"root", syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true}, signs{0, 12345, 23456}},
		// Another user's process has lost its capabilities by execve(2), but for those that are ambient.
		{"another user", syscall.Credential{Uid: 7, Gid: 7, NoSetGroups: true}, signs{caps.Of(caps.Kill), 12345, 23456}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("sleep", "100")
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 12345, Size: 10}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 23456, Size: 10}},
				Credential:  &c.as,
			}
			if c.as.Uid != 0 {
				cmd.SysProcAttr.AmbientCaps = []uintptr{uintptr(caps.Kill)}
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
			dir := t.TempDir() // as a cgroup
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			w := &unaidedWatch{hierarchy: &proc.Hierarchy{}, dir: dir}
			if ids, err := w.Identities(); err != nil || len(ids) != 1 {
				t.Fatalf("%v, %v", ids, err)
			}
			if got := w.Signs(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
