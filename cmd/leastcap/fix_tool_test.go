package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/systemd"
	"github.com/leastcap/leastcap/verifier"
)

// withVerifier makes the program that formats' own tools are in, and puts it into PATH.
func withVerifier(t *testing.T) string {
	t.Helper()
	testenv.Need(t, testenv.MadeBy("go", verifier.Program))
	path, ok := testenv.Prebuilt(verifier.Program)
	if !ok {
		path = filepath.Join(t.TempDir(), verifier.Program)
		cmd := exec.Command("go", "build", "-o", path, "../"+verifier.Program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	t.Setenv("PATH", filepath.Dir(path)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return path
}

// systemd itself is asked about what would be written, and believed.
func TestAskSystemd(t *testing.T) {
	testenv.Need(t, testenv.Command("systemd-analyze"))
	set := caps.Of(caps.Kill, caps.SysTime)
	source := func(text string) manifest.Source {
		return manifest.Source{Name: "d/a.service", Data: []byte("[Service]\nExecStart=/bin/true\n" + text),
			List: func(dir string) ([]string, error) { return map[string][]string{"d/a.service.d": {"1.conf"}}[dir], nil },
			Open: func(name string) ([]byte, error) { return []byte("[Service]\nProtectClock=no\n"), nil }}
	}
	after := source("CapabilityBoundingSet=CAP_KILL CAP_SYS_TIME\nProtectClock=yes\n")
	seen, asked, err := analyze(after)
	if err != nil || seen != set || asked.Len() < 10 {
		t.Fatalf("%v of %v: %v", seen, asked, err)
	}
	list, err := systemd.Format.Parse(after)
	if err != nil {
		t.Fatal(err)
	}
	changes := []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: &set}}}
	if err := askSystemd(&systemd.Format, after, changes); err != nil {
		t.Error(err)
	}
	// A parser that is wrong is found out.
	wrong := systemd.Format
	wrong.Parse = func(src manifest.Source) ([]*manifest.Container, error) {
		list, err := systemd.Format.Parse(src)
		list[0].Stated.Bounding = caps.Of(caps.Kill)
		return list, err
	}
	if err := askSystemd(&wrong, after, changes); err == nil || !strings.Contains(err.Error(), "systemd-analyze does not read sys_time as it is meant") {
		t.Error(err)
	}
	if _, asked, err := analyze(manifest.Source{Name: "d/a.socket", Data: []byte("[Socket]\n")}); err != nil || !asked.Empty() {
		t.Error(asked, err)
	}
}
