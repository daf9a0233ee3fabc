package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
)

// Running is what an engine says of a container: what was asked for, not what the
// kernel gives.
type Running struct {
	// Engine is "docker", "podman", "nerdctl", "containerd" or "crio".
	Engine, ID, Name, Image string
	// Told says that the engine's configuration is known: CapAdd, CapDrop, Privileged
	// and User.
	Told            bool
	CapAdd, CapDrop []string
	Privileged      bool
	User            string
	// Spec is the bounding set of the OCI specification that the runtime was given; nil if
	// that is not known.
	Spec *caps.Set
}

// Records finds what engines keep on disk about running containers. That needs no
// engine to answer, but root as a rule.
type Records struct {
	Root string // "/" if empty

	once sync.Once
	kept map[string]Running // of the container storage of Podman and CRI-O
}

// Find says what is on disk about containers: nothing of those that it does not find.
func (r *Records) Find(ctx context.Context, ids []string) map[string]Running {
	found := make(map[string]Running)
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		if run, ok := r.find(id); ok {
			found[id] = run
		}
	}
	return found
}

func (r *Records) find(id string) (Running, bool) {
	if id == "" {
		return Running{}, false
	}
	for _, c := range id {
		if !strings.ContainsRune("0123456789abcdef", c) {
			return Running{}, false // it becomes a file's name
		}
	}
	if run, ok := r.docker(id); ok {
		return run, true
	}
	if run, ok := r.containerd(id); ok {
		return run, true
	}
	return r.storage(id)
}

func (r *Records) glob(pattern string) []string {
	files, _ := filepath.Glob(filepath.Join("/", r.Root, pattern)) // the pattern is well formed
	return files
}

func readJSON(file string, into any) bool {
	data, err := os.ReadFile(file)
	return err == nil && json.Unmarshal(data, into) == nil
}

// docker reads config.v2.json and hostconfig.json (moby daemon/container/container.go:
// toDisk). With --userns-remap they are in a directory "UID.GID".
func (r *Records) docker(id string) (Running, bool) {
	for _, dir := range append(r.glob("var/lib/docker/containers/"+id), r.glob("var/lib/docker/*.*/containers/"+id)...) {
		var config struct {
			Name   string
			Config struct{ Image, User string }
		}
		var host struct {
			CapAdd, CapDrop []string
			Privileged      bool
		}
		if !readJSON(filepath.Join(dir, "config.v2.json"), &config) || !readJSON(filepath.Join(dir, "hostconfig.json"), &host) {
			continue
		}
		return Running{
			Engine: "docker", ID: id, Name: strings.TrimPrefix(config.Name, "/"), Image: config.Config.Image,
			Told: true, CapAdd: host.CapAdd, CapDrop: host.CapDrop, Privileged: host.Privileged, User: config.Config.User,
		}, true
	}
	return Running{}, false
}

// spec is what is read of an OCI runtime specification.
type spec struct {
	Annotations map[string]string
	Process     struct {
		Capabilities *struct{ Bounding []string }
	}
}

// bounding: runtimes only warn of names that they do not know, and so does this not fail.
func (s *spec) bounding() *caps.Set {
	if s.Process.Capabilities == nil {
		return nil
	}
	var set caps.Set
	for _, name := range s.Process.Capabilities.Bounding {
		if one, all, err := caps.ParseList([]string{name}); err == nil && !all {
			set = set.Union(one)
		}
	}
	return &set
}

// containerd reads the bundles of its tasks (containerd core/runtime/v2/bundle.go),
// those of k3s and RKE2 too.
func (r *Records) containerd(id string) (Running, bool) {
	for _, state := range []string{"run/containerd", "run/k3s/containerd"} {
		for _, file := range r.glob(state + "/io.containerd.runtime.v*/*/" + id + "/config.json") {
			var s spec
			if !readJSON(file, &s) {
				continue
			}
			run := Running{Engine: "containerd", ID: id, Spec: s.bounding(), Image: s.Annotations["io.kubernetes.cri.image-name"]}
			// containerd internal/cri/annotations; nerdctl pkg/labels, which it copies into annotations.
			switch a := s.Annotations; {
			case a["io.kubernetes.cri.container-type"] == "sandbox":
				run.Name = podName(a["io.kubernetes.cri.sandbox-namespace"], a["io.kubernetes.cri.sandbox-name"], "(pause)")
			case a["io.kubernetes.cri.container-name"] != "":
				run.Name = podName(a["io.kubernetes.cri.sandbox-namespace"], a["io.kubernetes.cri.sandbox-name"], a["io.kubernetes.cri.container-name"])
			case a["nerdctl/name"] != "":
				run.Engine, run.Name = "nerdctl", a["nerdctl/name"]
			}
			return run, true
		}
	}
	return Running{}, false
}

// podName is NAMESPACE/POD/CONTAINER, of what there is.
func podName(parts ...string) string {
	var known []string
	for _, p := range parts {
		if p != "" {
			known = append(known, p)
		}
	}
	return strings.Join(known, "/")
}

// storage is of Podman and CRI-O, which share it: names and images by id in
// containers.json (go.podman.io/storage containers.go), and the container's own
// specification in its run directory.
func (r *Records) storage(id string) (Running, bool) {
	r.once.Do(func() {
		r.kept = make(map[string]Running)
		for _, file := range r.glob("var/lib/containers/storage/*-containers/*containers.json") {
			var list []struct {
				ID, Metadata string
				Names        []string
			}
			if !readJSON(file, &list) {
				continue
			}
			for _, c := range list {
				var meta struct {
					Image string `json:"image-name"`
				}
				_ = json.Unmarshal([]byte(c.Metadata), &meta) // an image without a name
				run := Running{Engine: "podman", ID: c.ID, Image: meta.Image}
				if len(c.Names) > 0 {
					run.Name = c.Names[0]
				}
				r.kept[c.ID] = run
			}
		}
	})
	run, ok := r.kept[id]
	for _, file := range r.glob("run/containers/storage/*-containers/" + id + "/userdata/config.json") {
		var s spec
		if !readJSON(file, &s) {
			continue
		}
		run.ID, run.Spec = id, s.bounding()
		a := s.Annotations
		switch a["io.container.manager"] {
		case "libpod":
			run.Engine = "podman"
		case "cri-o":
			run.Engine = "crio"
			// cri-o pkg/annotations; io.kubernetes.… are the kubelet's labels.
			name := a["io.kubernetes.container.name"]
			if a["io.kubernetes.cri-o.ContainerType"] == "sandbox" {
				name = "(pause)"
			}
			run.Name = podName(a["io.kubernetes.pod.namespace"], a["io.kubernetes.pod.name"], name)
			if image := a["io.kubernetes.cri-o.ImageName"]; image != "" {
				run.Image = image
			}
		}
		ok = true
	}
	return run, ok
}
