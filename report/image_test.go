package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
)

const someDigest = "sha256:9d6b58feebd2dbd3c56ab5853333d627cc6e281011cfd6050fa4bcf2072c9496"

// images are those of the golden files.
func images() map[string]*Image {
	declared := caps.Of(caps.Chown, caps.NetBindService)
	service := &Image{
		Reference: "registry.example/team/service:1.2", Source: "registry", ID: someDigest, Digest: someDigest, Platform: "linux/arm64",
		User: "www-data", Entrypoint: []string{"/docker-entrypoint.sh"}, Command: []string{"nginx", "-g", "daemon off;"},
		Labels:   map[string]string{"io.containers.capabilities": "CHOWN,NET_BIND_SERVICE", "maintainer": "somebody"},
		Declared: &declared,
		Layers: []ImageLayer{
			{Digest: someDigest, DiffID: someDigest, History: "/bin/sh -c #(nop) ADD file:4b1be1de1a1e5aa608c688cad2824587262081866180d7368feb79d33ca05953 in / "},
			{Digest: someDigest, DiffID: someDigest, History: "RUN /bin/sh -c apt-get install -y iputils-ping wireshark-common # buildkit"},
			{Digest: someDigest, DiffID: someDigest, History: "COPY conf /etc # buildkit"},
			{DiffID: someDigest},
		},
	}
	raw, dump := caps.Of(caps.NetRaw), caps.Of(caps.NetRaw, caps.NetAdmin)
	for _, f := range []ImageFile{
		NewImageFile("/usr/bin/su", nil, 1, caps.Program{Mode: 0o4755}),
		NewImageFile("/usr/bin/chage", nil, 1, caps.Program{Mode: 0o2755, GID: 42}),
		NewImageFile("/usr/lib/dbus-1.0/dbus-daemon-launch-helper", nil, 1, caps.Program{Mode: 0o4754, GID: 101}),
		NewImageFile("/usr/bin/ping", []string{"/usr/bin/ping4", "/usr/bin/ping6"}, 2, caps.Program{Mode: 0o755, Caps: &caps.FileCaps{Permitted: raw, Effective: true}}),
		NewImageFile("/usr/bin/dumpcap", nil, 2, caps.Program{Mode: 0o750, GID: 102, Caps: &caps.FileCaps{Permitted: dump, Inheritable: dump, Effective: true}}),
		NewImageFile("/usr/bin/mine", nil, 4, caps.Program{Mode: 0o6711, UID: 33, GID: 33}),
		NewImageFile("/usr/bin/old", nil, 4, caps.Program{Mode: 0o4644}),
	} {
		service.Add(f)
	}
	caps3 := &Image{Reference: "./root.tar", Source: "tar", ID: someDigest, Layers: []ImageLayer{{Digest: someDigest}}}
	caps3.Add(NewImageFile("/bin/ping", nil, 1, caps.Program{Mode: 0o755, Caps: &caps.FileCaps{Permitted: raw}}))
	caps3.Add(NewImageFile("/bin/userns", nil, 1, caps.Program{Mode: 0o4755, Caps: &caps.FileCaps{Permitted: raw, Effective: true, RootID: 100000}}))
	groups := &Image{Reference: "groups", Source: "dir", Layers: []ImageLayer{{}}}
	groups.Add(NewImageFile("/bin/wall", nil, 1, caps.Program{Mode: 0o2755, GID: 5}))
	hostile := &Image{
		Reference: "x\x1b[2Jy:\u202e1", Source: "docker", ID: "sha256:\x1b]0;x\a", Platform: "linux/\x00", User: "\x1b[31mroot",
		Entrypoint: []string{"sh", "-c", "\x1b[1A\nrm -rf /"}, Labels: map[string]string{"\x1b": "\r\nfake: line", "empty": ""},
		DeclaredError: "unknown capability \"\x1b[0m\"", Layers: []ImageLayer{{History: "RUN \x1b[2K\r" + strings.Repeat("x", 1000)}},
	}
	hostile.Add(NewImageFile("/bin/\x1b[2K\ninnocent "+strings.Repeat("long", 50), []string{"/\u009bx"}, 1, caps.Program{Mode: 0o4755}))
	return map[string]*Image{
		"service": service, "caps": caps3, "groups": groups, "hostile": hostile,
		"none": {Reference: "tiny", Source: "oci", ID: someDigest, Digest: someDigest, Platform: "linux/amd64", User: "1000", Layers: []ImageLayer{{}}, Declared: new(caps.Set)},
	}
}

func imageText(t *testing.T, v *Image, s Style) string {
	t.Helper()
	var b bytes.Buffer
	if err := ImageText(&b, v, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestImageGolden(t *testing.T) {
	for name, v := range images() {
		golden(t, "image-"+name+".txt", imageText(t, v, Style{}))
		for _, width := range []int{1, 40, 80, 120} {
			out := imageText(t, v, Style{Width: width})
			printed(t, name, out)
			for line := range strings.Lines(out) {
				if w := ansi.StringWidth(line); w > (Style{Width: width}).width() || strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
					t.Errorf("%s, width %d: %d columns: %q", name, width, w, line)
				}
			}
			if colored := ansi.Strip(imageText(t, v, Style{Width: width, Color: true})); colored != out {
				t.Errorf("%s: colour changes the text:\n%s", name, cmp.Diff(out, colored))
			}
		}
	}
	var b bytes.Buffer
	if err := ImageJSON(&b, images()["service"]); err != nil {
		t.Fatal(err)
	}
	golden(t, "image-service.json", b.String())
}

func TestImageJSON(t *testing.T) {
	var b bytes.Buffer
	if err := ImageJSON(&b, &Image{}); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"entrypoint", "command", "layers", "files", "exec_needs"} {
		if _, ok := got[list].([]any); !ok {
			t.Errorf("%s is %v, want a list", list, got[list])
		}
	}
	if got["version"] != ImageVersion || got["declared"] != nil {
		t.Errorf("version %v, declared %v", got["version"], got["declared"])
	}
	if ImageJSON(broken{}, &Image{}) == nil || ImageText(broken{}, &Image{}, Style{}) == nil {
		t.Error("no error when the output cannot be written")
	}
}

// What only root may execute gives others nothing.
func TestImageNonRoot(t *testing.T) {
	for _, tt := range []struct {
		p    caps.Program
		root bool
	}{
		{caps.Program{Mode: 0o4755}, true},
		{caps.Program{Mode: 0o4750, GID: 7}, true},
		{caps.Program{Mode: 0o4700}, false},
		{caps.Program{Mode: 0o4644}, false},
		{caps.Program{Mode: 0o4755, UID: 5}, false},
	} {
		var v Image
		v.Add(NewImageFile("/x", nil, 1, tt.p))
		if v.NonRoot.Docker.Root != tt.root || v.NonRoot.None.Root != tt.root {
			t.Errorf("%+v: %+v", tt.p, v.NonRoot)
		}
		if v.NonRoot.Docker.Capabilities.Empty() == tt.root || !v.NonRoot.None.Capabilities.Empty() {
			t.Errorf("%+v: %+v", tt.p, v.NonRoot)
		}
	}
}
