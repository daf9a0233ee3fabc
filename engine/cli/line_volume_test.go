package cli

import (
	"slices"
	"testing"
)

// With fresh volumes every named one becomes anonymous, with its options; what
// is no volume stays.
func TestFreshVolumes(t *testing.T) {
	for _, c := range []struct {
		argv, fresh, after []string
	}{
		{
			[]string{"docker", "run", "-v", "data:/var/lib/x", "x"},
			[]string{"docker", "create", "--mount", "type=volume,destination=/var/lib/x", "x"},
			[]string{"docker", "create", "--volumes-from", "ID", "x"},
		}, {
			[]string{"docker", "run", "-dv", "data:/d:ro,nocopy", "-v", "/anon", "-v", "/host:/h", "-v./rel:/r", "x", "-v", "a:b"},
			[]string{"docker", "create", "--mount", "type=volume,destination=/d,readonly,volume-nocopy", "-v", "/anon", "-v", "/host:/h", "-v./rel:/r", "x", "-v", "a:b"},
			[]string{"docker", "create", "--volumes-from", "ID", "-v", "/anon", "-v", "/host:/h", "-v./rel:/r", "x", "-v", "a:b"},
		}, {
			[]string{"podman", "run", "--mount", `type=volume,src=data,"target=/a,b"`, "--mount=type=tmpfs,dst=/t", "--mount", "source=d,dst=/d,readonly", "x"},
			[]string{"podman", "create", "--mount", `type=volume,"target=/a,b"`, "--mount", "dst=/d,readonly", "--mount=type=tmpfs,dst=/t", "x"},
			[]string{"podman", "create", "--volumes-from", "ID", "--mount=type=tmpfs,dst=/t", "x"},
		},
	} {
		l, err := Parse(c.argv)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Create(Rewrite{Fresh: true}); !slices.Equal(got, c.fresh) {
			t.Errorf("fresh:\n%q\nwant\n%q", got, c.fresh)
		}
		if got := l.Create(Rewrite{VolumesFrom: "ID"}); !slices.Equal(got, c.after) {
			t.Errorf("after:\n%q\nwant\n%q", got, c.after)
		}
	}
}

func TestPersistentAndExclusive(t *testing.T) {
	for _, c := range []struct {
		flags         []string
		stays, always bool
		exclusive     bool
	}{
		{flags: nil},
		{flags: []string{"-v", "/anon"}},
		{flags: []string{"-v", "data:/d"}, stays: true},
		{flags: []string{"--mount", "src=data,dst=/d"}, stays: true},
		{flags: []string{"--mount", "type=tmpfs,dst=/d"}},
		{flags: []string{"-v", "/host:/d"}, stays: true, always: true},
		{flags: []string{"--mount", "type=bind,src=/host,dst=/d"}, stays: true, always: true},
		{flags: []string{"--volumes-from", "other"}, stays: true, always: true},
		{flags: []string{"--name", "web"}, exclusive: true},
		{flags: []string{"-p", "80"}},
		{flags: []string{"-p", "127.0.0.1::80"}},
		{flags: []string{"-p", "8080:80"}, exclusive: true},
		{flags: []string{"-p", "127.0.0.1:8080:80"}, exclusive: true},
		{flags: []string{"--net", "host"}, exclusive: true},
		{flags: []string{"--network=container:db"}, exclusive: true},
		{flags: []string{"--network", "backend"}},
		{flags: []string{"--ip", "10.0.0.2"}, exclusive: true},
	} {
		l, err := Parse(slices.Concat([]string{"docker", "run"}, c.flags, []string{"x"}))
		if err != nil {
			t.Fatal(err)
		}
		w := &Workload{line: l}
		if w.Persistent(false) != c.stays || w.Persistent(true) != c.always {
			t.Errorf("%q: stays %v, also with fresh volumes %v", c.flags, w.Persistent(false), w.Persistent(true))
		}
		if (w.Exclusive() != "") != c.exclusive {
			t.Errorf("%q: exclusive: %q", c.flags, w.Exclusive())
		}
	}
}
