package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"

	appsv1 "k8s.io/api/apps/v1"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	appsv1beta2 "k8s.io/api/apps/v1beta2"
	batchv1 "k8s.io/api/batch/v1"
	batchv1beta1 "k8s.io/api/batch/v1beta1"
	corev1 "k8s.io/api/core/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/reading"
)

// decoder is what an API server decodes a strict request with (kubectl's --validate=strict):
// unknown fields, and keys that are there twice, are told.
var decoder = sync.OnceValue(func() *serializer.Serializer {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme,
		appsv1beta1.AddToScheme, appsv1beta2.AddToScheme, batchv1beta1.AddToScheme, extensionsv1beta1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err) // two kinds of one name
		}
	}
	return serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme, serializer.SerializerOptions{Yaml: true, Strict: true})
})

// readKube decodes the documents that differ, as the API's own types.
func readKube(req *reading.Request) (*reading.Answer, error) {
	if len(req.Files) != 1 {
		return nil, errors.New("a manifest is one file")
	}
	f := &req.Files[0]
	before, err := documents(f.Data(false))
	if err != nil {
		return unread(err), nil
	}
	after, err := documents(f.Data(true))
	if err != nil {
		return &reading.Answer{After: unread(err).Before}, nil
	}
	a := &reading.Answer{}
	if len(before) != len(after) {
		a.Changed = []string{fmt.Sprintf("the number of documents (%d, and %d)", len(before), len(after))}
		return a, nil
	}
	for i := range before {
		if bytes.Equal(before[i], after[i]) {
			continue
		}
		was, is := readDocument(before[i], i+1), readDocument(after[i], i+1)
		if was.unread || is.unread {
			a.Before.Problems = append(a.Before.Problems, was.problems...)
			a.After.Problems = append(a.After.Problems, is.problems...)
			continue // nothing to compare
		}
		a.Before.Problems = append(a.Before.Problems, was.problems...)
		a.After.Problems = append(a.After.Problems, is.problems...)
		a.Before.Containers = append(a.Before.Containers, was.containers...)
		a.After.Containers = append(a.After.Containers, is.containers...)
		// The rest: readDocument has emptied what a container has.
		if path := reading.Difference(was.rest(), is.rest()); path != "" {
			a.Changed = append(a.Changed, "document "+strconv.Itoa(i+1)+": "+path)
		}
	}
	return a, nil
}

// documents splits as kubectl does (k8s.io/cli-runtime pkg/resource: FileVisitor takes a byte
// order mark away, StreamVisitor has a yaml.YAMLOrJSONDecoder, which does not say what it has
// read): a stream of JSON values, or YAML, also behind one JSON value.
func documents(data []byte) ([][]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var list [][]byte
	if yaml.IsJSONBuffer(data[:min(len(data), 4096)]) {
		d := json.NewDecoder(bytes.NewReader(data))
		for {
			end := d.InputOffset()
			var value json.RawMessage
			err := d.Decode(&value)
			if errors.Is(err, io.EOF) {
				return list, nil
			}
			if err != nil && len(list) > 1 {
				return nil, fmt.Errorf("behind %d JSON values: %w", len(list), err)
			}
			if err != nil {
				data = behindSpace(data[end:])
				break
			}
			list = append(list, value)
		}
	}
	r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		list = append(list, doc)
	}
}

// behindSpace is what follows white space, which ends with a line
// (YAMLOrJSONDecoder.consumeWhitespace).
func behindSpace(data []byte) []byte {
	for i, r := range string(data) {
		if r == '\n' {
			return data[i+1:]
		}
		if !unicode.IsSpace(r) {
			return data[i:]
		}
	}
	return nil
}

// A document is what the API reads of one.
type document struct {
	number     int
	objects    []runtime.Object
	containers []reading.Container
	problems   []reading.Problem
	unread     bool
}

// rest is all of the objects, as JSON has it.
func (d *document) rest() any {
	data, err := json.Marshal(d.objects)
	if err != nil {
		return err.Error()
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err.Error()
	}
	return v
}

func readDocument(data []byte, number int) *document {
	d := &document{number: number}
	d.read(data, "")
	return d
}

// read decodes an object, or the objects of a list.
func (d *document) read(data []byte, prefix string) {
	obj, gvk, err := decoder().Decode(data, nil, nil)
	strict, isStrict := runtime.AsStrictDecodingError(err)
	switch {
	case err == nil:
	case isStrict:
		for _, e := range strict.Errors() {
			d.problems = append(d.problems, reading.Problem{Document: d.number, Text: short(e)})
		}
	case runtime.IsNotRegisteredError(err):
		return // another resource, which its own controller reads
	default:
		d.unread = true
		d.problems = append(d.problems, reading.Problem{Document: d.number, Text: short(err), Unread: true})
		return
	}
	if list, ok := obj.(*corev1.List); ok {
		for i, item := range list.Items {
			d.read(item.Raw, prefix+"items."+strconv.Itoa(i)+".")
		}
		return
	}
	d.objects = append(d.objects, obj)
	if !apimeta.IsListType(obj) {
		d.object(obj, gvk.Kind, prefix)
		return
	}
	items, err := apimeta.ExtractList(obj) // of one kind, such as PodList; what is emptied of them is emptied of obj
	if err != nil {
		d.problems = append(d.problems, reading.Problem{Document: d.number, Text: short(err)})
	}
	for i, item := range items {
		d.object(item, strings.TrimSuffix(gvk.Kind, "List"), prefix+"items."+strconv.Itoa(i)+".")
	}
}

// object reads the pod of an object that has one.
func (d *document) object(obj runtime.Object, kind, prefix string) {
	meta, spec, path := podOf(obj)
	if spec == nil {
		return
	}
	owner := &manifest.Owner{Kind: kind}
	if m, ok := obj.(metav1.Object); ok {
		if owner.Namespace, owner.Name = m.GetNamespace(), m.GetName(); owner.Name == "" {
			owner.Name = m.GetGenerateName()
		}
	}
	d.pod(meta, spec, prefix+path, reading.Owner(owner))
}

// podOf is where a kind has its pod (k8s.io/pod-security-admission admission
// DefaultPodSpecExtractor, whose package brings the API server).
func podOf(obj runtime.Object) (meta *metav1.ObjectMeta, spec *corev1.PodSpec, path string) {
	const template = "spec.template.spec"
	of := func(t *corev1.PodTemplateSpec, path string) (*metav1.ObjectMeta, *corev1.PodSpec, string) {
		if t == nil {
			return nil, nil, ""
		}
		return &t.ObjectMeta, &t.Spec, path
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		return &o.ObjectMeta, &o.Spec, "spec"
	case *corev1.PodTemplate:
		return of(&o.Template, "template.spec")
	case *corev1.ReplicationController:
		return of(o.Spec.Template, template)
	case *appsv1.Deployment:
		return of(&o.Spec.Template, template)
	case *appsv1beta1.Deployment:
		return of(&o.Spec.Template, template)
	case *appsv1beta2.Deployment:
		return of(&o.Spec.Template, template)
	case *extensionsv1beta1.Deployment:
		return of(&o.Spec.Template, template)
	case *appsv1.ReplicaSet:
		return of(&o.Spec.Template, template)
	case *appsv1beta2.ReplicaSet:
		return of(&o.Spec.Template, template)
	case *extensionsv1beta1.ReplicaSet:
		return of(&o.Spec.Template, template)
	case *appsv1.StatefulSet:
		return of(&o.Spec.Template, template)
	case *appsv1beta1.StatefulSet:
		return of(&o.Spec.Template, template)
	case *appsv1beta2.StatefulSet:
		return of(&o.Spec.Template, template)
	case *appsv1.DaemonSet:
		return of(&o.Spec.Template, template)
	case *appsv1beta2.DaemonSet:
		return of(&o.Spec.Template, template)
	case *extensionsv1beta1.DaemonSet:
		return of(&o.Spec.Template, template)
	case *batchv1.Job:
		return of(&o.Spec.Template, template)
	case *batchv1.CronJob:
		return of(&o.Spec.JobTemplate.Spec.Template, "spec.jobTemplate."+template)
	case *batchv1beta1.CronJob:
		return of(&o.Spec.JobTemplate.Spec.Template, "spec.jobTemplate."+template)
	}
	return nil, nil, ""
}

// checks are Pod Security Admission's, in their newest versions.
var checks = sync.OnceValue(policy.DefaultChecks)

// pod reads the containers, has the pod evaluated, and then empties what a
// [reading.Container] has.
func (d *document) pod(meta *metav1.ObjectMeta, spec *corev1.PodSpec, path, owner string) {
	var refused []string
	for _, c := range checks() {
		if c.Level != api.LevelBaseline && c.Level != api.LevelRestricted {
			continue
		}
		newest := c.Versions[len(c.Versions)-1]
		if !newest.CheckPod(meta, spec).Allowed {
			refused = append(refused, string(c.Level)+"/"+string(c.ID))
		}
	}
	one := func(list string, i int, name string, sc **corev1.SecurityContext) {
		c := reading.Container{Path: path + "." + list + "." + strconv.Itoa(i), Owner: owner, Name: name, Refused: refused}
		if s := *sc; s != nil {
			if s.Capabilities != nil {
				for _, a := range s.Capabilities.Add {
					c.Add = append(c.Add, string(a))
				}
				for _, a := range s.Capabilities.Drop {
					c.Drop = append(c.Drop, string(a))
				}
			}
			c.Privileged = s.Privileged != nil && *s.Privileged
			c.NoNewPrivs = s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation
			s.Capabilities, s.Privileged, s.AllowPrivilegeEscalation = nil, nil, nil
			if *s == (corev1.SecurityContext{}) {
				*sc = nil // an empty one says nothing
			}
		}
		d.containers = append(d.containers, c)
	}
	for i := range spec.InitContainers {
		one("initContainers", i, spec.InitContainers[i].Name, &spec.InitContainers[i].SecurityContext)
	}
	for i := range spec.Containers {
		one("containers", i, spec.Containers[i].Name, &spec.Containers[i].SecurityContext)
	}
	for i := range spec.EphemeralContainers {
		one("ephemeralContainers", i, spec.EphemeralContainers[i].Name, &spec.EphemeralContainers[i].SecurityContext)
	}
}
