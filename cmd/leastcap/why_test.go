package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/usage"
)

// TestWhyForgets: of a container that has ended the sums stay, and nothing else, so that a
// long look at many of them neither grows nor fills the kernel's maps.
func TestWhyForgets(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(tiny))
	name := fmt.Sprintf("leastcap-test-forgets-%d", os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", "-v", name).Run() })
	id := engineCommand(t, []string{"docker"}, "run", "-d", "--name", name, "--network", "none", "--cap-drop", "CHOWN", tiny, "sleep", "600")
	l, err := newLookout(t.Context(), []string{name}, probe.Options{Refusals: true}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer l.probe.Close()
	var out bytes.Buffer
	w := &whyLook{whyFlags: &whyFlags{output: "json"}, lookout: l, stdout: &out, stderr: io.Discard, told: map[string]int{}, held: map[string]usage.Refusal{}}
	look := func() {
		t.Helper()
		if err := w.look(time.Now(), false); err != nil || w.failed != nil {
			t.Fatal(err, w.failed)
		}
	}
	// The second is refused in netlink's answer.
	const refused = "chown 33 /tmp; busybox ip addr add 127.0.0.2/8 dev lo; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
	for range 2 {
		runDocker(t, "exec", name, "sh", "-c", refused)
		look()
		look() // what is known is not told again
		runDocker(t, "restart", "-t", "0", name)
	}
	look()
	if len(w.list) != 0 || len(w.told) != 0 || w.past.Kinds != 4 || w.past.Mattered != 4 || w.past.Refusals != 4 || len(w.past.Harmless) == 0 {
		t.Errorf("list: %+v, told: %v, past: %+v", w.list, w.told, w.past)
	}
	if n := strings.Count(out.String(), `"event":"refusal"`); n != 4 || strings.Count(out.String(), `"reply":true`) != 2 {
		t.Errorf("%d refusals were told: %s", n, &out)
	}
	runDocker(t, "rm", "-f", name)
	waitFor(t, "it is known whose the last cgroup was", func() bool { look(); return l.unnamed == 0 })
	if _, known := l.names.known[id]; known || l.names.asked[id] {
		t.Error("its name is not forgotten")
	}
	var sum whySummary
	out.Reset()
	if err := w.conclude(); !errors.Is(err, status(exitFindings)) {
		t.Error(err)
	}
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil || sum.Kinds != 4 || sum.Refusals != 4 || len(sum.Harmless) == 0 || sum.Harmless[0].Subject.Name != name {
		t.Errorf("%v: %s", err, &out)
	}
}

// TestWhyLooksUp: what a file of a container is like is read through its other processes
// while they are there, and where it is this host's also afterwards.
func TestWhyLooksUp(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(tiny))
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "noexec,mode=755", "none", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, script string }{
		{"there", "/t/x", "cp /bin/busybox /t/x; (/t/x; true); until [ -e /v/told ]; do sleep 0.1; done"},
		{"ended", "/v/x", "(/v/x; true)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(testenv.Leastcap(t), "why", "-q", "-o", "json", "--for", "2m", "--", "docker", "run", "--rm", "--network", "none",
				"-v", dir+":/v", "--tmpfs", "/t:noexec", tiny, "sh", "-c", c.script)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var d whyDocument
			derr := json.NewDecoder(out).Decode(&d)
			// It is told when it was looked up: the container may end.
			if err := os.WriteFile(filepath.Join(dir, "told"), nil, 0o644); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, out)
			if err := cmd.Wait(); derr != nil {
				t.Fatalf("%v, %v: %s", err, derr, &stderr)
			}
			if d.Path != c.path || d.Explanation.Cause != advise.NoExecute || !d.Explanation.Certain {
				t.Errorf("%s: %+v", d.Path, d.Explanation)
			}
		})
	}
}

// TestWhyMounted: the innermost mount has the file, and a container in a container has its own
// cgroup.
func TestWhyMounted(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"data/tmp", "pids/docker/a/docker/b"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"data/f", "data/tmp/f"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	l := trial{mounts: &[]hostMount{{filepath.Join(dir, "data"), "/data"}, {"", "/data/tmp"}}}
	for file, there := range map[string]bool{"/data/f": true, "/data/tmp/f": false, "/data/tmp": false, "/database": false} {
		if f := l.mounted(t.Context(), file, 0, 0, false); (f != nil && f.Exists) != there {
			t.Errorf("%s: %+v", file, f)
		}
	}
	mount := filepath.Join(dir, "pids")
	for _, within := range []string{"/a", "/a/docker/b"} {
		if got := strings.TrimPrefix(l.dir(mount, within), mount); got != "/docker"+within {
			t.Errorf("%s is %q", within, got)
		}
	}
}

// TestInDirectory: a link that is refused with EPERM is refused for the file.
func TestInDirectory(t *testing.T) {
	for _, c := range []struct {
		syscall, errno string
		want           bool
	}{
		{"linkat", "EPERM", false}, {"link", "EPERM", false}, {"linkat", "EACCES", true},
		{"unlinkat", "EPERM", true}, {"openat", "EACCES", false},
	} {
		if got := changesDirectory(&usage.Refusal{Syscall: c.syscall, Errno: c.errno}); got != c.want {
			t.Errorf("%s %s: %v", c.syscall, c.errno, got)
		}
	}
}
