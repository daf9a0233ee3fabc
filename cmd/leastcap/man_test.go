package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/internal/testenv"
)

// Every command has a page, every page has each of its flags, and groff finds nothing
// to complain of.
func TestManuals(t *testing.T) {
	testenv.Need(t, testenv.Command("groff"))
	dir := t.TempDir()
	if err := writeManuals(newRoot(io.Discard, io.Discard), dir); err != nil {
		t.Fatal(err)
	}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		file := filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1")
		groff := exec.Command("groff", "-man", "-K", "utf8", "-T", "utf8", "-w", "w", "-z", file)
		if out, err := groff.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", file, err, out)
		}
		text, err := exec.Command("sh", "-c", `GROFF_NO_SGR=1 groff -man -K utf8 -T utf8 -r LL=2000n -r HY=0 "$0" | col -b`, file).Output()
		if err != nil {
			t.Fatal(err)
		}
		page := strings.Join(strings.Fields(strings.NewReplacer("‐", "-", "−", "-").Replace(string(text))), " ")
		for line := range strings.Lines(cmd.Long) {
			if line = strings.Join(strings.Fields(line), " "); line != "" && line != "Exit status:" && !strings.Contains(page, line) {
				t.Errorf("%s does not say %q", file, line)
			}
		}
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				visit(c)
			}
		}
	}
	visit(newRoot(io.Discard, io.Discard)) // with texts that no page was made of
	if _, err := os.Stat(filepath.Join(dir, "leastcap-explain.1")); err != nil {
		t.Error(err)
	}
}
