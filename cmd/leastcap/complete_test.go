package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/internal/testenv"
)

func TestChoices(t *testing.T) {
	for usage, want := range map[string][]string{
		"text or json":                                   {"text", "json"},
		"text, json (the profile) or flags":              {"text", "json", "flags"},
		"pid or risk: the most dangerous first":          {"pid", "risk"},
		"pscap or pscap-0.9: as libcap-ng prints it":     {"pscap", "pscap-0.9"},
		"docker, podman or nerdctl (default: the first)": {"docker", "podman", "nerdctl"},
		"remove a container of that name first":          nil,
		"all that was used, or what is required":         nil,
		"":                                               nil,
	} {
		if got := choices(usage); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", usage, got, want)
		}
	}
}

// In bash, as it is typed: the script that leastcap prints asks leastcap.
func TestBashCompletion(t *testing.T) {
	const library = "/usr/share/bash-completion/bash_completion"
	testenv.Need(t, testenv.Command("bash"), testenv.File(library))
	bin := testenv.Leastcap(t)
	script, err := exec.Command(bin, "completion", "bash").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "leastcap.bash")
	if err := os.WriteFile(file, script, 0o644); err != nil {
		t.Fatal(err)
	}
	// What readline sets when Tab is pressed at the end of the line.
	const tab = `. "$1"; . "$2"
COMP_LINE=$3 COMP_POINT=${#3} COMP_TYPE=9
read -ra COMP_WORDS <<<"$3"
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_leastcap
printf '%s\n' "${COMPREPLY[@]}"`
	for line, want := range map[string]string{
		"leastcap exp":                  "explain",
		"leastcap explain sys_ptr":      "sys_ptrace",
		"leastcap ps --having chow":     "chown",
		"leastcap explain chown,setg":   `chown\,setgid`,
		"leastcap ps --sort ri":         "risk",
		"leastcap run --cap-add net_ra": "net_raw",
	} {
		cmd := exec.Command("bash", "-c", tab, "bash", library, file, line)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
		out, err := cmd.Output() // compopt complains that readline is not there
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", line, got, err, want)
		}
	}
}
