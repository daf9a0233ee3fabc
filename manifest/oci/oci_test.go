package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
)

// spec is what runc itself writes.
func spec(t testing.TB) []byte {
	t.Helper()
	testenv.Need(t, testenv.Command("runc"))
	dir := t.TempDir()
	cmd := exec.Command("runc", "spec")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const small = `{
	"ociVersion": "1.0.2",
	"process": {
		"user": {"uid": 1000, "gid": 5},
		"cwd": "/",
		"capabilities": {
			"bounding": [ "CAP_KILL", "CAP_SYS_ADMIN", "KILL" ],
			"permitted": ["CAP_KILL"],
			"ambient": null
		},
		"noNewPrivileges": false
	},
	"root": {"path": "rootfs", "readonly": true},
	"mounts": [{"destination": "/s", "type": "none", "source": "/run/docker.sock", "options": ["rbind", "ro"]}],
	"annotations": {"a": "b"},
	"linux": {"namespaces": [{"type": "mount"}, {"type": "network", "path": "/run/netns/x"}, {"type": "ipc"}, {"type": "uts"}],
		"devices": [{"path": "/dev/kvm", "type": "c"}], "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"}}
}
`

func TestParse(t *testing.T) {
	src := manifest.Source{Name: "web/config.json", Data: []byte(small)}
	if l := Format.Recognise(src.Name, src.Data); l != manifest.Sure {
		t.Errorf("recognised as %d", l)
	}
	list, err := Parse(src)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	c := list[0]
	got := fmt.Sprint(c.Name, " ", c.User.V, " ", c.NoNewPrivs.V, c.ReadOnlyRoot.V, " ", c.Seccomp.V, " ", c.ProcMount.V, " ", len(c.Caps))
	if want := "web 1000:5 false true unconfined Unmasked 4"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if c.Stated.Bounding != caps.Of(caps.Kill, caps.SysAdmin) || c.Stated.Permitted != caps.Of(caps.Kill) || !c.Stated.Effective.Empty() {
		t.Errorf("%+v", c.Stated)
	}
	if !c.Shares("pid") || c.Shares("net") || c.Namespaces[1].With.V != "/run/netns/x" || len(c.Namespaces) != 2 {
		t.Errorf("%+v", c.Namespaces)
	}
	if s := c.Sensitive(); len(s) != 1 || s[0].Source.V != "/run/docker.sock" || !s[0].ReadOnly.V {
		t.Errorf("%+v", s)
	}
	if len(c.Devices) != 1 || len(c.Sysctls) != 1 || len(c.Labels) != 1 {
		t.Errorf("%+v", c)
	}
	if at := c.Caps[2].Word.At; small[at.Start:at.End] != `"KILL"` || at.Line != 7 {
		t.Errorf("%+v", at)
	}
	if r, err := c.Given(""); err != nil || r.Set != c.Stated.Bounding {
		t.Error(r, err)
	}
}

func TestErrors(t *testing.T) {
	for in, want := range map[string]string{
		`{"ociVersion": "1", "process": {`: "f:1:32: not JSON",
		"{\n \"ociVersion\": 1,, }":        "f:2:18: not JSON",
		`{"ociVersion": "1"}`:              "it has no process",
		`{"ociVersion": "1", "process": {"capabilities": {"bounding": "x"}}}`: "f:1:62: process.capabilities.bounding is no list",
		`{"process": {"cwd": "/", "cwd": "/x"}}`:                              "cwd",
	} {
		if _, err := Parse(manifest.Source{Name: "f", Data: []byte(in)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

func rewrite(t testing.TB, data []byte, w manifest.Want) []byte {
	t.Helper()
	src := manifest.Source{Name: "config.json", Data: data}
	list, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: w}})
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	if len(files) == 0 {
		return data
	}
	return files[0].After
}

func TestEdit(t *testing.T) {
	one := caps.Of(caps.Kill)
	two := caps.Of(caps.Chown, caps.Kill)
	want := strings.NewReplacer(
		`[ "CAP_KILL", "CAP_SYS_ADMIN", "KILL" ]`, `[ "CAP_KILL" ]`,
		`"ambient": null`, "\"ambient\": null,\n\t\t\t\"effective\": [\"CAP_KILL\"]",
		`"noNewPrivileges": false`, `"noNewPrivileges": true`,
	).Replace(small)
	got := string(rewrite(t, []byte(small), manifest.Want{Exactly: &one, NoNewPrivs: true}))
	if !strings.Contains(got, `"bounding": [ "CAP_KILL" ]`) || !strings.Contains(got, `"effective": ["CAP_KILL"]`) || strings.Count(got, "CAP_KILL") != 3 {
		t.Error(cmp.Diff(want, got))
	}
	// Root has all five, as oci-runtime-tool would write them.
	root := []byte(strings.Replace(small, `"uid": 1000`, `"uid": 0`, 1))
	list, err := Parse(manifest.Source{Name: "f", Data: rewrite(t, root, manifest.Want{Exactly: &two})})
	if err != nil || *list[0].Stated != (caps.State{Bounding: two, Effective: two, Permitted: two, Inheritable: two, Ambient: two}) {
		t.Errorf("%+v, %v", list[0].Stated, err)
	}
	none := caps.Set(0)
	for _, data := range [][]byte{root, bytes.ReplaceAll(root, []byte("\n"), []byte("\r\n")), append([]byte("\ufeff"), root...)} {
		out := rewrite(t, data, manifest.Want{Exactly: &none})
		if bytes.Count(out, []byte("\r\n")) > 0 && bytes.Count(out, []byte("\r\n")) != bytes.Count(out, []byte("\n")) {
			t.Error("line ends are mixed")
		}
	}
	compact := []byte(`{"ociVersion":"1.0.2","process":{"user":{"uid":0},"cwd":"/"},"root":{"path":"x"}}`)
	if got := string(rewrite(t, compact, manifest.Want{Exactly: &one})); !strings.Contains(got, `"cwd":"/", "capabilities": {"bounding": ["CAP_KILL"]`) &&
		!strings.Contains(got, `"capabilities"`) {
		t.Error(got)
	}
}

// What runc wrote, and has been changed, is what the specification's own types read,
// and runc starts it.
func TestWithRunc(t *testing.T) {
	data := spec(t)
	two := caps.Of(caps.Chown, caps.Setuid)
	out := rewrite(t, data, manifest.Want{Exactly: &two})
	var s, old specs.Spec
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &old); err != nil {
		t.Fatal(err)
	}
	want := two.Names()
	c := s.Process.Capabilities
	for name, list := range map[string][]string{"bounding": c.Bounding, "effective": c.Effective, "permitted": c.Permitted, "ambient": c.Ambient, "inheritable": c.Inheritable} {
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	s.Process.Capabilities = old.Process.Capabilities
	if diff := cmp.Diff(old, s); diff != "" {
		t.Error(diff)
	}
	again := rewrite(t, out, manifest.Want{Exactly: &two})
	if !bytes.Equal(again, out) {
		t.Error("twice is not once")
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(small), uint64(33))
	f.Add([]byte(`{"ociVersion":"1","process":{"capabilities":{"bounding":[],"effective":["x"]}},"root":{}}`), uint64(0))
	f.Add([]byte(`{"process":{"capabilities":null,"noNewPrivileges":"x","user":{"uid":0}}}`), uint64(1))
	f.Add([]byte("{\"process\":\t{\"capabilities\":{\"bounding\":[\"CAP_KILL\"\n,\"CAP_BPF\"]}}}"), uint64(32))
	f.Fuzz(func(t *testing.T, data []byte, bits uint64) {
		src := manifest.Source{Name: "f", Data: data}
		list, bad := Parse(src)
		if len(list) == 0 || bad != nil {
			return
		}
		set := caps.Set(bits) & caps.All()
		if _, _, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: &set, NoNewPrivs: bits&1 != 0}}}); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
	})
}

// runc gives the process what the edited file states.
func TestRuncGives(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Command("runc"), testenv.Command("busybox"))
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data := spec(t)
	data = bytes.Replace(data, []byte(`"sh"`), []byte(`"/busybox", "grep", "Cap", "/proc/self/status"`), 1)
	data = bytes.Replace(data, []byte(`"terminal": true`), []byte(`"terminal": false`), 1)
	set := caps.Of(caps.Chown, caps.SysTime)
	dir := t.TempDir()
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"config.json": rewrite(t, data, manifest.Want{Exactly: &set}), "rootfs/busybox": program} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("runc", "run", "--bundle", dir, fmt.Sprintf("leastcap-test-oci-%d", os.Getpid())).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if !strings.Contains(string(out), name+":\t"+set.Hex()) {
			t.Errorf("%s is not %s: %s", name, set.Hex(), out)
		}
	}
}
