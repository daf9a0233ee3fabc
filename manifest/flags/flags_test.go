package flags

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

func invocation(t *testing.T, line string) *Invocation {
	t.Helper()
	list, err := words.Parse(words.Whole([]byte(line), 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Parse(list[0].Words, manifest.NewLines("f", []byte(line)))
	if err != nil || v == nil {
		t.Fatalf("%s: %v", line, err)
	}
	return v
}

func TestContainer(t *testing.T) {
	v := invocation(t, "docker run --read-only=true -u x --device /dev/kvm:/dev/k:r --device=/dev/fuse -p 127.0.0.1:8080:80/tcp -p 53/udp -p 9000-9010 "+
		"--mount type=bind,src=/etc,dst=/e,readonly -v n:/n:ro -v /a --tmpfs /t:size=1 --sysctl net.a=1 -l k=v --uts=host --userns host --cgroupns=private "+
		"--ipc=container:z --security-opt label:disable --security-opt systempaths=unconfined --restart always --name w img cmd --cap-add=ALL")
	c := v.Container
	if c.Name != "w" || c.Image.V != "img" || c.User.V != "x" || !manifest.Is(c.ReadOnlyRoot, true) || len(c.Caps) != 0 {
		t.Errorf("%+v", c)
	}
	if d := c.Devices; len(d) != 2 || d[0].Container.V != "/dev/k" || d[0].Rights != "r" || d[1].Container.V != "/dev/fuse" || d[1].Rights != "rwm" {
		t.Errorf("%+v", d)
	}
	if p := c.Ports; len(p) != 3 || p[0].Host != 8080 || p[0].Container != 80 || p[0].HostIP != "127.0.0.1" || p[1].Protocol != "udp" || p[2].Last != 9010 {
		t.Errorf("%+v", p)
	}
	var mounts []string
	for _, m := range c.Mounts {
		mounts = append(mounts, strings.Join([]string{m.Type, m.Source.V, m.Target.V}, " "))
	}
	if want := []string{"bind /etc /e", "volume n /n", "volume  /a", "tmpfs  /t"}; !slices.Equal(mounts, want) {
		t.Errorf("%q", mounts)
	}
	if !manifest.Is(c.Mounts[0].ReadOnly, true) || !manifest.Is(c.Mounts[1].ReadOnly, true) {
		t.Error("read-only mounts are not")
	}
	var namespaces []string
	for _, n := range c.Namespaces {
		namespaces = append(namespaces, n.Kind+" "+n.With.V)
	}
	if want := []string{"uts host", "user host", "ipc container:z"}; !slices.Equal(namespaces, want) {
		t.Errorf("%q", namespaces)
	}
	if c.SELinux.V != "disable" || c.ProcMount.V != "Unmasked" || c.Sysctls[0].Key != "net.a" || c.Labels[0].Value.V != "v" || c.Facts[0].Key != "restart" {
		t.Errorf("%+v", c)
	}
}

func TestChanged(t *testing.T) {
	v := invocation(t, "podman run --cap-add=KILL,CHOWN,BPF --rm a")
	set := caps.Of(caps.Kill, caps.NetRaw)
	p, refusal := v.Plan(v.Container, manifest.Want{Exactly: &set, NoNewPrivs: true})
	if refusal != nil {
		t.Fatal(refusal)
	}
	want := "podman run --cap-add=KILL --cap-drop=ALL --cap-add=NET_RAW --security-opt=no-new-privileges --rm a"
	if got := strings.Join(v.Changed(p), " "); got != want {
		t.Errorf("%q", got)
	}
}

func TestSameWords(t *testing.T) {
	w := manifest.Want{}
	for _, tt := range []struct {
		a, b string
		want manifest.Want
		same bool
	}{
		{"docker run a", "docker run --cap-drop=ALL --cap-add X \\\n a", w, true},
		{"docker run --cap-add 'X' a", "docker run a", w, true},
		{"docker run a", "docker run  b", w, false},
		{"docker run a 'b c'", "docker run a b c", w, false},
		{"docker run --privileged a", "docker run a", w, false},
		{"docker run --privileged a", "docker run a", manifest.Want{Unprivileged: true}, true},
		{"docker run a", "docker run --security-opt no-new-privileges a", w, false},
		{"docker run a", "docker run --security-opt no-new-privileges a", manifest.Want{NoNewPrivs: true}, true},
		{"docker run >x a", "docker run --cap-drop=ALL>x a", w, true},
		{`docker run "a\b"`, `docker run 'a\b'`, w, true},
	} {
		if err := SameWords(tt.a, tt.b, tt.want); (err == nil) != tt.same {
			t.Errorf("%q, %q: %v", tt.a, tt.b, err)
		}
	}
}
