package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/opts"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/mount"

	"github.com/leastcap/leastcap/engine/bundle"
)

// What docker's own command makes of a --mount is what is made of it here; only what
// nothing but an engine has is refused besides.
func TestMountAsDocker(t *testing.T) {
	values := []string{
		"", " ", "type=bind,src=/a,dst=/b", " type=bind,source=/a,target=/b,readonly ", "type=BIND,src=./x,destination=/b,ro=true",
		"src=v,dst=/b", "dst=/b", "type=volume,dst=/b,volume-nocopy", "type=volume,dst=/b,volume-nocopy=0,ro=false", "src=../v,dst=/b",
		"type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777", "type=tmpfs,dst=/t,tmpfs-mode=0700,tmpfs-size=0", "type=tmpfs,dst=/t,tmpfs-size=1g,tmpfs-size=2g",
		"type=bind,src=/a,dst=/b,bind-propagation=RSHARED", "type=bind,src=/a,dst=/b,bind-propagation=shared,bind-propagation=slave",
		"type=bind,src=/a,dst=/b,bind-create-src", "type=bind,src=/a,dst=/b,bind-create-src=false", "type=bind,src=a,dst=/b",
		"type=bind,src=/a,dst=/b,bind-recursive=disabled", "type=bind,src=/a,dst=/b,bind-recursive=writable", "type=bind,src=/a,dst=/b,ro,bind-recursive=writable",
		"type=bind,src=/a,dst=/b,ro,bind-recursive=readonly", "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly,bind-propagation=rprivate", "type=bind,src=/a,dst=/b,bind-recursive=no",
		"type=bind,src=/a,dst=/b,bind-nonrecursive", "type=bind,src=/a,dst=/b,consistency=Cached", `type=bind,"src=/a,b",dst=/c`, `type=bind,src="/a`,
		"type=bind,src=/a,dst=/b,tmpfs-size=1", "type=volume,dst=/b,bind-propagation=shared", "type=tmpfs,dst=/b,volume-nocopy", "type=tmpfs,dst=/b,tmpfs-size=x", "type=tmpfs,dst=/b,tmpfs-mode=9",
		"type=volume,dst=/b,volume-label=a=b", "type=volume,dst=/b,volume-driver=x", "type=volume,dst=/b,volume-opt=a=b", "type=volume,dst=/b,volume-subpath=x",
		"type=image,src=x,dst=/b", "type=image,src=x,dst=/b,image-subpath=y", "type=cluster,src=x,dst=/b", "type=npipe,src=x,dst=/b", "type=,dst=/b", "type=bind,dst=", "type=bind,nonesuch=1", "type=bind,dst",
		"type=bind,src =/a,dst=/b", "type=bind,src= /a,dst=/b", "TYPE=bind,SRC=/a,DST=/b", "type=bind,src=/a,dst=/b,readonly=yes", "type=bind,src=/a,dst=/b,readonly=", "type=bind,src=/a,dst=/b\ntype=bind",
	}
	refused := 0
	for _, value := range values {
		var theirs opts.MountOpt
		err := theirs.Set(value)
		var want []bundle.Mount
		if err == nil {
			want, err = ofDocker(theirs.Value())
		}
		var c bundle.Container
		got := setMount(&c, value)
		if (got != nil) != (err != nil) {
			t.Errorf("%q: %v, docker: %v", value, got, err)
		}
		if diff := cmp.Diff(want, c.Mounts); diff != "" {
			t.Errorf("%q: -docker +here\n%s", value, diff)
		}
		if got != nil {
			refused++
		}
	}
	if refused < 10 || refused > len(values)-10 {
		t.Errorf("%d of %d are refused", refused, len(values))
	}
}

// ofDocker says in bundle's words what docker would send to the engine.
func ofDocker(list []mount.Mount) (out []bundle.Mount, err error) {
	for _, p := range list {
		m := bundle.Mount{Type: string(p.Type), Source: p.Source, Target: p.Target, ReadOnly: p.ReadOnly, MustExist: true}
		switch p.Type {
		case mount.TypeBind:
			if b := p.BindOptions; b != nil {
				if b.Propagation != "" {
					m.Options = append(m.Options, string(b.Propagation))
				}
				m.MustExist = !b.CreateMountpoint
				if b.NonRecursive || b.ReadOnlyNonRecursive || b.ReadOnlyForceRecursive {
					return nil, fmt.Errorf("the engine's")
				}
			}
			if m.Source, err = filepath.Abs(m.Source); err != nil {
				return nil, err
			}
		case mount.TypeVolume:
			if v := p.VolumeOptions; v != nil {
				if v.DriverConfig != nil || v.Subpath != "" {
					return nil, fmt.Errorf("the engine's")
				}
				m.NoCopy = v.NoCopy
			}
		case mount.TypeTmpfs:
			if o := p.TmpfsOptions; o != nil {
				if o.SizeBytes > 0 {
					m.Options = append(m.Options, fmt.Sprintf("size=%d", o.SizeBytes))
				}
				if o.Mode != 0 {
					m.Options = append(m.Options, fmt.Sprintf("mode=%o", o.Mode))
				}
			}
		default:
			return nil, fmt.Errorf("the engine's")
		}
		out = append(out, m)
	}
	return out, nil
}

// Values that docker's command reads by itself.
func TestValuesAsDocker(t *testing.T) {
	for flag, c := range map[string]struct {
		values []string
		docker func(string) (string, error)
		here   func(*bundle.Container) string
	}{
		"cpus": {
			[]string{"1.5", "0", "2", "1/2", "", "x", "0.0000000001", "1e-3", "-1"},
			func(v string) (string, error) { n, err := opts.ParseCPUs(v); return fmt.Sprint(n), err },
			func(c *bundle.Container) string { return fmt.Sprint(c.Resources.NanoCPUs) },
		},
		"memory-swap": {
			[]string{"-1", "1g", "64m", "0", "x", "", "-2"},
			func(v string) (string, error) {
				var s opts.MemSwapBytes
				err := s.Set(v)
				return fmt.Sprint(s.Value()), err
			},
			func(c *bundle.Container) string { return fmt.Sprint(c.Resources.MemorySwap) },
		},
		"add-host": {
			[]string{"a:10.0.0.2", "a=10.0.0.2", "a:::1", "a=[::1]", "a:[::1]", "a", "", ":1.2.3.4", "a:x", "a:host-gateway", "a:b:c", "a:b=1.2.3.4", "a:[]"},
			opts.ValidateExtraHost,
			func(c *bundle.Container) string { return c.Hosts[0].Name + ":" + c.Hosts[0].IP },
		},
		"sysctl": {
			[]string{"net.ipv4.ip_forward=1", "kernel.sem=1 2", "kernel.shm_rmid_forced=1", "kernel.msgmax=1", "kernel.hostname=a", "fs.mqueue.x=1", "net.x", "", "=1", "vm.x=1", "kernel.shm=1"},
			opts.ValidateSysctl,
			func(c *bundle.Container) string {
				for k, v := range c.Sysctls {
					return k + "=" + v
				}
				return ""
			},
		},
	} {
		for _, v := range c.values {
			want, err := c.docker(v)
			var b bundle.Container
			got := containerFlags()[flag](&b, v)
			switch {
			case (got != nil) != (err != nil):
				t.Errorf("--%s %q: %v, docker: %v", flag, v, got, err)
			case err == nil && c.here(&b) != want:
				t.Errorf("--%s %q is %s, docker: %s", flag, v, c.here(&b), want)
			case err != nil && strings.TrimSpace(got.Error()) == "":
				t.Errorf("--%s %q: no reason", flag, v)
			}
		}
	}
}

// A seccomp profile that is no JSON is refused, and where it is none is said.
func TestSeccompFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profile.json")
	for text, want := range map[string]string{
		"": file + ":1:1 is no JSON: ", "{\n \"defaultAction\": SCMP_ACT_ALLOW\n}\n": file + ":2:19 is no JSON: ", "{\"syscalls\": [\n\n\n": file + ":3:1 is no JSON: ", "{}": "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var c bundle.Container
		err := setSecurity(&c, "seccomp="+file)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if err == nil && c.Seccomp != text {
			t.Errorf("%q became %q", text, c.Seccomp)
		}
	}
}
