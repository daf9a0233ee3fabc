package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/report"
)

const (
	tiny  = "leastcap-test/tiny"
	pause = "leastcap-test/pause" // that, with a command
)

// engineCommand runs an engine's command and gives what it prints.
func engineCommand(t *testing.T, command []string, args ...string) string {
	t.Helper()
	args = slices.Concat(command[1:], args)
	cmd := exec.Command(command[0], args...)
	cmd.Dir = "/"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", command[0], args, err, out, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// newContainerd starts a containerd of its own, and gives its socket.
func newContainerd(t *testing.T, archive string) (socket string) {
	dir := t.TempDir()
	socket = filepath.Join(dir, "c.sock")
	config := filepath.Join(dir, "config.toml")
	// A machine without CAP_SYS_RESOURCE cannot do what a pod's sandbox wants of the OOM killer.
	text := `version = 2
root = "` + dir + `/root"
state = "` + dir + `/state"
[grpc]
  address = "` + socket + `"
[ttrpc]
  address = "` + socket + `.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/` + pause + `:latest"
  restrict_oom_score_adj = true
[debug]
  level = "warn"
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("containerd", "--config", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
		// Its CRI plugin mounts; what is a mount no more is not unmounted.
		for _, sub := range []string{"state", "root"} {
			_ = exec.Command("umount", "-R", filepath.Join(dir, sub)).Run()
		}
	})
	waitFor(t, "containerd answers", func() bool {
		return exec.Command("ctr", "--address", socket, "version").Run() == nil
	})
	for _, namespace := range []string{"k8s.io", "default"} {
		engineCommand(t, []string{"ctr", "--address", socket, "--namespace", namespace}, "image", "import", archive)
	}
	return socket
}

// processesOf is what leastcap ps says of a container's processes.
func processesOf(t *testing.T, container string) []report.Process {
	t.Helper()
	out, err := exec.Command(testenv.Leastcap(t), "ps", "-a", "-o", "json", "--container", container).Output()
	var list []report.Process
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil || len(list) == 0 {
		t.Fatalf("leastcap ps --container %s: %v\n%s", container, err, out)
	}
	return list
}

// TestEngines starts real containers of engines other than Docker, and looks at them.
func TestEngines(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(tiny), testenv.Command("podman"),
		testenv.Command("containerd"), testenv.Command("ctr"), testenv.Command("runc"), testenv.Command("setpriv"))
	archive := filepath.Join(t.TempDir(), "tiny.tar")
	base := engineCommand(t, []string{"docker"}, "create", tiny, "true")
	runDocker(t, "commit", "--change", `CMD ["/bin/sleep", "600"]`, base, pause)
	runDocker(t, "rm", base)
	t.Cleanup(func() { runDocker(t, "rmi", pause) })
	runDocker(t, "save", "-o", archive, tiny, pause)
	if err := os.Chmod(archive, 0o644); err != nil {
		t.Fatal(err)
	}
	sleep := []string{"sleep", "600"}
	t.Run("containerd", func(t *testing.T) {
		socket := newContainerd(t, archive)
		ctr := []string{"ctr", "--address", socket}
		start := func(id string, flags ...string) {
			engineCommand(t, ctr, slices.Concat([]string{"run", "--detach"}, flags, []string{"docker.io/" + tiny + ":latest", id}, sleep)...)
			t.Cleanup(func() { engineCommand(t, ctr, "task", "rm", "--force", id) })
		}
		start("leastcap-test-ctr", "--cap-add", "CAP_NET_ADMIN")
		id := strings.Repeat("1e57", 16)
		start(id)
		cri := newCRI(t, socket)
		// The paths of the kubelet's two cgroup drivers; runc itself uses cgroupfs in both,
		// since systemd is not there.
		uid := "2d4e7b9a-1111-4222-8333-abcdefabcdef"
		_, app := cri.run(pod{"prod", "web-7d9", uid, "/kubepods/burstable/pod" + uid}, tiny, sleep, "NET_ADMIN", "ALL")
		uid2 := "3d4e7b9a-1111-4222-8333-abcdefabcdef"
		slice := "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll(uid2, "-", "_") + ".slice"
		sandbox, _ := cri.run(pod{"prod", "db-0", uid2, slice}, tiny, sleep, "SYS_TIME", "")

		image := "docker.io/" + tiny + ":latest"
		docker := caps.Set(0xa80425fb)
		for name, want := range map[string]struct {
			report.ProcContainer
			set caps.Set
		}{
			"leastcap-test-ctr":    {report.ProcContainer{ID: "default/leastcap-test-ctr", Name: "leastcap-test-ctr", Image: image}, docker.With(caps.NetAdmin)},
			id:                     {report.ProcContainer{ID: id, Image: image}, docker},
			"prod/web-7d9/app":     {report.ProcContainer{ID: app, Name: "prod/web-7d9/app", Image: image, Pod: uid}, caps.Of(caps.NetAdmin)},
			"prod/db-0/app":        {report.ProcContainer{Name: "prod/db-0/app", Image: image, Pod: uid2}, docker.With(caps.SysTime)},
			"prod/db-0/(pause)":    {report.ProcContainer{ID: sandbox, Name: "prod/db-0/(pause)", Image: "docker.io/" + pause + ":latest", Pod: uid2}, docker},
			"prod/web-7d9/(pause)": {report.ProcContainer{Name: "prod/web-7d9/(pause)", Image: "docker.io/" + pause + ":latest", Pod: uid}, docker},
		} {
			got := processesOf(t, name)[0]
			c := got.Container
			if want.ID == "" {
				want.ID = c.ID
			}
			if c.ID != want.ID || c.Name != want.Name || c.Image != want.Image || c.Pod != want.Pod || c.Engine != "containerd" {
				t.Errorf("%s: %+v, want %+v", name, c, want.ProcContainer)
			}
			if c.Asked == nil || !c.Asked.Spec || c.Asked.Set != want.set || got.Bounding != want.set || !got.Beyond().Empty() {
				t.Errorf("%s has %v, asked for %+v", name, got.Bounding, c.Asked)
			}
		}
	})
}
