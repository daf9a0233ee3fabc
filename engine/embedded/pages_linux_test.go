//go:build cgo

package embedded

import (
	"os"
	"strings"
	"testing"
)

// The program's own file is read in large pieces: proc_pid_smaps(5), VmFlags, hg.
func TestLargePages(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	found, mode := 0, ""
	for line := range strings.Lines(string(data)) {
		if strings.HasSuffix(line, " "+self+"\n") {
			mode = strings.Fields(line)[1]
		}
		flags, ok := strings.CutPrefix(line, "VmFlags:")
		if !ok || mode == "" {
			continue
		}
		if large := strings.Contains(flags, " hg "); large && mode != "rw-p" {
			found++
		} else if large || mode == "r-xp" {
			t.Errorf("mapping %s has%s", mode, flags)
		}
		mode = ""
	}
	if found < 2 {
		t.Errorf("%d mappings of %s want large pages, code and constants should:\n%s", found, self, data)
	}
}
