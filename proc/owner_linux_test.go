package proc

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/internal/testenv"
)

// TestOwnerElsewhere: an owner in another pid namespace is known to be alive, also by a user
// who may not look at it.
func TestOwnerElsewhere(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Command("unshare"))
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var pid int
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		if pid, _ = strconv.Atoi(strings.TrimSpace(string(children))); pid != 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("unshare has no child: %v", err)
		}
	}
	start, err := StartTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	ns := pidNamespace(strconv.Itoa(pid))
	there, gone := Owner(fmt.Sprintf("1-%dn%s", start, ns)), Owner(fmt.Sprintf("1-%dn%s", start+100, ns))
	seen := func(who string) {
		t.Helper()
		if !there.Alive() {
			t.Errorf("%s: %s is said not to be alive", who, there)
		}
		if gone.Alive() && ownPIDs() == "" {
			t.Errorf("%s: %s is said to be alive", who, gone)
		}
	}
	seen("root")
	// This thread alone is another user's for a while.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	as := func(uid uintptr) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uid, ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	as(65534)
	seen("nobody")
	as(0)
}
