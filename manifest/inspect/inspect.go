// Package inspect reads what docker inspect and podman inspect print of containers: what
// was asked for when they were made.
package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/usage"
)

const name = "inspect"

// Format reads it from a file; there is nothing in it to edit.
var Format = manifest.Format{
	Name: name, Title: "what docker inspect and podman inspect print",
	Recognise: Recognise, Parse: Parse,
}

// Recognise looks for a list of objects that have what containers have.
func Recognise(_ string, data []byte) manifest.Likelihood {
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) == 0 || t[0] != '[' {
		return manifest.No
	}
	if bytes.Contains(data, []byte(`"HostConfig"`)) && bytes.Contains(data, []byte(`"CapDrop"`)) {
		return manifest.Sure
	}
	return manifest.No
}

// container is the part of the Engine API's ContainerInspectResponse that matters here
// (moby api/types/container), which Podman follows.
type container struct {
	ID        string `json:"Id"`
	Image     string // its id
	Name      string
	ImageName string // Podman's; its Image is an id
	Config    struct {
		Image, User, WorkingDir string
		Entrypoint              words
		Cmd, Env                []string
		Labels                  map[string]string
	}
	HostConfig struct {
		CapAdd, CapDrop                                                []string
		Privileged, ReadonlyRootfs                                     bool
		NetworkMode, PidMode, IpcMode, UTSMode, UsernsMode, CgroupMode string
		SecurityOpt                                                    []string
		Devices                                                        []struct{ PathOnHost, PathInContainer, CgroupPermissions string }
		Sysctls                                                        map[string]string
	}
	Mounts []struct {
		Type, Name, Source, Destination string
		RW                              bool
	}
	NetworkSettings struct {
		Ports map[string][]struct{ HostIP, HostPort string }
	}
	OCIRuntime string // Podman's
}

// words is a list, or one text, which older Podmans print.
type words []string

func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*w = strings.Fields(one)
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// WithoutImages takes from the containers what their images say already, so that what is
// left was asked for. images is what `image inspect` prints of them; those of which it says
// nothing are gone.
func WithoutImages(list []*manifest.Container, images []byte) (gone []*manifest.Container, err error) {
	var answer []struct {
		ID     string `json:"Id"`
		Config struct {
			User       string
			WorkingDir string
			Entrypoint words
			Cmd, Env   []string
		}
	}
	if err := json.Unmarshal(images, &answer); err != nil {
		return nil, fmt.Errorf("not what image inspect prints: %w", err)
	}
	for _, c := range list {
		found := false
		for i := range answer {
			if id := answer[i].ID; id == "" || strings.TrimPrefix(id, "sha256:") != strings.TrimPrefix(ImageID(c), "sha256:") {
				continue
			}
			found = true
			own := &answer[i].Config
			entrypoint, _ := manifest.Line(c.Entrypoint)
			command, _ := manifest.Line(c.Command)
			if slices.Equal(entrypoint, own.Entrypoint) {
				c.Entrypoint = manifest.Args{}
				if slices.Equal(command, own.Cmd) {
					c.Command = manifest.Args{}
				}
			} else if len(command) == 0 {
				c.Command = manifest.Args{} // another entry point has none of the image's
			}
			if c.User.V == own.User { // who it is matters still
				c.Facts = append(c.Facts, manifest.Pair{Key: factUser, KeyAt: c.At, Value: manifest.Of(own.User, own.User, c.At)})
			}
			if c.WorkDir.V == own.WorkingDir {
				c.WorkDir = manifest.Text{}
			}
			c.Env = slices.DeleteFunc(c.Env, func(p manifest.Pair) bool { return slices.Contains(own.Env, p.Key+"="+p.Value.V) })
			break
		}
		if !found {
			gone = append(gone, c)
		}
	}
	return gone, nil
}

const (
	factImage = "image id"
	factUser  = "image user"
)

// ImageUser says that a container's user is its image's own, which [WithoutImages] found.
func ImageUser(c *manifest.Container) bool {
	return slices.ContainsFunc(c.Facts, func(p manifest.Pair) bool { return p.Key == factUser })
}

// ImageID is the id of a container's image, "" if it is not said.
func ImageID(c *manifest.Container) string {
	for _, f := range c.Facts {
		if f.Key == factImage {
			return f.Value.V
		}
	}
	return ""
}

// Parse returns the containers. Their places have no line: nobody wrote this.
func Parse(src manifest.Source) ([]*manifest.Container, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	at := manifest.Pos{File: src.Name}
	var answer []container
	d := json.NewDecoder(bytes.NewReader(src.Data))
	if err := d.Decode(&answer); err != nil {
		e := &manifest.Error{At: at, Reason: "not what docker inspect prints", Err: err}
		if offset, ok := usage.JSONOffset(src.Data, err); ok {
			e.At = manifest.NewLines(src.Name, src.Data).Pos(offset, offset)
		}
		return nil, e
	}
	if rest := bytes.TrimLeft(src.Data[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		end := len(src.Data) - len(rest)
		return nil, &manifest.Error{At: manifest.NewLines(src.Name, src.Data).Pos(end, end), Reason: "something follows what docker inspect prints",
			Hint: "name all containers in one docker inspect, which prints one list, or give each its own file"}
	}
	var list []*manifest.Container
	for i := range answer {
		list = append(list, answer[i].read(at))
	}
	return list, nil
}

func (a *container) read(at manifest.Pos) *manifest.Container {
	text := func(s string) manifest.Text {
		if s == "" {
			return manifest.Text{}
		}
		return manifest.Of(s, s, at)
	}
	yes := func(b bool) manifest.Bool { return manifest.Of(b, fmt.Sprint(b), at) }
	h := &a.HostConfig
	image, engine := a.Config.Image, "docker"
	if a.ImageName != "" || a.OCIRuntime != "" {
		image, engine = a.ImageName, "podman"
	}
	own := strings.TrimPrefix(a.Name, "/")
	c := &manifest.Container{
		Format: name, Path: a.ID, Name: own, Kind: "container", At: at,
		Target: manifest.Target{Engines: []string{engine}, Chosen: true},
		Image:  text(image), User: text(a.Config.User), Privileged: yes(h.Privileged), ReadOnlyRoot: yes(h.ReadonlyRootfs),
	}
	args := func(list []string) manifest.Args {
		out := make([]manifest.Text, len(list))
		for i, w := range list {
			out[i] = text(w)
			out[i].State = manifest.Known
		}
		return manifest.Of(out, "", at)
	}
	if a.Image != "" {
		c.Facts = append(c.Facts, manifest.Pair{Key: factImage, KeyAt: at, Value: text(a.Image)})
	}
	// What the image has is in it, too: see WithoutImages.
	c.Entrypoint, c.Command, c.WorkDir = args(a.Config.Entrypoint), args(a.Config.Cmd), text(a.Config.WorkingDir)
	for _, v := range a.Config.Env {
		key, value, _ := strings.Cut(v, "=")
		c.Env = append(c.Env, manifest.Pair{Key: key, KeyAt: at, Value: manifest.Of(value, value, at)})
	}
	if c.Path == "" {
		c.Path = own
	}
	for action, words := range map[manifest.Action][]string{manifest.Add: h.CapAdd, manifest.Drop: h.CapDrop} {
		for _, w := range words {
			c.Caps = append(c.Caps, manifest.Request{Action: action, Word: manifest.Of(w, w, at), List: at})
		}
	}
	slices.SortStableFunc(c.Caps, func(a, b manifest.Request) int { return int(b.Action) - int(a.Action) })
	for _, n := range []struct{ kind, with string }{
		{"net", h.NetworkMode}, {"pid", h.PidMode}, {"ipc", h.IpcMode}, {"uts", h.UTSMode}, {"user", h.UsernsMode}, {"cgroup", h.CgroupMode},
	} {
		// Names of networks are the container's own namespace.
		if n.with == "host" || n.with == "none" || strings.HasPrefix(n.with, "container:") || n.kind == "user" && n.with != "" {
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: n.kind, With: manifest.Of(n.with, n.with, at)})
		}
	}
	for _, opt := range h.SecurityOpt {
		key, value, _ := strings.Cut(strings.Replace(opt, ":", "=", 1), "=")
		switch key {
		case "no-new-privileges":
			c.NoNewPrivs = yes(value != "false")
		case "seccomp":
			c.Seccomp = text(value)
		case "apparmor":
			c.AppArmor = text(value)
		case "label":
			c.SELinux = text(value)
		}
	}
	for _, m := range a.Mounts {
		source := m.Source
		if m.Type == "volume" {
			source = m.Name // where the engine keeps it is the engine's
		}
		c.Mounts = append(c.Mounts, manifest.Mount{Type: m.Type, Source: text(source), Target: text(m.Destination), ReadOnly: yes(!m.RW), At: at})
	}
	for _, d := range h.Devices {
		c.Devices = append(c.Devices, manifest.Device{Host: text(d.PathOnHost), Container: text(d.PathInContainer), Rights: d.CgroupPermissions, At: at})
	}
	c.Labels, c.Sysctls = pairs(a.Config.Labels, at), pairs(h.Sysctls, at)
	return c
}

// pairs are in the order of their keys.
func pairs(m map[string]string, at manifest.Pos) []manifest.Pair {
	var list []manifest.Pair
	for k, v := range m {
		list = append(list, manifest.Pair{Key: k, KeyAt: at, Value: manifest.Of(v, v, at)})
	}
	slices.SortFunc(list, func(a, b manifest.Pair) int { return strings.Compare(a.Key, b.Key) })
	return list
}
