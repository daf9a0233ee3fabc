package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// odd is what a workload may call its files and itself to control a terminal, or to make
// what is read by programs unreadable: a window's title, a colour, new lines, bytes that are
// no text, a mark that turns the direction of writing, and the eight-bit form of ESC [.
const odd = "\x1b]0;t\x07\x1b[31m\nn\r\xff\xc3\u202e\u009b31m\x7f"

// TestOddNames: whatever a workload calls itself, its executable, its files and its cgroup,
// nothing of it reaches the terminal as it is, and JSON stays JSON.
func TestOddNames(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Command("gcc"))
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "d"+odd)
	exe, foreign, script := filepath.Join(inside, "p"+odd), filepath.Join(inside, "f"+odd), filepath.Join(dir, "script")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(os.Mkdir(inside, 0o755))
	do(os.WriteFile(foreign, nil, 0o600))
	do(os.Chown(foreign, 1000, 1000))
	compiled := filepath.Join(dir, "workload")
	if out, err := exec.Command("gcc", "-O1", "-static", "-pthread", "-o", compiled, "../../probe/testdata/workload.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	do(os.Rename(compiled, exe))
	words := []string{"comm", odd[:15], ",", "chown", foreign, "33", "33", ",", "fork", "{", "exec", exe, "setgid", "33", "}", ",",
		"capset", "3", "0", "0", "0", ",", "chown", foreign, "44", "44", ""}
	do(os.WriteFile(script, []byte(strings.Join(words, "\x00")), 0o644))

	bin := testenv.Leastcap(t)
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), storeVariable+"="+filepath.Join(dir, "profiles"))
		return cmd
	}
	// shown runs one and gives its output, which has to be fit for a terminal.
	shown := func(args ...string) []byte {
		t.Helper()
		var out, stderr bytes.Buffer
		cmd := command(args...)
		cmd.Stdout, cmd.Stderr = &out, &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, &stderr)
		}
		fit(t, fmt.Sprintf("%.40q", args), out.Bytes())
		fit(t, fmt.Sprintf("%.40q, stderr", args), stderr.Bytes())
		return out.Bytes()
	}

	file := filepath.Join(dir, "p.json")
	text := shown("learn", "--profile", file, "--", exe, "script", script)
	if !bytes.Contains(text, []byte(`\x1b]0;t\x07`)) || !bytes.Contains(text, []byte("chown")) || !bytes.Contains(text, []byte("setgid")) {
		t.Errorf("the names are not there: %s", text)
	}
	saved, err := os.ReadFile(file)
	do(err)
	fit(t, "the profile", saved)
	profile, err := usage.Parse(saved)
	do(err)
	if again, err := profile.Marshal(); err != nil || !bytes.Equal(again, saved) {
		t.Errorf("%v: the profile is written again as\n%s", err, again)
	}
	if !bytes.Equal(shown("profile", "show", "-o", "json", file), saved) {
		t.Error("profile show -o json is not the profile")
	}
	shown("profile", "show", file)
	shown("profile", "diff", file, file)
	shown("profile", "merge", file, file)
	shown("learn", "-q", "-o", "flags", "--", exe, "script", script)

	// The same in a cgroup with such a name, while watch and why look on.
	h, err := proc.FindHierarchy()
	do(err)
	cgroup := filepath.Join(h.Mount, fmt.Sprintf("test-odd-%d-", os.Getpid())+strings.ReplaceAll(odd, "\n", ""))
	do(os.Mkdir(cgroup, 0o755))
	t.Cleanup(func() { _ = proc.RemoveCgroup(cgroup) })
	type looker struct {
		cmd *exec.Cmd
		out bytes.Buffer
		err safeBuffer
	}
	var lookers []*looker
	for _, args := range [][]string{{"watch", "--profile", filepath.Join(dir, "watched")}, {"watch", "-o", "json"}, {"why"}, {"why", "-o", "json"}} {
		l := &looker{cmd: command(append(args, strings.TrimPrefix(cgroup, h.Mount))...)}
		l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.err
		do(l.cmd.Start())
		t.Cleanup(func() { _ = l.cmd.Process.Kill() })
		waitFor(t, args[0]+" looks", func() bool { return strings.Contains(l.err.String(), "Ctrl-C") })
		lookers = append(lookers, l)
	}
	workload := exec.Command("sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, cgroup, exe, "script", script)
	if out, err := workload.CombinedOutput(); err != nil || string(out) != "chown EPERM\n" {
		t.Errorf("%v: %s", err, out)
	}
	stay := exec.Command(exe, "comm", odd[:15], ",", "wait")
	in, err := stay.StdinPipe()
	do(err)
	do(stay.Start())
	waitFor(t, "the name is set", func() bool {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", stay.Process.Pid))
		return strings.HasPrefix(string(comm), odd[:15])
	})
	for _, args := range [][]string{{"ps"}, {"ps", "--tree"}, {"ps", "-o", "json"}, {"ps", "--format", "pscap"}} {
		out := shown(args...)
		if !bytes.Contains(out, []byte("t\\")) && !bytes.Contains(out, []byte("]0;t")) {
			t.Errorf("%q does not show the process", args)
		}
		if args[len(args)-1] == "json" && !json.Valid(out) {
			t.Errorf("ps: no JSON")
		}
	}
	in.Close()
	_ = stay.Wait()
	for _, l := range lookers {
		do(l.cmd.Process.Signal(syscall.SIGINT))
		_ = l.cmd.Wait()
		what := strings.Join(l.cmd.Args[1:len(l.cmd.Args)-1], " ")
		fit(t, what, l.out.Bytes())
		fit(t, what+", stderr", []byte(l.err.String()))
		seen := bytes.Contains(l.out.Bytes(), []byte(fmt.Sprintf("test-odd-%d-", os.Getpid())))
		if !seen || !bytes.Contains(bytes.ToLower(l.out.Bytes()), []byte("chown")) {
			t.Errorf("%.40q does not show it: %.2000s", what, l.out.String())
		}
		if l.cmd.Args[2] == "-o" {
			for line := range bytes.Lines(l.out.Bytes()) {
				if !json.Valid(line) {
					t.Errorf("%.40q: no JSON: %.500q", what, line)
				}
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "watched", "*"))
	do(err)
	for _, f := range files {
		fit(t, "a file's name", []byte(filepath.Base(f)))
	}
}

// fit holds that text does not control a terminal.
func fit(t *testing.T, what string, out []byte) {
	t.Helper()
	if !utf8.Valid(out) {
		t.Errorf("%s: no text", what)
	}
	for i, r := range string(out) {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s has %U: %q", what, r, out[max(0, i-80):i])
			return
		}
	}
}
