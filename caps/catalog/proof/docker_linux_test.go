package proof_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog/proof"
	"github.com/leastcap/leastcap/internal/testenv"
)

// TestDocker: where Docker's confinement makes a difference, Docker itself agrees.
func TestDocker(t *testing.T) {
	const image = "leastcap-test/tiny"
	testenv.Need(t, testenv.Root, testenv.Image(image))
	dir := t.TempDir()
	build(t, dir, filepath.Join(dir, "root"))
	seen := 0
	for _, e := range proof.All() {
		if e.Confined() == "" {
			continue
		}
		seen++
		try := func(what string, set caps.Set, want proof.Outcome) {
			t.Helper()
			args := []string{"run", "--rm", "--cap-drop=ALL", "-v", filepath.Join(dir, "operate") + ":/operate:ro"}
			for _, c := range set.Docker() {
				args = append(args, "--cap-add="+c)
			}
			cmd := exec.Command("docker", append(slices.Concat(args, docker(e)), image, "/operate", "do", e.Name)...)
			var errOut bytes.Buffer
			cmd.Stderr = &errOut
			cmd.Env = append(os.Environ(), "DOCKER_CLI_HINTS=false")
			out, err := cmd.Output()
			var r struct {
				Outcome proof.Outcome
				Error   string
			}
			if err == nil {
				err = json.Unmarshal(out, &r)
			}
			if bytes.Contains(errOut.Bytes(), []byte("unknown capability")) && e.Cap >= caps.Perfmon {
				// Docker 20.10 knows none that is younger than Linux 5.8 (moby a38b96b8cd).
				t.Logf("%s: this Docker does not know %v", e.Name, e.Cap)
				return
			}
			if err != nil || r.Error != "" {
				t.Errorf("%s: %s: %v %s%s", e.Name, what, err, r.Error, errOut.String())
			} else if r.Outcome != want {
				t.Errorf("%s: %s: %s, want %s", e.Name, what, r.Outcome, want)
			}
		}
		also := caps.Of(e.Also...)
		try("with it", also.With(e.Cap), e.Docker.With)
		if lacking(t, e) == nil {
			try("without it", also, e.Docker.Without)
		}
	}
	if seen == 0 {
		t.Error("Docker's confinement makes no difference anywhere")
	}
}
