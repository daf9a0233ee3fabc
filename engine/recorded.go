package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	// Address and Namespace are where a containerd that has it can be asked.
	Address, Namespace string
}

// Records finds what engines keep on disk about running containers. That needs no
// engine to answer, but root as a rule.
type Records struct {
	Root string // "/" if empty
	// Monitors are the processes that may be monitors, as [Monitors] finds them; nil: all
	// are looked at.
	Monitors []int

	storages map[string]map[string]Running // of Podman and CRI-O, by their directories
	beside   []monitor
	looked   bool // for monitors
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
	namespace, name, isNamed := strings.Cut(id, "/") // as [Place] has it
	if isNamed {
		id = name
	}
	if id == "" || strings.ContainsAny(id, "/*?[\\") || id[0] == '.' {
		return Running{}, false // it becomes a file's name
	}
	usual := []func(string) (Running, bool){r.docker, r.containerd, r.storage}
	if isNamed {
		usual = nil
	}
	for _, look := range usual {
		if run, ok := look(id); ok {
			return run, true
		}
	}
	if !r.looked {
		r.beside, r.looked = r.monitors(), true
	}
	for _, m := range r.beside {
		switch {
		case isNamed && m.namespace != namespace:
		case m.tasks != "":
			if run, ok := r.task(filepath.Join(m.tasks, id, "config.json"), id); ok {
				if isNamed {
					run.ID = namespace + "/" + name
					run.Name = cmp.Or(run.Name, name)
				}
				run.Address, run.Namespace = m.address, m.namespace
				return run, true
			}
		case m.id == id:
			run, ok := r.stored(m.storage, id)
			if run.specified(filepath.Join(m.bundle, "config.json")) || ok {
				run.ID, run.Name = id, cmp.Or(run.Name, m.name)
				return run, true
			}
		}
	}
	return Running{}, false
}

func (r *Records) glob(pattern string) []string {
	files, _ := filepath.Glob(filepath.Join("/", r.Root, pattern)) // the pattern is well formed
	return files
}

// largest is how much of a file is read: an index of thousands of containers is of some
// mebibytes.
const largest = 64 << 20

// readJSON reads what may be a stranger's.
func readJSON(file string, into any) bool {
	f, err := openRegular(file)
	if err != nil {
		return false
	}
	defer f.Close()
	return json.NewDecoder(io.LimitReader(f, largest)).Decode(into) == nil
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

// Name is how Docker calls a container now, by what it keeps on disk: docker rename changes
// it. "" if it is not there.
func (r *Records) Name(id string) string {
	if id == "" || strings.ContainsAny(id, "/*?[\\") || id[0] == '.' {
		return "" // it becomes a file's name
	}
	run, _ := r.docker(id)
	return run.Name
}

// spec is what is read of an OCI runtime specification.
type spec struct {
	Annotations map[string]string
	Linux       struct{ CgroupsPath string }
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

// containerdStates are containerd's directory, and that of k3s and RKE2.
var containerdStates = []string{"run/containerd", "run/k3s/containerd"}

// containerd reads the bundles of its tasks: containerd core/runtime/v2/bundle.go.
func (r *Records) containerd(id string) (Running, bool) {
	for _, state := range containerdStates {
		for _, file := range r.glob(state + "/io.containerd.runtime.v*/*/" + id + "/config.json") {
			if run, ok := r.task(file, id); ok {
				run.Address = filepath.Join("/", r.Root, state, "containerd.sock")
				run.Namespace = filepath.Base(filepath.Dir(filepath.Dir(file)))
				return run, true
			}
		}
	}
	return Running{}, false
}

func (r *Records) task(file, id string) (Running, bool) {
	var s spec
	if !readJSON(file, &s) {
		return Running{}, false
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
// specification: Podman's beside it, CRI-O's in its run directory.
func (r *Records) storage(id string) (Running, bool) {
	const root = "var/lib/containers/storage"
	run, ok := r.stored(filepath.Join("/", r.Root, root), id)
	for _, dir := range []string{root, "run/containers/storage"} {
		for _, file := range r.glob(dir + "/*-containers/" + id + "/userdata/config.json") {
			if run.specified(file) {
				run.ID, ok = id, true
			}
		}
	}
	return run, ok
}

// stored is what a container storage has in its index.
func (r *Records) stored(root, id string) (Running, bool) {
	if root == "" {
		return Running{}, false
	}
	kept := r.storages[root]
	if kept == nil {
		kept = make(map[string]Running)
		// The directory may be a stranger's word, and is no pattern; a strange one has none.
		files, _ := fs.Glob(os.DirFS(root), "*-containers/*containers.json")
		for _, file := range files {
			var list []struct {
				ID, Metadata string
				Names        []string
			}
			if !readJSON(filepath.Join(root, file), &list) {
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
				kept[c.ID] = run
			}
		}
		if r.storages == nil {
			r.storages = make(map[string]map[string]Running)
		}
		r.storages[root] = kept
	}
	run, ok := kept[id]
	return run, ok
}

// specified adds what a specification says, if it can be read.
func (run *Running) specified(file string) bool {
	var s spec
	if !readJSON(file, &s) {
		return false
	}
	run.Spec = s.bounding()
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
	return true
}
