package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/internal/debian"
	"github.com/leastcap/leastcap/internal/testenv"
)

// newerPscap gives libcap-ng's pscap of the other layout, from a suite that has it, as it
// is run with that suite's C library.
func newerPscap(t *testing.T) []string {
	suite, err := debian.Open(t.Context(), "forky")
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	about, err := suite.Show(t.Context(), "libcap-ng-utils")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := suite.Unpack(t.Context(), about.Field("Version"), "libcap-ng-utils", "libcap-ng0", "libc6")
	if err != nil {
		t.Fatal(err)
	}
	libs, err := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu*"))
	if err != nil || len(libs) != 1 {
		t.Fatalf("%s has the libraries %q: %v", dir, libs, err)
	}
	loaders, err := filepath.Glob(filepath.Join(libs[0], "ld-linux*.so.*"))
	if err != nil || len(loaders) != 1 {
		t.Fatalf("%s has the loaders %q: %v", libs[0], loaders, err)
	}
	return []string{loaders[0], "--library-path", libs[0], filepath.Join(dir, "usr/bin/pscap")}
}

// TestAsPscap compares --format pscap and pscap-0.9 with libcap-ng's own programs of both
// layouts, line by line: processes that come and go between the two are left out, those
// that the test starts are not.
func TestAsPscap(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Command("pscap"))
	// Columns are padded to bytes.
	other := filepath.Join(t.TempDir(), "sleep日本")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, other); err != nil {
		t.Fatal(err)
	}
	own := make(map[string]bool)
	for _, argv := range [][]string{
		{"sleep", "61"},
		{other, "60"},
		{"unshare", "--user", "--map-root-user", "sleep", "62"},
		{"setpriv", "--reuid", "12345", "--clear-groups", "--inh-caps", "+chown", "--ambient-caps", "+chown", "sleep", "63"},
		{"setpriv", "--bounding-set", "-net_raw", "sleep", "64"},
		{"setpriv", "--reuid", "12345", "--clear-groups", "sleep", "65"},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		own[strconv.Itoa(cmd.Process.Pid)] = true
	}
	for format, program := range map[string][]string{"pscap": {"pscap"}, "pscap-0.9": newerPscap(t)} {
		t.Run(format, func(t *testing.T) {
			asPscap(t, format, program, own)
		})
	}
}

// asPscap compares one of them. Own are the processes that were started, by their ids.
func asPscap(t *testing.T, format string, program []string, own map[string]bool) {
	pscap := func() (lines map[string]bool, list []string) {
		out, err := exec.Command(program[0], append(slices.Clone(program[1:]), "-a")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines = make(map[string]bool)
		for line := range strings.Lines(string(out)) {
			lines[line] = true
			list = append(list, line)
		}
		return lines, list
	}
	// Others may run sleep, too, for as long as they like.
	started := func(line string) bool {
		f := strings.Fields(line)
		return len(f) > 1 && own[f[1]] && strings.Contains(line, " sleep")
	}
	count := func(list []string) (n int) {
		for _, line := range list {
			if started(line) {
				n++
			}
		}
		return n
	}
	shown := len(own) - 1 // the last has no capabilities
	var first []string
	waitFor(t, "pscap shows what was started", func() bool {
		_, first = pscap()
		return count(first) == shown
	})
	var stdout, stderr bytes.Buffer
	if err := (&psFlags{all: true, format: format, output: "text", sort: "pid"}).run(t.Context(), &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	second, _ := pscap()
	var both []string
	for _, line := range first {
		if second[line] {
			both = append(both, line)
		}
	}
	ours := make(map[string]bool)
	for line := range strings.Lines(stdout.String()) {
		ours[line] = true
	}
	if n := count(both); n < shown {
		t.Fatalf("only %d of the processes stay", n)
	}
	for _, line := range both {
		// This process itself is left out by both, pscap's parent by neither.
		// An older pscap prints the names of others' processes as they are.
		odd := strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' })
		if !ours[line] && !odd && !strings.Contains(line, " leastcap.test ") {
			t.Errorf("pscap has %q", line)
		}
	}
	for line := range ours {
		// Nor is there one too many.
		if started(line) && !second[line] && !slices.Contains(first, line) {
			t.Errorf("pscap does not have %q", line)
		}
	}
	if list := strings.SplitAfter(stdout.String(), "\n"); list[0] != first[0] {
		t.Errorf("header %q, want %q", list[0], first[0])
	}
}

// TestPsThread: a thread's number is no process's, though /proc knows it.
func TestPsThread(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this test needs Linux")
	}
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	own := strconv.Itoa(os.Getpid())
	i := slices.IndexFunc(entries, func(e os.DirEntry) bool { return e.Name() != own })
	if i < 0 {
		t.Fatal("Go has no other thread")
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), &out, &errs, []string{"ps", "-p", entries[i].Name()})
	if want := "is a thread of process " + own; code != exitUsage || !strings.Contains(errs.String(), want) {
		t.Errorf("exit status %d: %s%s", code, &out, &errs)
	}
}
