package learn_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// The test binary is executed again as the launcher, as the command is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == host.LaunchVerb {
		os.Exit(host.Launch(os.Args[2], os.Stderr))
	}
	os.Exit(m.Run())
}

func learnCommand(t *testing.T, user string, opts learn.Options, argv ...string) (*usage.Profile, error) {
	t.Helper()
	p := openProbe(t)
	w, err := host.New(argv, user, p.Hierarchy())
	if err != nil {
		t.Fatal(err)
	}
	cgroups := func() []string {
		dirs, _ := filepath.Glob(p.Hierarchy().Mount + "/leastcap-*")
		return slices.DeleteFunc(dirs, func(dir string) bool {
			return len(filepath.Base(dir)) == len("leastcap-")+64 // a container's, which is not of this test
		})
	}
	before := cgroups()
	t.Cleanup(func() {
		left := slices.DeleteFunc(cgroups(), func(dir string) bool { return slices.Contains(before, dir) })
		if len(left) > 0 {
			t.Errorf("cgroups left behind: %q", left)
		}
	})
	return learn.Run(t.Context(), w, observer{p}, opts, nil)
}

func TestHostCommands(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(foreign, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(foreign, "file"), 33, 33); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(foreign, 33, 33); err != nil {
		t.Fatal(err)
	}
	// perl-base is essential on Debian.
	const serve = `use Socket; socket(S, AF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
		bind(S, sockaddr_in(877, INADDR_LOOPBACK)) or die "bind: $!"; listen(S, 5); while (accept(C, S)) { print C "hello\n"; close C }`
	const ask = `perl -e 'use Socket; socket(S, AF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in(877, INADDR_LOOPBACK)) or exit 1; exit(<S> ne "hello\n")'`
	for _, c := range []struct {
		name, user, check string
		argv              []string
		required          caps.Set
		systemd           []string
	}{
		{
			name: "nothing", argv: []string{"true"},
			systemd: []string{"CapabilityBoundingSet=", "AmbientCapabilities="},
		},
		{
			name: "chown", argv: []string{"chown", "34:34", filepath.Join(foreign, "file")},
			// Reading is all that it does in the directory: the weaker one does.
			required: caps.Of(caps.Chown, caps.DacReadSearch),
			systemd:  []string{"CapabilityBoundingSet=CAP_CHOWN CAP_DAC_READ_SEARCH", "AmbientCapabilities="},
		},
		{
			name: "server", argv: []string{"perl", "-e", serve}, check: ask, required: caps.Of(caps.NetBindService),
			systemd: []string{"CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities="},
		},
		{
			name: "server as a user", user: "www-data", argv: []string{"perl", "-e", serve}, check: ask, required: caps.Of(caps.NetBindService),
			systemd: []string{"User=www-data", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE"},
		},
		{
			name: "daemon", argv: []string{"sh", "-c", fmt.Sprintf("perl -e '%s' >/dev/null 2>&1 &", strings.ReplaceAll(serve, "'", `"`))}, check: ask,
			required: caps.Of(caps.NetBindService),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := learn.Options{}
			if c.check != "" {
				opts.Checks = checks(c.check)
			}
			got, err := learnCommand(t, c.user, opts, c.argv...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Required != c.required || !got.Proven || !got.Complete {
				t.Errorf("required %v, want %v; proven %v complete %v notes %q", got.Required, c.required, got.Proven, got.Complete, got.Notes)
				for _, tr := range got.Trials {
					t.Logf("%+v", tr)
				}
			}
			if c.systemd != nil && !slices.Equal(got.Use.Systemd, c.systemd) {
				t.Errorf("systemd lines %q, want %q", got.Use.Systemd, c.systemd)
			}
		})
	}
}

// A process that leaves the cgroup is not seen from then on: the result says
// that it is incomplete, and the process does not outlive the run.
func TestHostEscape(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	p := openProbe(t)
	out := filepath.Join(p.Hierarchy().Mount, fmt.Sprintf("test-escape-%d", os.Getpid()))
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proc.RemoveCgroup(out) }) // should the test end early
	pids := func() string {
		data, err := os.ReadFile(filepath.Join(out, "cgroup.procs"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	got, err := learnCommand(t, "", learn.Options{Checks: checks("grep -q . " + out + "/cgroup.procs")},
		"sh", "-c", "sh -c 'echo $$ >"+out+"/cgroup.procs; exec sleep 600' & exec sleep 600")
	if err != nil {
		t.Fatal(err)
	}
	if got.Complete || got.Lost["moved"] == 0 {
		t.Errorf("complete %v, lost %v", got.Complete, got.Lost)
	}
	for end := time.Now().Add(time.Minute); pids() != "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if left := pids(); left != "" {
		t.Errorf("left running: %s", left)
	}
	if err := os.Remove(out); err != nil {
		t.Error(err)
	}
}

// What a learner that was killed left behind is removed by the next one.
func TestHostSweep(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	p := openProbe(t)
	dead := filepath.Join(p.Hierarchy().Mount, "leastcap-4194304-1-1") // above any pid_max
	if err := os.Mkdir(dead, 0o755); err != nil {
		t.Fatal(err)
	}
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, "cgroup.procs"), fmt.Append(nil, sleeper.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := learnCommand(t, "", learn.Options{ObserveOnly: true}, "true"); err != nil {
		t.Fatal(err)
	}
	if err := sleeper.Wait(); err == nil {
		t.Error("the process in the dead learner's cgroup was not ended")
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("the dead learner's cgroup is still there")
	}
}
