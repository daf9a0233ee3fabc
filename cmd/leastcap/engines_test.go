package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
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

// elsewhere is a container of an engine other than Docker that a test started.
type elsewhere struct {
	report.ProcContainer
	set  caps.Set
	exec []string // runs a command in it
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
	onRootlessPodman(t, archive)
	lookAt(t, slices.Concat(onContainerd(t, archive), onPodman(t, archive)))
}

// removeParents removes cgroups at the test's end, in every hierarchy that has none now.
func removeParents(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		trees, err := filepath.Glob("/sys/fs/cgroup/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, tree := range append(trees, "/sys/fs/cgroup") {
			dir := filepath.Join(tree, name)
			if _, err := os.Stat(tree + "/cgroup.procs"); err != nil {
				continue
			}
			if _, err := os.Stat(dir); err == nil {
				continue
			}
			t.Cleanup(func() {
				if err := proc.RemoveCgroup(dir); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// onContainerd starts two containers with ctr, one by a name and one by an id, and two pods
// through CRI.
func onContainerd(t *testing.T, archive string) []elsewhere {
	// What containerd made a cgroup below stays when the containers have gone.
	removeParents(t, "default", "kubepods", "kubepods.slice")
	socket := newContainerd(t, archive)
	const image, pauseImage = "docker.io/" + tiny + ":latest", "docker.io/" + pause + ":latest"
	ctr := []string{"ctr", "--address", socket}
	sleep := []string{"sleep", "600"}
	start := func(id string, flags ...string) {
		engineCommand(t, ctr, slices.Concat([]string{"run", "--detach"}, flags, []string{image, id}, sleep)...)
		t.Cleanup(func() { engineCommand(t, ctr, "task", "rm", "--force", id) })
	}
	start("leastcap-test-ctr", "--cap-add", "CAP_NET_ADMIN")
	id := strings.Repeat("1e57", 16)
	start(id)
	cri := newCRI(t, socket)
	// The paths of the kubelet's two cgroup drivers; runc itself uses cgroupfs in both,
	// since systemd is not there.
	const uid, uid2 = "2d4e7b9a-1111-4222-8333-abcdefabcdef", "3d4e7b9a-1111-4222-8333-abcdefabcdef"
	sandbox, app := cri.run(pod{"prod", "web-7d9", uid, "/kubepods/burstable/pod" + uid}, tiny, sleep, "NET_ADMIN", "ALL")
	slice := "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll(uid2, "-", "_") + ".slice"
	sandbox2, app2 := cri.run(pod{"prod", "db-0", uid2, slice}, tiny, sleep, "SYS_TIME", "")

	exec := func(namespace, id string) []string {
		return slices.Concat(ctr, []string{"--namespace", namespace, "task", "exec", "--exec-id", "look", id})
	}
	docker := caps.Set(0xa80425fb)
	return []elsewhere{
		{report.ProcContainer{ID: "default/leastcap-test-ctr", Name: "leastcap-test-ctr", Image: image}, docker.With(caps.NetAdmin), exec("default", "leastcap-test-ctr")},
		{report.ProcContainer{ID: id, Image: image}, docker, exec("default", id)},
		{report.ProcContainer{ID: app, Name: "prod/web-7d9/app", Image: image, Pod: uid}, caps.Of(caps.NetAdmin), exec("k8s.io", app)},
		{report.ProcContainer{ID: app2, Name: "prod/db-0/app", Image: image, Pod: uid2}, docker.With(caps.SysTime), exec("k8s.io", app2)},
		{report.ProcContainer{ID: sandbox, Name: "prod/web-7d9/(pause)", Image: pauseImage, Pod: uid}, docker, nil},
		{report.ProcContainer{ID: sandbox2, Name: "prod/db-0/(pause)", Image: pauseImage, Pod: uid2}, docker, nil},
	}
}

// podmanConf is a configuration that works without CAP_SYS_RESOURCE and systemd.
func podmanConf(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "containers.conf")
	text := `[containers]
default_capabilities = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
infra_image = "localhost/` + pause + `:latest"
infra_command = "/bin/sleep"
`
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// onPodman starts a container and one in a pod, in directories that are not Podman's usual
// ones: leastcap's own podman does not know them.
func onPodman(t *testing.T, archive string) []elsewhere {
	dir := t.TempDir()
	conf := podmanConf(t)
	podman := []string{"env", "CONTAINERS_CONF=" + conf, "podman", "--root", dir + "/root", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp"}
	t.Cleanup(func() {
		// Podman mounts its storage, and what cleans up after its containers may do so again.
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			_ = exec.Command("umount", "--lazy", dir+"/root/overlay").Run()
			if err := os.RemoveAll(dir + "/root"); err == nil || time.Now().After(end) {
				return // t.TempDir says what is left
			}
		}
	})
	engineCommand(t, podman, "load", "-q", "-i", archive)
	image := "localhost/" + tiny + ":latest"
	id := engineCommand(t, podman, "run", "-d", "--name", "leastcap-test-podman", "--cap-add", "NET_ADMIN", image, "sleep", "600")
	t.Cleanup(func() { engineCommand(t, podman, "rm", "-f", "-t", "0", "leastcap-test-podman") })
	engineCommand(t, podman, "pod", "create", "--name", "leastcap-test-pod", "--infra-command", "/bin/sleep 600")
	t.Cleanup(func() { engineCommand(t, podman, "pod", "rm", "-f", "-t", "0", "leastcap-test-pod") })
	inPod := engineCommand(t, podman, "run", "-d", "--pod", "leastcap-test-pod", "--name", "leastcap-test-inpod", "--cap-drop", "ALL", image, "sleep", "600")
	set := caps.Set(0x800405fb)
	return []elsewhere{
		{report.ProcContainer{ID: id, Name: "leastcap-test-podman", Image: image}, set.With(caps.NetAdmin), slices.Concat(podman, []string{"exec", id})},
		{report.ProcContainer{ID: inPod, Name: "leastcap-test-inpod", Image: image}, 0, slices.Concat(podman, []string{"exec", inPod})},
	}
}

// onRootlessPodman: without an engine's cgroups, a container is told by its monitor.
func onRootlessPodman(t *testing.T, archive string) {
	dir := filepath.Join(t.TempDir(), "nobody")
	if err := errors.Join(os.MkdirAll(dir+"/run", 0o700), os.Chown(dir, 65534, 65534), os.Chown(dir+"/run", 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	readable := func(name string) {
		for d := filepath.Dir(name); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	readable(dir)
	readable(archive)
	conf, storage := podmanConf(t), filepath.Join(filepath.Dir(dir), "storage.conf")
	// There is one user in its namespace.
	if err := os.WriteFile(storage, []byte("[storage]\ndriver = \"vfs\"\n[storage.options]\nignore_chown_errors = \"true\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	readable(conf)
	podman := []string{
		"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "-i", "PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"XDG_RUNTIME_DIR=" + dir + "/run", "CONTAINERS_CONF=" + conf, "CONTAINERS_STORAGE_CONF=" + storage, "podman",
	}
	// What keeps its user namespace stays behind otherwise, and heeds nothing milder.
	t.Cleanup(func() {
		text, err := os.ReadFile(dir + "/run/libpod/tmp/pause.pid")
		pid, perr := strconv.Atoi(strings.TrimSpace(string(text)))
		if err := cmp.Or(err, perr); err != nil {
			t.Error(err)
		} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("podman's pause process: %v", err)
		}
	})
	engineCommand(t, podman, "load", "-q", "-i", archive)
	image := "localhost/" + tiny + ":latest"
	id := engineCommand(t, podman, "run", "-d", "--name", "leastcap-test-rootless", "--cap-drop", "MKNOD", image, "sleep", "600")
	t.Cleanup(func() { engineCommand(t, podman, "rm", "-f", "-t", "0", "leastcap-test-rootless") })
	for _, p := range processesOf(t, "leastcap-test-rootless") {
		if c := p.Container; c.ID != id || c.Engine != "podman" || c.Image != image || !p.OwnUser || p.User != "nobody" {
			t.Errorf("%+v of %+v", p, c)
		}
	}
}

// lookAt holds what ps, watch and why say of running containers.
func lookAt(t *testing.T, containers []elsewhere) {
	for _, want := range containers {
		got := processesOf(t, cmp.Or(want.Name, want.ID))[0]
		c := got.Container
		if c.ID != want.ID || c.Name != want.Name || c.Image != want.Image || c.Pod != want.Pod {
			t.Errorf("%+v, want %+v", c, want.ProcContainer)
		}
		if c.Asked == nil || !c.Asked.Spec || c.Asked.Set != want.set || got.Bounding != want.set || !got.Beyond().Empty() {
			t.Errorf("%s has %v, asked for %+v", want.Name, got.Bounding, c.Asked)
		}
	}
	watching := newStream(t)
	waitFor(t, "watch looks", func() bool { return strings.Contains(watching.stderr.String(), "Ctrl-C ends") })
	var why bytes.Buffer
	refusals := exec.Command(testenv.Leastcap(t), "why", "-o", "json")
	refusals.Stdout = &why
	looking := new(safeBuffer)
	refusals.Stderr = looking
	if err := refusals.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = refusals.Process.Kill() }()
	waitFor(t, "why looks", func() bool { return strings.Contains(looking.String(), "Ctrl-C ends") })
	for _, c := range containers {
		if c.exec == nil {
			continue
		}
		// Whatever they may, mounting they may not.
		script := "chown 33 /tmp; mount -t tmpfs x /tmp; true"
		engineCommand(t, c.exec, "sh", "-c", script)
		label := cmp.Or(c.Name, c.ID[:12])
		if c.set.Has(caps.Chown) {
			if e := watching.expect(label, "use chown"); e.Subject.ID != c.ID || e.Subject.Image != c.Image || e.Subject.Granted == nil || *e.Subject.Granted != c.set {
				t.Errorf("watch: %+v, want %+v", e.Subject, c)
			}
		} else {
			watching.expect(label, "denial chown")
		}
	}
	if code := watching.end(syscall.SIGINT); code != exitOK {
		t.Errorf("watch: exit status %d: %s", code, &watching.stderr)
	}
	if err := refusals.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = refusals.Wait() // 1: something was refused
	for _, c := range containers {
		if c.exec == nil {
			continue
		}
		found := false
		for line := range strings.Lines(why.String()) {
			var d whyDocument
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			found = found || d.Event == "refusal" && d.Syscall == "mount" && d.Subject.ID == c.ID && d.Subject.Name == c.Name && d.Subject.Image == c.Image
		}
		if !found {
			t.Errorf("why says nothing of the mount of %s", cmp.Or(c.Name, c.ID))
		}
	}
}
