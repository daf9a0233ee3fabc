package kube

import (
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// target: nothing in a manifest says which engine its cluster has.
var target = manifest.Target{
	Engines: []string{"containerd", "crio"},
	Why:     "Kubernetes runs on containerd or CRI-O, and most clusters on the first",
}

// A pod is what its containers share.
type pod struct {
	owner      *manifest.Owner
	node       yaml.Node
	security   yaml.Node
	namespaces []manifest.Namespace
	labels     []manifest.Pair
	sysctls    []manifest.Pair
	facts      []manifest.Pair
	notes      yaml.Node // annotations
	volumes    map[string]manifest.Mount
}

// pod reads the containers of a pod's spec. holder has its metadata: the template, or
// the pod itself.
func (r *reader) pod(holder, spec yaml.Node, owner *manifest.Owner, path []string) {
	if !spec.IsMapping() || spec.IsTemplate() {
		return
	}
	p := &pod{owner: owner, node: spec, security: spec.At("securityContext")}
	p.share()
	meta := holder.At("metadata")
	p.labels = pairs(meta.At("labels"))
	p.notes = meta.At("annotations")
	if list := spec.At("volumes"); list.IsSequence() {
		p.volumes = make(map[string]manifest.Mount, list.Len())
		for i := range list.Len() {
			v := volume(list.Item(i))
			owner.Volumes = append(owner.Volumes, v)
			p.volumes[v.Name] = v
		}
	}
	for _, l := range lists {
		e := spec.Get(l.key)
		if !e.Exists() || e.Value.IsNull() {
			continue
		}
		if !e.Value.IsSequence() {
			if l.key == "steps" || l.key == "sidecars" {
				continue // another resource's own
			}
			if !e.Value.IsTemplate() {
				r.fail(e.Value, "%s: a list is needed", l.key)
			}
			continue
		}
		for i := range e.Value.Len() {
			c := e.Value.Item(i)
			if c.IsNull() {
				continue
			}
			if !c.IsMapping() {
				r.fail(c, "%s: a mapping is needed", l.key)
				continue
			}
			if (l.key == "steps" || l.key == "sidecars") && !c.Get("image").Exists() {
				continue
			}
			r.container(p, c, l.kind, join(path, l.key, strconv.Itoa(i)))
		}
	}
	for _, key := range singles {
		if c := spec.At(key); c.IsMapping() && c.Get("image").Exists() && !isBuiltin(owner.APIVersion) {
			r.container(p, c, "container", join(path, key))
		}
	}
}

// share reads what a pod shares with the host, or among its containers.
func (p *pod) share() {
	host := func(key, kind string) {
		e := p.node.Get(key)
		if !e.Exists() {
			return
		}
		b := e.Value.Bool(true)
		with := manifest.Text{State: b.State, Raw: b.Raw, Why: b.Why, At: b.At}
		if b.State == manifest.Known {
			if !b.V {
				return
			}
			with.V = "host"
		}
		if b.State != manifest.Unset {
			p.namespaces = append(p.namespaces, manifest.Namespace{Kind: kind, With: with})
		}
	}
	host("hostNetwork", "net")
	host("hostPID", "pid")
	host("hostIPC", "ipc")
	if e := p.node.Get("shareProcessNamespace"); e.Exists() && manifest.Is(e.Value.Bool(true), true) {
		p.namespaces = append(p.namespaces, manifest.Namespace{Kind: "pid", With: manifest.Of("pod", e.Value.Value(), e.Value.Pos())})
	}
	if e := p.node.Get("hostUsers"); e.Exists() && manifest.Is(e.Value.Bool(true), false) {
		p.namespaces = append(p.namespaces, manifest.Namespace{Kind: "user", With: manifest.Of("own", e.Value.Value(), e.Value.Pos())})
	}
	if list := p.security.At("sysctls"); list.IsSequence() {
		for i := range list.Len() {
			s := list.Item(i)
			if name := s.Get("name"); name.Exists() {
				p.sysctls = append(p.sysctls, manifest.Pair{Key: name.Value.Value(), KeyAt: name.Value.Pos(), Value: s.At("value").Text()})
			}
		}
	}
	fact := func(name string, n yaml.Node) {
		if n.Exists() && !n.IsNull() {
			p.facts = append(p.facts, manifest.Pair{Key: name, KeyAt: n.Pos(), Value: n.Text()})
		}
	}
	fact("os", p.node.At("os", "name"))
	fact("runtimeClassName", p.node.At("runtimeClassName"))
	// The API has capabilities in a container's securityContext only; in a pod's it drops
	// them unsaid (k8s.io/api core/v1 PodSecurityContext).
	fact("pod.capabilities", p.security.At("capabilities"))
	fact("pod.privileged", p.security.At("privileged"))
	fact("pod.allowPrivilegeEscalation", p.security.At("allowPrivilegeEscalation"))
}

// inherited is an entry of the container's securityContext, else of the pod's.
func (p *pod) inherited(own yaml.Node, key string) yaml.Node {
	if e := own.Get(key); e.Exists() && !e.Value.IsNull() {
		return e.Value
	}
	return p.security.At(key)
}

func (r *reader) container(p *pod, n yaml.Node, kind string, path []string) {
	f := &found{node: n, path: path, doc: r.doc}
	r.found = append(r.found, f)
	c := &f.Container
	c.Format, c.Kind, c.Owner, c.Target = "kubernetes", kind, p.owner, target
	c.Path = r.prefix + strings.Join(path, ".")
	c.Name = n.At("name").Value()
	c.At = n.Pos()
	if e := n.Get("name"); e.Exists() {
		c.At = e.Value.Pos()
	}
	if c.Name == "" {
		c.Name = path[len(path)-1]
	}
	if kind == "init container" && n.At("restartPolicy").Value() == "Always" {
		c.Kind = "sidecar container" // KEP-753
	}
	c.Image = n.At("image").Text()
	c.Env = environment(n)
	c.Entrypoint, c.Command = f.arguments(n.At("command")), f.arguments(n.At("args"))
	c.WorkDir = n.At("workingDir").Text()
	c.Namespaces, c.Labels, c.Sysctls, c.Facts = p.namespaces, p.labels, p.sysctls, p.facts

	sc := n.At("securityContext")
	if sc.Exists() && !sc.IsMapping() && !sc.IsNull() || sc.IsTemplate() {
		c.CapsWhy = "its securityContext is no mapping"
		if sc.IsTemplate() || sc.Text().Why != "" && strings.Contains(sc.Text().Raw, "{{") {
			c.CapsWhy = "its securityContext is a template that is not rendered"
		} else {
			r.fail(sc, "securityContext: a mapping is needed")
		}
	}
	c.Privileged = sc.At("privileged").Bool(true)
	c.NoNewPrivs = sc.At("allowPrivilegeEscalation").Bool(true)
	c.NoNewPrivs.V = c.NoNewPrivs.State == manifest.Known && !c.NoNewPrivs.V
	c.ReadOnlyRoot = sc.At("readOnlyRootFilesystem").Bool(true)
	c.ProcMount = sc.At("procMount").Text()
	c.User = p.inherited(sc, "runAsUser").Text()
	c.NonRoot = p.inherited(sc, "runAsNonRoot").Bool(true)
	if g := p.inherited(sc, "runAsGroup"); g.Exists() {
		c.Facts = append(c.Facts[:len(c.Facts):len(c.Facts)], manifest.Pair{Key: "runAsGroup", KeyAt: g.Pos(), Value: g.Text()})
	}
	c.Seccomp = profile(p.inherited(sc, "seccompProfile"))
	c.AppArmor = profile(p.inherited(sc, "appArmorProfile"))
	if c.AppArmor.State == manifest.Unset && p.notes.Exists() {
		c.AppArmor = p.notes.At("container.apparmor.security.beta.kubernetes.io/" + c.Name).Text()
	}
	c.SELinux = p.inherited(sc, "seLinuxOptions").At("type").Text()
	if w := p.inherited(sc, "windowsOptions").At("hostProcess"); w.Exists() {
		c.Facts = append(c.Facts[:len(c.Facts):len(c.Facts)], manifest.Pair{Key: "hostProcess", KeyAt: w.Pos(), Value: w.Text()})
	}
	r.capabilities(c, sc.At("capabilities"))
	c.Mounts = p.mounts(n.At("volumeMounts"))
	if list := n.At("volumeDevices"); list.IsSequence() {
		for i := range list.Len() {
			d := list.Item(i)
			c.Devices = append(c.Devices, manifest.Device{Container: d.At("devicePath").Text(), Rights: "rwm", At: d.Pos()})
		}
	}
	r.ports(c, n.At("ports"))
	c.Shared = r.shared(path, c.Path)
}

// capabilities reads the two lists. The API server knows no other type than a list.
func (r *reader) capabilities(c *manifest.Container, n yaml.Node) {
	if !n.Exists() || n.IsNull() {
		return
	}
	if !n.IsMapping() || n.IsTemplate() {
		c.CapsWhy = "its capabilities are no mapping"
		if n.IsTemplate() {
			c.CapsWhy = "its capabilities are a template that is not rendered"
		} else {
			r.fail(n, "capabilities: a mapping with add and drop is needed")
		}
		return
	}
	for _, l := range []struct {
		key    string
		action manifest.Action
	}{{"drop", manifest.Drop}, {"add", manifest.Add}} {
		list := n.At(l.key)
		if !list.Exists() || list.IsNull() {
			continue
		}
		if !list.IsSequence() {
			c.CapsWhy = "capabilities." + l.key + " is no list"
			if !list.IsTemplate() {
				r.fail(list, "capabilities.%s: a list is needed", l.key)
			}
			continue
		}
		at := list.Pos()
		for i := range list.Len() {
			word := list.Item(i).Text()
			if word.State == manifest.Unset {
				continue
			}
			c.Caps = append(c.Caps, manifest.Request{Action: l.action, Word: word, List: at})
		}
	}
}

func (r *reader) ports(c *manifest.Container, list yaml.Node) {
	if !list.IsSequence() {
		return
	}
	for i := range list.Len() {
		n := list.Item(i)
		p := manifest.Port{Protocol: strings.ToLower(n.At("protocol").Value()), HostIP: n.At("hostIP").Value(), At: n.Pos()}
		p.Raw = n.At("containerPort").Value()
		p.Container, _ = strconv.Atoi(p.Raw)
		p.Host, _ = strconv.Atoi(n.At("hostPort").Value())
		if p.Host == 0 && manifest.Shares(c.Namespaces, "net") {
			p.Host = p.Container // k8s.io/kubernetes pkg/apis/core/v1/defaults.go: SetDefaults_Pod
		}
		c.Ports = append(c.Ports, p)
	}
}

// environment is env and envFrom. A value may refer to those before it.
func environment(n yaml.Node) []manifest.Pair {
	var list []manifest.Pair
	if from := n.At("envFrom"); from.Len() > 0 {
		list = append(list, manifest.Pair{KeyAt: from.Pos(), Value: manifest.NotKnown[string]("", "envFrom names an object of the cluster", from.Pos())})
	}
	env := n.At("env")
	for i := range env.Len() {
		e := env.Item(i)
		name := e.At("name")
		p := manifest.Pair{Key: name.Value(), KeyAt: name.Pos(), Value: expand(e.At("value").Text(), list)}
		if from := e.At("valueFrom"); from.Exists() && !from.IsNull() {
			p.Value = manifest.NotKnown[string]("", "valueFrom is filled in by the cluster", from.Pos())
		} else if p.Value.State == manifest.Unset {
			p.Value = manifest.Of("", "", p.KeyAt)
		}
		list = append(list, p)
	}
	return list
}

// arguments are command or args.
func (f *found) arguments(n yaml.Node) manifest.Args {
	return n.Args(func(n yaml.Node) manifest.Text { return expand(n.Text(), f.Env) })
}

// expand puts variables in as the kubelet does (k8s.io/kubernetes
// third_party/forked/golang/expansion): $(NAME) is a variable's value, $$ a dollar. What
// the container does not define itself may come from the cluster's services.
func expand(t manifest.Text, env []manifest.Pair) manifest.Text {
	if t.State != manifest.Known || !strings.Contains(t.V, "$") {
		return t
	}
	var out strings.Builder
	for rest := t.V; rest != ""; {
		i := strings.IndexByte(rest, '$')
		if i < 0 || i+1 == len(rest) {
			out.WriteString(rest)
			break
		}
		out.WriteString(rest[:i])
		end := strings.IndexByte(rest[i:], ')')
		switch {
		case rest[i+1] == '$':
			out.WriteByte('$')
			rest = rest[i+2:]
		case rest[i+1] != '(' || end < 0:
			out.WriteString(rest[i : i+2])
			rest = rest[i+2:]
		default:
			name := rest[i+2 : i+end]
			value := manifest.NotKnown[string]("", "the variable "+name+" is not the container's own", t.At)
			for _, p := range env {
				if p.Key == name {
					value = p.Value
				}
			}
			if value.State != manifest.Known {
				return manifest.NotKnown[string](t.Raw, value.Why, t.At)
			}
			out.WriteString(value.V)
			rest = rest[i+end+1:]
		}
	}
	t.V = out.String()
	return t
}

// profile is seccompProfile or appArmorProfile: "RuntimeDefault", "localhost/name".
func profile(n yaml.Node) manifest.Text {
	t := n.At("type").Text()
	if t.V == "Localhost" {
		t.V = "localhost/" + n.At("localhostProfile").Value()
	}
	return t
}

// volume is one of a pod's, without the place where it is mounted.
func volume(n yaml.Node) manifest.Mount {
	m := manifest.Mount{Name: n.At("name").Value(), At: n.Pos(), Type: "emptyDir"} // what it is without a source
	for i := range n.Len() {
		e := n.Entry(i)
		if key := e.Key.Value(); key != "name" {
			m.Type = key
			if key == "hostPath" {
				m.Source = e.Value.At("path").Text()
			}
		}
	}
	return m
}

func (p *pod) mounts(list yaml.Node) []manifest.Mount {
	if !list.IsSequence() {
		return nil
	}
	out := make([]manifest.Mount, 0, list.Len())
	for i := range list.Len() {
		n := list.Item(i)
		m := manifest.Mount{Name: n.At("name").Value(), Type: "volume"}
		if v, ok := p.volumes[m.Name]; ok {
			m = v
		}
		m.At = n.Pos()
		m.Target = n.At("mountPath").Text()
		m.ReadOnly = n.At("readOnly").Bool(true)
		out = append(out, m)
	}
	return out
}

func pairs(n yaml.Node) []manifest.Pair {
	if !n.IsMapping() || n.Len() == 0 {
		return nil
	}
	out := make([]manifest.Pair, 0, n.Len())
	for i := range n.Len() {
		e := n.Entry(i)
		out = append(out, manifest.Pair{Key: e.Key.Value(), KeyAt: e.Key.Pos(), Value: e.Value.Text()})
	}
	return out
}

// shared are the anchors around or in a container that something outside of it refers
// to, and those of others that it refers to.
func (r *reader) shared(path []string, own string) []manifest.Shared {
	if len(r.doc.Aliases()) == 0 {
		return nil
	}
	if r.sharing == nil {
		prefix := r.prefix
		r.sharing = r.doc.Sharing(func(p []string) string { return containerPath(prefix, p) })
	}
	return r.sharing.Of(path, own)
}

// containerPath is that of the container which a path in the document leads into.
func containerPath(prefix string, path []string) string {
	for i := len(path) - 1; i > 0; i-- {
		for _, l := range lists {
			if path[i-1] == l.key {
				return prefix + strings.Join(path[:i+1], ".")
			}
		}
	}
	return ""
}
