package probe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
)

// tightVar makes TestTight the process under a memory limit.
const tightVar = "LEASTCAP_TEST_TIGHT"

// TestTight: whatever a memory limit leaves, a probe opens or says that there is no memory for
// it. Nothing is killed.
func TestTight(t *testing.T) {
	if os.Getenv(tightVar) != "" {
		p, err := Open(Options{Running: true})
		var f *FeatureError
		switch {
		case err == nil:
			fmt.Println("@opened")
			p.Close()
		case errors.As(err, &f) && strings.Contains(f.Missing, "memory"):
			fmt.Println("@refused")
		case errors.As(err, &f) && strings.Contains(f.Missing, "privilege"):
			fmt.Println("@forbidden")
		default:
			t.Fatal(err)
		}
		return
	}
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Command("setpriv"))
	dir, limit := "/sys/fs/cgroup", "memory.max"
	if h, err := proc.FindHierarchy(); err != nil {
		t.Fatal(err)
	} else if h.V2() {
		dir = h.Mount
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
			t.Fatal(err)
		}
	} else {
		dir, limit = filepath.Join(filepath.Dir(h.Mount), "memory"), "memory.limit_in_bytes"
	}
	dir = filepath.Join(dir, fmt.Sprintf("leastcap-test-tight-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.RemoveCgroup(dir); err != nil {
			t.Error(err)
		}
	})
	below := func(mib int, words ...string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, limit), fmt.Append(nil, mib<<20), 0); err != nil {
			t.Fatal(err)
		}
		argv := slices.Concat([]string{"-c", `echo 0 >"$0/cgroup.procs" && exec "$@"`, dir}, words, []string{os.Args[0], "-test.run=^TestTight$"})
		cmd := exec.Command("sh", argv...)
		cmd.Env = append(os.Environ(), tightVar+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("below %d MiB: %v\n%s", mib, err, out)
		}
		what, _, _ := strings.Cut(string(out), "\n")
		t.Logf("below %d MiB: %s", mib, what)
		return what
	}
	// It is not memory that is missing where maps are refused for another reason.
	setpriv, err := exec.LookPath("setpriv") // busybox's shell would take its own
	if err != nil {
		t.Fatal(err)
	}
	if what := below(400, setpriv, "--bounding-set", "-sys_admin,-bpf,-perfmon"); what != "@forbidden" {
		t.Error(what)
	}
	got := map[string]int{}
	for _, mib := range []int{64 + detectorMiB, 88, 104, 120, 400} {
		got[below(mib)]++
		time.Sleep(50 * time.Millisecond) // maps are freed a little after their process
	}
	var major, minor int
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if _, serr := fmt.Sscanf(string(release), "%d.%d", &major, &minor); err != nil || serr != nil {
		t.Fatal(err, serr)
	}
	charged := major > 5 || major == 5 && minor >= 11 // maps, to the cgroup
	if got["@opened"] == 0 || charged && got["@refused"] == 0 {
		t.Errorf("%v: want both", got)
	}
}
