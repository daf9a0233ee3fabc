package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // the loader's warnings
	m.Run()
}

// files is a project in memory: the first one that docker compose would take is the main
// one.
type files map[string]string

func (f files) source() manifest.Source {
	name := ""
	for _, n := range names {
		if _, ok := f[n]; ok && name == "" {
			name = n
		}
	}
	return manifest.Source{Name: name, Data: []byte(f[name]), Open: func(n string) ([]byte, error) {
		if data, ok := f[n]; ok {
			return []byte(data), nil
		}
		return nil, fmt.Errorf("%s: no such file", n)
	}}
}

// oracle is what compose-go makes of a project; its files are written to a directory, where
// it looks for what they refer to.
func oracle(t *testing.T, f files) (*types.Project, error) {
	dir := t.TempDir()
	for name, data := range f {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src := f.source()
	details := types.ConfigDetails{WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, src.Name)}}, Environment: types.Mapping{}}
	if env, ok := f[".env"]; ok {
		vars, err := dotenv.Parse(strings.NewReader(env))
		if err != nil {
			return nil, err
		}
		details.Environment = vars
	}
	for _, o := range overrides {
		if _, ok := f[o]; ok {
			details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: filepath.Join(dir, o)})
			break
		}
	}
	return loader.LoadWithContext(context.Background(), details, func(o *loader.Options) {
		o.SkipConsistencyCheck, o.SkipNormalization, o.SkipResolveEnvironment, o.Profiles = true, true, true, []string{"*"}
		o.SetProjectName("x", true)
	})
}

// view is what is compared: every fact that both sides have.
type view struct {
	Image, Build, User          string
	Privileged, ReadOnly, NNP   bool
	Add, Drop                   []string
	Net, PID, IPC, Userns, UTS  string
	Mounts, Devices, Ports      []string
	Labels, Sysctls             map[string]string
	Seccomp, AppArmor, Profiles string

	Entrypoint, Command []string // nil is none, which no words are not
	Dir                 string
	Env                 map[string]string
}

func ours(c *manifest.Container) view {
	v := view{Image: c.Image.V, Build: c.Build.V, User: c.User.V, Privileged: c.Privileged.V, ReadOnly: c.ReadOnlyRoot.V,
		NNP: c.NoNewPrivs.V, Seccomp: c.Seccomp.V, AppArmor: c.AppArmor.V, Labels: map[string]string{}, Sysctls: map[string]string{}}
	for _, r := range c.Caps {
		list := &v.Add
		if r.Action == manifest.Drop {
			list = &v.Drop
		}
		if !slices.Contains(*list, r.Word.V) { // compose-go leaves none twice
			*list = append(*list, r.Word.V)
		}
	}
	for _, n := range c.Namespaces {
		switch n.Kind {
		case "net":
			v.Net = n.With.V
		case "pid":
			v.PID = n.With.V
		case "ipc":
			v.IPC = n.With.V
		case "user":
			v.Userns = n.With.V
		case "uts":
			v.UTS = n.With.V
		}
	}
	for _, m := range c.Mounts {
		if m.Type != "tmpfs" {
			v.Mounts = append(v.Mounts, fmt.Sprint(m.Type, " ", m.Source.V, " ", m.Target.V, " ", m.ReadOnly.V))
		}
	}
	for _, d := range c.Devices {
		v.Devices = append(v.Devices, d.Host.V+" "+d.Container.V+" "+d.Rights)
	}
	for _, p := range c.Ports {
		if p.Host != 0 && p.Last == 0 {
			protocol := p.Protocol
			if protocol == "" {
				protocol = "tcp"
			}
			v.Ports = append(v.Ports, fmt.Sprint(p.HostIP, " ", p.Host, " ", p.Container, " ", protocol))
		}
	}
	for _, l := range c.Labels {
		v.Labels[l.Key] = l.Value.V
	}
	v.Entrypoint, v.Command, v.Dir, v.Env = lineOf(c.Entrypoint), lineOf(c.Command), c.WorkDir.V, map[string]string{}
	for _, p := range c.Env {
		if p.Value.State == manifest.Known {
			v.Env[p.Key] = p.Value.V
		}
	}
	for _, l := range c.Sysctls {
		v.Sysctls[l.Key] = l.Value.V
	}
	for _, f := range c.Facts {
		if f.Key == "profiles" {
			v.Profiles = f.Value.V
		}
	}
	sortView(&v)
	return v
}

func lineOf(a manifest.Args) []string {
	if a.State == manifest.Unset {
		return nil
	}
	list := []string{}
	for _, w := range a.V {
		list = append(list, w.V)
	}
	return list
}

func theirs(s types.ServiceConfig, dir string) view {
	v := view{Image: s.Image, User: s.User, Privileged: s.Privileged, ReadOnly: s.ReadOnly, Add: s.CapAdd, Drop: s.CapDrop,
		Labels: map[string]string{}, Sysctls: map[string]string{}, Profiles: strings.Join(s.Profiles, " ")}
	local := func(p string) string {
		if rel, err := filepath.Rel(dir, p); err == nil && filepath.IsAbs(p) && !strings.HasPrefix(rel, "..") {
			return rel
		}
		return p
	}
	if s.Build != nil {
		v.Build = s.Build.Context
	}
	for _, o := range s.SecurityOpt {
		i := strings.IndexAny(o, "=:")
		name, value := o, ""
		if i >= 0 {
			name, value = o[:i], o[i+1:]
		}
		switch name {
		case "no-new-privileges":
			v.NNP = i < 0 || value == "true"
		case "seccomp":
			v.Seccomp = value
		case "apparmor":
			v.AppArmor = value
		}
	}
	shared := func(s string) string {
		if s == "host" || strings.Contains(s, ":") || s == "shareable" {
			return s
		}
		return ""
	}
	v.Net, v.PID, v.IPC, v.Userns, v.UTS = shared(s.NetworkMode), shared(s.Pid), shared(s.Ipc), shared(s.UserNSMode), shared(s.Uts)
	for _, m := range s.Volumes {
		if m.Type != "tmpfs" {
			source := m.Source
			// Whose home it is depends on who runs it: ours stay as they are written.
			if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(source, home+"/") {
				source = "~" + strings.TrimPrefix(source, home)
			}
			if m.Type == "bind" {
				source = local(source)
			}
			v.Mounts = append(v.Mounts, fmt.Sprint(m.Type, " ", source, " ", m.Target, " ", m.ReadOnly))
		}
	}
	for _, d := range s.Devices {
		if d.Permissions == "" {
			d.Permissions = "rwm" // the daemon's default
		}
		v.Devices = append(v.Devices, d.Source+" "+d.Target+" "+d.Permissions)
	}
	for _, p := range s.Ports {
		if p.Published != "" && p.Published != "0" {
			v.Ports = append(v.Ports, fmt.Sprint(p.HostIP, " ", p.Published, " ", p.Target, " ", p.Protocol))
		}
	}
	v.Entrypoint, v.Command, v.Dir, v.Env = s.Entrypoint, s.Command, s.WorkingDir, map[string]string{}
	for key, value := range s.Environment {
		if value != nil {
			v.Env[key] = *value
		}
	}
	maps.Copy(v.Labels, s.Labels)
	maps.Copy(v.Sysctls, s.Sysctls)
	sortView(&v)
	return v
}

func sortView(v *view) {
	for _, list := range []*[]string{&v.Mounts, &v.Devices, &v.Ports, &v.Add, &v.Drop} {
		slices.Sort(*list)
		if len(*list) == 0 {
			*list = nil
		}
	}
}

// agree compares a project with compose-go's own reading of it.
func agree(t *testing.T, f files) int {
	t.Helper()
	project, err := oracle(t, f)
	list, ourErr := Parse(f.source())
	if err != nil {
		t.Errorf("compose-go: %v (ours: %v)", err, ourErr)
		return 0
	}
	if ourErr != nil {
		t.Errorf("ours: %v", ourErr)
	}
	got := map[string]*manifest.Container{}
	for _, c := range list {
		if c.Kind == "service" {
			got[c.Name] = c
		}
	}
	if want := slices.Sorted(maps.Keys(project.Services)); !slices.Equal(want, slices.Sorted(maps.Keys(got))) {
		t.Errorf("compose-go has %v, ours are %v", want, slices.Sorted(maps.Keys(got)))
		return 0
	}
	for name, s := range project.Services {
		want, have := theirs(s, project.WorkingDir), ours(got[name])
		if s.Build != nil {
			have.Build, want.Build = "", "" // its path is made absolute, or not
		}
		for _, p := range got[name].Env { // what is not known here is blank there
			if p.Value.State == manifest.Unknown {
				delete(want.Env, p.Key)
			}
		}
		if got[name].Command.State == manifest.Unknown {
			have.Command, want.Command = nil, nil
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("%s (- compose-go, + ours):\n%s", name, d)
		}
	}
	return len(project.Services)
}

func TestMeaning(t *testing.T) {
	for _, tt := range []struct {
		name string
		files
	}{
		{"all facts", files{"compose.yaml": `
services:
  web:
    image: "nginx:${TAG:-1}"
    user: "33"
    privileged: "yes"
    read_only: true
    cap_add: [NET_ADMIN, cap_sys_time]
    cap_drop:
      - ALL
    security_opt: [no-new-privileges:true, seccomp=unconfined, "apparmor:unconfined", "label=disable"]
    network_mode: host
    pid: "service:db"
    ipc: host
    userns_mode: host
    uts: host
    profiles: [a, b]
    devices: ["/dev/kvm", "/dev/fuse:/dev/x:r", {source: /dev/null, target: /dev/n}]
    volumes: [/var/run/docker.sock:/s:ro, data:/d, ./rel:/r, /anon, {type: bind, source: /etc, target: /e, read_only: true}]
    labels: {a: b, c: "1", rule: "{{ x }}"}
    sysctls: ["net.core.somaxconn=1"]
    entrypoint: /bin/x "a b" 'c' d\ e
    command: ["-a", "$$HOME", ""]
    working_dir: /w
    environment: {A: b, N: 1, T: true, E: "", NONE: , Q: "a=b $$x"}
  db:
    build: .
    command: ""
    environment: ["A=x y", B=, C, "D='q'=r"]
    ports: ["8080:80", "127.0.0.1:53:53/udp", {target: 1, published: "2"}, "9"]
    labels: [x=y, z]
volumes: {data: }
`}},
		{"anchors and merges", files{"compose.yaml": `
x-a: &a
  cap_drop: [ALL]
  security_opt: &opt [no-new-privileges:true]
x-b: &b {cap_add: [CHOWN], cap_drop: [KILL], read_only: true}
services:
  one: {<<: [*a, *b], image: x}
  two:
    <<: *b
    cap_add: [KILL]
    image: x
    security_opt: *opt
  three: &three
    image: y
    cap_add: &caps [CHOWN]
  four:
    <<: *three
    cap_drop: *caps
  five: *three
`}},
		{"extends", files{"compose.yaml": `
services:
  base: {image: x, command: a b, entrypoint: [e], environment: [A=1, B=2], cap_add: [CHOWN, KILL], privileged: true, labels: {a: "1", b: "2"}, volumes: [./a:/t, bb:/u]}
  mid: {extends: base, command: [c], environment: {B: 3, C: "4"}, cap_add: [KILL, SETUID], privileged: false, volumes: ["cc:/t/"]}
  top: {extends: {service: mid}, cap_drop: [ALL], entrypoint: [], labels: [b=3]}
  other: {extends: {service: far, file: lib/far.yml}, user: me}
volumes: {bb: , cc: }
`, "lib/far.yml": `
services:
  far: {image: far, extends: {service: further}, cap_add: [MKNOD], volumes: [./x:/y]}
  further: {image: no, cap_drop: [ALL], pid: host}
`}},
		{"override", files{"compose.yaml": `
services:
  web: {image: x, cap_add: [CHOWN, KILL], cap_drop: [ALL], privileged: true, user: a, ports: ["1:1"], sysctls: {a: 1}}
  off: {image: y}
`, "compose.override.yaml": `
services:
  web: {cap_add: [SETUID, KILL], user: b, read_only: true, ports: ["1:1", "2:2"], sysctls: [a=2, b=3]}
  new: {image: z, cap_add: [KILL]}
`}},
		{"reset and override", files{"docker-compose.yml": `
services:
  web: {image: x, command: x, cap_add: [CHOWN, KILL], cap_drop: [ALL], privileged: true, user: a, security_opt: [no-new-privileges:true]}
`, "docker-compose.override.yml": `
services:
  web:
    cap_add: !override [SETUID]
    command: !reset null
    cap_drop: !reset []
    privileged: !reset null
    user: ~
`}},
		{"include", files{"compose.yaml": `
include:
  - lib/a.yaml
  - path: [lib/b.yaml, lib/c.yaml]
services:
  web: {image: x, cap_add: [CHOWN]}
  user: {extends: a}
`, "lib/a.yaml": "services:\n  a: {image: \"a:${V}\", cap_drop: [ALL], volumes: [./d:/d]}\n", "lib/.env": "V=7\n",
			"lib/b.yaml": "services:\n  b: {image: b, cap_add: [CHOWN]}\n", "lib/c.yaml": "services:\n  b: {cap_add: [KILL], privileged: true}\n"}},
		{"variables", files{".env": "A=NET_ADMIN\nP=true\nE=\n", "compose.yaml": `
services:
  web:
    image: ${I-none}:${E:-latest}${E+set}$$x
    cap_add: ["$A", "${B:-CHOWN}"]
    privileged: ${P}
    read_only: ${R:-false}
    user: "${U:-${A}}"
`}},
	} {
		t.Run(tt.name, func(t *testing.T) { agree(t, tt.files) })
	}
}

func TestCorpusMeaning(t *testing.T) {
	services := 0
	for name, data := range testenv.Corpus(t, "compose/*.y*ml") {
		// Variables without a value are blank for Compose, and not known here.
		text := string(data)
		env := ""
		for _, v := range []string{"DOMAIN", "SMTP_SERVER", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_PW", "PGADMIN_MAIL", "PGADMIN_PW"} {
			env += v + "=x\n"
		}
		env += "PLEX_MEDIA_PATH=/x\n"
		t.Run(name, func(t *testing.T) {
			services += agree(t, files{"compose.yaml": text, ".env": env})
			if Recognise("any.yaml", data) == manifest.No {
				t.Error("not recognised")
			}
		})
	}
	t.Logf("%d services", services)
}

func TestUnknown(t *testing.T) {
	list, err := Parse(manifest.Source{Name: "c.yml", Data: []byte(`services:
  web:
    image: x:$TAG
    cap_add: ["${CAP}"]
    privileged: ${P:?is needed}
    volumes: ["${D}:/d", "/etc:/e:${M}"]
    extends: {file: other.yml, service: x}
`)})
	c := list[0]
	var missing *manifest.Error
	if !errors.As(err, &missing) || missing.At.Line != 7 || !strings.Contains(err.Error(), "other.yml cannot be read") {
		t.Errorf("error: %v", err)
	}
	for _, got := range []struct {
		what  string
		state manifest.State
		why   string
		want  string
	}{
		{"image", c.Image.State, c.Image.Why, "the variable $TAG has no value"},
		{"cap", c.Caps[0].Word.State, c.Caps[0].Word.Why, "the variable ${CAP} has no value"},
		{"privileged", c.Privileged.State, c.Privileged.Why, "required variable P is missing a value: is needed"},
		{"volume", c.Mounts[0].Source.State, c.Mounts[0].Source.Why, "the variable ${D} has no value"},
	} {
		if got.state != manifest.Unknown || got.why != got.want {
			t.Errorf("%s: %v %q", got.what, got.state, got.why)
		}
	}
	if c.Mounts[1].Source.V != "/etc" || c.Mounts[1].Type != "bind" || c.CapsWhy == "" {
		t.Errorf("%+v", c)
	}
	if _, err := c.Given(""); err == nil {
		t.Error("an engine's answer without the question")
	}
}
