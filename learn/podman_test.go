package learn_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/learn"
)

// Podman sets no ip_unprivileged_port_start, so the server on port 80 that needs
// nothing in Docker needs net_bind_service there: proven, where the profile from
// Docker only infers it.
func TestPodmanAndDockerDiffer(t *testing.T) {
	const image = "leastcap-test/tiny"
	podmanImage(t, image)
	p := openProbe(t)
	server := []string{image, "httpd", "-f", "-p", "80"}
	// busybox as the first process does not listen to SIGTERM.
	opts := learn.Options{Checks: checks(`curl -sS -o /dev/null http://$LEASTCAP_IP/`), StopTimeout: time.Second}
	docker, err := learnLine(t, p, opts, append([]string{"docker", "run"}, server...)...)
	if err != nil {
		t.Fatal(err)
	}
	if docker.Required != 0 || !docker.Proven || docker.Portability.Inferred != caps.Of(caps.NetBindService) {
		t.Errorf("docker: required %v proven %v inferred %v", docker.Required, docker.Proven, docker.Portability.Inferred)
	}
	// The limits let podman work where CAP_SYS_RESOURCE is missing.
	line := []string{"podman", "--runtime", "runc", "run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"}
	podman, err := learnLine(t, p, opts, append(line, server...)...)
	if err != nil {
		t.Fatal(err)
	}
	if podman.Required != caps.Of(caps.NetBindService) || !podman.Proven {
		t.Errorf("podman: required %v proven %v", podman.Required, podman.Proven)
		for _, tr := range podman.Trials {
			t.Logf("%+v", tr)
		}
	}
	if got := strings.Join(podman.Use.Command[:4], " "); got != "podman --runtime runc run" {
		t.Errorf("line %q", podman.Use.Command)
	}
	left, err := exec.Command("podman", "ps", "-aq", "--filter", "label=io.leastcap.owner").Output()
	if err != nil || len(left) > 0 {
		t.Errorf("containers left behind: %s %v", left, err)
	}
}

// podmanImage gives Podman one of Docker's images.
func podmanImage(t *testing.T, image string) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(image), testenv.Command("podman"), testenv.Command("runc"))
	testenv.LoadImage(t, image, "podman")
	t.Cleanup(func() { _ = exec.Command("podman", "rmi", "-f", image).Run() })
}

// A container in a user namespace of its own is asked for capabilities in the first one too:
// it can never have them there, which is said, and changes no set.
func TestUserNamespaced(t *testing.T) {
	const image = "leastcap-test/tiny"
	podmanImage(t, image)
	line := []string{"podman", "--runtime", "runc", "run", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
		"--cap-add", "SYS_NICE", "--uidmap", "0:100000:65536", "--network", "none"}
	got, err := learnLine(t, openProbe(t), learn.Options{}, append(line, image, "sh", "-c", "busybox renice -n -5 $$; busybox chown 33 /tmp")...)
	if err != nil {
		t.Fatal(err)
	}
	if got.Required != caps.Of(caps.Chown) || !got.Proven || !got.Complete {
		t.Errorf("required %v proven %v complete %v lost %v", got.Required, got.Proven, got.Complete, got.Lost)
	}
	if !slices.ContainsFunc(got.Notes, func(n string) bool {
		return strings.HasPrefix(n, "sys_nice: asked of a user namespace outside the container's own (setpriority)")
	}) || got.Recommended.Has(caps.SysNice) {
		t.Errorf("recommended %v, notes %q", got.Recommended, got.Notes)
	}
	if t.Failed() {
		for _, tr := range got.Trials {
			t.Logf("%+v", tr)
		}
	}
}
