package line

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
