package main

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/internal/testenv"
)

// TestAsPscap compares --format pscap with libcap-ng's own, line by line: processes that
// come and go between the two are left out, those that the test starts are not.
func TestAsPscap(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Command("pscap"))
	for _, argv := range [][]string{
		{"sleep", "61"},
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
	}
	pscap := func() (lines map[string]bool, list []string) {
		out, err := exec.Command("pscap", "-a").Output()
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
	sleeps := func(list []string) (n int) {
		for _, line := range list {
			if strings.Contains(line, " sleep") {
				n++
			}
		}
		return n
	}
	const started = 4 // the fifth has no capabilities
	var first []string
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, first = pscap(); sleeps(first) >= started {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("pscap shows\n%s", strings.Join(first, ""))
		}
	}
	var stdout, stderr bytes.Buffer
	if err := (&psFlags{all: true, format: "pscap", output: "text", sort: "pid"}).run(t.Context(), &stdout, &stderr); err != nil {
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
	if n := sleeps(both); n < started {
		t.Fatalf("only %d of the processes stay", n)
	}
	for _, line := range both {
		// This process itself is left out by both, pscap's parent by neither.
		if !ours[line] && !strings.Contains(line, " leastcap.test ") {
			t.Errorf("pscap has %q", line)
		}
	}
	for line := range ours {
		// Nor is there one too many.
		if strings.Contains(line, " sleep ") && !second[line] && !slices.Contains(first, line) {
			t.Errorf("pscap does not have %q", line)
		}
	}
	if list := strings.SplitAfter(stdout.String(), "\n"); list[0] != first[0] {
		t.Errorf("header %q, want %q", list[0], first[0])
	}
}
