package inspect_test

import (
	"fmt"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/inspect"
)

const printed = `[
    {
        "Id": "4f2a", "Name": "/web",
        "HostConfig": {
            "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["ALL"], "Privileged": false, "ReadonlyRootfs": true,
            "NetworkMode": "host", "PidMode": "", "IpcMode": "private", "UsernsMode": "",
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "label:disable"],
            "Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}],
            "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"}
        },
        "Config": {"Image": "nginx", "User": "33", "Labels": {"a": "b"}},
        "Mounts": [
            {"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/s", "RW": true},
            {"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/d", "RW": false}
        ]
    },
    {"Id": "5", "Name": "p", "ImageName": "quay.io/x", "OCIRuntime": "crun", "HostConfig": {"CapAdd": [], "CapDrop": null}, "Config": {}, "Mounts": null}
]`

func TestParse(t *testing.T) {
	if l := inspect.Recognise("", []byte(printed)); l != manifest.Sure {
		t.Errorf("recognised as %v", l)
	}
	list, err := inspect.Parse(manifest.Source{Name: "docker", Data: []byte(printed)})
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	c := list[0]
	given, err := c.Given("")
	if err != nil || given.Set != caps.Of(caps.NetAdmin) {
		t.Errorf("given %v %v", given.Set, err)
	}
	if c.Name != "web" || c.At.String() != "docker" || !c.Shares("net") || c.Shares("ipc") || !manifest.Is(c.NoNewPrivs, true) ||
		!manifest.Is(c.Seccomp, "unconfined") || !manifest.Is(c.SELinux, "disable") || !manifest.Is(c.User, "33") || !manifest.Is(c.ReadOnlyRoot, true) {
		t.Errorf("%+v", c)
	}
	if s := c.Sensitive(); len(s) != 1 || s[0].Source.V != "/var/run/docker.sock" {
		t.Errorf("sensitive: %+v", s)
	}
	if len(c.Devices) != 1 || len(c.Sysctls) != 1 || len(c.Labels) != 1 || c.Mounts[1].Source.V != "data" {
		t.Errorf("%+v", c)
	}
	if p := list[1]; p.Target.Engines[0] != "podman" || p.Image.V != "quay.io/x" || p.User.State != manifest.Unset {
		t.Errorf("%+v", p)
	}
	for bad, at := range map[string]string{
		"": "f", "{}": "f:1:1", "[{]": "f:1:3", printed + "\nx": "f:19:1", "[\n{\"HostConfig\": 1}]": "f:2:16", "[\n\n{": "f:3:1",
	} {
		_, err := inspect.Parse(manifest.Source{Name: "f", Data: []byte(bad)})
		if errs := manifest.Errors(err); len(errs) != 1 || errs[0].At.String() != at {
			t.Errorf("%q: %v, want it at %s", bad, err, at)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(printed))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := inspect.Parse(manifest.Source{Name: "f", Data: data})
		if err != nil && len(list) > 0 {
			t.Error("both an error and containers")
		}
		for _, c := range list {
			_, _ = c.Given("")
		}
	})
}

// What the image says already is not what was asked for.
func TestWithoutImages(t *testing.T) {
	const images = `[{"Id":"sha256:i","Config":{"User":"5","Entrypoint":["run"],"Cmd":["a","b"],"Env":["PATH=/bin","A=1"],"WorkingDir":"/w"}}]`
	for _, tt := range []struct{ config, want string }{
		{`"Entrypoint":["run"],"Cmd":["a","b"],"Env":["PATH=/bin","A=2","B=3"],"WorkingDir":"/w"`, "unset unset A=2 B=3 unset"},
		{`"Entrypoint":["run"],"Cmd":["c"],"Env":["A=1"],"WorkingDir":"/x"`, "unset [c] /x"},
		{`"Entrypoint":["sh"],"Cmd":null`, "[sh] unset unset"},
		{`"Entrypoint":"sh -x","Cmd":["a","b"]`, "[sh -x] [a b] unset"},
	} {
		list, err := inspect.Parse(manifest.Source{Name: "f", Data: []byte(`[{"Id":"c","Image":"sha256:i","Config":{` + tt.config + `}}]`)})
		if err != nil {
			t.Fatal(err)
		}
		if gone, err := inspect.WithoutImages(list, []byte(images)); err != nil || len(gone) > 0 {
			t.Fatal(err)
		}
		show := func(a manifest.Args) string {
			if words, ok := manifest.Line(a); ok {
				return fmt.Sprint(words)
			}
			return "unset"
		}
		c := list[0]
		got := show(c.Entrypoint) + " " + show(c.Command)
		for _, p := range c.Env {
			got += " " + p.Key + "=" + p.Value.V
		}
		if dir, ok := c.WorkDir.Get(); ok {
			got += " " + dir
		} else {
			got += " unset"
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.config, got, tt.want)
		}
	}
	for user, own := range map[string]bool{"5": true, "6": false, "": false} {
		list, _ := inspect.Parse(manifest.Source{Name: "f", Data: []byte(`[{"Id":"c","Image":"sha256:i","Config":{"User":"` + user + `"}}]`)})
		if _, err := inspect.WithoutImages(list, []byte(images)); err != nil || inspect.ImageUser(list[0]) != own || list[0].User.V != user {
			t.Errorf("user %q: %v", user, err)
		}
	}
	if _, err := inspect.WithoutImages(nil, []byte("x")); err == nil {
		t.Error("no error")
	}
	list, _ := inspect.Parse(manifest.Source{Name: "f", Data: []byte(`[{"Id":"c","Image":"sha256:other","Config":{}}]`)})
	if gone, err := inspect.WithoutImages(list, []byte(images)); err != nil || len(gone) != 1 {
		t.Errorf("gone: %v %v", gone, err)
	}
}
