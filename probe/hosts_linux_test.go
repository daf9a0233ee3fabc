package probe_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// TestHosts: however a container is placed on its host, its sets are exactly its own.
func TestHosts(t *testing.T) {
	bin := filepath.Dir(program(t, "workload"))
	h := theProbe(t).Hierarchy()
	parent := fmt.Sprintf("/probetest-parent-%d", os.Getpid())
	// Docker makes it in every controller's tree, and leaves it.
	t.Cleanup(func() {
		trees, _ := filepath.Glob("/sys/fs/cgroup/*" + parent)
		for _, dir := range append(trees, "/sys/fs/cgroup"+parent) {
			_ = os.Remove(filepath.Join(dir, "deep"))
			_ = os.Remove(dir)
		}
	})
	// A container that may write to its own cgroup, which is d there.
	writable := "--cap-add ALL --cap-drop SYS_RESOURCE --cgroupns host -v " + h.Mount + ":/cg"
	own := "d=/cg$(sed -n s/^[0-9]*:" + h.Controller + "://p /proc/self/cgroup); mkdir $d/%[1]s; exec /w/workload fork { cgroup $d/%[1]s , setgid 33 , fork { setuid 0 } , cgroup $d , setuid 0 }"
	for _, c := range []struct {
		name, args, steps string
		granted, denied   caps.Set
	}{
		{"the host's processes", "--pid host", "setgid 33", caps.Of(caps.Setgid), 0},
		{"the host's network", "--network host", "bind tcp 817 , setuid 0", caps.Of(caps.NetBindService, caps.Setuid), 0},
		{"all of the host's namespaces", "--pid host --network host --ipc host --uts host", "setgid 33 , sethostname x", caps.Of(caps.Setgid), 0},
		{"a parent cgroup of the user's", "--cgroup-parent " + parent + "/deep", "setgid 33", caps.Of(caps.Setgid), 0},
		{"cgroups of its own", writable, fmt.Sprintf(own, "a"), caps.Of(caps.Setgid, caps.Setuid), 0},
		{"cgroups that are called like another container's", writable, fmt.Sprintf(own, strings.Repeat("ab", 32)), caps.Of(caps.Setgid, caps.Setuid), 0},
		{"read-only, another user, no new privileges", "--read-only --user 33 --security-opt no-new-privileges", "setgid 34", 0, caps.Of(caps.Setgid)},
		{"an init of the engine's", "--init", "setuid 0", caps.Of(caps.Setuid), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"-v", bin + ":/w:ro"}, strings.Fields(c.args)...)
			if strings.Contains(c.steps, "$") {
				args = append(args, tiny, "sh", "-c", c.steps)
			} else {
				args = append(append(args, tiny, "/w/workload"), strings.Fields(c.steps)...)
			}
			r := create(t, args...).run()
			wantSet(t, "granted", r.All().Granted, c.granted)
			wantSet(t, "denied", r.All().Denied, c.denied)
			if t.Failed() {
				t.Log(asJSON(t, r.Checks))
			}
		})
	}
}

// TestTwoOfOneImage: two containers of one image at the same time have each its own needs, and
// one that is restarted has a new cgroup under its old name.
func TestTwoOfOneImage(t *testing.T) {
	bin := filepath.Dir(program(t, "workload"))
	a := create(t, "-v", bin+":/w:ro", tiny, "/w/workload", "setgid", "33", ",", "wait")
	b := create(t, "-i", "-v", bin+":/w:ro", tiny, "/w/workload", "setuid", "0", ",", "say", "up", ",", "wait")
	docker(t, "start", b.id)
	until(t, "b is up", func() bool { return docker(t, "logs", b.id) == "up" })
	ra := a.run()
	r, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	wantSet(t, "granted to a", ra.All().Granted, caps.Of(caps.Setgid))
	wantSet(t, "granted to b", r.All().Granted, caps.Of(caps.Setuid))
	docker(t, "restart", "-t", "0", b.id)
	until(t, "b is up again", func() bool { return docker(t, "logs", b.id) == "up\nup" })
	if r, err = b.Record(); err != nil || len(r.Lost) > 0 {
		t.Fatalf("%v, lost %v", err, r.Lost)
	}
	wantSet(t, "granted to b", r.All().Granted, caps.Of(caps.Setuid))
	n := uint64(0)
	for _, k := range r.Checks {
		n += k.Count
	}
	if n != 2 {
		t.Errorf("%d checks, want one of each start: %s", n, asJSON(t, r.Checks))
	}
}

// TestHealthcheck: what the engine executes in a container to see whether it is well counts,
// and what the runtime does for that does not.
func TestHealthcheck(t *testing.T) {
	bin := filepath.Dir(program(t, "workload"))
	c := create(t, "-v", bin+":/w:ro", "--health-cmd", "/w/workload setgid 33", "--health-interval", "300ms", tiny, "sleep", "1000")
	docker(t, "start", c.id)
	until(t, "it is healthy", func() bool { return docker(t, "inspect", "-f", "{{.State.Health.Status}}", c.id) == "healthy" })
	r, err := c.Record()
	if err != nil {
		t.Fatal(err)
	}
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Setgid))
	wantSet(t, "denied", r.All().Denied, 0)
}

// bundleOf makes an OCI bundle of a root file system with runc's own defaults.
func bundleOf(t *testing.T, cgroup string, argv ...string) string {
	t.Helper()
	testenv.Need(t, testenv.Command("runc"))
	dir := tempDir(t)
	for _, d := range []string{"", "proc", "sys", "dev", "tmp", "w"} {
		if err := os.MkdirAll(filepath.Join(dir, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(program(t, "workload"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rootfs/w/workload"), data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("runc", "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("runc spec: %v: %s", err, out)
	}
	var spec map[string]any
	if data, err = os.ReadFile(filepath.Join(dir, "config.json")); err == nil {
		err = json.Unmarshal(data, &spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	process := spec["process"].(map[string]any)
	process["terminal"], process["args"] = false, argv
	set := []string{"CAP_SETGID", "CAP_SETUID", "CAP_KILL"}
	process["capabilities"] = map[string]any{"bounding": set, "effective": set, "permitted": set}
	delete(process, "rlimits") // raising one takes sys_resource
	if cgroup != "" {
		spec["linux"].(map[string]any)["cgroupsPath"] = cgroup
	}
	if data, err = json.Marshal(spec); err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestNested: what a container engine in a container does, and what it starts, is that
// container's need: all of it has to be granted from outside.
func TestNested(t *testing.T) {
	testenv.Need(t, testenv.Docker, testenv.Image(tiny))
	id := fmt.Sprintf("probetest-nested-%d", os.Getpid())
	dir := bundleOf(t, "", "/w/workload", "setgid", "33", ",", "capset", "3", "0", "0", "0", ",", "setuid", "33")
	// The host's runc and files, in the container's cgroup and with its capabilities.
	c := create(t, "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--pid", "host", "-v", "/:/host", tiny, "busybox", "chroot", "/host", "runc", "--root", "/tmp/"+id, "run", "-b", dir, id)
	t.Cleanup(func() { os.RemoveAll("/tmp/" + id) })
	out, err := exec.Command("docker", "start", "-a", c.id).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := c.Record()
	if err != nil || len(r.Lost) > 0 {
		t.Fatalf("%v, lost %v", err, r.Lost)
	}
	wantIn(t, "granted", r.All().Granted, caps.SysAdmin, caps.Setpcap, caps.Setgid)
	inner := evidence(t, r, caps.Setuid, usage.Denied, "setuid")
	if inner.Process.Comm != "workload" {
		t.Errorf("%+v", inner)
	}
}

// TestContainerd: a container of containerd's own, without Docker.
func TestContainerd(t *testing.T) {
	testenv.Need(t, testenv.Docker, testenv.Command("ctr"))
	socket := "/run/docker/containerd/containerd.sock"
	if _, err := os.Stat(socket); err != nil {
		socket = "/run/containerd/containerd.sock"
	}
	// Under a name that is an id it is a container to those who look at everything, too.
	id := fmt.Sprintf("%064x", time.Now().UnixNano())
	dir := bundleOf(t, "", "true")
	p, all := theProbe(t), runningProbe(t, probe.Options{})
	if err := all.Adopt("/"); err != nil {
		t.Fatal(err)
	}
	w, err := p.Watch(proc.ScopeRef{Name: id})
	if err != nil {
		t.Fatal(err)
	}
	defer w.End()
	ctr := func(args ...string) (string, error) {
		out, err := exec.Command("ctr", append([]string{"--address", socket, "--namespace", "leastcap-test"}, args...)...).CombinedOutput()
		return string(out), err
	}
	t.Cleanup(func() {
		_, _ = ctr("task", "kill", "-s", "KILL", id)
		_, _ = ctr("container", "rm", id)
		_, _ = ctr("namespaces", "rm", "leastcap-test")
		// ctr puts containers below a cgroup of their namespace's name, which stays.
		for _, pattern := range []string{"/sys/fs/cgroup/leastcap-test", "/sys/fs/cgroup/*/leastcap-test"} {
			dirs, err := filepath.Glob(pattern)
			if err != nil {
				t.Error(err)
			}
			for _, dir := range dirs {
				if err := proc.RemoveCgroup(dir); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if out, err := ctr("run", "--rm", "--rootfs", filepath.Join(dir, "rootfs"), id, "/w/workload", "setgid", "33", ",", "fork", "{", "setuid", "33", "}", ",", "sethostname", "x"); err != nil || strings.TrimSpace(out) != "sethostname EPERM" {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := w.Record()
	if err != nil || len(r.Lost) > 0 {
		t.Fatalf("%v, lost %v", err, r.Lost)
	}
	wantSet(t, "granted", r.All().Granted, caps.Of(caps.Setgid, caps.Setuid))
	groups, err := all.Survey(func(place probe.Place) string {
		if strings.HasSuffix(place.Path, "/"+id) && !place.Host {
			return "it"
		}
		return ""
	})
	if err != nil || groups["it"] == nil {
		t.Fatalf("not seen by a look at everything: %v", err)
	}
	wantSet(t, "granted, seen with everything", groups["it"].Record.All().Granted, caps.Of(caps.Setgid, caps.Setuid))
	if r.Launch == nil || r.Launch.Bounding != caps.Set(0xa80425fb) {
		t.Errorf("launch %+v", r.Launch)
	}
	if t.Failed() {
		t.Log(asJSON(t, r.Checks))
	}
}
