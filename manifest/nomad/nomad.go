// Package nomad reads Nomad's job files (HCL): tasks of the docker and podman drivers.
//
// The docker driver tells Docker to drop what is in Docker's default and not in the client's
// allow_caps, and otherwise hands over what a task adds and drops (hashicorp/nomad
// drivers/shared/capabilities Delta, called by drivers/docker createContainerConfig, since
// 1.1.0). allow_caps defaults to Docker's default without NET_RAW (defaults.go
// NomadDefaults), and a task that adds what is not in it does not start. The podman driver
// hands over both lists as they are, on Podman's default (hashicorp/nomad-driver-podman
// driver.go StartTask).
package nomad

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/words"
)

// Format is that of job files.
var Format = manifest.Format{
	Name: "nomad", Title: "Nomad job file",
	Recognise: recognise, Parse: parse, Edit: edit, Verify: verify,
}

// Allowed is what a client's allow_caps is by default: what its docker driver gives a task
// that asks for nothing, and all that one may add.
var Allowed = caps.Of(caps.AuditWrite, caps.Chown, caps.DacOverride, caps.Fowner, caps.Fsetid, caps.Kill, caps.Mknod,
	caps.NetBindService, caps.Setfcap, caps.Setgid, caps.Setpcap, caps.Setuid, caps.SysChroot)

var (
	jobBlock  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^[ \t]*job[ \t]+"[^"\n]+"[ \t]*\{`) })
	taskBlock = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^[ \t]*(task|group)[ \t]+"[^"\n]+"[ \t]*\{`) })
)

func recognise(name string, data []byte) manifest.Likelihood {
	data = data[:min(len(data), 256<<10)]
	switch {
	case jobBlock().Match(data) && taskBlock().Match(data):
		return manifest.Sure
	case strings.HasSuffix(name, ".nomad") || strings.HasSuffix(name, ".nomad.hcl"):
		return manifest.Likely
	}
	return manifest.No
}

// A task is one that is a container.
type task struct {
	c      *manifest.Container
	config *hclsyntax.Body
	block  *hclsyntax.Block
}

// job is a file that is read.
type job struct {
	name  string
	data  []byte
	lines *manifest.Lines
	tasks []task
	errs  []error
}

func parse(src manifest.Source) ([]*manifest.Container, error) {
	j, err := read(src)
	if err != nil {
		return nil, err
	}
	var list []*manifest.Container
	for _, t := range j.tasks {
		list = append(list, t.c)
	}
	return list, errors.Join(j.errs...)
}

func read(src manifest.Source) (*job, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	j := &job{name: src.Name, data: src.Data, lines: manifest.NewLines(src.Name, src.Data)}
	if at := tooDeep(src.Data); at >= 0 {
		return nil, &manifest.Error{At: j.lines.Pos(at, at), Reason: fmt.Sprintf("nested deeper than %d", manifest.MaxDepth)}
	}
	bom := len(src.Data) - len(bytes.TrimPrefix(src.Data, []byte("\ufeff")))
	f, diags := hclsyntax.ParseConfig(src.Data[bom:], src.Name, hcl.Pos{Byte: bom, Line: 1, Column: 1})
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			e := &manifest.Error{At: manifest.Pos{File: src.Name}, Reason: d.Summary + ": " + d.Detail}
			if d.Subject != nil {
				e.At = j.pos(*d.Subject)
			}
			j.errs = append(j.errs, e)
		}
	}
	body, ok := f.Body.(*hclsyntax.Body)
	if !ok {
		return j, errors.Join(j.errs...)
	}
	for _, b := range body.Blocks {
		if b.Type == "job" {
			j.job(b)
		}
	}
	return j, nil
}

// tooDeep returns where the nesting exceeds what is allowed, -1 if nowhere: the parser
// recurses without a limit.
func tooDeep(data []byte) int {
	depth := 0
	for i, c := range data {
		switch c {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth = max(depth-1, 0)
		case '!', '-', '?': // operators that nest to the right
			if i > 0 && data[i-1] == c && c != '-' {
				depth++
			}
		}
		if depth > manifest.MaxDepth {
			return i
		}
	}
	return -1
}

func (j *job) pos(r hcl.Range) manifest.Pos {
	return j.lines.Pos(min(r.Start.Byte, len(j.data)), min(r.End.Byte, len(j.data)))
}

func label(b *hclsyntax.Block) string {
	if len(b.Labels) > 0 {
		return b.Labels[0]
	}
	return ""
}

func (j *job) job(b *hclsyntax.Block) {
	for _, g := range b.Body.Blocks {
		if g.Type != "group" {
			continue
		}
		host := manifest.Text{}
		for _, n := range g.Body.Blocks {
			if n.Type == "network" {
				if m := j.text(n.Body.Attributes["mode"]); m.State == manifest.Unknown || m.V == "host" {
					host = m
				}
			}
		}
		for _, t := range g.Body.Blocks {
			if t.Type != "task" {
				continue
			}
			driver := j.text(t.Body.Attributes["driver"]).V
			if driver != "docker" && driver != "podman" {
				continue
			}
			c := &manifest.Container{
				Format: "nomad", Path: fmt.Sprintf("job.%s.group.%s.task.%s", label(b), label(g), label(t)), Name: label(t), Kind: "task",
				Owner:  &manifest.Owner{Kind: "job", Name: label(b), At: j.pos(b.DefRange())},
				At:     j.pos(t.DefRange()),
				Target: manifest.Target{Engines: []string{driver}, Why: "the task's driver is " + driver},
				User:   j.text(t.Body.Attributes["user"]),
			}
			if driver == "docker" {
				c.Target.Default = &Allowed
				c.Target.Why += ", from whose default Nomad takes NET_RAW"
			}
			if host.State != manifest.Unset {
				c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: "net", With: host})
			}
			for i := range j.tasks {
				if j.tasks[i].c.Path == c.Path {
					j.errs = append(j.errs, &manifest.Error{At: c.At, Reason: "another task is called " + c.Path})
					c.Path += fmt.Sprintf(" #%d", len(j.tasks)+1)
				}
			}
			k := task{c: c, block: t}
			for _, config := range t.Body.Blocks {
				switch config.Type {
				case "config":
					k.config = config.Body
					j.config(c, config.Body, driver)
				case "env":
					for key, a := range config.Body.Attributes {
						c.Env = append(c.Env, manifest.Pair{Key: key, KeyAt: j.pos(a.NameRange), Value: j.text(a)})
					}
				case "template":
					if env := config.Body.Attributes["env"]; env != nil && !manifest.Is(j.boolean(env), false) {
						at := j.pos(config.DefRange())
						c.Env = append(c.Env, manifest.Pair{KeyAt: at, Value: manifest.NotKnown[string]("", "a template makes them where it runs", at)})
					}
				}
			}
			sortPairs(c.Env)
			j.tasks = append(j.tasks, k)
		}
	}
}

// text is an attribute as a fact.
func (j *job) text(a *hclsyntax.Attribute) manifest.Text {
	if a == nil {
		return manifest.Text{}
	}
	return j.expr(a.Expr)
}

func (j *job) expr(e hclsyntax.Expression) manifest.Text {
	at := j.pos(e.Range())
	raw := strings.Trim(string(j.data[at.Start:at.End]), `"`)
	v, diags := e.Value(nil)
	switch {
	case diags.HasErrors() || !v.IsKnown():
		return manifest.NotKnown[string](raw, "a variable or function is Nomad's to fill in", at)
	case v.IsNull():
		return manifest.Text{}
	case v.Type() == cty.String:
		if s := v.AsString(); strings.Contains(s, "${") { // ${attr…}: filled in where it runs
			return manifest.NotKnown[string](raw, "a variable is Nomad's to fill in", at)
		}
		return manifest.Of(v.AsString(), raw, at)
	case v.Type() == cty.Bool:
		return manifest.Of(fmt.Sprint(v.True()), raw, at)
	case v.Type() == cty.Number:
		return manifest.Of(v.AsBigFloat().Text('f', -1), raw, at)
	}
	return manifest.NotKnown[string](raw, "no text", at)
}

func (j *job) boolean(a *hclsyntax.Attribute) manifest.Bool {
	t := j.text(a)
	switch {
	case t.State == manifest.Unset:
		return manifest.Bool{}
	case t.State == manifest.Known && (t.V == "true" || t.V == "false"):
		return manifest.Of(t.V == "true", t.Raw, t.At)
	}
	return manifest.NotKnown[bool](t.Raw, "not a boolean that is written here", t.At)
}

// items are a list's, nil with known false if it is no list.
func (j *job) items(a *hclsyntax.Attribute) (items []hclsyntax.Expression, known bool) {
	if a == nil {
		return nil, true
	}
	list, ok := a.Expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		return nil, false
	}
	return list.Exprs, true
}

// modes are the driver's attributes that name namespaces.
var modes = []struct{ key, kind string }{
	{"network_mode", "net"}, {"pid_mode", "pid"}, {"ipc_mode", "ipc"}, {"uts_mode", "uts"}, {"userns_mode", "user"}, {"cgroupns", "cgroup"},
}

func (j *job) config(c *manifest.Container, b *hclsyntax.Body, driver string) {
	get := func(key string) *hclsyntax.Attribute { return b.Attributes[key] }
	c.Image, c.Privileged, c.ReadOnlyRoot = j.text(get("image")), j.boolean(get("privileged")), j.boolean(get("readonly_rootfs"))
	for _, l := range []struct {
		key    string
		action manifest.Action
	}{{"cap_add", manifest.Add}, {"cap_drop", manifest.Drop}} {
		a := get(l.key)
		items, ok := j.items(a)
		if !ok {
			c.CapsWhy = l.key + " is no list that is written here"
		}
		for _, e := range items {
			c.Caps = append(c.Caps, manifest.Request{Action: l.action, Word: j.expr(e), List: j.pos(a.Expr.Range())})
		}
	}
	c.Entrypoint, c.WorkDir = j.args(get("entrypoint")), j.text(get("work_dir"))
	c.Command = j.args(get("args"))
	if driver == "podman" && c.WorkDir.State == manifest.Unset {
		c.WorkDir = j.text(get("working_dir"))
	}
	if program := j.text(get("command")); program.State != manifest.Unset && c.Command.State != manifest.Unknown {
		c.Command = manifest.Of(append([]manifest.Text{program}, c.Command.V...), "", program.At)
	}
	for _, m := range modes {
		t := j.text(get(m.key))
		kind, _, _ := strings.Cut(t.V, ":")
		if t.State == manifest.Unknown || kind == "host" || kind == "container" {
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: m.kind, With: t})
		}
	}
	for _, k := range [][2]string{{"security_opt", "security-opt"}, {"volumes", "volume"}} {
		items, _ := j.items(get(k[0]))
		for _, e := range items {
			j.flag(c, k[1], j.expr(e), driver)
		}
	}
	for _, n := range b.Blocks {
		attr := func(key string) manifest.Text { return j.text(n.Body.Attributes[key]) }
		at := j.pos(n.DefRange())
		switch n.Type {
		case "mount", "mounts":
			m := manifest.Mount{Type: attr("type").V, Source: attr("source"), Target: attr("target"), ReadOnly: j.boolean(n.Body.Attributes["readonly"]), At: at}
			if m.Type == "" {
				m.Type = "volume"
			}
			c.Mounts = append(c.Mounts, m)
		case "devices":
			c.Devices = append(c.Devices, manifest.Device{Host: attr("host_path"), Container: attr("container_path"), Rights: "rwm", At: at})
		case "labels", "sysctl":
			for key, a := range n.Body.Attributes {
				j.pair(c, n.Type, key, j.pos(a.NameRange), j.text(a))
			}
		}
	}
	for _, key := range []string{"labels", "sysctl"} {
		if a := get(key); a != nil {
			if o, ok := a.Expr.(*hclsyntax.ObjectConsExpr); ok {
				for _, item := range o.Items {
					k := j.expr(item.KeyExpr)
					if k.State == manifest.Unknown { // a.b without quotes
						k.V = k.Raw
					}
					j.pair(c, key, k.V, k.At, j.expr(item.ValueExpr))
				}
			}
		}
	}
	sortPairs(c.Labels)
	sortPairs(c.Sysctls)
	if a := get("devices"); a != nil {
		items, _ := j.items(a)
		for _, e := range items {
			d := manifest.Device{Rights: "rwm", At: j.pos(e.Range())}
			if o, ok := e.(*hclsyntax.ObjectConsExpr); ok {
				for _, item := range o.Items {
					switch j.expr(item.KeyExpr).V {
					case "host_path":
						d.Host = j.expr(item.ValueExpr)
					case "container_path":
						d.Container = j.expr(item.ValueExpr)
					}
				}
			}
			c.Devices = append(c.Devices, d)
		}
	}
}

// args is a list as words; the entry point may also be one text (drivers/docker/config.go).
func (j *job) args(a *hclsyntax.Attribute) manifest.Args {
	if a == nil {
		return manifest.Args{}
	}
	at := j.pos(a.Expr.Range())
	items, known := j.items(a)
	if !known {
		t := j.text(a)
		if t.State != manifest.Known {
			return manifest.NotKnown[[]manifest.Text](t.Raw, a.Name+" is no list that is written here", at)
		}
		return manifest.Of([]manifest.Text{t}, t.Raw, at)
	}
	list := make([]manifest.Text, len(items))
	for i, e := range items {
		list[i] = j.expr(e)
	}
	return manifest.Of(list, "", at)
}

func (j *job) pair(c *manifest.Container, list, key string, at manifest.Pos, v manifest.Text) {
	p := manifest.Pair{Key: key, KeyAt: at, Value: v}
	if list == "labels" {
		c.Labels = append(c.Labels, p)
	} else {
		c.Sysctls = append(c.Sysctls, p)
	}
}

// flag reads a value as docker's flag of that name.
func (j *job) flag(c *manifest.Container, name string, v manifest.Text, driver string) {
	w := words.New("--"+name+"="+v.Raw, v.Raw, v.At.Start, v.At.End, nil)
	w.Why = v.Why
	if f, err := flags.Options(driver, []words.Word{w}, c.Image, j.lines, v.At); err == nil {
		f.Onto(c)
	}
}
