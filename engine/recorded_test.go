package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
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

	want := map[string]engine.Running{
		id("1"): {Engine: "docker", ID: id("1"), Name: "web", Image: "nginx:1", Told: true, CapAdd: []string{"CAP_NET_ADMIN"}, User: "33"},
		id("2"): {Engine: "docker", ID: id("2"), Name: "db", Image: "db", Told: true, CapDrop: []string{"ALL"}, Privileged: true},
		id("3"): {Engine: "containerd", ID: id("3"), Name: "prod/app-7d9/app", Image: "docker.io/library/app:2", Spec: &set},
		id("4"): {Engine: "containerd", ID: id("4"), Name: "prod/app-7d9/(pause)"},
		id("5"): {Engine: "nerdctl", ID: id("5"), Name: "cache", Spec: &set},
		id("7"): {Engine: "podman", ID: id("7"), Name: "web", Image: "docker.io/leastcap-test/tiny:latest"},
		id("8"): {Engine: "crio", ID: id("8"), Name: "prod/app-7d9/app", Image: "quay.io/app:3", Spec: &set},
		id("9"): {Engine: "crio", ID: id("9"), Name: "prod/app-7d9/(pause)"},
	}
	ids := []string{"../../../etc", "*", ""}
	for _, c := range "0123456789" {
		ids = append(ids, id(string(c)))
	}
	records := engine.Records{Root: root}
	if diff := cmp.Diff(want, records.Find(t.Context(), ids)); diff != "" {
		t.Error(diff)
	}
}
