package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	gosystemd "github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
)

func show(data string, c *manifest.Container) string {
	var b strings.Builder
	text := func(name string, t manifest.Text) {
		switch t.State {
		case manifest.Known:
			fmt.Fprintf(&b, " %s=%s", name, t.V)
		case manifest.Unknown:
			fmt.Fprintf(&b, " %s=?%s", name, t.Raw)
		}
	}
	fmt.Fprintf(&b, "%d:%d %s %s", c.At.Line, c.At.Column, c.Path, c.Name)
	text("image", c.Image)
	text("user", c.User)
	for _, r := range c.Caps {
		text(r.Action.String()+"-"+r.Set.String(), r.Word)
		if r.Word.At.File == "f" && r.Word.State == manifest.Known {
			if got := strings.Trim(data[r.Word.At.Start:r.Word.At.End], `'"`); got != r.Word.V {
				fmt.Fprintf(&b, "@%q", got)
			}
		}
	}
	if c.CapsWhy != "" {
		fmt.Fprintf(&b, " why=%s", c.CapsWhy)
	}
	for i, v := range []manifest.Bool{c.Privileged, c.NoNewPrivs, c.ReadOnlyRoot} {
		if v.State != manifest.Unset {
			text([]string{"privileged", "nnp", "ro"}[i], manifest.Text{V: fmt.Sprint(v.V), State: v.State, Raw: v.Raw})
		}
	}
	for _, n := range c.Namespaces {
		text(n.Kind, n.With)
	}
	for _, m := range c.Mounts {
		text(m.Type, m.Source)
	}
	for _, p := range c.Ports {
		fmt.Fprintf(&b, " port=%d", p.Container)
	}
	text("selinux", c.SELinux)
	if c.Stated != nil {
		fmt.Fprintf(&b, "\n bounding=%s", strings.Join(c.Stated.Bounding.Docker(), ","))
		if c.Stated.Bounding.Len() > 30 {
			b.Reset()
			fmt.Fprintf(&b, "%s user=%s\n bounding=-%s", c.Name, c.User.V, strings.Join(caps.All().Minus(c.Stated.Bounding).Docker(), ","))
		}
		fmt.Fprintf(&b, " ambient=%s effective=%d", strings.Join(c.Stated.Ambient.Docker(), ","), c.Stated.Effective.Len())
	}
	return b.String()
}

func source(in string) manifest.Source {
	return manifest.Source{Name: "f", Data: []byte(in), Open: func(name string) ([]byte, error) {
		switch name {
		case "f.d/override.conf":
			if strings.Contains(in, "# with a drop-in") {
				return []byte("[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL\n"), nil
			}
		case "x.pod":
			return []byte("[Pod]\nNetwork=host\n"), nil
		}
		return nil, fs.ErrNotExist
	}}
}

var readings = []struct {
	name   string
	format manifest.Format
	in     string
	want   []string
}{
	{"nothing taken away", Format, "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/x\n", []string{"f user=\n bounding=- ambient= effective=41"}},
	{"a list, continued", Format, "[Service]\nUser=www\nCapabilityBoundingSet=CAP_CHOWN \\\n# why\n  cap_kill\nAmbientCapabilities=CAP_KILL\nNoNewPrivileges=yes\n",
		[]string{"1:1 unit f user=www add-bounding=CAP_CHOWN add-bounding=cap_kill add-ambient=CAP_KILL nnp=true\n bounding=CHOWN,KILL ambient=KILL effective=1"}},
	{"inverted, repeated, reset", Format, "[Service]\nCapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=\nCapabilityBoundingSet=~CAP_SYS_ADMIN CAP_BPF\nCapabilityBoundingSet=CAP_BPF\nCapabilityBoundingSet=~CAP_SYS_TIME\n",
		[]string{"1:1 unit f add-bounding=CAP_KILL drop-bounding=CAP_SYS_ADMIN drop-bounding=CAP_BPF add-bounding=CAP_BPF drop-bounding=CAP_SYS_TIME\n bounding=BPF ambient= effective=1"}},
	{"settings that take away", Format, "[Service]\nDynamicUser=1\nPrivateDevices=yes\nProtectClock=true\nProtectKernelModules=on\nProtectKernelLogs=no\n",
		[]string{"f user=dynamic\n bounding=-SYS_MODULE,SYS_RAWIO,SYS_TIME,MKNOD,WAKE_ALARM ambient= effective=0"}},
	{"a drop-in", Format, "# with a drop-in\n[Service]\nCapabilityBoundingSet=CAP_BPF\n", []string{"2:1 unit f add-bounding=CAP_BPF add-bounding=CAP_KILL\n bounding=KILL ambient= effective=1"}},
	{"docker lines", Format, "[Service]\nUser=%i\nExecStartPre=-/usr/bin/docker rm x\nExecStart=@/usr/bin/docker docker run --rm \\\n  --name %n \\\n  --privileged $OPTS a:1\nExecStop=/bin/sh -c 'podman run --cap-add=KILL b'\n",
		[]string{"f user=\n bounding=- ambient= effective=0", "4:12 #1 a a image=a:1 why=$OPTS can hold more flags: the variable $OPTS is of the unit's environment privileged=true", "7:22 #2 b b image=b add-engine=KILL"}},
	{"CRLF, a byte order mark, quotes", Format, "\ufeff[Service]\r\nCapabilityBoundingSet = \"CAP_KILL\" CAP_BPF \r\n", []string{"1:1 unit f add-bounding=CAP_KILL add-bounding=CAP_BPF\n bounding=KILL,BPF ambient= effective=2"}},

	{"Quadlet", Quadlet, "[Unit]\nX=y\n[Container]\nImage=quay.io/x/web:1\nContainerName=w\nUser=5\nGroup=6\nDropCapability=all\nAddCapability=CAP_KILL NET_ADMIN\nAddCapability=chown\nNetwork=host\nPod=x.pod\nVolume=/run/s.sock:/s:ro\nPublishPort=80:8080\nReadOnly=true\nNoNewPrivileges=true\nPodmanArgs=--cap-add=SYS_TIME --pid=host\nSecurityLabelDisable=yes\n[Install]\n",
		[]string{"3:1 container w image=quay.io/x/web:1 user=5:6 add-engine=CAP_KILL add-engine=NET_ADMIN add-engine=chown drop-engine=all add-engine=SYS_TIME nnp=true ro=true net=host pid=host net=host bind=/run/s.sock port=8080 selinux=disable"}},
	{"a pod and a kube file", Quadlet, "[Pod]\nPodName=x\n[Kube]\nYaml=a.yml\n", nil},
	{"Quadlet, reset", Quadlet, "[Container]\nImage=a\nAddCapability=KILL\nAddCapability=\nAddCapability=BPF\nPodmanArgs=--privileged\n", []string{"1:1 container f image=a add-engine=BPF privileged=true"}},
}

func TestParse(t *testing.T) {
	for _, tt := range readings {
		t.Run(tt.name, func(t *testing.T) {
			list, err := tt.format.Parse(source(tt.in))
			if err != nil {
				t.Error(err)
			}
			var got []string
			for _, c := range list {
				got = append(got, show(tt.in, c))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if l := tt.format.Recognise("x", []byte(tt.in)); l != manifest.Sure && tt.name != "a list, continued" && l != manifest.Likely {
				t.Errorf("recognised as %d", l)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	list, err := Format.Parse(manifest.Source{Name: "f", Data: []byte("A=1\n[Service\nx\nExecStart=docker run --bogus a\nUser=5\n")})
	if len(list) != 1 || manifest.Is(list[0].User, "5") == false {
		t.Error(list)
	}
	for _, want := range []string{"f:1:1: an assignment outside", "f:2:1: a section's name", "f:3:1: a line that is no assignment", "f:4:22: docker run has no flag --bogus"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestEdit(t *testing.T) {
	two, none := caps.Of(caps.Chown, caps.NetAdmin), caps.Set(0)
	exactly := manifest.Want{Exactly: &two}
	for _, tt := range []struct {
		name        string
		format      manifest.Format
		want        manifest.Want
		in, out, no string
	}{
		{"a line at the end of the section", Format, exactly, "[Service]\nExecStart=x\n\n[Install]\n", "[Service]\nExecStart=x\nCapabilityBoundingSet=CAP_CHOWN CAP_NET_ADMIN\n\n[Install]\n", ""},
		{"no new privileges, too", Format, manifest.Want{Exactly: &none, NoNewPrivs: true}, "[Service]\r\nRestart=on\r\nPrivateTmp=true", "[Service]\r\nRestart=on\r\nPrivateTmp=true\r\nCapabilityBoundingSet=\r\nNoNewPrivileges=on", "x"},
		{"the last of several stays", Format, exactly, "[Service]\nCapabilityBoundingSet=~CAP_SYS_ADMIN \\\n   CAP_BPF\n# c\nCapabilityBoundingSet=CAP_KILL \\\n  CAP_FOWNER\nUser=0\n", "[Service]\n# c\nCapabilityBoundingSet=CAP_CHOWN CAP_NET_ADMIN\nUser=0\n", ""},
		{"the ambient set is narrowed", Format, exactly, "[Service]\nUser=x\nAmbientCapabilities=CAP_NET_ADMIN CAP_SYS_TIME\nCapabilityBoundingSet=CAP_CHOWN CAP_NET_ADMIN\n", "[Service]\nUser=x\nAmbientCapabilities=CAP_NET_ADMIN\nCapabilityBoundingSet=CAP_CHOWN CAP_NET_ADMIN\n", ""},
		{"as wanted already", Format, exactly, "[Service]\nCapabilityBoundingSet=cap_net_admin cap_chown\nProtectClock=yes\n", "[Service]\nCapabilityBoundingSet=cap_net_admin cap_chown\nProtectClock=yes\n", ""},
		{"taken away elsewhere", Format, manifest.Want{Exactly: ptr(caps.Of(caps.SysTime))}, "[Service]\nProtectClock=yes\n", "", "ProtectClock=yes takes sys_time away"},
		{"a docker line", Format, exactly, "[Service]\nExecStart=/usr/bin/docker run \\\n    --rm \\\n    --cap-add SYS_TIME \\\n    a\n", "[Service]\nExecStart=/usr/bin/docker run \\\n    --cap-drop ALL \\\n    --cap-add CHOWN \\\n    --cap-add NET_ADMIN \\\n    --rm \\\n    a\n", ""},

		{"Quadlet", Quadlet, exactly, "[Container]\nImage=a\nExec=x\n\n[Service]\n", "[Container]\nImage=a\nDropCapability=all\nAddCapability=CAP_CHOWN CAP_NET_ADMIN\nExec=x\n\n[Service]\n", ""},
		{"Quadlet, in its lists", Quadlet, exactly, "[Container]\nAddCapability=KILL BPF NET_ADMIN  SYS_TIME\nDropCapability=KILL\nImage=a\n", "[Container]\nAddCapability=NET_ADMIN CAP_CHOWN\nDropCapability=all\nImage=a\n", ""},
		{"Quadlet, CRLF and none", Quadlet, manifest.Want{Exactly: &none, NoNewPrivs: true}, "[Container]\r\nImage=a\r\nAddCapability=KILL\r\nNoNewPrivileges=false\r\n", "[Container]\r\nImage=a\r\nDropCapability=all\r\nNoNewPrivileges=true\r\n", ""},
		{"Quadlet, in PodmanArgs", Quadlet, exactly, "[Container]\nImage=a\nPodmanArgs=--cap-add=KILL\n", "", "it stands in PodmanArgs="},
		{"Quadlet, privileged", Quadlet, exactly, "[Container]\nImage=a\nPodmanArgs=--privileged\n", "", "it is privileged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := source(tt.in)
			list, err := tt.format.Parse(src)
			if err != nil {
				t.Fatal(err)
			}
			files, refusals, err := manifest.Rewrite(&tt.format, src, []manifest.Change{{Container: list[len(list)-1], Want: tt.want}})
			if err != nil {
				t.Fatal(err)
			}
			if tt.out == "" {
				if len(refusals) != 1 || !strings.Contains(refusals[0].Error(), tt.no) {
					t.Errorf("%v, want %q", refusals, tt.no)
				}
				return
			}
			out := tt.in
			if len(files) > 0 {
				out = string(files[0].After)
			}
			if diff := cmp.Diff(tt.out, out); diff != "" || len(refusals) > 0 {
				t.Errorf("%v\n%s", refusals, diff)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// systemd itself is the oracle: what it says of a unit's bounding set, capability by
// capability where it has a test for one alone.
func TestAgainstSystemd(t *testing.T) {
	testenv.Need(t, testenv.Command("systemd-analyze"))
	for i, lines := range []string{
		"", "CapabilityBoundingSet=", "CapabilityBoundingSet=~", "CapabilityBoundingSet=CAP_KILL CAP_SYS_TIME", "CapabilityBoundingSet=~CAP_KILL cap_bpf",
		"CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=CAP_BPF", "CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=~CAP_KILL\nCapabilityBoundingSet=~CAP_BPF",
		"CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_SYS_ADMIN", "CapabilityBoundingSet=KILL 5 FOO CAP_SYSLOG",
		"CapabilityBoundingSet=~CAP_SYS_TIME \\\n  CAP_SYS_BOOT\nCapabilityBoundingSet=\\\n; c\n CAP_SYS_BOOT", "CapabilityBoundingSet=FOO", "CapabilityBoundingSet=~FOO",
		"CapabilityBoundingSet=\"CAP_KILL\" 'CAP_BPF' CAP_LEASE", "PrivateDevices=yes", "ProtectClock=1", "ProtectKernelModules=on\nProtectKernelLogs=y", "PrivateDevices=yes\nPrivateDevices=no",
		"CapabilityBoundingSet=~\nCapabilityBoundingSet=CAP_KILL", "CapabilityBoundingSet=CAP_KILL CAP_NOPE:CAP_BPF",
	} {
		text := "[Service]\nExecStart=/bin/true\n" + lines + "\n"
		file := filepath.Join(t.TempDir(), fmt.Sprintf("lc%d.service", i))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "--json=short", file).Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		var tests []struct {
			Set   bool   `json:"set"`
			Field string `json:"json_field"`
		}
		if err := json.Unmarshal(out, &tests); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		list, err := Format.Parse(manifest.Source{Name: file, Data: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for _, test := range tests {
			name, ok := strings.CutPrefix(test.Field, "CapabilityBoundingSet_")
			c, err := caps.ParseCap(name)
			if !ok || err != nil {
				continue
			}
			compared++
			if list[0].Stated.Bounding.Has(c) == test.Set {
				t.Errorf("%q: systemd says that %s is there: %v", lines, c, !test.Set)
			}
		}
		if compared < 10 {
			t.Errorf("%d capabilities were compared", compared)
		}
	}
}

// go-systemd reads the same assignments.
func TestAgainstGoSystemd(t *testing.T) {
	for _, tt := range readings {
		if strings.Contains(tt.in, "\\\n#") || strings.HasPrefix(tt.in, "\ufeff") {
			continue // go-systemd takes comments within a continued line for a part of it, and knows no mark
		}
		want, err := gosystemd.DeserializeOptions(strings.NewReader(tt.in))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		u, errs := parseUnit("f", []byte(tt.in))
		if len(errs) > 0 || len(u.settings) != len(want) {
			t.Errorf("%s: %d settings, %d; %v", tt.name, len(u.settings), len(want), errs)
			continue
		}
		for i, w := range want {
			flat := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "\\\n", " ")), " ") }
			if got := u.settings[i]; got.section != w.Section || got.key != w.Name || flat(got.text()) != flat(w.Value) {
				t.Errorf("%s: %s %s=%q, want %+v", tt.name, got.section, got.key, got.text(), w)
			}
		}
	}
}

func FuzzEdit(f *testing.F) {
	for _, tt := range readings {
		f.Add([]byte(tt.in), tt.format.Name == "quadlet", uint64(6))
	}
	for _, s := range []string{"[Service]\nCapabilityBoundingSet=\\\n", "[Service]\nExecStart=\"a\\\n=b", "[Container]\nImage=a\nAddCapability=A \\\n B\n", "[Service]\nAmbientCapabilities=~CAP_KILL"} {
		f.Add([]byte(s), strings.HasPrefix(s, "[C"), uint64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, quadlet bool, bits uint64) {
		format := Format
		if quadlet {
			format = Quadlet
		}
		src := manifest.Source{Name: "f", Data: data}
		list, bad := format.Parse(src)
		set := caps.Set(bits) & caps.All()
		var changes, none []manifest.Change
		for _, c := range list {
			for _, r := range c.Caps {
				if r.Word.At.Start < 0 || r.Word.At.End > len(data) || r.Word.At.Start > r.Word.At.End {
					t.Fatalf("%+v", r)
				}
			}
			changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: &set, NoNewPrivs: bits&1 != 0}})
			none = append(none, manifest.Change{Container: c})
		}
		if edits, refusals := format.Edit(src, none); len(edits)+len(refusals) > 0 {
			t.Fatalf("nothing is wanted, and there are %v, %v", edits, refusals)
		}
		if _, _, err := manifest.Rewrite(&format, src, changes); err != nil && bad == nil { // nothing is written then
			t.Fatalf("%q: %v", data, err)
		}
	})
}

// tree is files in memory.
type tree map[string]string

func (f tree) source(name string) manifest.Source {
	return manifest.Source{Name: name, Data: []byte(f[name]), Open: func(name string) ([]byte, error) {
		if text, ok := f[name]; ok {
			return []byte(text), nil
		}
		return nil, errors.New("no such file")
	}, List: func(dir string) (names []string, err error) {
		for name := range f {
			if path.Dir(name) == path.Clean(dir) {
				names = append(names, path.Base(name))
			}
		}
		return names, nil
	}}
}

// Drop-ins count as systemd itself counts them.
func TestDropIns(t *testing.T) {
	testenv.Need(t, testenv.Command("systemd-analyze"))
	bound := func(words string) string { return "[Service]\nCapabilityBoundingSet=" + words + "\n" }
	for _, tt := range []struct {
		name string
		unit string
		tree
		want caps.Set
	}{
		{"by their names, whatever the directory", "etc/systemd/system/a-b.service", tree{
			"etc/systemd/system/a-b.service":                 "[Service]\nExecStart=/bin/true\nCapabilityBoundingSet=CAP_KILL\n",
			"etc/systemd/system/a-b.service.d/20-x.conf":     bound("CAP_SYS_TIME"),
			"etc/systemd/system/a-.service.d/30-x.conf":      bound("\nCapabilityBoundingSet=CAP_SYS_BOOT CAP_LEASE"),
			"etc/systemd/system/service.d/40-x.conf":         bound("~CAP_LEASE"),
			"etc/systemd/system/service.d/20-x.conf":         bound("CAP_MKNOD"), // hidden by the first
			"etc/systemd/system/a-b.service.d/50-x.txt":      bound("CAP_BPF"),
			"etc/systemd/system/b.service.d/60-x.conf":       bound("CAP_BPF"),
			"etc/systemd/system/other.service.d/10-x.conf":   bound("CAP_BPF"),
			"etc/systemd/system/a-b.service.d/sub/70-x.conf": bound("CAP_BPF"),
		}, caps.Of(caps.SysBoot)},
		{"an instance and its template", "etc/systemd/system/a-b@.service", tree{
			"etc/systemd/system/a-b@.service":            "[Service]\nExecStart=/bin/true\nCapabilityBoundingSet=CAP_KILL\n",
			"etc/systemd/system/a-b@.service.d/1.conf":   bound("CAP_SYS_TIME"),
			"etc/systemd/system/a-@.service.d/2.conf":    bound("CAP_SYS_CHROOT"),
			"etc/systemd/system/a-b@.service.d/0-x.conf": "[Service]\nPrivateDevices=yes\n",
		}, caps.Of(caps.Kill, caps.SysTime, caps.SysChroot)},
		{"what takes away, and an empty one", "etc/systemd/system/c.service", tree{
			"etc/systemd/system/c.service":          "[Service]\nExecStart=/bin/true\nProtectClock=yes\nCapabilityBoundingSet=CAP_SYS_TIME CAP_KILL\n",
			"etc/systemd/system/c.service.d/1.conf": "",
			"etc/systemd/system/c.service.d/2.conf": "[Service]\nProtectClock=no\n",
		}, caps.Of(caps.SysTime, caps.Kill)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.tree {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			unit := strings.Replace(path.Base(tt.unit), "@.", "@x.", 1)
			out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--root="+root, "--no-pager", "--json=short", unit).Output()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			var tests []struct {
				Set   bool   `json:"set"`
				Field string `json:"json_field"`
			}
			if err := json.Unmarshal(out, &tests); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			compared := 0
			for _, test := range tests {
				name, ok := strings.CutPrefix(test.Field, "CapabilityBoundingSet_")
				if c, err := caps.ParseCap(name); ok && err == nil {
					compared++
					if tt.want.Has(c) == test.Set {
						t.Errorf("systemd says that %s is there: %v", c, !test.Set)
					}
				}
			}
			if compared < 10 {
				t.Errorf("%d capabilities were compared", compared)
			}
			list, err := Format.Parse(tt.source(tt.unit))
			if err != nil || len(list) != 1 || list[0].Stated.Bounding != tt.want {
				t.Fatalf("%v %v, want %v", list[0].Stated.Bounding, err, tt.want)
			}
			for name := range tt.tree { // what is read with the unit is none by itself
				if strings.Contains(name, path.Base(tt.unit)+".d/") && strings.HasSuffix(name, ".conf") && !strings.Contains(name, "sub") {
					if own, err := Format.Parse(tt.source(name)); err != nil || len(own) != 0 {
						t.Errorf("%s: %v, %v", name, own, err)
					}
				}
			}
		})
	}
}

// A Quadlet file's drop-ins are merged into it, and are none by themselves then.
func TestQuadletDropIns(t *testing.T) {
	const image = "[Container]\nImage=x\n"
	add := func(words string) string { return "[Container]\nAddCapability=" + words + "\n" }
	for _, tt := range []struct {
		name string
		tree
		want string // "" for no container
	}{
		{"d/a.container", tree{"d/a.container": image, "d/a.container.d/1.conf": "[Service]\nRestart=no\n"}, "1:1 container a image=x"},
		{"d/a.container", tree{"d/a.container": image + "User=1\nVolume=/a:/a\n", "d/container.d/1.conf": "[Container]\nUser=5\nVolume=\nVolume=/b:/b\nPodmanArgs=--pid=host\n"}, "1:1 container a image=x user=5 pid=host bind=/b"},
		// By their own names, whatever the directory; of two the more specific directory's.
		{"d/a-b.container", tree{
			"d/a-b.container":           image + "AddCapability=KILL\n",
			"d/a-b.container.d/20.conf": add("SYS_TIME"),
			"d/a-.container.d/20.conf":  add("MKNOD"),
			"d/a-.container.d/10.conf":  add("\nAddCapability=BPF"),
			"d/container.d/30.conf":     "[Container]\nDropCapability=all\n[Container]\nNoNewPrivileges=true\n",
			"d/a-b.container.d/9.txt":   add("SYSLOG"),
			"d/b.container.d/40.conf":   add("SYSLOG"),
		}, "1:1 container a-b image=x add-engine=BPF add-engine=SYS_TIME drop-engine=all nnp=true"},
		{"d/a-b@c-d.container", tree{
			"d/a-b@c-d.container":           image,
			"d/a-b@.container.d/1.conf":     add("KILL"),
			"d/a-@.container.d/2.conf":      add("BPF"),
			"d/a-.container.d/3.conf":       add("MKNOD"),
			"d/a-b@c-.container.d/4.conf":   add("SYSLOG"),
			"d/a-@c-d.container.d/4.conf":   add("SYSLOG"),
			"d/a-b@c-d.container.d/1.x":     add("SYSLOG"),
			"d/a-b@c-d.container.d/0.conf":  "[Container]\nContainerName=n\n",
			"d/other.container.d/nope.conf": add("SYSLOG"),
		}, "1:1 container n image=x add-engine=KILL add-engine=BPF add-engine=MKNOD"},
		// The directories that Podman looks into, the strongest first, and those below.
		{"/etc/containers/systemd/sub/a.container", tree{
			"/etc/containers/systemd/sub/a.container":          image,
			"/etc/containers/systemd/a.container.d/1.conf":     add("KILL"),
			"/etc/containers/systemd/sub/a.container.d/1.conf": add("SYSLOG"),
			"/run/containers/systemd/container.d/2.conf":       add("BPF"),
			"/usr/share/containers/systemd/container.d/2.conf": add("MKNOD"),
		}, "1:1 container a image=x add-engine=KILL add-engine=BPF"},
		{"/etc/containers/systemd/users/a.container", tree{
			"/etc/containers/systemd/users/a.container":  image,
			"/etc/containers/systemd/container.d/1.conf": add("KILL"),
		}, "1:1 container a image=x"},
		{"d/a.container", tree{"d/a.container": image + "Pod=p.pod\n", "d/p.pod": "[Pod]\n", "d/p.pod.d/x.conf": "[Pod]\nNetwork=host\n"}, "1:1 container a image=x net=host"},
		{"d/a.container.d/1.conf", tree{"d/a.container": image, "d/a.container.d/1.conf": "[Container]\nUser=5\n"}, ""},
		{"d/container.d/1.conf", tree{"d/a.container": image, "d/container.d/1.conf": "[Container]\nUser=5\n"}, ""},
		{"d/a-.container.d/1.conf", tree{"d/a-b.container": image, "d/a-.container.d/1.conf": "[Container]\nUser=5\n"}, ""},
		{"d/a.container.d/1.conf", tree{"d/a.container.d/1.conf": "[Container]\nUser=5\n", "d/b.container": image}, "1:1 container 1 user=5 why=it is a drop-in, and what it is dropped into is another file"},
	} {
		list, err := Quadlet.Parse(tt.source(tt.name))
		got := ""
		for _, c := range list {
			got += show("", c)
			for _, r := range c.Caps {
				if text := tt.tree[r.Word.At.File]; r.Word.At.End > len(text) || text[r.Word.At.Start:r.Word.At.End] != r.Word.V {
					t.Errorf("%s: %s is not at %+v", tt.name, r.Word.V, r.Word.At)
				}
			}
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %v\n%s, want\n%s", tt.name, err, got, tt.want)
		}
	}
}

// An edit goes where the setting stands, or to the unit, and never into a package's file.
func TestEditDropIns(t *testing.T) {
	one, two := caps.Of(caps.Kill), caps.Of(caps.Kill, caps.Chown)
	const unit = "[Service]\nExecStart=x\n"
	for _, tt := range []struct {
		name, unit string
		tree
		want  manifest.Want
		after tree // what changes
		no    string
	}{
		{"one for others, too", "d/a.service", tree{"d/a.service": unit, "d/service.d/1.conf": "[Service]\nCapabilityBoundingSet=CAP_BPF\n"}, manifest.Want{Exactly: &one}, nil,
			"the drop-in d/service.d/1.conf is for other units, too (CapabilityBoundingSet=CAP_KILL); change it by hand, or take it back in a drop-in of this one alone, whose name sorts behind: d/a.service.d/zz.conf"},
		{"Quadlet, in both", "d/a.container", tree{"d/a.container": "[Container]\nImage=x\nAddCapability=BPF KILL\n", "d/a.container.d/1.conf": "[Container]\r\nUser=5\r\nAddCapability=SYSLOG\r\nAddCapability=MKNOD CHOWN\r\nNoNewPrivileges=no\r\n"},
			manifest.Want{Exactly: &two, NoNewPrivs: true}, tree{"d/a.container": "[Container]\nImage=x\nAddCapability=KILL\nDropCapability=all\n", "d/a.container.d/1.conf": "[Container]\r\nUser=5\r\nAddCapability=CHOWN\r\nNoNewPrivileges=true\r\n"}, ""},
		{"Quadlet, behind what takes back", "d/a.container", tree{"d/a.container": "[Container]\nImage=x\nAddCapability=BPF\nDropCapability=all\n", "d/a.container.d/1.conf": "[Container]\nAddCapability=\nDropCapability=\nUser=5\n"},
			manifest.Want{Exactly: &one}, tree{"d/a.container.d/1.conf": "[Container]\nAddCapability=\nDropCapability=\nDropCapability=all\nAddCapability=CAP_KILL\nUser=5\n"}, ""},
		{"Quadlet, in the file beside a drop-in", "d/a.container", tree{"d/a.container": "[Container]\nImage=x\n", "d/a.container.d/1.conf": "[Container]\nUser=5\n", "d/container.d/2.conf": "[Container]\nDropCapability=all\n"},
			manifest.Want{Exactly: &one}, tree{"d/a.container": "[Container]\nImage=x\nAddCapability=CAP_KILL\n"}, ""},
		{"Quadlet, a word corrected", "d/a.container", tree{"d/a.container": "[Container]\nImage=x\n", "d/a.container.d/1.conf": "[Container]\nAddCapability=kil BPF\n"},
			manifest.Want{Correct: []manifest.Correction{{At: manifest.Pos{File: "d/a.container.d/1.conf", Start: 26, End: 29, Line: 2, Column: 15}, Word: "KILL"}}}, tree{"d/a.container.d/1.conf": "[Container]\nAddCapability=KILL BPF\n"}, ""},
		{"Quadlet, one for others, too", "d/a-b.container", tree{"d/a-b.container": "[Container]\nImage=x\n", "d/a-.container.d/1.conf": "[Container]\nAddCapability=BPF\n"}, manifest.Want{Exactly: &one}, nil,
			"the drop-in d/a-.container.d/1.conf is for other units, too (remove AddCapability=BPF, add CAP_KILL); change it by hand, or take it back in a drop-in of this one alone, whose name sorts behind: d/a-b.container.d/zz.conf"},
		{"where it stands last", "d/a.service", tree{"d/a.service": unit + "CapabilityBoundingSet=CAP_BPF\n", "d/a.service.d/1.conf": "[Service]\nCapabilityBoundingSet=CAP_CHOWN CAP_KILL\n", "d/a.service.d/2.conf": "[Service]\nUser=x\n"},
			manifest.Want{Exactly: &one}, tree{"d/a.service.d/1.conf": "[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL\n"}, ""},
		{"taken back already", "d/a.service", tree{"d/a.service": unit + "CapabilityBoundingSet=CAP_BPF\n", "d/a.service.d/1.conf": "[Service]\r\nCapabilityBoundingSet=\r\nCapabilityBoundingSet=CAP_CHOWN\r\n"},
			manifest.Want{Exactly: &one}, tree{"d/a.service.d/1.conf": "[Service]\r\nCapabilityBoundingSet=\r\nCapabilityBoundingSet=CAP_KILL\r\n"}, ""},
		{"in the unit, with a drop-in for the rest", "d/a.service", tree{"d/a.service": unit, "d/a.service.d/1.conf": "[Service]\nNoNewPrivileges=no\n"},
			manifest.Want{Exactly: &one, NoNewPrivs: true}, tree{"d/a.service": unit + "CapabilityBoundingSet=CAP_KILL\n", "d/a.service.d/1.conf": "[Service]\nNoNewPrivileges=yes\n"}, ""},
		{"two drop-ins", "d/a.service", tree{"d/a.service": unit, "d/a.service.d/1.conf": "[Service]\nCapabilityBoundingSet=CAP_BPF\n", "d/a.service.d/2.conf": "[Service]\nCapabilityBoundingSet=~CAP_BPF\n"},
			manifest.Want{Exactly: &one}, tree{"d/a.service.d/2.conf": "[Service]\nCapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL\n"}, ""},
		{"a package's", "/usr/lib/systemd/system/a.service", tree{"/usr/lib/systemd/system/a.service": unit}, manifest.Want{Exactly: &one}, nil,
			"it is a package's file, which the next update replaces; put it into a drop-in, with systemctl edit a.service (a line each): [Service] CapabilityBoundingSet= CapabilityBoundingSet=CAP_KILL"},
		{"a package's, with a drop-in", "/usr/lib/systemd/system/a.service", tree{"/usr/lib/systemd/system/a.service": unit, "/etc/systemd/system/a.service.d/override.conf": "[Service]\nUser=x\n"},
			manifest.Want{Exactly: &one}, tree{"/etc/systemd/system/a.service.d/override.conf": "[Service]\nUser=x\nCapabilityBoundingSet=CAP_KILL\n"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src, format := tt.source(tt.unit), &Format
			if path.Ext(tt.unit) == ".container" {
				format = &Quadlet
			}
			list, err := format.Parse(src)
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			files, refusals, err := manifest.Rewrite(format, src, []manifest.Change{{Container: list[0], Want: tt.want}})
			if err != nil {
				t.Fatal(err)
			}
			got := tree{}
			for _, f := range files {
				got[f.Name] = string(f.After)
			}
			if len(tt.after) == 0 {
				tt.after = tree{}
			}
			if diff := cmp.Diff(tt.after, got); diff != "" {
				t.Errorf("%v\n%s", refusals, diff)
			}
			if tt.no == "" && len(refusals) > 0 || tt.no != "" && (len(refusals) != 1 || refusals[0].Reason+"; "+refusals[0].Hint != tt.no) {
				t.Errorf("%+v", refusals)
			}
		})
	}
}

// A unit within something else is none.
func TestRecognise(t *testing.T) {
	for _, tt := range []struct {
		name, in   string
		unit, quad manifest.Likelihood
	}{
		{"x", "# c\n\n; d\n [Unit]\n[Service]\n", manifest.Sure, manifest.No},
		{"x", "[Container]\nImage=x\n", manifest.No, manifest.Sure},
		{"x.sh", "#!/bin/sh\ncat >x.service <<E\n[Unit]\n[Service]\nExecStart=x\nE\n", manifest.No, manifest.No},
		{"x.md", "# Use\n\nWrite\n\n[Container]\nImage=x\n", manifest.No, manifest.No},
		{"x.service", "A=1\n[Service]\n", manifest.Maybe, manifest.No},
		{"x.container", "A=1\n[Container]\n", manifest.No, manifest.Likely},
		{"x.pod", "# c\n[Install]\n", manifest.Likely, manifest.Likely},
		{"perl.pod", "=head1 NAME\n\nx - y\n", manifest.No, manifest.No},
	} {
		if u, q := Format.Recognise(tt.name, []byte(tt.in)), Quadlet.Recognise(tt.name, []byte(tt.in)); u != tt.unit || q != tt.quad {
			t.Errorf("%q: %d and %d", tt.in, u, q)
		}
	}
}
