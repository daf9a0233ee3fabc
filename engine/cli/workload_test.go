package cli

import (
	"slices"
	"testing"
)

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
