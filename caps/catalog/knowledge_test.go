package catalog_test

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// Spengler's lists, as the post has them: 19 that equal root, three of these by
// the situation, 3 that are near and 13 without a known way.
func TestRootClasses(t *testing.T) {
	post := map[catalog.RootClass]caps.Set{
		catalog.RootEqual: caps.Of(caps.SysAdmin, caps.SysTtyConfig, caps.Mknod, caps.SysPtrace, caps.SysRawio, caps.SysModule,
			caps.Setfcap, caps.Setuid, caps.DacOverride, caps.Setpcap, caps.Chown, caps.SysChroot, caps.DacReadSearch,
			caps.SysBoot, caps.AuditControl, caps.Fowner),
		catalog.RootByCase: caps.Of(caps.Fsetid, caps.Setgid, caps.IpcOwner),
		catalog.RootNear:   caps.Of(caps.Kill, caps.NetAdmin, caps.NetRaw),
		catalog.RootNoWay: caps.Of(caps.LinuxImmutable, caps.NetBroadcast, caps.NetBindService, caps.IpcLock, caps.SysPacct,
			caps.SysNice, caps.SysResource, caps.SysTime, caps.Lease, caps.AuditWrite, caps.MacOverride, caps.MacAdmin, caps.Syslog),
		catalog.RootYounger: caps.Of(caps.WakeAlarm, caps.BlockSuspend, caps.AuditRead, caps.Perfmon, caps.Bpf, caps.CheckpointRestore),
	}
	if n := post[catalog.RootEqual].Len() + post[catalog.RootByCase].Len(); n != 19 {
		t.Fatalf("the list above has %d that equal root, the post 19", n)
	}
	got := map[catalog.RootClass]caps.Set{}
	for _, e := range catalog.All() {
		got[e.Root.Class] = got[e.Root.Class].With(e.Cap)
		if knows := e.Root.Class != catalog.RootNoWay && e.Root.Class != catalog.RootYounger; knows != (e.Root.How != "") {
			t.Errorf("%v: class %s, how %q", e.Cap, e.Root.Class, e.Root.How)
		}
		if e.Root.Class.Means() == "" {
			t.Errorf("%v: class %q means nothing", e.Cap, e.Root.Class)
		}
	}
	if !maps.Equal(got, post) {
		t.Errorf("got %v, the post has %v", got, post)
	}
}

// The level of danger follows from what is reached, and under which sharing.
func TestDangerFollowsFromReach(t *testing.T) {
	for _, e := range catalog.All() {
		alone, most := e.DangerUnder(), e.DangerUnder(sharings()...)
		ok := false
		switch e.Danger {
		case catalog.Host:
			ok = alone == catalog.Host
		case catalog.Shared:
			ok = alone < catalog.Host && most == catalog.Host
		case catalog.Disturb, catalog.Disclose:
			ok = most == e.Danger
		case catalog.Inside:
			ok = alone == catalog.Inside && most < catalog.Host
		}
		if !ok {
			t.Errorf("%v is %v, but reaches %v alone and %v with everything shared", e.Cap, e.Danger, alone, most)
		}
		for i, r := range e.Container.Reaches {
			if i > 0 && r.Shared == catalog.SharesNothing {
				t.Errorf("%v: what needs nothing to be shared does not come first", e.Cap)
			}
			if r.Level == catalog.Shared || r.Level <= catalog.Inside {
				t.Errorf("%v reaches something at level %v", e.Cap, r.Level)
			}
		}
	}
	ptrace := catalog.Get(caps.SysPtrace)
	if got := ptrace.DangerUnder(catalog.SharesNetwork); got != catalog.Inside {
		t.Errorf("sys_ptrace with the host's network: %v", got)
	}
	if got := ptrace.DangerUnder(catalog.SharesNetwork, catalog.SharesPID); got != catalog.Host {
		t.Errorf("sys_ptrace with the host's processes: %v", got)
	}
	if got := catalog.Get(47).DangerUnder(sharings()...); got != catalog.Unknown {
		t.Errorf("a capability without a name: %v", got)
	}
}

func sharings() []catalog.Sharing {
	return []catalog.Sharing{
		catalog.SharesNothing, catalog.SharesPID, catalog.SharesNetwork, catalog.SharesIPC,
		catalog.SharesMount, catalog.SharesDevice, catalog.SharesBridge,
	}
}

func TestSharing(t *testing.T) {
	for _, s := range sharings() {
		text, err := s.MarshalText()
		var back catalog.Sharing
		if err != nil || back.UnmarshalText(text) != nil || back != s || s.Means() == "" || string(text) != s.String() {
			t.Errorf("%d: %s, %v, back as %v", s, text, err, back)
		}
		if (s.Flag() == "") != (s == catalog.SharesNothing) {
			t.Errorf("%v: flag %q", s, s.Flag())
		}
	}
	if err := new(catalog.Sharing).UnmarshalText([]byte("uts")); err == nil {
		t.Error("an unknown sharing was read")
	}
	if _, err := catalog.Sharing(99).MarshalText(); err == nil {
		t.Error("an unknown sharing was written")
	}
}

func TestChecks(t *testing.T) {
	names := syscallNames(t)
	for _, e := range catalog.All() {
		if len(e.Checks) == 0 || len(e.AskedIn) == 0 || e.UserNamespace.Effect == "" || e.UserNamespace.Why == "" {
			t.Errorf("%v: no checks, or not where it is asked", e.Cap)
		}
		if initialOnly := slices.Equal(e.AskedIn, []catalog.Namespace{catalog.InInitial}); initialOnly != (e.UserNamespace.Effect == catalog.UserUseless) {
			t.Errorf("%v: asked in %v, and in a user namespace %s", e.Cap, e.AskedIn, e.UserNamespace.Effect)
		}
		for _, c := range e.Checks {
			what := e.Cap.String() + ": " + c.Operation
			if (c.Errno == "") == (c.Silent == "") {
				t.Errorf("%s: errno %q, silent %q: want one of them", what, c.Errno, c.Silent)
			}
			if _, ok := catalog.FindErrno(c.Errno); c.Errno != "" && !ok {
				t.Errorf("%s: %s is not among the file's errnos", what, c.Errno)
			}
			if !slices.Contains(e.AskedIn, c.In) {
				t.Errorf("%s: asked in %s, which asked_in %v has not", what, c.In, e.AskedIn)
			}
			if !isKernelPlace(c.Site) {
				t.Errorf("%s: site %q", what, c.Site)
			}
			for _, call := range c.Calls {
				if !names[call] {
					t.Errorf("%s: %s is no system call", what, call)
				}
				if catalog.Family(call) != call {
					t.Errorf("%s: %s is in the family of %s, name that", what, call, catalog.Family(call))
				}
			}
			if len(c.Calls) == 0 {
				t.Errorf("%s: no calls", what)
			}
			// What would do instead and is less dangerous can stand in for it. (dac_override
			// grants more than dac_read_search, and is less dangerous in a container only.)
			for _, or := range c.Or {
				less := catalog.Get(or).Rank > e.Rank && e.Cap != caps.DacReadSearch
				if less && !slices.ContainsFunc(e.Narrower, func(n catalog.Narrower) bool { return n.Cap == or }) {
					t.Errorf("%s: %v would do instead, and is not among what is narrower", what, or)
				}
			}
		}
	}
	for _, call := range catalog.Calls() {
		if !names[call] {
			t.Errorf("%s is no system call", call)
		}
	}
}

// syscallNames are those of two architectures, since none has all.
func syscallNames(t *testing.T) map[string]bool {
	names := map[string]bool{"msgget": true}
	for _, name := range []string{"x86_64", "i386", "arm64"} {
		info, err := arch.GetInfo(name)
		if err != nil {
			t.Fatal(err)
		}
		for call := range info.SyscallNames {
			names[call] = true
		}
	}
	return names
}

func TestFind(t *testing.T) {
	found := catalog.Find("mount", "")
	if len(found) == 0 || found[0].Cap != caps.SysAdmin || found[0].Errno != "EPERM" {
		t.Errorf("mount: %+v", found)
	}
	if a, b := catalog.Find("openat2", "EACCES"), catalog.Find("open", "EACCES"); !reflect.DeepEqual(a, b) || len(a) < 3 {
		t.Errorf("openat2: %d checks, open: %d", len(a), len(b))
	}
	for _, a := range catalog.Find("", "EAGAIN") {
		if a.Errno != "EAGAIN" {
			t.Errorf("asked for EAGAIN, got %+v", a)
		}
	}
	if got := catalog.Find("getpid", ""); got != nil {
		t.Errorf("getpid: %+v", got)
	}
	found[0].Calls[0] = "changed"
	if catalog.Find("mount", "")[0].Calls[0] == "changed" {
		t.Error("what Find returns does not belong to the caller")
	}
}

func TestFindErrno(t *testing.T) {
	for _, s := range []string{"EPERM", "eperm", " 1 ", "operation not permitted"} {
		if e, ok := catalog.FindErrno(s); !ok || e.Name != "EPERM" {
			t.Errorf("%q: %+v, %v", s, e, ok)
		}
	}
	for _, s := range []string{"", "ENOENTE", "0", "-1"} {
		if e, ok := catalog.FindErrno(s); ok {
			t.Errorf("%q: %+v", s, e)
		}
	}
}

// Docker's fourteen have a verdict each, and no other has.
func TestVerdicts(t *testing.T) {
	docker, _ := catalog.DefaultSet("docker")
	for _, e := range catalog.All() {
		if (e.Verdict != "") != docker.Has(e.Cap) {
			t.Errorf("%v: verdict %q", e.Cap, e.Verdict)
		}
		if e.Verdict != "" && !strings.HasPrefix(e.Verdict, "Drop it") {
			t.Errorf("%v: the verdict %q does not say what to do", e.Cap, e.Verdict)
		}
	}
}

// What an engineer has to read is there, short, and fit for a page.
func TestTexts(t *testing.T) {
	const most = 330
	address := regexp.MustCompile(`^https://[^ ]+$`)
	for _, e := range catalog.All() {
		if e.Manual == "" || e.Container.Confined == "" || len(e.Needed) == 0 || len(e.Instead) == 0 {
			t.Errorf("%v: something is missing", e.Cap)
		}
		for _, a := range e.Abuse {
			if !address.MatchString(a.Reference) {
				t.Errorf("%v: reference %q", e.Cap, a.Reference)
			}
		}
		walk(reflect.ValueOf(e), func(text string) {
			if strings.ContainsAny(text, "\n\t") || text != strings.TrimSpace(text) || strings.Contains(text, "  ") || len(text) > most {
				t.Errorf("%v: %q is too long (%d), or has space that does not belong", e.Cap, text, len(text))
			}
		})
	}
}

// walk calls f with every text below v that is not empty.
func walk(v reflect.Value, f func(string)) {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > 0 {
			f(v.String())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), f)
		}
	}
}
