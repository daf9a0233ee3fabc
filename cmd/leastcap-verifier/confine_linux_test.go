package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest/reading"
)

var hasLandlock = testenv.Feature("Landlock", func() error {
	// landlock_create_ruleset(2): the version of its interface.
	if version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); errno != 0 || version < 1 {
		return fmt.Errorf("the kernel has none: %w", errno)
	}
	return nil
})

// program starts the program itself, by a command that gets its path if there is one, with
// pipes to it and from it.
func program(t *testing.T, by ...string) (cmd *exec.Cmd, in io.WriteCloser, out io.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(by, self)
	cmd = exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), asProgramVar+"=1")
	if in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

// TestConfined asks the program itself, which may open nothing but what it was given: not
// even where compose-go would open a name without asking.
func TestConfined(t *testing.T) {
	testenv.Need(t, hasLandlock)
	cmd, in, out := program(t)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatal("no hello")
	}
	for name, want := range map[string]string{
		"/etc/hostname": "open /etc/hostname: permission denied", "/dev/zero": "open /dev/zero: permission denied", "": "", // its own .env, which is not there
	} {
		env := ""
		if name != "" {
			env = ", env_file: " + name
		}
		req := project("c.yaml", "include: [{path: a.yaml"+env+"}]\nservices: {w: {image: x}}\n", "a.yaml", "services: {a: {image: y}}")
		if err := json.NewEncoder(in).Encode(req); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatal("no answer")
		}
		var a reading.Answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		if got := render(&a); want == "" && len(a.Before.Containers) != 2 || !strings.Contains(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Its limit of memory raises none that it was started with.
func TestLimit(t *testing.T) {
	for ulimit, want := range map[string]uint64{"1048576": 1 << 30, "unlimited": maxMemory} {
		cmd, in, out := program(t, "sh", "-c", "ulimit -d "+ulimit+` && exec "$0"`)
		if !bufio.NewScanner(out).Scan() {
			t.Error("no hello")
		}
		var got unix.Rlimit
		if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_DATA, nil, &got); err != nil || got.Max != want || got.Cur != want {
			t.Errorf("ulimit -d %s: %d and %d, want %d: %v", ulimit, got.Cur, got.Max, want, err)
		}
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}
}
