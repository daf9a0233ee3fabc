package flags

import (
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

// Options reads flags that stand without their line: a string of options that something
// puts between `docker create` and the image. at is where the host defines the container.
func Options(engine string, list []words.Word, image manifest.Text, lines *manifest.Lines, at manifest.Pos) (*Invocation, error) {
	start, end := at.Start, at.Start
	if len(list) > 0 {
		start, end = list[0].Start, list[len(list)-1].End
	}
	all := []words.Word{words.New(engine, engine, start, start, nil), words.New("create", "create", start, start, nil)}
	all = append(all, list...)
	all = append(all, words.New("localhost/image", "localhost/image", end, end, nil))
	v, err := Parse(all, lines)
	if err != nil {
		return nil, err
	}
	if v == nil || v.index[v.Line.ImageAt()] != len(all)-1 {
		return nil, &manifest.Error{At: at, Reason: "these options of " + engine + " create cannot be read: a word is no flag"}
	}
	v.bare = true
	v.Container.Image, v.Container.At = image, at
	if v.Container.Name == "image" || v.Container.Name == "container" {
		v.Container.Name = v.name(image)
	}
	v.Container.Target.Why = "it is run with " + engine
	return v, nil
}

// NewOptions are the flags that a plan puts in, as one string: for hosts that have no
// options yet.
func (p *Plan) NewOptions() string {
	var list []string
	for _, flag := range p.Insert {
		list = append(list, strings.Join(flag, " "))
	}
	return strings.Join(list, " ")
}

// Onto adds what flags say to a container that its host defines in other ways, too.
func (v *Invocation) Onto(c *manifest.Container) {
	f := v.Container
	if f.CapsWhy != "" {
		c.CapsWhy = f.CapsWhy
	}
	c.Caps = append(c.Caps, f.Caps...)
	c.Namespaces = append(c.Namespaces, f.Namespaces...)
	c.Mounts = append(c.Mounts, f.Mounts...)
	c.Devices = append(c.Devices, f.Devices...)
	c.Ports = append(c.Ports, f.Ports...)
	c.Labels = append(c.Labels, f.Labels...)
	c.Sysctls = append(c.Sysctls, f.Sysctls...)
	c.Facts = append(c.Facts, f.Facts...)
	c.Env = append(c.Env, f.Env...)
	for _, p := range []struct{ to, from *manifest.Args }{{&c.Entrypoint, &f.Entrypoint}, {&c.Command, &f.Command}} {
		if p.from.State != manifest.Unset {
			*p.to = *p.from
		}
	}
	for _, p := range []struct{ to, from *manifest.Text }{
		{&c.User, &f.User}, {&c.Seccomp, &f.Seccomp}, {&c.AppArmor, &f.AppArmor}, {&c.SELinux, &f.SELinux}, {&c.ProcMount, &f.ProcMount}, {&c.WorkDir, &f.WorkDir},
	} {
		if p.from.State != manifest.Unset {
			*p.to = *p.from
		}
	}
	for _, p := range []struct{ to, from *manifest.Bool }{
		{&c.Privileged, &f.Privileged}, {&c.NoNewPrivs, &f.NoNewPrivs}, {&c.ReadOnlyRoot, &f.ReadOnlyRoot},
	} {
		if p.from.State != manifest.Unset {
			*p.to = *p.from
		}
	}
}
