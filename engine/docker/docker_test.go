package docker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/docker"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/usage"
)

const (
	tiny     = "leastcap-test/tiny"
	services = "leastcap-test/services"
)

func connect(t *testing.T, o docker.Options) *docker.Engine {
	t.Helper()
	e, err := docker.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func workload(t *testing.T, e *docker.Engine, args ...string) *docker.Workload {
	t.Helper()
	line, err := cli.Parse(append([]string{"docker", "run"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	c, err := cli.Container(line, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := docker.Request{Container: c, CapAdd: line.CapAdd(), CapDrop: line.CapDrop(),
		Use: func(caps.Set, bool) usage.Use { return usage.Use{} }}
	if entry, ok := line.Entrypoint(); ok {
		r.Entrypoint = []string{entry}
		if entry == "" {
			r.Entrypoint = []string{}
		}
	}
	w, err := e.Workload(r)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	var errOut bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, errOut.String())
	}
	return strings.TrimSpace(string(out))
}

// A container that is made through the API is the one that the command makes.
func TestAsTheCommand(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image(tiny))
	e := connect(t, docker.Options{})
	dir := t.TempDir()
	seccomp := filepath.Join(dir, "seccomp.json")
	if err := os.WriteFile(seccomp, []byte(`{"defaultAction":"SCMP_ACT_ALLOW"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	envs := filepath.Join(dir, "env")
	if err := os.WriteFile(envs, []byte("A=1\n# no\nB=2 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []string{
		"", "--cap-add net_admin --cap-drop CAP_KILL --cap-drop=Chown", "--privileged", "--cap-drop all",
		"-u 1000:50 -w /tmp -e A=1 -e B= --hostname here --domainname there", "--env-file " + envs + " -e A=2",
		"-p 127.0.0.1:8123:80 -p 53/udp -p 9000-9002:9000-9002", "--network host", "--network none --pid host --ipc host --uts host",
		"-v /tmp:/x -v vol-leastcap-test:/y:ro -v /anonymous", "--mount type=bind,src=/tmp,dst=/x,readonly --tmpfs /t:size=1m --tmpfs /u",
		"--memory 64m --memory-swap 128m --cpus 1.5 --cpu-shares 512 --pids-limit 100", "--cpuset-cpus 0 --cpu-period 50000 --cpu-quota 25000 --memory-reservation 32m",
		"--ulimit nofile=100:200 --ulimit core=0 --shm-size 1m", "--sysctl net.ipv4.ip_forward=1 --group-add 5 --group-add audio",
		"--security-opt no-new-privileges --security-opt seccomp=unconfined", "--security-opt seccomp=" + seccomp, "--security-opt systempaths=unconfined",
		"--read-only --stop-signal SIGINT --stop-timeout 3 --oom-score-adj 100", "--health-cmd true --health-interval 5s --health-retries 2 --health-timeout 1s --health-start-period 3s", "--no-healthcheck",
		"--dns 10.0.0.1 --dns-search example.org --dns-option ndots:2 --add-host a:10.0.0.2", "--label a=b --entrypoint sh", "--entrypoint=", "--device /dev/null:/dev/nothing:r", "--cgroupns host",
		"--mount type=volume,dst=/v --mount type=tmpfs,dst=/t,tmpfs-size=1048576,tmpfs-mode=1777",
	} {
		t.Run(flags, func(t *testing.T) {
			args := append(strings.Fields(flags), tiny, "true")
			theirs := run(t, append([]string{"docker", "create"}, args...)...)
			defer run(t, "docker", "rm", "-v", theirs)
			i, err := workload(t, e, args...).Prepare(t.Context(), engine.Grant{Baseline: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := i.Remove(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			if diff := cmp.Diff(inspect(t, theirs), inspect(t, i.Scope().Name)); diff != "" {
				t.Errorf("(-command +api)\n%s", diff)
			}
		})
	}
	run(t, "docker", "volume", "rm", "-f", "vol-leastcap-test")
}

// inspect gives what decides on a container, without what differs by its nature.
func inspect(t *testing.T, id string) map[string]any {
	t.Helper()
	var list []struct{ Config, HostConfig map[string]any }
	if err := json.Unmarshal([]byte(run(t, "docker", "inspect", id)), &list); err != nil {
		t.Fatal(err)
	}
	c, h := list[0].Config, list[0].HostConfig
	if labels, ok := c["Labels"].(map[string]any); ok {
		delete(labels, "io.leastcap.owner")
	}
	if name, ok := c["Hostname"].(string); ok && strings.HasPrefix(id, name) {
		delete(c, "Hostname")
	}
	for _, list := range []any{h["Binds"], c["Env"]} { // the command has them in no order
		if l, ok := list.([]any); ok {
			slices.SortFunc(l, func(x, y any) int { return strings.Compare(x.(string), y.(string)) })
		}
	}
	delete(c, "AttachStdout") // the command's own attachment
	delete(c, "AttachStderr")
	if m, ok := h["Mounts"].([]any); ok { // --mount type=volume,dst=… and -v … are one, as are --tmpfs and --mount type=tmpfs
		h["Mounts"] = slices.DeleteFunc(m, func(v any) bool {
			kind := v.(map[string]any)["Type"]
			return kind == "volume" || kind == "tmpfs"
		})
		if len(h["Mounts"].([]any)) == 0 {
			delete(h, "Mounts")
		}
		delete(c, "Volumes")
		delete(h, "Tmpfs")
	}
	if v, ok := c["Volumes"].(map[string]any); ok && v["/v"] != nil {
		delete(c, "Volumes")
		delete(h, "Tmpfs")
	}
	empty := func(m map[string]any) {
		for k, v := range m {
			switch v := v.(type) {
			case nil:
				delete(m, k)
			case []any:
				if len(v) == 0 && k != "MaskedPaths" && k != "ReadonlyPaths" {
					delete(m, k)
				}
			case map[string]any:
				if len(v) == 0 {
					delete(m, k)
				}
			}
		}
	}
	empty(c)
	empty(h)
	return map[string]any{"Config": c, "HostConfig": h}
}

// cycle goes through everything that learning asks of an instance.
func cycle(t *testing.T, e *docker.Engine, timers bool) {
	t.Helper()
	w := workload(t, e, "-v", "/data", "--health-cmd", "test -e /data/x", "--health-interval", "1s", "--stop-timeout", "1", services, "sh", "-c",
		"echo started; trap 'echo bye; exit 3' TERM; touch /data/x; while :; do sleep 0.1; done")
	defer func() {
		if err := w.Clean(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	i, err := w.Prepare(t.Context(), engine.Grant{Set: caps.Of(caps.NetRaw)})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	env, err := i.Env(t.Context())
	if err != nil || !slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, "LEASTCAP_PID=") && s != "LEASTCAP_PID=0" }) {
		t.Errorf("%q %v", env, err)
	}
	out, code, err := i.Exec(t.Context(), "until [ -e /data/x ]; do sleep 0.1; done; grep CapBnd /proc/self/status; exit 4")
	if err != nil || code != 4 || !strings.Contains(out, "0000000000002000") {
		t.Errorf("exec: %q %d %v", out, code, err)
	}
	if c, err := i.FileCaps(t.Context(), "/bin/ping"); err != nil || c == nil || c.Permitted != caps.Of(caps.NetRaw) {
		t.Errorf("file capabilities: %v %v", c, err)
	}
	if c, err := i.FileCaps(t.Context(), "/bin/sh"); err != nil || c != nil {
		t.Errorf("file capabilities of sh: %v %v", c, err)
	}
	if _, err := i.FileCaps(t.Context(), "/nosuch"); err == nil {
		t.Error("file capabilities of what is not there")
	}
	var s usage.Subject
	if i.Describe(t.Context(), &s); s.ImageID == "" {
		t.Error("no image id")
	}
	healthy := engine.NoHealth
	for end := time.Now().Add(time.Minute); timers && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if healthy, err = i.Health(t.Context()); err != nil || healthy == engine.Healthy {
			break
		}
	}
	if timers && (healthy != engine.Healthy || err != nil) {
		t.Errorf("health %v %v", healthy, err)
	}
	if err := i.Stop(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	<-i.Exited()
	if i.Exit().Code != 3 || !i.Exit().Started || i.Logs(t.Context(), 1) != "bye" {
		t.Errorf("%v, %q", i.Exit(), i.Logs(t.Context(), 1))
	}
	again, err := w.Prepare(t.Context(), engine.Grant{Set: caps.Of(caps.NetRaw), After: i})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, code, err := again.Exec(t.Context(), "test -e /data/x"); err != nil || code != 0 {
		t.Errorf("its volume is another: %q %d %v", out, code, err)
	}
	for _, x := range []engine.Instance{again, i} {
		if err := x.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// What cannot be executed is an outcome.
	i, err = workload(t, e, services, "/nosuch").Prepare(t.Context(), engine.Grant{Baseline: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-i.Exited()
	if i.Exit().Started || i.Exit().Code != 127 {
		t.Errorf("%v", i.Exit())
	}
	if err := i.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDocker(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image(services))
	cycle(t, connect(t, docker.Options{}), true)
}

// Podman's socket speaks the same.
func TestPodman(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image(services), testenv.Command("podman"))
	dir := t.TempDir()
	podman := []string{"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}
	archive := filepath.Join(dir, "image.tar")
	run(t, "docker", "save", "-o", archive, services)
	run(t, append(slices.Clone(podman), "load", "-q", "-i", archive)...)
	socket := "unix://" + filepath.Join(dir, "podman.sock")
	cmd := exec.Command(podman[0], append(slices.Clone(podman[1:]), "system", "service", "--time", "0", socket)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+conf(t))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		endMonitors(t, dir)
		_ = exec.Command("umount", filepath.Join(dir, "root", "overlay")).Run()
	})
	var e *docker.Engine
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // until it listens
		var err error
		if e, err = docker.Connect(t.Context(), docker.Options{Host: socket}); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	t.Cleanup(func() { e.Close() })
	cycle(t, e, false) // its health checks are systemd's timers
}

// endMonitors ends Podman's monitors, whose containers are gone by now, and waits for what they
// started: their clean-up makes the directory anew, and a mount in it, also while it is removed.
// The monitor of a command that was executed lives five minutes longer (containers.conf(5),
// exit_command_delay).
func endMonitors(t *testing.T, dir string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var left []string
		names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, name := range names {
			line, _ := os.ReadFile(name) // it may have ended
			if !bytes.Contains(line, []byte(dir)) {
				continue
			}
			left = append(left, string(line))
			if argv0, _, _ := bytes.Cut(line, []byte{0}); filepath.Base(string(argv0)) == "conmon" {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
				if p, err := os.FindProcess(pid); err == nil {
					_ = p.Kill()
				}
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("still there: %q", left)
			return
		}
	}
}

// conf keeps Podman from raising limits that this user may not.
func conf(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "containers.conf")
	if err := os.WriteFile(name, []byte("[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNoEngine(t *testing.T) {
	testenv.Need(t)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for host, want := range map[string]string{
		"unix:///nosuch/docker.sock": "no engine answers at unix:///nosuch/docker.sock",
		"tcp://127.0.0.1:1":          "no engine answers at tcp://127.0.0.1:1",
		"odd://x":                    "the engine's address cannot be used",
	} {
		_, err := docker.Connect(t.Context(), docker.Options{Host: host})
		var problem *engine.Error
		if !errors.As(err, &problem) || !strings.Contains(problem.Problem, want) || problem.Hint == "" {
			t.Errorf("%s: %v, want %q", host, err, want)
		}
	}
	if _, err := docker.Connect(t.Context(), docker.Options{Context: "nosuch"}); err == nil || !strings.Contains(err.Error(), `context "nosuch" cannot be used`) {
		t.Error(err)
	}
}

// Contexts of docker's are followed: the named one, and the one in use.
func TestContext(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker)
	dir := t.TempDir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir("") })
	t.Setenv("DOCKER_HOST", "") // restored afterwards
	os.Unsetenv("DOCKER_HOST")
	inContext := func(args ...string) { run(t, append([]string{"docker", "--config", dir, "context"}, args...)...) }
	inContext("create", "here", "--docker", "host=unix:///var/run/docker.sock")
	inContext("create", "gone", "--docker", "host=unix:///nosuch/context.sock")
	connect(t, docker.Options{Context: "here"})
	inContext("use", "here")
	connect(t, docker.Options{})
	inContext("use", "gone")
	if _, err := docker.Connect(t.Context(), docker.Options{}); err == nil || !strings.Contains(err.Error(), "unix:///nosuch/context.sock") {
		t.Errorf("the context in use is another: %v", err)
	}
}

// What the kernel ended for want of memory is told, where the engine has heard of it by then:
// containerd tells it by itself (TaskOOM), which may be after the container's end. So here the
// container ends after the engine has told of it.
func TestNoMemory(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image(services))
	w := workload(t, connect(t, docker.Options{}), "--memory", "16m", "--memory-swap", "16m", services, "sh", "-c", "tail /dev/zero; code=$?; until [ -e /told ]; do sleep 0.1; done; exit $code")
	i, err := w.Prepare(t.Context(), engine.Grant{Baseline: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	events := exec.CommandContext(ctx, "docker", "events", "--since", "10m", "--filter", "container="+i.Scope().Name, "--filter", "event=oom")
	out, err := events.StdoutPipe()
	if err == nil {
		err = events.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Errorf("the engine does not tell of it: %v", err)
	}
	cancel()
	_ = events.Wait() // it was ended
	if said, code, err := i.Exec(t.Context(), "touch /told"); code != 0 || err != nil {
		t.Fatalf("%s %d %v", said, code, err)
	}
	<-i.Exited()
	if e := i.Exit(); !e.NoMemory || e.Code != 137 {
		t.Errorf("%+v", e)
	}
	if err := i.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}
