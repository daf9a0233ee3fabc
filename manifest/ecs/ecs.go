// Package ecs reads Amazon ECS task definitions: as register-task-definition takes them,
// as describe-task-definition prints them (in "taskDefinition"), and in CloudFormation
// templates (AWS::ECS::TaskDefinition), JSON and YAML.
package ecs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// Format is that of task definitions.
var Format = manifest.Format{
	Name: "ecs", Title: "ECS task definition",
	Recognise: recognise, Parse: parse, Edit: edit, Verify: verify,
}

var (
	definitions = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)["']?[cC]ontainerDefinitions["']?\s*:`) })
	taskType    = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)["']?Type["']?\s*:\s*["']?AWS::ECS::TaskDefinition\b`)
	})
	taskKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)["']?(family|taskDefinition|networkMode|requiresCompatibilities|executionRoleArn|cpu|memory|taskRoleArn|essential)["']?\s*:`)
	})
)

func recognise(_ string, data []byte) manifest.Likelihood {
	data = data[:min(len(data), 1<<20)]
	switch {
	case taskType().Match(data):
		return manifest.Sure
	case definitions().Match(data) && taskKey().Match(data):
		return manifest.Sure
	case definitions().Match(data):
		return manifest.Likely
	}
	return manifest.No
}

// fargateAdds is what a task on Fargate may add: docs.aws.amazon.com, ECS API reference,
// KernelCapabilities: "Tasks launched on Fargate only support adding the SYS_PTRACE kernel
// capability." It may drop any.
var fargateAdds = caps.Of(caps.SysPtrace)

// A place is a container in a template.
type place struct {
	c       *manifest.Container
	doc     *yaml.Document
	path    []string
	node    yaml.Node
	upper   bool // CloudFormation's spelling: Image, LinuxParameters
	fargate bool
}

// key is a property's name in the file's spelling.
func (p *place) key(name string) string { return spell(name, p.upper) }

func spell(name string, upper bool) string {
	if upper {
		return strings.ToUpper(name[:1]) + name[1:]
	}
	return name
}

// at follows properties.
func (p *place) at(names ...string) yaml.Node { return follow(p.node, p.upper, names...) }

func follow(n yaml.Node, upper bool, names ...string) yaml.Node {
	for _, name := range names {
		n = n.At(spell(name, upper))
	}
	return n
}

type template struct {
	found []place
	errs  []error
}

func parse(src manifest.Source) ([]*manifest.Container, error) {
	t, err := read(src)
	if err != nil {
		return nil, err
	}
	var list []*manifest.Container
	for _, p := range t.found {
		list = append(list, p.c)
	}
	return list, errors.Join(t.errs...)
}

func read(src manifest.Source) (*template, error) {
	f, err := yaml.Read(src)
	if err != nil {
		return nil, err
	}
	t := &template{}
	docs := f.Documents()
	for i := range docs {
		d := &docs[i]
		root, err := d.Parse()
		if err != nil {
			t.errs = append(t.errs, err)
			continue
		}
		t.errs = append(t.errs, d.Duplicates()...)
		n := len(t.found)
		switch {
		case root.At("containerDefinitions").Exists():
			t.task(d, root, nil, false, "")
		case root.At("taskDefinition", "containerDefinitions").Exists():
			t.task(d, root.At("taskDefinition"), []string{"taskDefinition"}, false, "")
		case root.At("ContainerDefinitions").Exists():
			t.task(d, root, nil, true, "")
		}
		resources := root.At("Resources")
		for j := range resources.Len() {
			e := resources.Entry(j)
			if e.Value.At("Type").Value() == "AWS::ECS::TaskDefinition" {
				t.task(d, e.Value.At("Properties"), []string{"Resources", e.Key.Value(), "Properties"}, true, e.Key.Value())
			}
		}
		var sharing *yaml.Sharing
		for j := n; j < len(t.found); j++ {
			p := &t.found[j]
			if sharing == nil {
				sharing = d.Sharing(owner)
			}
			p.c.Shared = sharing.Of(p.path, strings.Join(p.path, "."))
			if len(docs) > 1 {
				p.c.Path = fmt.Sprintf("#%d %s", d.Number, p.c.Path)
			}
		}
	}
	return t, nil
}

// owner is the container that a path leads into.
func owner(path []string) string {
	if i := slices.IndexFunc(path, func(s string) bool { return strings.EqualFold(s, "containerDefinitions") }); i >= 0 && i+1 < len(path) {
		return strings.Join(path[:i+2], ".")
	}
	return ""
}

// text is a fact. An intrinsic function (!Ref, Fn::Sub) is CloudFormation's to fill in.
func text(n yaml.Node) manifest.Text {
	switch {
	case !n.Exists() || n.IsNull():
		return manifest.Text{}
	case strings.HasPrefix(n.Tag(), "!") && !strings.HasPrefix(n.Tag(), "!!"), n.IsMapping():
		return manifest.NotKnown[string](n.Value(), "CloudFormation fills it in", n.Pos())
	}
	return n.Text()
}

func boolean(n yaml.Node) manifest.Bool {
	t := text(n)
	switch v, ok := t.Get(); {
	case t.State == manifest.Unset:
		return manifest.Bool{}
	case ok && strings.EqualFold(v, "true"):
		return manifest.Of(true, t.Raw, t.At)
	case ok && strings.EqualFold(v, "false"):
		return manifest.Of(false, t.Raw, t.At)
	case ok:
		return manifest.NotKnown[bool](t.Raw, "not a boolean", t.At)
	}
	return manifest.NotKnown[bool](t.Raw, t.Why, t.At)
}

func (t *template) task(d *yaml.Document, task yaml.Node, base []string, upper bool, resource string) {
	get := func(names ...string) yaml.Node { return follow(task, upper, names...) }
	owner := &manifest.Owner{Kind: "task definition", Name: get("family").Value(), At: task.Pos()}
	if owner.Name == "" {
		owner.Name = resource
	}
	target := manifest.Target{Engines: []string{"docker"}, Why: "ECS runs tasks with Docker on EC2"}
	fargate := false
	compat := get("requiresCompatibilities")
	for i := range compat.Len() {
		fargate = fargate || compat.Item(i).Value() == "FARGATE"
	}
	if fargate {
		target.Why = "ECS on Fargate, whose default is Docker's"
	}
	var shared []manifest.Namespace
	for _, m := range [][2]string{{"networkMode", "net"}, {"pidMode", "pid"}, {"ipcMode", "ipc"}} {
		// "task" is a namespace of the task's own; so is networkMode awsvpc.
		if v := text(get(m[0])); v.State == manifest.Unknown || v.V == "host" {
			shared = append(shared, manifest.Namespace{Kind: m[1], With: v})
		} else if v.V == "task" {
			shared = append(shared, manifest.Namespace{Kind: m[1], With: manifest.Of("pod", v.Raw, v.At)})
		}
	}
	hosts := map[string]manifest.Text{}
	volumes := get("volumes")
	for i := range volumes.Len() {
		v := volumes.Item(i)
		source := text(follow(v, upper, "host", "sourcePath"))
		hosts[follow(v, upper, "name").Value()] = source
		m := manifest.Mount{Type: "volume", Name: follow(v, upper, "name").Value(), Source: source, At: v.Pos()}
		if source.State != manifest.Unset {
			m.Type = "bind"
		}
		owner.Volumes = append(owner.Volumes, m)
	}
	list := get("containerDefinitions")
	if !list.IsSequence() {
		t.errs = append(t.errs, &manifest.Error{At: list.Pos(), Reason: spell("containerDefinitions", upper) + " is no list"})
		return
	}
	for i := range list.Len() {
		n := list.Item(i)
		if !n.IsMapping() {
			t.errs = append(t.errs, &manifest.Error{At: n.Pos(), Reason: "a container definition that is no object"})
			continue
		}
		path := append(slices.Clip(base), spell("containerDefinitions", upper), strconv.Itoa(i))
		p := place{doc: d, node: n, path: path, upper: upper, fargate: fargate}
		p.c = &manifest.Container{
			Format: "ecs", Path: strings.Join(path, "."), Name: p.at("name").Value(), Kind: "container", Owner: owner, At: n.Pos(), Target: target,
			Image: text(p.at("image")), User: text(p.at("user")), Privileged: boolean(p.at("privileged")),
			ReadOnlyRoot: boolean(p.at("readonlyRootFilesystem")), Namespaces: slices.Clone(shared),
		}
		if e := n.Get(p.key("name")); e.Exists() {
			p.c.At = e.Value.Pos()
		}
		if p.c.Name == "" {
			p.c.Name = "container " + strconv.Itoa(i)
		}
		if fargate {
			p.c.Facts = append(p.c.Facts, manifest.Pair{Key: "requiresCompatibilities", KeyAt: compat.Pos(), Value: manifest.Of("FARGATE", "FARGATE", compat.Pos())})
		}
		p.read(t, hosts)
		t.found = append(t.found, p)
	}
}

func (p *place) read(t *template, hosts map[string]manifest.Text) {
	c := p.c
	for _, l := range []struct {
		key    string
		action manifest.Action
	}{{"add", manifest.Add}, {"drop", manifest.Drop}} {
		list := p.at("linuxParameters", "capabilities", l.key)
		switch {
		case !list.Exists() || list.IsNull():
		case !list.IsSequence():
			c.CapsWhy = "the list to " + l.key + " is CloudFormation's to fill in"
		}
		for i := range list.Len() {
			c.Caps = append(c.Caps, manifest.Request{Action: l.action, Word: text(list.Item(i)), List: list.Pos()})
		}
	}
	c.Entrypoint, c.Command, c.WorkDir = p.at("entryPoint").Args(text), p.at("command").Args(text), text(p.at("workingDirectory"))
	env := p.at("environment")
	for i := range env.Len() {
		e := env.Item(i)
		name := follow(e, p.upper, "name")
		c.Env = append(c.Env, manifest.Pair{Key: name.Value(), KeyAt: name.Pos(), Value: text(follow(e, p.upper, "value"))})
	}
	for _, key := range []string{"environmentFiles", "secrets"} {
		if n := p.at(key); n.Len() > 0 {
			c.Env = append(c.Env, manifest.Pair{KeyAt: n.Pos(), Value: manifest.NotKnown[string]("", key+" are fetched where it runs", n.Pos())})
		}
	}
	options := p.at("dockerSecurityOptions")
	for i := range options.Len() {
		o := text(options.Item(i))
		switch key, value, _ := strings.Cut(strings.Replace(o.V, "=", ":", 1), ":"); key {
		case "no-new-privileges":
			c.NoNewPrivs = manifest.Of(value == "" || value == "true", o.Raw, o.At)
		case "seccomp":
			c.Seccomp = manifest.Of(value, o.Raw, o.At)
		case "apparmor":
			c.AppArmor = manifest.Of(value, o.Raw, o.At)
		case "label":
			c.SELinux = manifest.Of(value, o.Raw, o.At)
		}
	}
	mounts := p.at("mountPoints")
	for i := range mounts.Len() {
		m := mounts.Item(i)
		name := follow(m, p.upper, "sourceVolume").Value()
		mount := manifest.Mount{Type: "volume", Name: name, Source: hosts[name], Target: text(follow(m, p.upper, "containerPath")),
			ReadOnly: boolean(follow(m, p.upper, "readOnly")), At: m.Pos()}
		if mount.Source.State != manifest.Unset {
			mount.Type = "bind"
		}
		c.Mounts = append(c.Mounts, mount)
	}
	devices := p.at("linuxParameters", "devices")
	for i := range devices.Len() {
		d := devices.Item(i)
		dev := manifest.Device{Host: text(follow(d, p.upper, "hostPath")), Container: text(follow(d, p.upper, "containerPath")), Rights: "rwm", At: d.Pos()}
		c.Devices = append(c.Devices, dev)
	}
	ports := p.at("portMappings")
	for i := range ports.Len() {
		m := ports.Item(i)
		port := manifest.Port{Protocol: follow(m, p.upper, "protocol").Value(), Raw: follow(m, p.upper, "containerPort").Value(), At: m.Pos()}
		port.Container, _ = strconv.Atoi(port.Raw)
		port.Host, _ = strconv.Atoi(follow(m, p.upper, "hostPort").Value())
		c.Ports = append(c.Ports, port)
	}
	labels := p.at("dockerLabels")
	for i := range labels.Len() {
		e := labels.Entry(i)
		c.Labels = append(c.Labels, manifest.Pair{Key: e.Key.Value(), KeyAt: e.Key.Pos(), Value: text(e.Value)})
	}
	controls := p.at("systemControls")
	for i := range controls.Len() {
		s := controls.Item(i)
		n := follow(s, p.upper, "namespace")
		c.Sysctls = append(c.Sysctls, manifest.Pair{Key: n.Value(), KeyAt: n.Pos(), Value: text(follow(s, p.upper, "value"))})
	}
}
