package nomad

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/manifest"
)

const web = `variable "image" { default = "x" }

job "web" {
  datacenters = ["dc1"]
  group "front" {
    network {
      mode = "host"
    }
    task "nginx" {
      driver = "docker"
      user   = "33:33"
      config {
        image        = "nginx:1"
        cap_add      = ["NET_ADMIN", "sys_time"] # why
        network_mode = "host"
        pid_mode     = "container:x"
        volumes      = ["/var/run/docker.sock:/s:ro", "local/x:/y"]
        security_opt = ["seccomp=unconfined"]
        mount {
          type   = "bind"
          source = "/etc"
          target = "/e"
        }
        sysctl = {
          net.core.somaxconn = "5"
        }
      }
    }
    task "side" {
      driver = "docker"
      config {
        image = "${var.image}"
        privileged = true
        cap_drop = [
          "CHOWN",
          "KILL",
        ]
      }
    }
    task "raw" {
      driver = "raw_exec"
      config { command = "x" }
    }
  }
}
`

func show(c *manifest.Container) string {
	var b strings.Builder
	text := func(name string, t manifest.Text) {
		switch t.State {
		case manifest.Known:
			fmt.Fprintf(&b, " %s=%s", name, t.V)
		case manifest.Unknown:
			fmt.Fprintf(&b, " %s=?%s", name, t.Raw)
		}
	}
	fmt.Fprintf(&b, "%d:%d %s", c.At.Line, c.At.Column, c.Path)
	text("image", c.Image)
	text("user", c.User)
	for _, r := range c.Caps {
		text(r.Action.String(), r.Word)
		fmt.Fprintf(&b, "@%d:%d", r.Word.At.Line, r.Word.At.Column)
	}
	if c.Privileged.State != manifest.Unset {
		fmt.Fprintf(&b, " privileged=%v", c.Privileged.V)
	}
	for _, n := range c.Namespaces {
		text(n.Kind, n.With)
	}
	for _, m := range c.Mounts {
		text(m.Type, m.Source)
	}
	text("seccomp", c.Seccomp)
	for _, s := range c.Sysctls {
		text(s.Key, s.Value)
	}
	return b.String()
}

func TestParse(t *testing.T) {
	list, err := Format.Parse(manifest.Source{Name: "f", Data: []byte(web)})
	if err != nil {
		t.Error(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, show(c))
	}
	want := []string{
		"9:5 job.web.group.front.task.nginx image=nginx:1 user=33:33 add=NET_ADMIN@14:25 add=sys_time@14:38 net=host net=host pid=container:x bind=/var/run/docker.sock volume=local/x bind=/etc seccomp=unconfined net.core.somaxconn=5",
		"29:5 job.web.group.front.task.side image=?${var.image} drop=CHOWN@35:11 drop=KILL@36:11 privileged=true net=host",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if l := Format.Recognise("x", []byte(web)); l != manifest.Sure {
		t.Errorf("recognised as %d", l)
	}
}

// What a task gets: the docker driver's default has no NET_RAW, which a task can add where
// the client allows it; the podman driver's is Podman's.
func TestGiven(t *testing.T) {
	docker, _ := rules.For("docker")
	podman, _ := rules.For("podman")
	for _, tt := range []struct {
		driver, lists string
		want          caps.Set
	}{
		{"docker", "", docker.Default.Without(caps.NetRaw)},
		{"docker", `cap_drop = ["CHOWN"]`, docker.Default.Without(caps.NetRaw).Without(caps.Chown)},
		{"docker", `cap_add = ["net_raw"]`, docker.Default},
		{"docker", "cap_drop = [\"all\"]\ncap_add = [\"KILL\"]", caps.Of(caps.Kill)},
		{"docker", `cap_add = ["ALL"]`, caps.All()},
		{"podman", "", podman.Default},
		{"podman", `cap_add = ["NET_RAW"]`, podman.Default.With(caps.NetRaw)},
	} {
		in := fmt.Sprintf("job \"j\" {\n group \"g\" {\n task \"t\" {\n driver = %q\n config {\n image = \"x\"\n%s\n}\n}\n}\n}\n", tt.driver, tt.lists)
		list, err := Format.Parse(manifest.Source{Name: "f", Data: []byte(in)})
		if err != nil || len(list) != 1 {
			t.Fatal(err)
		}
		got, err := list[0].Given("")
		if err != nil || got.Set != tt.want {
			t.Errorf("%s %s: %v, want %v (%v)", tt.driver, tt.lists, got.Set, tt.want, err)
		}
		if other, err := list[0].Given("crio"); err != nil || tt.lists == "" && other.Set == got.Set {
			t.Errorf("%s: another engine's default is Nomad's: %v, %v", tt.driver, other.Set, err)
		}
	}
	if Allowed != docker.Default.Without(caps.NetRaw) {
		t.Errorf("allow_caps is %v", Allowed)
	}
}

func TestErrors(t *testing.T) {
	for in, want := range map[string]string{
		"job \"x\" {\n  group \"g\" {\n": "f:2:13: Unclosed configuration block",
		"job \"x\" {\n  a = \n}":         "f:2:7: Invalid expression",
		strings.Repeat("a { ", 300):      "f:1:803: nested deeper",
	} {
		if _, err := Format.Parse(manifest.Source{Name: "f", Data: []byte(in)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", in, err, want)
		}
	}
}

func TestEdit(t *testing.T) {
	two := caps.Of(caps.Chown, caps.NetAdmin)
	for _, tt := range []struct {
		name  string
		index int
		want  manifest.Want
		pairs []string
		no    string
	}{
		{"lists and lines", 0, manifest.Want{Exactly: &two, NoNewPrivs: true}, []string{
			`["NET_ADMIN", "sys_time"] # why`, "[\"NET_ADMIN\", \"CHOWN\"] # why\n        cap_drop     = [\"ALL\"]", `["seccomp=unconfined"]`, `["seccomp=unconfined", "no-new-privileges"]`}, ""},
		{"an item a line", 1, manifest.Want{Exactly: &two, Unprivileged: true}, []string{
			"privileged = true", "privileged = false", "\"CHOWN\",\n          \"KILL\",\n        ]", "\"ALL\",\n        ]\n        cap_add  = [\"CHOWN\", \"NET_ADMIN\"]"}, ""},
		{"privileged", 1, manifest.Want{Exactly: &two}, nil, "it is privileged"},
	} {
		for _, eol := range []string{"\n", "\r\n"} {
			in := strings.ReplaceAll(web, "\n", eol)
			src := manifest.Source{Name: "f", Data: []byte(in)}
			list, err := Format.Parse(src)
			if err != nil {
				t.Fatal(err)
			}
			files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[tt.index], Want: tt.want}})
			if tt.no != "" {
				if len(refusals) != 1 || !strings.Contains(refusals[0].Reason, tt.no) {
					t.Errorf("%s: %v %v", tt.name, refusals, err)
				}
				continue
			}
			if err != nil || len(files) != 1 {
				t.Errorf("%s: %v %v", tt.name, err, refusals)
				continue
			}
			want := strings.ReplaceAll(strings.NewReplacer(tt.pairs...).Replace(web), "\n", eol)
			if diff := cmp.Diff(want, string(files[0].After)); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		}
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(web), uint64(1))
	f.Add([]byte("job \"a\" { \n group \"b\" {\n task \"c\" {\n driver = \"docker\"\nconfig {\n image = \"a\"\n cap_add = var.x\n}}}}"), uint64(2))
	f.Add([]byte("job \"a\" {\n group \"b\" {\n task \"c\" {\n driver = \"docker\"\nconfig {\n image = <<E\nx\nE\n cap_add = []\n}\n}\n}\n}"), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, bits uint64) {
		Format.Recognise("x", data)
		src := manifest.Source{Name: "f", Data: data}
		list, bad := Format.Parse(src)
		if bad != nil {
			return
		}
		set := caps.Set(bits) & caps.All()
		var changes []manifest.Change
		for _, c := range list {
			changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: &set, NoNewPrivs: bits&1 != 0, Unprivileged: true}})
		}
		if _, _, err := manifest.Rewrite(&Format, src, changes); err != nil && !strings.Contains(err.Error(), "is not made") {
			t.Fatal(err)
		}
	})
}
