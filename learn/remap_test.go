package learn_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/learn"
)

// remapping starts a second daemon that maps its containers' users (--userns-remap), and
// gives the docker command's words that reach it. It is in mount and network namespaces of
// its own: it needs other subordinate ids than the host has, and a daemon without a bridge
// takes docker0 away from the others.
func remapping(t *testing.T) []string {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Command("dockerd"), testenv.Command("unshare"))
	dir, err := os.MkdirTemp("", "leastcap-remap-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ids"), []byte("nobody:100000:65536\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("unshare", "--mount", "--net", "sh", "-c", `set -e
		cd "$0"
		mount --bind ids /etc/subuid
		mount --bind ids /etc/subgid
		exec dockerd --userns-remap nobody:nogroup --host "unix://$0/s" --data-root "$0/data" --exec-root "$0/run" --pidfile "$0/pid" \
			--storage-driver vfs --bridge none --iptables=false`, dir)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-ended
			t.Error("the second daemon did not end")
		}
	})
	docker := []string{"docker", "--host", "unix://" + dir + "/s"}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if exec.Command(docker[0], append(docker[1:], "version")...).Run() == nil {
			return docker
		}
		select {
		case <-ended:
			t.Fatalf("the second daemon ended: %s", &log)
		default:
		}
		if time.Now().After(end) {
			t.Fatal("the second daemon does not answer")
		}
	}
}

// TestRemapped: where the daemon maps users, the container's own sets are exact, and what can
// never be granted there is said.
func TestRemapped(t *testing.T) {
	const image = "leastcap-test/tiny"
	testenv.Need(t, testenv.Docker, testenv.Image(image))
	docker := remapping(t)
	testenv.LoadImage(t, image, docker...)
	got, err := learnLine(t, openProbe(t), learn.Options{}, append(slices.Clone(docker), "run", "--network", "none", "--cap-add", "SYS_NICE",
		image, "sh", "-c", "busybox renice -n -5 $$; busybox chown 33 /tmp")...)
	if err != nil {
		t.Fatal(err)
	}
	if got.Baseline != docker14.With(caps.SysNice) || got.Required != caps.Of(caps.Chown) || !got.Proven || !got.Complete {
		t.Errorf("baseline %v required %v proven %v complete %v lost %v", got.Baseline, got.Required, got.Proven, got.Complete, got.Lost)
	}
	if !slices.ContainsFunc(got.Notes, func(n string) bool {
		return strings.HasPrefix(n, "sys_nice: asked of a user namespace outside the container's own (setpriority)")
	}) {
		t.Errorf("notes %q", got.Notes)
	}
	if t.Failed() {
		for _, tr := range got.Trials {
			t.Logf("%+v", tr)
		}
	}
}
