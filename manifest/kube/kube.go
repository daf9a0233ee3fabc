// Package kube reads Kubernetes manifests: every kind of workload, lists, and custom
// resources that have a pod template in them; what Helm and Kustomize render; YAML of many
// documents, and JSON of many objects. It edits the securityContext of their containers.
package kube

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// Format is this package as a format.
var Format = manifest.Format{
	Name:      "kubernetes",
	Title:     "Kubernetes manifest",
	Recognise: Recognise,
	Parse:     Parse,
	Edit:      Edit,
	Verify:    Verify,
}

// Recognise looks for apiVersion and kind at the beginning of lines, or of a JSON object.
func Recognise(name string, data []byte) manifest.Likelihood {
	if !bytes.Contains(data, []byte("apiVersion")) || !bytes.Contains(data, []byte("kind")) {
		return manifest.No
	}
	if topKey(data, "apiVersion") && topKey(data, "kind") {
		return manifest.Sure
	}
	if first := content(data); len(first) > 0 && (first[0] == '{' || first[0] == '[') &&
		bytes.Contains(data, []byte(`"apiVersion"`)) && bytes.Contains(data, []byte(`"kind"`)) {
		return manifest.Likely
	}
	if bytes.Contains(data, []byte("{apiVersion")) {
		return manifest.Likely
	}
	return manifest.No
}

// content is what follows comments and documents' markers.
func content(data []byte) []byte {
	for data = bytes.TrimLeft(data, "\ufeff \t\r\n"); ; data = bytes.TrimLeft(data, " \t\r\n") {
		if rest, ok := bytes.CutPrefix(data, []byte("---")); ok {
			data = rest
		} else if bytes.HasPrefix(data, []byte("#")) {
			_, data, _ = bytes.Cut(data, []byte("\n"))
		} else {
			return data
		}
	}
}

// topKey says that a line begins with a key, in quotes or not.
func topKey(data []byte, key string) bool {
	for rest := data; ; {
		i := bytes.Index(rest, []byte(key))
		if i < 0 {
			return false
		}
		at := len(data) - len(rest) + i
		before := data[:at]
		before = bytes.TrimSuffix(bytes.TrimSuffix(before, []byte(`"`)), []byte("'"))
		before = bytes.TrimSuffix(before, []byte("--- "))
		after := bytes.TrimLeft(bytes.TrimLeft(data[at+len(key):], `"'`), " ")
		if (len(before) == 0 || before[len(before)-1] == '\n' || string(before) == "\ufeff") && len(after) > 0 && after[0] == ':' {
			return true
		}
		rest = rest[i+len(key):]
	}
}

// found is a container and where it is in the tree.
type found struct {
	manifest.Container
	node yaml.Node
	path []string // keys and indexes in the document
	doc  *yaml.Document
}

// Parse returns the containers of all documents. A document that cannot be read is an
// error, and the others are read all the same.
func Parse(src manifest.Source) ([]*manifest.Container, error) {
	list, err := parse(src)
	out := make([]*manifest.Container, len(list))
	for i, f := range list {
		c := f.Container // the tree is not kept
		out[i] = &c
	}
	return out, err
}

func parse(src manifest.Source) ([]*found, error) {
	file, err := yaml.ReadStream(src)
	if err != nil {
		return nil, err
	}
	r := &reader{}
	docs := file.Documents()
	for i := range docs {
		r.document(&docs[i], len(docs) > 1)
	}
	return r.found, errors.Join(r.errs...)
}

type reader struct {
	found []*found
	errs  []error

	doc    *yaml.Document
	prefix string // of paths: which document

	sharing *yaml.Sharing // of doc, once it is needed
}

// maxErrors is how much of what is wrong with a file is said.
const maxErrors = 100

func (r *reader) fail(n yaml.Node, format string, args ...any) {
	if len(r.errs) >= maxErrors {
		return
	}
	r.errs = append(r.errs, &manifest.Error{At: n.Pos(), Reason: fmt.Sprintf(format, args...)})
}

// holds says that a document may have containers. All the keys that lead to one end in
// these letters, unless an escape hides them; most documents of a cluster have none, and
// are not worth parsing.
func holds(data []byte) bool {
	return bytes.Contains(data, []byte("ontainer")) || bytes.Contains(data, []byte("image")) || bytes.IndexByte(data, '\\') >= 0
}

func (r *reader) document(d *yaml.Document, many bool) {
	if d.Err() == nil && !holds(d.Bytes()) {
		return
	}
	root, err := d.Parse()
	if err != nil {
		if len(r.errs) < maxErrors {
			r.errs = append(r.errs, err)
		}
		return
	}
	r.doc, r.prefix, r.sharing = d, "", nil
	if many {
		r.prefix = "#" + strconv.Itoa(d.Number) + " "
	}
	before := len(r.found)
	r.object(root, nil, manifest.Owner{}, 0)
	if len(r.found) > before {
		r.errs = append(r.errs, d.Duplicates()...)
	}
}

// object reads one resource, or a list of them. In a list of one kind (PodList, as the API
// answers) the items need not say theirs, which is in of then.
func (r *reader) object(n yaml.Node, path []string, of manifest.Owner, depth int) {
	if !n.IsMapping() || depth > 8 {
		return
	}
	kind, api := n.At("kind").Value(), n.At("apiVersion").Value()
	if kind == "" && api == "" {
		kind, api = of.Kind, of.APIVersion
	}
	if items := n.At("items"); strings.HasSuffix(kind, "List") && items.IsSequence() {
		for i := range items.Len() {
			r.object(items.Item(i), join(path, "items", strconv.Itoa(i)), manifest.Owner{Kind: strings.TrimSuffix(kind, "List"), APIVersion: api}, depth+1)
		}
		return
	}
	if kind == "" || api == "" {
		return
	}
	meta := n.At("metadata")
	owner := &manifest.Owner{APIVersion: api, Kind: kind, Namespace: meta.At("namespace").Value(), Name: meta.At("name").Value(), Source: helmSource(r.doc)}
	if e := meta.Get("name"); e.Exists() {
		owner.At = e.Value.Pos()
	} else if e := meta.Get("generateName"); e.Exists() {
		owner.Name, owner.At = e.Value.Value(), e.Value.Pos()
	} else if e := n.Get("kind"); e.Exists() {
		owner.At = e.Value.Pos()
	} else {
		owner.At = n.Pos()
	}
	if keys, ok := templates[kind]; ok && isBuiltin(api) {
		pod := n
		for _, k := range keys {
			pod = pod.At(k)
			if pod.Exists() && !pod.IsMapping() && !pod.IsNull() && !pod.IsTemplate() {
				r.fail(pod, "%s of %s: a mapping is needed", k, kind)
				return
			}
		}
		holder := n
		for _, k := range keys[:len(keys)-1] {
			holder = holder.At(k)
		}
		r.pod(holder, pod, owner, join(path, keys...))
		return
	}
	if kind == "CustomResourceDefinition" || isBuiltin(api) && kind == "ConfigMap" {
		return
	}
	r.search(n, owner, path, map[yaml.Identity]bool{}, 0)
}

// templates are where the built-in kinds have their pod
// (k8s.io/kubernetes pkg/api/pod: VisitContainers is called on these).
var templates = map[string][]string{
	"Pod":                   {"spec"},
	"PodTemplate":           {"template", "spec"},
	"ReplicationController": {"spec", "template", "spec"},
	"Deployment":            {"spec", "template", "spec"},
	"ReplicaSet":            {"spec", "template", "spec"},
	"StatefulSet":           {"spec", "template", "spec"},
	"DaemonSet":             {"spec", "template", "spec"},
	"Job":                   {"spec", "template", "spec"},
	"CronJob":               {"spec", "jobTemplate", "spec", "template", "spec"},
}

func isBuiltin(api string) bool {
	group, _, ok := strings.Cut(api, "/")
	return !ok || group == "apps" || group == "batch" || group == "extensions" || strings.HasSuffix(group, ".k8s.io")
}

// search looks through a resource of another kind for whatever has containers: a pod's
// spec with "containers", a single "container" or "script" (Argo), "steps" and "sidecars"
// (Tekton) with images.
func (r *reader) search(n yaml.Node, owner *manifest.Owner, path []string, seen map[yaml.Identity]bool, depth int) {
	if depth > manifest.MaxDepth || seen[n.Deref().Identity()] {
		return
	}
	switch {
	case n.IsMapping():
		seen[n.Deref().Identity()] = true
		if isPod(n) {
			r.pod(yaml.Node{}, n, owner, path)
			return
		}
		for i := range n.Len() {
			e := n.Entry(i)
			r.search(e.Value, owner, join(path, e.Key.Value()), seen, depth+1)
		}
	case n.IsSequence():
		seen[n.Deref().Identity()] = true
		for i := range n.Len() {
			r.search(n.Item(i), owner, join(path, strconv.Itoa(i)), seen, depth+1)
		}
	}
}

// lists and singles are the keys that hold containers, and what these are called.
var lists = []struct{ key, kind string }{
	{"initContainers", "init container"},
	{"containers", "container"},
	{"ephemeralContainers", "ephemeral container"},
	{"steps", "step"},
	{"sidecars", "sidecar container"},
}

var singles = []string{"container", "script"}

// isPod says that a mapping of an unknown kind is what a pod is made from.
func isPod(n yaml.Node) bool {
	for _, l := range lists {
		items := n.At(l.key)
		if !items.IsSequence() {
			continue
		}
		for i := range items.Len() {
			c := items.Item(i)
			if c.IsMapping() && (c.Get("image").Exists() || strings.HasSuffix(l.key, "ontainers") && c.Get("name").Exists()) {
				return true
			}
		}
	}
	for _, key := range singles {
		if c := n.At(key); c.IsMapping() && c.Get("image").Exists() {
			return true
		}
	}
	return false
}

// helmSource is the template that `helm template` notes above a document.
func helmSource(d *yaml.Document) string {
	const mark = "# Source: "
	data := d.Bytes()
	data = data[:min(len(data), 512)]
	i := bytes.Index(data, []byte(mark))
	if i < 0 || i > 0 && data[i-1] != '\n' {
		return ""
	}
	line, _, _ := bytes.Cut(data[i+len(mark):], []byte("\n"))
	return string(bytes.TrimSpace(line))
}

func join(path []string, more ...string) []string {
	out := make([]string, 0, len(path)+len(more)+2)
	return append(append(out, path...), more...)
}
