package advise_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

func record(s usage.Sets) *usage.Record {
	return &usage.Record{Sets: map[usage.Phase]usage.Sets{usage.Start: s}}
}

func TestPredict(t *testing.T) {
	base := caps.Of(caps.Chown, caps.NetRaw, caps.NetBindService, caps.SysTime, caps.Kill)
	r := record(usage.Sets{
		Granted: caps.Of(caps.Chown), Capset: caps.Of(caps.NetBindService, caps.SysAdmin),
		PlainAll: caps.Of(caps.Kill), Denied: caps.Of(caps.Kill),
	})
	r.Sets[usage.Stop] = usage.Sets{Ambient: caps.Of(caps.SysTime)}
	r.Execs = []usage.Exec{
		{Path: "/ping", Caps: &caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true}},
		// Without the effective bit execve succeeds with less.
		{Path: "/dumpcap", Caps: &caps.FileCaps{Permitted: caps.Of(caps.Kill)}},
	}
	want := caps.Of(caps.Chown, caps.NetBindService, caps.NetRaw, caps.SysTime)
	if got := advise.Predict(r, base); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRepair(t *testing.T) {
	base := caps.Of(caps.Chown, caps.Kill, caps.NetRaw, caps.Setuid)
	had := caps.Of(caps.Setuid)
	r := record(usage.Sets{Denied: caps.Of(caps.Chown, caps.SysAdmin, caps.Setuid), CapsetFailed: caps.Of(caps.Kill)})
	r.Execs = []usage.Exec{{Failed: true, Caps: &caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true}}}
	if got, want := advise.Repair(r, had, base), base&^had; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := advise.Repair(record(usage.Sets{}), had, base); got != 0 {
		t.Errorf("nothing was refused: got %v", got)
	}
}

func TestFirstRefusal(t *testing.T) {
	set := caps.Of(caps.Setgid)
	check := func(c caps.Cap, v usage.Verdict, failed uint64, errno string) *usage.Record {
		return &usage.Record{Checks: []usage.Check{{
			Cap: c, Verdict: v, Failed: failed, Errno: errno, Call: "call()", Process: usage.Process{Comm: "app"},
		}}}
	}
	for _, c := range []struct {
		name, want string
		r          *usage.Record
	}{
		{"nothing", "", record(usage.Sets{})},
		{"went on", "", check(caps.Setgid, usage.Denied, 0, "")},
		{"failed", "app: call() gave EPERM", check(caps.Setgid, usage.Denied, 1, "EPERM")},
		{"failed for another reason", "", check(caps.Setgid, usage.Denied, 1, "ENOENT")},
		{"another", "", check(caps.Kill, usage.Denied, 1, "EPERM")},
		{"granted", "", check(caps.Setgid, usage.Granted, 1, "EPERM")},
		{"capset", "app: capset of setgid gave EPERM", &usage.Record{Capsets: []usage.Capset{
			{Call: "capset", Permitted: set, Failed: true, Process: usage.Process{Comm: "app"}},
		}}},
		{"capset that passed", "", &usage.Record{Capsets: []usage.Capset{{Call: "capset", Permitted: set}}}},
		{"exec", `execve("/x") gave EPERM`, &usage.Record{Execs: []usage.Exec{
			{Path: "/x", Failed: true, Caps: &caps.FileCaps{Permitted: set, Effective: true}},
		}}},
	} {
		if got := advise.FirstRefusal(c.r, set); (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func identity(exe string, uid, gid uint32) usage.Identity {
	return usage.Identity{Exe: exe, UIDs: usage.IDs{uid, uid, uid, uid}, GIDs: usage.IDs{gid, gid, gid, gid}, Root: "/"}
}

func TestGuard(t *testing.T) {
	master, worker, helper := identity("/a", 0, 0), identity("/a", 33, 33), identity("/h", 0, 0)
	g := advise.NewGuard(false, []usage.Identity{master, worker, helper}, []usage.Identity{master, worker})
	for _, c := range []struct {
		name string
		run  []usage.Identity
		want string // a part of the message, "" = alike
	}{
		{"alike", []usage.Identity{master, worker}, ""},
		{"with what varies", []usage.Identity{helper, master, worker}, ""},
		{"worker stayed root", []usage.Identity{master, identity("/a", 0, 33)}, "stayed /a uid 0 gid 33 instead of /a uid 33 gid 33"},
		{"no worker", []usage.Identity{master}, "no process became /a uid 33 gid 33"},
		{"new program", []usage.Identity{master, worker, identity("/sh", 0, 0)}, "was /sh uid 0 gid 0, which no baseline"},
		{"another program instead", []usage.Identity{master, identity("/sh", 0, 0)}, "was /sh"},
	} {
		got := g.Compare(c.run)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Every part of an identity counts.
func TestGuardSeesEveryField(t *testing.T) {
	base := usage.Identity{Exe: "/a", Groups: []uint32{1}, Root: "/"}
	for name, change := range map[string]func(*usage.Identity){
		"exe": func(i *usage.Identity) { i.Exe = "/b" }, "saved uid": func(i *usage.Identity) { i.UIDs[2] = 1 },
		"fs gid": func(i *usage.Identity) { i.GIDs[3] = 1 }, "groups": func(i *usage.Identity) { i.Groups = []uint32{1, 2} },
		"no_new_privs": func(i *usage.Identity) { i.NoNewPrivs = true }, "seccomp": func(i *usage.Identity) { i.Seccomp = 2 },
		"root": func(i *usage.Identity) { i.Root = "/jail" },
	} {
		other := base
		change(&other)
		if advise.NewGuard(false, []usage.Identity{base}).Compare([]usage.Identity{other}) == "" {
			t.Errorf("%s: the guard does not see it", name)
		}
		loose := advise.NewGuard(true, []usage.Identity{base}).Compare([]usage.Identity{other})
		if (loose == "") != (name == "seccomp") {
			t.Errorf("%s: the loose guard says %q", name, loose)
		}
	}
}

func TestOrder(t *testing.T) {
	all := advise.Order(caps.All())
	if len(all) != caps.All().Len() || caps.Of(all...) != caps.All() {
		t.Fatalf("not an order of all: %v", all)
	}
	if all[0] != caps.SysAdmin && all[0] != caps.SysModule {
		t.Errorf("most dangerous: %v", all[0])
	}
	if slices.Index(all, caps.NetBindService) < slices.Index(all, caps.DacOverride) {
		t.Error("net_bind_service before dac_override")
	}
}

func TestSubstitutes(t *testing.T) {
	asked := record(usage.Sets{Denied: caps.Of(caps.DacReadSearch, caps.DacOverride)})
	for _, c := range []struct {
		name      string
		without   *usage.Record
		have      caps.Set
		container bool
		want      int
		adopt     bool
	}{
		{"container", asked, 0, true, 1, false},
		{"host", asked, 0, false, 1, true},
		{"has it already", asked, caps.Of(caps.DacReadSearch), false, 0, false},
		{"never asked for", record(usage.Sets{Denied: caps.Of(caps.DacOverride)}), 0, false, 0, false},
	} {
		got := advise.Substitutes(caps.DacOverride, c.without, c.have, c.container)
		if len(got) != c.want || c.want == 1 && (got[0].Use != caps.DacReadSearch || got[0].Adopt != c.adopt) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestPortability(t *testing.T) {
	r := &usage.Record{
		Ports:   []usage.Port{{Port: 80, Network: "tcp", Comm: "nginx"}, {Ping: true, Network: "icmp", Comm: "ping"}},
		Sysctls: &usage.Sysctls{UnprivilegedPortStart: 0},
	}
	if got := advise.Portability(r, 0); got.Inferred != caps.Of(caps.NetBindService, caps.NetRaw) || len(got.Reasons) != 2 {
		t.Errorf("got %+v", got)
	}
	if got := advise.Portability(r, caps.Of(caps.NetBindService, caps.NetRaw)); got.Inferred != 0 {
		t.Errorf("it has them: %+v", got)
	}
	r.Sysctls.UnprivilegedPortStart = 1024 // here the trial itself decided
	if got := advise.Portability(r, caps.Of(caps.NetRaw)); got.Inferred != 0 {
		t.Errorf("the sysctl is not permissive: %+v", got)
	}
}
