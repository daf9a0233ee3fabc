package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
)

// commands are what the tests' own executable is by other names.
var commands = map[string]func(){"leastcap": main}

func TestMain(m *testing.M) { testscript.Main(m, commands) }

// TestScripts runs testdata/script/*.txtar, one topic a file. A file whose name
// begins with docker_ needs Docker, one with root_ only root and BPF.
func TestScripts(t *testing.T) {
	images := filepath.Join(t.TempDir(), "images")
	needs := map[string][]testenv.Requirement{
		"":     nil,
		"root": {testenv.Root, testenv.BPF, testenv.Command("setpriv")},
		"docker": {
			testenv.Root, testenv.BPF, testenv.Docker, testenv.Command("pscap"),
			testenv.Image("leastcap-test/tiny"), testenv.Image("leastcap-test/services"),
		},
	}
	files, err := os.ReadDir("testdata/script")
	if err != nil {
		t.Fatal(err)
	}
	prefixOf := func(f os.DirEntry) string {
		if p, _, ok := strings.Cut(f.Name(), "_"); ok {
			return p
		}
		return ""
	}
	for _, f := range files {
		if _, ok := needs[prefixOf(f)]; !ok {
			t.Errorf("%s would never run: before a _ stands what it needs", f.Name())
		}
	}
	for prefix, need := range needs {
		t.Run("needs "+prefix, func(t *testing.T) {
			testenv.Need(t, need...)
			for _, f := range files {
				if prefixOf(f) != prefix {
					continue
				}
				// One at a time, since scripts look at what is left behind; those that need
				// nothing leave nothing but what is in their own directories.
				t.Run(f.Name(), func(t *testing.T) {
					images := images
					if prefix == "" {
						t.Parallel()
						images = ""
					}
					testscript.Run(t, testscript.Params{
						Files: []string{"testdata/script/" + f.Name()},
						Cmds:  map[string]func(*testscript.TestScript, bool, []string){"status": status_, "ended": ended, "executed": executed, "registry": registry_, "image": image_, "verifier": verifier_},
						Setup: func(e *testscript.Env) error {
							e.Setenv("PATH", e.Getenv("PATH")+":/usr/sbin:/sbin")
							e.Setenv(storeVariable, filepath.Join(e.WorkDir, "profiles"))
							e.Setenv("LEASTCAP_IMAGES", cmp.Or(images, filepath.Join(e.WorkDir, "unpacked")))
							e.Setenv("LEASTCAP_ROOT", filepath.Join(e.WorkDir, "root"))
							return nil
						},
						RequireExplicitExec: true,
					})
				})
			}
		})
	}
}

// status_ runs a command and holds its exit status: status N COMMAND ARG…
func status_(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [args]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// verifier_ puts leastcap-verifier into PATH.
func verifier_(ts *testscript.TestScript, _ bool, _ []string) {
	path, err := testenv.Verifier()
	ts.Check(err)
	ts.Setenv("PATH", filepath.Dir(path)+string(filepath.ListSeparator)+ts.Getenv("PATH"))
}

// ended holds that no container is left whose owner has ended.
func ended(ts *testscript.TestScript, _ bool, _ []string) {
	left, err := containers(func(o proc.Owner) bool { return !o.Alive() })
	ts.Check(err)
	if len(left) > 0 {
		ts.Fatalf("containers left behind: %s", left)
	}
}

// executed waits until a container's first process is its own program, which docker run -d
// does not wait for: executed CONTAINER PROGRAM.
func executed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: executed CONTAINER PROGRAM")
	}
	comm := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		pid, err := exec.Command("docker", "inspect", "-f", "{{.State.Pid}}", args[0]).Output()
		ts.Check(err)
		data, _ := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/comm")
		if comm = strings.TrimSpace(string(data)); comm == args[1] {
			return
		}
	}
	ts.Fatalf("the first process of %s is %q", args[0], comm)
}

// containers lists those that leastcap created, by their owner.
func containers(match func(proc.Owner) bool) ([]string, error) {
	out, err := exec.Command("docker", "ps", "-a", "--format", `{{.ID}} {{.Label "io.leastcap.owner"}}`, "--filter", "label=io.leastcap.owner").Output()
	if err != nil {
		return nil, err
	}
	var ids []string
	for line := range strings.Lines(string(out)) {
		id, label, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, owner, _ := strings.Cut(label, "/")
		if match(proc.Owner(owner)) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// start runs leastcap on a workload that never becomes ready and waits until
// its container runs.
func start(t *testing.T, bin string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(bin, "learn", "--check", "false", "--", "docker", "run", "leastcap-test/tiny", "sleep", "600")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if len(ours(t, cmd)) > 0 {
			return cmd, &out
		}
		if time.Now().After(end) {
			t.Fatalf("no container came up: %s", out.String())
		}
	}
}

// ours lists the containers of one leastcap.
func ours(t *testing.T, cmd *exec.Cmd) []string {
	t.Helper()
	prefix := fmt.Sprintf("%d-", cmd.Process.Pid)
	ids, err := containers(func(o proc.Owner) bool { return strings.HasPrefix(string(o), prefix) })
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestHangup: leastcap ends with its terminal, and not where nohup(1) wants it to go on.
func TestHangup(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Command("nohup"))
	bin := testenv.Leastcap(t)
	for _, kept := range []bool{false, true} {
		args := []string{bin, "watch", "-q", "-o", "json", "/"}
		if kept {
			args = append([]string{"nohup"}, args...)
		}
		cmd := exec.Command(args[0], args[1:]...)
		var out bytes.Buffer
		cmd.Stdout = &out
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(stderr); lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C ends"); {
		}
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(io.Discard, stderr)
			_ = cmd.Wait()
		}()
		if kept {
			select {
			case <-ended:
				t.Errorf("SIGHUP has ended it behind nohup: %s", &out)
			case <-time.After(700 * time.Millisecond):
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		<-ended
		if code := cmd.ProcessState.ExitCode(); code != exitOK {
			t.Errorf("nohup %v: exit status %d", kept, code)
		}
	}
}

func TestSignals(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	bin := testenv.Leastcap(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(fmt.Sprint(sig), func(t *testing.T) {
			cmd, out := start(t, bin)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit status %d, want %d: %s", code, exitInterrupted, out)
			}
			if left := ours(t, cmd); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
	t.Run("SIGKILL", func(t *testing.T) {
		cmd, _ := start(t, bin)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if len(ours(t, cmd)) == 0 {
			t.Fatal("nothing was left behind, so the sweep cannot be seen")
		}
		// The next start removes it.
		out, err := exec.Command(bin, "learn", "--observe-only", "--settle", "100ms", "--", "docker", "run", "leastcap-test/tiny", "true").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if left := ours(t, cmd); len(left) > 0 {
			t.Errorf("left behind: %s", left)
		}
	})
}
