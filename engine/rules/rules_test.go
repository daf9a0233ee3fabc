package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// The defaults as masks, so that what the catalog has is not compared with itself.
var (
	fourteen = caps.Set(0xa80425fb)
	eleven   = caps.Set(0x800405fb)
	nine     = caps.Set(0x000005fb)
	three    = caps.Set(0x20000420)
)

func TestDefaults(t *testing.T) {
	for name, want := range map[string]caps.Set{"docker": fourteen, "podman": eleven, "containerd": fourteen, "crio": nine, "runc": three} {
		r, err := For(name)
		if err != nil || r.Default != want || r.Source == "" {
			t.Errorf("%s: %+v, %v; want %v", name, r, err, want)
		}
	}
	if n := len(Names()); n != 5 {
		t.Errorf("%d engines, compared 5", n)
	}
}

func TestApply(t *testing.T) {
	kill, raw := caps.Of(caps.Kill), caps.Of(caps.NetRaw)
	admin := caps.Of(caps.NetAdmin)
	for _, tt := range []struct {
		engine string
		in     Request
		want   caps.Set
		refuse string // part of the refusal
		warn   string // part of the one warning
	}{
		// moby daemon/pkg/oci/caps/utils_test.go has the same cases.
		{engine: "docker", want: fourteen},
		{engine: "docker", in: Request{Drop: []string{"all"}}, want: 0},
		{engine: "docker", in: Request{Drop: []string{"ALL"}, Add: []string{"CaP_kill"}}, want: kill},
		{engine: "docker", in: Request{Add: []string{"net_admin"}}, want: fourteen.Union(admin)},
		{engine: "docker", in: Request{Drop: []string{"NET_RAW"}}, want: fourteen.Minus(raw)},
		{engine: "docker", in: Request{Drop: []string{"NET_RAW"}, Add: []string{"NET_RAW"}}, want: fourteen},
		{engine: "docker", in: Request{Drop: []string{"ALL"}, Add: []string{"ALL"}}, want: caps.All()},
		{engine: "docker", in: Request{Drop: []string{"ALL", "KILL"}, Add: []string{"ALL"}}, want: caps.All().Minus(kill)},
		{engine: "docker", in: Request{Add: []string{"ALL"}, Drop: []string{"KILL"}}, want: caps.All().Minus(kill)},
		{engine: "docker", in: Request{Privileged: true, Drop: []string{"ALL"}}, want: caps.All()},
		{engine: "docker", in: Request{Add: []string{"FOO"}}, refuse: `unknown capability "FOO"`},
		{engine: "docker", in: Request{Add: []string{"KILL,CHOWN"}}, refuse: "one name at a time"},
		{engine: "docker", in: Request{Add: []string{"NET_ADMIN"}, Available: &fourteen}, refuse: "not available"},
		{engine: "docker", in: Request{Add: []string{"ALL"}, Available: &fourteen}, want: fourteen},

		// containers/common pkg/capabilities/capabilities_test.go.
		{engine: "podman", want: eleven},
		{engine: "podman", in: Request{Drop: []string{"ALL"}, Add: []string{"ALL"}}, refuse: "ALL cannot be added and dropped"},
		{engine: "podman", in: Request{Drop: []string{"KILL"}, Add: []string{"kill"}}, refuse: "cannot be dropped and added"},
		{engine: "podman", in: Request{Drop: []string{"ALL"}, Add: []string{"kill,net_raw"}}, want: kill.Union(raw)},
		{engine: "podman", in: Request{Add: []string{"ALL"}, Drop: []string{"KILL"}}, want: caps.All().Minus(kill)},
		{engine: "podman", in: Request{Available: &three}, want: three.Intersect(eleven)},
		{engine: "podman", in: Request{Label: new("kill,chown")}, want: caps.Of(caps.Kill, caps.Chown)},
		{engine: "podman", in: Request{Label: new("")}, want: 0},
		{engine: "podman", in: Request{Label: new("kill,sys_admin")}, want: eleven, warn: "sys_admin"},
		{engine: "podman", in: Request{Label: new("nonsense")}, refuse: "no list"},
		{engine: "podman", in: Request{Label: new("kill"), Privileged: true}, want: caps.All()},
		{engine: "docker", in: Request{Label: new("kill")}, want: fourteen},

		{engine: "podman", in: Request{Drop: []string{"ALL", "KILL"}, Add: []string{"KILL"}}, want: kill},
		{engine: "docker", in: Request{Add: []string{"12"}}, refuse: `unknown capability "12"`},

		{engine: "containerd", want: fourteen},
		{engine: "containerd", in: Request{Drop: []string{"KILL"}, Add: []string{"KILL"}}, want: fourteen.Minus(kill)},
		{engine: "containerd", in: Request{Drop: []string{"all"}, Add: []string{"KILL"}}, want: kill},
		{engine: "containerd", in: Request{Add: []string{"CAP_NET_ADMIN"}}, want: fourteen, warn: "CAP_CAP_NET_ADMIN"},
		{engine: "containerd", in: Request{Add: []string{"FOO"}}, want: fourteen, warn: "FOO"},
		{engine: "containerd", in: Request{Add: []string{"ALL"}, Drop: []string{"ALL"}}, want: 0},

		{engine: "crio", want: nine},
		{engine: "crio", in: Request{Drop: []string{"ALL"}, Add: []string{"CAP_KILL"}}, want: kill},
		{engine: "crio", in: Request{Add: []string{"KILL"}, Drop: []string{"KILL"}}, want: nine.Minus(kill)},
		{engine: "crio", in: Request{Add: []string{"FOO"}}, refuse: "FOO"},

		{engine: "runc", want: three},
		{engine: "runc", in: Request{Add: []string{"NET_RAW", "FOO"}}, want: three.Union(raw), warn: "FOO"},
		{engine: "runc", in: Request{Default: &kill, Add: []string{"NET_RAW"}}, want: kill.Union(raw)},
	} {
		t.Run(fmt.Sprintf("%s add %v drop %v", tt.engine, tt.in.Add, tt.in.Drop), func(t *testing.T) {
			e, err := For(tt.engine)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Apply(tt.in)
			if tt.refuse != "" {
				var refusal *Error
				if !errors.As(err, &refusal) || !strings.Contains(err.Error(), tt.refuse) {
					t.Fatalf("got %v, %v; want a refusal with %q", got.Set, err, tt.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Set != tt.want {
				t.Errorf("got %v, want %v", got.Set, tt.want)
			}
			if len(got.Origins()) != got.Set.Len() {
				t.Errorf("%d origins for %d capabilities", len(got.Origins()), got.Set.Len())
			}
			if warned := strings.Join(got.Warnings, "\n"); tt.warn == "" && warned != "" || !strings.Contains(warned, tt.warn) {
				t.Errorf("warned %q, want %q", warned, tt.warn)
			}
		})
	}
}

func TestState(t *testing.T) {
	kill := caps.Of(caps.Kill)
	same := caps.State{Effective: kill, Permitted: kill, Bounding: kill}
	add := []string{"KILL"}
	drop := []string{"ALL"}
	for _, tt := range []struct {
		engine, version, user string
		want, after           caps.State
	}{
		{"docker", "20.10.24", "", same, same},
		{"docker", "20.10.24", "root:adm", same, same},
		{"docker", "18.03.1", "1000", same, caps.State{Bounding: kill}},
		{"docker", "20.10.24", "1000", caps.State{Bounding: kill}, caps.State{Bounding: kill}},
		{"docker", "24.0.7", "1000", caps.State{Bounding: kill}, caps.State{Bounding: kill}},
		{"docker", "25.0.0", "1000", same, caps.State{Bounding: kill}},
		{"docker", "", "1000", same, caps.State{Bounding: kill}},
		{"podman", "", "1000",
			caps.State{Effective: kill, Permitted: kill, Inheritable: kill, Ambient: kill, Bounding: kill},
			caps.State{Effective: kill, Permitted: kill, Inheritable: kill, Ambient: kill, Bounding: kill}},
		{"podman", "", "0", same, same},
		{"containerd", "", "1000", same, caps.State{Bounding: kill}},
		{"crio", "", "", same, same},
	} {
		t.Run(tt.engine+" "+tt.version+" "+tt.user, func(t *testing.T) {
			e, err := For(tt.engine)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Apply(Request{Add: add, Drop: drop, User: tt.user, Version: tt.version})
			if err != nil {
				t.Fatal(err)
			}
			if got.Runtime != tt.want {
				t.Errorf("the runtime sets %+v, want %+v", got.Runtime, tt.want)
			}
			root := (&request{Request: &Request{User: tt.user}}).root()
			if after := AfterExec(got.Runtime, root); after != tt.after {
				t.Errorf("after the exec %+v, want %+v", after, tt.after)
			}
		})
	}
}

func TestForUnknown(t *testing.T) {
	_, err := For("lxc")
	if err == nil || !strings.Contains(err.Error(), `"lxc"`) || !strings.Contains(err.Error(), "docker, podman") {
		t.Errorf("got %v", err)
	}
}

func FuzzApply(f *testing.F) {
	f.Add("docker", "ALL", "KILL", uint64(0x1ff), false)
	f.Add("podman", "kill,chown", "all", uint64(1), true)
	f.Fuzz(func(t *testing.T, engine, add, drop string, available uint64, privileged bool) {
		e, err := For(engine)
		if err != nil {
			return
		}
		have := caps.Set(available).Intersect(caps.All())
		in := Request{Add: strings.Fields(add), Drop: strings.Fields(drop), Available: &have, Privileged: privileged}
		got, err := e.Apply(in)
		if err != nil {
			return
		}
		if !got.Set.SubsetOf(have) {
			t.Errorf("%v is more than the engine has, %v", got.Set, have)
		}
		if !got.Runtime.Bounding.SubsetOf(have) || !got.Runtime.Effective.SubsetOf(got.Runtime.Permitted) || !got.Runtime.Ambient.SubsetOf(got.Runtime.Inheritable) {
			t.Errorf("no kernel takes %+v", got.Runtime)
		}
	})
}
