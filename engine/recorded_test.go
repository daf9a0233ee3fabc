package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/proc"
)

// TestRecords: files as the engines write them, shortened to what surrounds what is read.
func TestRecords(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id := func(c string) string { return strings.Repeat(c, 64) }
	const bounding = `"process":{"user":{"uid":0,"gid":0},"args":["x"],"capabilities":{"bounding":["CAP_CHOWN","CAP_KILL","CAP_CAP_NET_ADMIN"],"effective":["CAP_CHOWN"]}}`
	set := caps.Of(caps.Chown, caps.Kill)

	docker := "var/lib/docker/containers/" + id("1")
	write(docker+"/config.v2.json", `{"StreamConfig":{},"State":{"Running":true},"ID":"`+id("1")+`","Config":{"Hostname":"x","User":"33","Image":"nginx:1"},"Image":"sha256:9","Name":"/web"}`)
	write(docker+"/hostconfig.json", `{"Binds":null,"CapAdd":["CAP_NET_ADMIN"],"CapDrop":null,"Privileged":false}`)
	remapped := "var/lib/docker/100000.100000/containers/" + id("2")
	write(remapped+"/config.v2.json", `{"Config":{"Image":"db"},"Name":"/db"}`)
	write(remapped+"/hostconfig.json", `{"CapAdd":null,"CapDrop":["ALL"],"Privileged":true}`)

	task := "run/containerd/io.containerd.runtime.v2.task/"
	write(task+"k8s.io/"+id("3")+"/config.json", `{"ociVersion":"1.1.0",`+bounding+`,"annotations":{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.container-type":"container","io.kubernetes.cri.image-name":"docker.io/library/app:2","io.kubernetes.cri.sandbox-id":"x","io.kubernetes.cri.sandbox-name":"app-7d9","io.kubernetes.cri.sandbox-namespace":"prod"}}`)
	write(task+"k8s.io/"+id("4")+"/config.json", `{"annotations":{"io.kubernetes.cri.container-type":"sandbox","io.kubernetes.cri.sandbox-name":"app-7d9","io.kubernetes.cri.sandbox-namespace":"prod"}}`)
	write("run/k3s/containerd/io.containerd.runtime.v2.task/default/"+id("5")+"/config.json", `{`+bounding+`,"annotations":{"nerdctl/name":"cache","nerdctl/namespace":"default"}}`)
	write(task+"moby/"+id("6")+"/config.json", `{broken`)

	write("var/lib/containers/storage/overlay-containers/containers.json", `[{"id":"`+id("7")+`","names":["web"],"image":"b9","layer":"eb","metadata":"{\"image-name\":\"docker.io/leastcap-test/tiny:latest\",\"image-id\":\"b9\",\"name\":\"web\"}","created":"2026-11-27T11:56:31.18Z","flags":{"MountLabel":""}},
		{"id":"`+id("8")+`","names":["k8s_app_app-7d9_prod_2d4e_0","`+id("8")+`"],"metadata":"{\"pod-name\":\"x\"}"}]`)
	write("run/containers/storage/overlay-containers/"+id("8")+"/userdata/config.json", `{`+bounding+`,"annotations":{"io.container.manager":"cri-o","io.kubernetes.container.name":"app","io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.cri-o.ImageName":"quay.io/app:3","io.kubernetes.pod.name":"app-7d9","io.kubernetes.pod.namespace":"prod"}}`)
	write("run/containers/storage/overlay-containers/"+id("9")+"/userdata/config.json", `{"annotations":{"io.container.manager":"cri-o","io.kubernetes.container.name":"POD","io.kubernetes.cri-o.ContainerType":"sandbox","io.kubernetes.pod.name":"app-7d9","io.kubernetes.pod.namespace":"prod"}}`)

	// What no usual directory has is found by what the engines leave beside it.
	odd := filepath.Join(root, "odd")
	write("odd/tasks/build/job/config.json", `{`+bounding+`,"linux":{"cgroupsPath":"/build/job"}}`)
	write("odd/tasks/build/"+id("a")+"/config.json", `{`+bounding+`,"linux":{"cgroupsPath":"/build/`+id("a")+`"}}`)
	write("proc/71/comm", "containerd-shim\n")
	write("proc/71/cmdline", strings.Join([]string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "build", "-id", "job", "-address", "/odd.sock", ""}, "\x00"))
	if err := os.Symlink(odd+"/tasks/build/job", filepath.Join(root, "proc/71/cwd")); err != nil {
		t.Fatal(err)
	}
	write("odd/storage/vfs-containers/containers.json", `[{"id":"`+id("b")+`","names":["mine"],"metadata":"{\"image-name\":\"localhost/mine:1\"}"},{"id":"`+id("d")+`","names":["other"]}]`)
	write("odd/storage/vfs-containers/"+id("b")+"/userdata/config.json", `{`+bounding+`,"annotations":{"io.container.manager":"libpod"}}`)
	write("proc/72/comm", "conmon\n")
	write("proc/72/cmdline", strings.Join([]string{"/usr/bin/conmon", "-c", id("b"), "-b", odd + "/storage/vfs-containers/" + id("b") + "/userdata",
		"-n", "mine", "--exit-command", "/usr/bin/podman", "--exit-command-arg", "--root", "--exit-command-arg", odd + "/storage", ""}, "\x00"))
	write("proc/71/status", "Name:\tcontainerd-shim\nUid:\t0\t0\t0\t0\n")
	write("user/tasks/system.slice/mine/config.json", `{"linux":{"cgroupsPath":"/system.slice"}}`)
	write("proc/77/comm", "containerd-shim\n")
	write("proc/77/cmdline", strings.Join([]string{"containerd-shim", "-namespace", "mine", ""}, "\x00"))
	write("proc/77/status", "Name:\tcontainerd-shim\nUid:\t1000\t1000\t1000\t1000\n")
	if err := os.Symlink(filepath.Join(root, "user/tasks/system.slice/mine"), filepath.Join(root, "proc/77/cwd")); err != nil {
		t.Fatal(err)
	}
	write("proc/73/comm", "sleep\n")
	// Anybody may call a process so.
	write("proc/74/comm", "conmon\n")
	write("proc/74/cmdline", strings.Join([]string{"--root", "-c", id("c"), "-b", odd, ""}, "\x00"))
	write("proc/76/comm", "conmon\n")
	write("proc/76/cmdline", strings.Join([]string{"conmon", "-c", id("d"), "-b", odd, "--exit-command-arg", "--root", "--exit-command-arg", odd + "/*", ""}, "\x00"))
	write("proc/75/comm", "conmon\n")
	write("proc/75/cmdline", "")

	socket := filepath.Join(root, "run/containerd/containerd.sock")
	want := map[string]engine.Running{
		"build/job": {Engine: "containerd", ID: "build/job", Name: "job", Spec: &set, Address: "/odd.sock", Namespace: "build"},
		id("a"):     {Engine: "containerd", ID: id("a"), Spec: &set, Address: "/odd.sock", Namespace: "build"},
		id("b"):     {Engine: "podman", ID: id("b"), Name: "mine", Image: "localhost/mine:1", Spec: &set},
		id("1"):     {Engine: "docker", ID: id("1"), Name: "web", Image: "nginx:1", Told: true, CapAdd: []string{"CAP_NET_ADMIN"}, User: "33"},
		id("2"):     {Engine: "docker", ID: id("2"), Name: "db", Image: "db", Told: true, CapDrop: []string{"ALL"}, Privileged: true},
		id("3"):     {Engine: "containerd", ID: id("3"), Name: "prod/app-7d9/app", Image: "docker.io/library/app:2", Spec: &set, Address: socket, Namespace: "k8s.io"},
		id("4"):     {Engine: "containerd", ID: id("4"), Name: "prod/app-7d9/(pause)", Address: socket, Namespace: "k8s.io"},
		id("5"):     {Engine: "nerdctl", ID: id("5"), Name: "cache", Spec: &set, Address: filepath.Join(root, "run/k3s/containerd/containerd.sock"), Namespace: "default"},
		id("7"):     {Engine: "podman", ID: id("7"), Name: "web", Image: "docker.io/leastcap-test/tiny:latest"},
		id("8"):     {Engine: "crio", ID: id("8"), Name: "prod/app-7d9/app", Image: "quay.io/app:3", Spec: &set},
		id("9"):     {Engine: "crio", ID: id("9"), Name: "prod/app-7d9/(pause)"},
	}
	ids := []string{"../../../etc", "*", "", "build/job", "build/..", "other/job", "build/nosuch"}
	for _, c := range "0123456789abd" {
		ids = append(ids, id(string(c)))
	}
	records := engine.Records{Root: root}
	if diff := cmp.Diff(want, records.Find(t.Context(), ids)); diff != "" {
		t.Error(diff)
	}
	// Where it is known which may be monitors, no others are looked at.
	if got := engine.Monitors([]proc.Process{{PID: 73, Comm: "sleep"}, {PID: 71, Comm: "containerd-shim"}, {PID: 72, Comm: "conmon"}}); !slices.Equal(got, []int{71, 72}) {
		t.Error(got)
	}
	records = engine.Records{Root: root, Monitors: []int{71, 72, 73, 99}}
	if diff := cmp.Diff(want, records.Find(t.Context(), ids)); diff != "" {
		t.Error(diff)
	}
	for name, of := range want {
		if of.Namespace == "build" || name == id("b") {
			delete(want, name)
		}
	}
	records = engine.Records{Root: root, Monitors: engine.Monitors(nil)}
	if diff := cmp.Diff(want, records.Find(t.Context(), ids)); diff != "" {
		t.Error(diff)
	}

	// The processes below them.
	list := []proc.Process{
		{PID: 71, PPID: 1, Comm: "containerd-shim"}, {PID: 80, PPID: 71, Comm: "job"}, {PID: 81, PPID: 80, Comm: "child"}, {PID: 82, PPID: 71, Comm: "runc"},
		{PID: 72, PPID: 1, Comm: "conmon"}, {PID: 83, PPID: 72, Comm: "mine"}, {PID: 84, PPID: 72, Comm: "known", Container: id("1"), Engine: "docker"},
		{PID: 76, PPID: 1, Comm: "conmon"}, {PID: 90, PPID: 76, Comm: "stranger"}, {PID: 88, PPID: 72, Comm: "podman"}, {PID: 89, PPID: 72, Comm: "unknown"},
		{PID: 85, PPID: 1, Comm: "other"}, {PID: 86, PPID: 87}, {PID: 87, PPID: 86},
	}
	write("proc/80/cgroup", "3:pids:/build/job\n0::/build/job\n")
	write("proc/81/cgroup", "0::/build/job/below\n")
	write("proc/82/cgroup", "0::/build\n")
	// The engine itself, which cleans up after the container: not in it.
	for pid, mounts := range map[string]string{"72": "mnt:[1]", "88": "mnt:[1]", "83": "mnt:[2]"} {
		ns := filepath.Join(root, "proc", pid, "ns")
		if err := errors.Join(os.MkdirAll(ns, 0o755), os.Symlink(mounts, filepath.Join(ns, "mnt"))); err != nil {
			t.Fatal(err)
		}
	}
	engine.Place(root, list)
	got := make(map[int]string)
	for _, p := range list {
		if p.Container != "" {
			got[p.PID] = p.Engine + " " + p.Container
		}
	}
	if diff := cmp.Diff(map[int]string{80: "containerd build/job", 81: "containerd build/job", 83: "podman " + id("b"), 89: "podman " + id("b"), 84: "docker " + id("1")}, got); diff != "" {
		t.Error(diff)
	}
	bundles := engine.Bundles{Root: root}
	if diff := cmp.Diff(map[string]string{"/build/job": "build/job", "/build": "", "/k8s.io": "", "/default": ""}, bundles.Cgroups()); diff != "" {
		t.Error(diff)
	}
}
