package flags

import (
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/engine/line"
	"github.com/leastcap/leastcap/manifest"
)

// container reads the line's flags.
func (v *Invocation) container() {
	l := v.Line
	image := v.image()
	c := &manifest.Container{Kind: l.Engine + " " + l.Verb, Image: image, At: v.pos(0, len(v.all)-1)}
	c.Name = v.name(image)
	c.Target = manifest.Target{Engines: []string{l.Engine}, Why: "the line runs " + l.Engine}
	if l.Engine == "nerdctl" {
		// nerdctl's own code merges the lists and names as Docker does, on containerd's
		// default, which is Docker's (pkg/cmd/container/run_security_linux.go).
		c.Target = manifest.Target{Engines: []string{"docker"}, Why: "the line runs nerdctl, whose rules are Docker's"}
	}
	v.Container = c
	c.Command = v.command()
	for i := range l.Flags {
		if f := &l.Flags[i]; !f.Global {
			v.flag(c, f, i)
		}
	}
}

func (v *Invocation) image() manifest.Text {
	w := v.word(v.Line.ImageAt())
	at := v.lines.Pos(w.Start, w.End)
	if w.Why != "" {
		return manifest.NotKnown[string](w.Text, w.Why, at)
	}
	return manifest.Of(w.Text, w.Text, at)
}

// command are the words behind the image.
func (v *Invocation) command() manifest.Args {
	n := len(v.Line.Command)
	if n == 0 {
		return manifest.Args{}
	}
	first := v.Line.ImageAt() + 1
	at := v.pos(v.index[first], v.index[first+n-1])
	list := make([]manifest.Text, n)
	for i := range list {
		w := v.word(first + i)
		place := v.lines.Pos(w.Start, w.End)
		switch {
		case w.Many:
			return manifest.NotKnown[[]manifest.Text]("", w.Why, at)
		case w.Why != "":
			list[i] = manifest.NotKnown[string](w.Text, w.Why, place)
		default:
			list[i] = manifest.Of(w.Text, w.Text, place)
		}
	}
	return manifest.Of(list, "", at)
}

// entrypoint is one word, or none; Podman also takes a JSON list
// (containers/podman pkg/specgenutil FillOutSpecGen).
func (v *Invocation) entrypoint(f *line.Flag) manifest.Args {
	t := v.whole(f)
	var list []string
	switch s, ok := t.Get(); {
	case !ok:
		return manifest.NotKnown[[]manifest.Text](t.Raw, t.Why, t.At)
	case s == "":
	case v.Line.Engine == "podman" && json.Unmarshal([]byte(s), &list) == nil:
	default:
		list = []string{s}
	}
	args := make([]manifest.Text, len(list))
	for i, w := range list {
		args[i] = manifest.Of(w, w, t.At)
	}
	return manifest.Of(args, t.Raw, t.At)
}

// namespaces are the flags that name one.
var namespaces = map[string]string{
	"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "userns": "user", "cgroupns": "cgroup",
}

// facts are flags whose values a rule may want and that have no field of their own.
var facts = map[string]bool{
	"restart": true, "entrypoint": true, "device-cgroup-rule": true, "gpus": true, "runtime": true, "cgroup-parent": true,
	"volumes-from": true, "pod": true, "group-add": true, "rootfs": true, "detach": true,
}

func (v *Invocation) flag(c *manifest.Container, f *line.Flag, index int) {
	at := v.pos(v.index[f.Word], v.index[f.Word+f.Words-1])
	switch f.Name {
	case "cap-add", "cap-drop":
		v.capability(c, f, index)
	case "privileged":
		c.Privileged = v.boolean(f)
	case "user":
		c.User = v.whole(f)
	case "entrypoint":
		c.Entrypoint = v.entrypoint(f)
	case "env":
		key, _, given := strings.Cut(f.Value, "=")
		p := v.pair(f, key)
		if !given {
			p.Value = manifest.NotKnown[string](key, "it is taken from the environment of who runs the line", p.KeyAt)
		}
		c.Env = append(c.Env, p)
	case "env-file":
		c.Env = append(c.Env, manifest.Pair{KeyAt: at, Value: manifest.NotKnown[string](f.Value, "it stands in the file "+f.Value, at)})
	case "workdir":
		c.WorkDir = v.whole(f)
	case "read-only":
		c.ReadOnlyRoot = v.boolean(f)
	case "security-opt":
		v.securityOpt(c, f)
	case "network", "pid", "ipc", "uts", "userns", "cgroupns":
		t := v.whole(f)
		kind, _, _ := strings.Cut(t.V, ":")
		switch kind {
		case "host", "container", "ns", "pod":
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: namespaces[f.Name], With: t})
		default:
			if t.State == manifest.Unknown {
				c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: namespaces[f.Name], With: t})
			}
		}
	case "volume":
		c.Mounts = append(c.Mounts, v.volume(f, at))
	case "mount":
		c.Mounts = append(c.Mounts, v.mount(f, at))
	case "tmpfs":
		target, _, _ := strings.Cut(f.Value, ":")
		c.Mounts = append(c.Mounts, manifest.Mount{Type: "tmpfs", Target: v.value(f, 0, len(target)), At: at})
	case "device":
		c.Devices = append(c.Devices, v.device(f, at))
	case "publish", "expose":
		c.Ports = append(c.Ports, port(f, at))
	case "label":
		key, _, _ := strings.Cut(f.Value, "=")
		c.Labels = append(c.Labels, v.pair(f, key))
	case "sysctl":
		key, _, _ := strings.Cut(f.Value, "=")
		c.Sysctls = append(c.Sysctls, v.pair(f, key))
	}
	if facts[f.Name] {
		c.Facts = append(c.Facts, manifest.Pair{Key: f.Name, KeyAt: at, Value: v.whole(f)})
	}
}

// pair is KEY=VALUE.
func (v *Invocation) pair(f *line.Flag, key string) manifest.Pair {
	return manifest.Pair{
		Key: key, KeyAt: v.value(f, 0, len(key)).At,
		Value: v.value(f, min(len(key)+1, len(f.Value)), len(f.Value)),
	}
}

func (v *Invocation) capability(c *manifest.Container, f *line.Flag, index int) {
	action := manifest.Add
	if f.Name == "cap-drop" {
		action = manifest.Drop
	}
	list := v.pos(v.index[f.Word], v.index[f.Word+f.Words-1])
	add := func(t manifest.Text, part int) {
		c.Caps = append(c.Caps, manifest.Request{Action: action, Word: t, List: list})
		v.from = append(v.from, source{index, part})
	}
	if !v.Line.Splits(f.Name) || !strings.Contains(f.Value, ",") {
		if f.Value != "" || !v.Line.Splits(f.Name) {
			add(v.whole(f), 0)
		}
		return
	}
	at := 0
	for i, part := range strings.Split(f.Value, ",") {
		add(v.value(f, at, at+len(part)), i)
		at += len(part) + 1
	}
}

// securityOpt reads KEY=VALUE, and KEY:VALUE as Docker took it before 1.11.
func (v *Invocation) securityOpt(c *manifest.Container, f *line.Flag) {
	key, val, given := f.Value, "", false
	if i := strings.IndexAny(f.Value, "=:"); i >= 0 {
		key, val, given = f.Value[:i], f.Value[i+1:], true
	}
	t := v.value(f, len(f.Value)-len(val), len(f.Value))
	if !given {
		t = v.whole(f)
	}
	switch key {
	case "no-new-privileges":
		switch {
		case !given || val == "true":
			c.NoNewPrivs = manifest.Of(true, t.Raw, t.At)
		case val == "false":
			c.NoNewPrivs = manifest.Of(false, t.Raw, t.At)
		default:
			c.NoNewPrivs = manifest.NotKnown[bool](t.Raw, "not a boolean", t.At)
		}
	case "seccomp":
		c.Seccomp = t
	case "apparmor":
		c.AppArmor = t
	case "label":
		c.SELinux = t
	case "systempaths", "unmask":
		if val == "unconfined" || strings.EqualFold(val, "all") {
			c.ProcMount = manifest.Of("Unmasked", f.Value, t.At)
		}
	}
}

// split cuts at colons that are not inside ${…} or $(…), and returns the offsets.
func split(s string) [][2]int {
	var list [][2]int
	start, depth := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{', '(':
			depth++
		case '}', ')':
			depth--
		case ':':
			if depth <= 0 {
				list = append(list, [2]int{start, i})
				start = i + 1
			}
		}
	}
	return append(list, [2]int{start, len(s)})
}

func (v *Invocation) volume(f *line.Flag, at manifest.Pos) manifest.Mount {
	parts := split(f.Value)
	m := manifest.Mount{Type: "volume", At: at}
	if len(parts) == 1 {
		m.Target = v.value(f, parts[0][0], parts[0][1])
		return m
	}
	m.Source, m.Target = v.value(f, parts[0][0], parts[0][1]), v.value(f, parts[1][0], parts[1][1])
	switch source := line.ShortVolume(m.Source.Raw + ":x"); {
	case source.Kind == "bind", m.Source.State == manifest.Unknown && (strings.HasPrefix(m.Source.Raw, "$") || strings.Contains(m.Source.Raw, "/")):
		m.Type = "bind"
	}
	if len(parts) > 2 {
		t := v.value(f, parts[2][0], parts[len(parts)-1][1])
		for option := range strings.SplitSeq(t.V, ",") {
			if option == "ro" || option == "readonly" {
				m.ReadOnly = manifest.Of(true, option, t.At)
			}
		}
	}
	return m
}

func (v *Invocation) mount(f *line.Flag, at manifest.Pos) manifest.Mount {
	m := manifest.Mount{Type: "volume", At: at}
	fields, err := csv.NewReader(strings.NewReader(f.Value)).Read()
	if err != nil {
		m.Source = manifest.NotKnown[string](f.Value, "a --mount that cannot be read: "+err.Error(), at)
		return m
	}
	text := func(val string) manifest.Text {
		if i := strings.Index(f.Value, val); i >= 0 && val != "" {
			return v.value(f, i, i+len(val))
		}
		return manifest.Of(val, val, at)
	}
	for _, field := range fields {
		key, val, given := strings.Cut(field, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "type":
			m.Type = strings.ToLower(val)
		case "source", "src":
			m.Source = text(val)
		case "target", "dst", "destination":
			m.Target = text(val)
		case "readonly", "ro":
			on, err := strconv.ParseBool(val)
			m.ReadOnly = manifest.Of(!given || err == nil && on, field, at)
		}
	}
	return m
}

func (v *Invocation) device(f *line.Flag, at manifest.Pos) manifest.Device {
	parts := split(f.Value)
	d := manifest.Device{At: at, Host: v.value(f, parts[0][0], parts[0][1]), Rights: "rwm"}
	d.Container = d.Host
	for _, p := range parts[1:] {
		text := f.Value[p[0]:p[1]]
		if text != "" && strings.Trim(text, "rwm") == "" {
			d.Rights = text
		} else {
			d.Container = v.value(f, p[0], p[1])
		}
	}
	return d
}

// port reads [[IP:]HOST:]CONTAINER[/PROTOCOL], where each may be a range.
func port(f *line.Flag, at manifest.Pos) manifest.Port {
	p := manifest.Port{Raw: f.Value, At: at}
	rest, protocol, _ := strings.Cut(f.Value, "/")
	p.Protocol = protocol
	host := ""
	if i := strings.LastIndex(rest, ":"); i >= 0 {
		host, rest = rest[:i], rest[i+1:]
		if i := strings.LastIndex(host, ":"); i >= 0 {
			p.HostIP, host = strings.Trim(host[:i], "[]"), host[i+1:]
		}
	}
	first, last, ranged := strings.Cut(rest, "-")
	p.Container, _ = strconv.Atoi(first)
	if ranged {
		p.Last, _ = strconv.Atoi(last)
	}
	host, _, _ = strings.Cut(host, "-")
	p.Host, _ = strconv.Atoi(host)
	return p
}
