package probe_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/usage"
)

// runningProbe is one that looks at what runs already.
func runningProbe(t testing.TB, o probe.Options) *probe.Probe {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Command("gcc"))
	o.Running = true
	p, err := probe.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// groupOf surveys one cgroup, with those below it.
func groupOf(t testing.TB, p *probe.Probe, path string) *probe.Group {
	t.Helper()
	groups, err := p.Survey(func(place probe.Place) string {
		if place.Path == path || strings.HasPrefix(place.Path, path+"/") {
			return "it"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	if groups["it"] == nil {
		t.Fatalf("%s is not known", path)
	}
	return groups["it"]
}

// TestAdopt: what runs before the probe is opened is the workload at once, of a container
// and of the host's own.
func TestAdopt(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		name, dir string
		host      bool
	}{{"host", "", true}, {"container", id, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScope(t, theProbe(t))
			dir := s.dir
			if c.dir != "" {
				dir = filepath.Join(s.dir, c.dir)
				if err := unix.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			s.dir = dir
			w := s.steps(bounding(t), "say", "up", ",", "wait", ",", "setgid", "33", ",", "fork", "{", "setuid", "33", "}")
			w.hear()

			p := runningProbe(t, probe.Options{})
			path := strings.TrimPrefix(dir, p.Hierarchy().Mount)
			if err := p.Adopt(path); err != nil {
				t.Fatal(err)
			}
			g := groupOf(t, p, path)
			if len(g.Places) != 1 || g.Places[0].Host != c.host || !g.Places[0].Adopted || g.Places[0].Launched || g.Places[0].Path != path {
				t.Errorf("places: %+v", g.Places)
			}
			news, err := p.News()
			if err != nil {
				t.Fatal(err)
			}
			w.tell()
			w.ends()
			r := groupOf(t, p, path).Record
			wantSet(t, "granted", r.Sets[usage.Steady].Granted, caps.Of(caps.Setgid, caps.Setuid))
			e := evidence(t, r, caps.Setgid, usage.Granted, "setgid")
			if want := program(t, "workload"); e.Process.Exe != want || e.Phase != usage.Steady {
				t.Errorf("%+v: want the program %s", e, want)
			}
			if after, err := p.News(); err != nil || after <= news {
				t.Errorf("news: %d, then %d, %v", news, after, err)
			}
		})
	}
}
