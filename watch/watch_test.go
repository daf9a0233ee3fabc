package watch_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/usage"
	"github.com/leastcap/leastcap/watch"
)

var (
	idA = strings.Repeat("0123456789abcdef", 4)
	idB = strings.Repeat("fedcba9876543210", 4)
)

// TestLossWords: in an order, so that two of the same are the same.
func TestLossWords(t *testing.T) {
	e := watch.Event{Event: watch.Loss, Lost: map[string]uint64{"tasks": 1, "evidence": 2, "sets": 3, "ports": 4}}
	for range 20 {
		if got := e.Words(); got != "lost 2 of the evidence, 4 of the ports, 3 of the sets, 1 of the tasks" {
			t.Fatal(got)
		}
	}
}

func TestOf(t *testing.T) {
	for cgroup, want := range map[string]struct{ key, label string }{
		"/":                                      {"host:/", "host"},
		"/docker/" + idA:                         {"container:" + idA, idA[:12]},
		"/docker/" + idA + "/init":               {"container:" + idA, idA[:12]},
		"/system.slice/docker-" + idA + ".scope": {"container:" + idA, idA[:12]},
		"/docker/" + idA + "/docker/" + idB:      {"container:" + idB, idB[:12]},
		"/machine.slice/libpod-conmon-" + idA + ".scope":                {"unit:/machine.slice/libpod-conmon-" + idA + ".scope", "libpod-conmon-" + idA + ".scope"},
		"/system.slice/nginx.service":                                   {"unit:/system.slice/nginx.service", "nginx.service"},
		"/system.slice/nginx.service/worker":                            {"unit:/system.slice/nginx.service", "nginx.service"},
		"/user.slice/user-0.slice/user@0.service/app.slice/foo.service": {"unit:/user.slice/user-0.slice/user@0.service/app.slice/foo.service", "foo.service"},
		"/user.slice": {"cgroup:/user.slice", "/user.slice"},
	} {
		s := watch.Of(cgroup)
		if s.Key() != want.key || s.Label() != want.label {
			t.Errorf("%s: got %s, %s", cgroup, s.Key(), s.Label())
		}
	}
}

func TestTargets(t *testing.T) {
	cgroupOf := func(pid int) (string, error) {
		switch pid {
		case 1:
			return "/", nil
		case 42:
			return "/docker/" + idA, nil
		}
		return "", errors.New("there is none")
	}
	named := watch.Of("/docker/" + idA)
	named.Name = "web"
	service := named
	service.Name = "web.service" // as a container may be called, too
	for _, c := range []struct {
		word, cgroup string
		subject      watch.Subject
		want         bool
	}{
		{"web", "/docker/" + idA, named, true},
		{"web", "/docker/" + idB, watch.Of("/docker/" + idB), false},
		{"we", "/docker/" + idA, named, false},
		{idA[:12], "/docker/" + idA + "/x", named, true},
		{idB[:3], "/docker/" + idB, watch.Of("/docker/" + idB), false}, // too short to name one
		{"1", "/", watch.Of("/"), true},
		{"1", "/docker", watch.Of("/docker"), false},
		{"42", "/docker/" + idA, named, true},
		{"/docker", "/docker/" + idA, named, true},
		{"/docker", "/dockerish", watch.Of("/dockerish"), false},
		{"/sys/fs/cgroup/docker", "/docker/" + idA, named, true},
		{"/sys/fs/cgroup", "/docker/" + idA, named, true},
		{"nginx.service", "/system.slice/nginx.service", watch.Of("/system.slice/nginx.service"), true},
		{"nginx.service", "/system.slice/nginx.service/w", watch.Of("/system.slice/nginx.service/w"), true},
		{"nginx.service", "/system.slice/xnginx.service", watch.Of("/system.slice/xnginx.service"), false},
		{"web.service", "/docker/" + idA, service, true},
		{"system.slice", "/system.slice/nginx.service", watch.Of("/system.slice/nginx.service"), true},
	} {
		target, err := watch.ParseTarget(c.word, "/sys/fs/cgroup", cgroupOf)
		if err != nil {
			t.Errorf("%s: %v", c.word, err)
			continue
		}
		if got := target.Matches(c.cgroup, &c.subject); got != c.want {
			t.Errorf("%s on %s: got %t (%+v)", c.word, c.cgroup, got, target)
		}
	}
	if _, err := watch.ParseTarget("77", "/sys/fs/cgroup", cgroupOf); err == nil {
		t.Error("a process that does not exist: want an error")
	}
	// Eight digits may begin an id as well.
	if target, err := watch.ParseTarget("12345678", "/sys/fs/cgroup", cgroupOf); err != nil || target.Container != "12345678" {
		t.Errorf("%+v, %v", target, err)
	}
}

func FuzzTarget(f *testing.F) {
	for _, word := range []string{"web", "/", "//x/../..", "1", "99999999999999999999", ".service", "", "a\x00b\n"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		target, err := watch.ParseTarget(word, "/sys/fs/cgroup", func(int) (string, error) { return "/x", nil })
		if err != nil {
			return
		}
		s := watch.Of("/docker/" + idA)
		_ = target.Matches(s.Cgroup, &s)
		if target.Cgroup != "" && target.Cgroup != probe.Alone && filepath.Clean(target.Cgroup) != target.Cgroup {
			t.Errorf("%q: the path %q is not clean", word, target.Cgroup)
		}
	})
}

func FuzzFileName(f *testing.F) {
	for _, name := range []string{"web", "../../etc/passwd", "", ".", "a/b", "\x1b[2J", strings.Repeat("x", 300)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s := watch.Of("/docker/" + idA)
		s.Name = name
		got := watch.FileName(&s)
		if filepath.Base(got) != got || strings.HasPrefix(got, ".") || len(got) > 120 || strings.ContainsAny(got, "/\x00\n\x1b") || !strings.HasSuffix(got, ".json") {
			t.Errorf("%q gave %q", name, got)
		}
	})
}

func granted(c caps.Cap, syscall string) usage.Check {
	return usage.Check{Cap: c, Verdict: usage.Granted, Phase: usage.Steady, Syscall: syscall, Call: syscall + "()", Count: 1}
}

func record(checks ...usage.Check) *usage.Record {
	r := &usage.Record{Sets: map[usage.Phase]usage.Sets{}, Checks: checks}
	for _, c := range checks {
		if c.Verdict == usage.Granted {
			r.AddSets(c.Phase, usage.Sets{Granted: caps.Of(c.Cap)})
		} else {
			r.AddSets(c.Phase, usage.Sets{Denied: caps.Of(c.Cap)})
		}
		r.ChecksSeen += c.Count
	}
	return r
}

// words are events in short.
func words(events []watch.Event) []string {
	var list []string
	for _, e := range events {
		text := e.Subject.Label() + " " + e.Event
		if e.Capability != nil {
			text += " " + e.Capability.String()
		}
		if e.Running {
			text += " running"
		}
		if e.Mattered != nil && *e.Mattered {
			text += " mattered"
		}
		if e.Words() == "" || e.Words() == e.Event {
			text += " WITHOUT WORDS"
		}
		list = append(list, text)
	}
	return list
}

// TestTrackerExec: what docker exec --privileged starts in a container that runs already is
// not what the container was given; what its runtime starts it with is.
func TestTrackerExec(t *testing.T) {
	given, all := caps.Of(caps.Chown), caps.All()
	describe := func(s *watch.Subject) bool {
		if s.Granted == nil {
			s.Granted = &given
		}
		return true
	}
	for adopted, want := range map[bool]caps.Set{true: given, false: all} {
		tr := watch.NewTracker(watch.Of)
		r := record()
		key := "container:" + idA
		groups := map[string]*probe.Group{key: {Places: []probe.Place{{ID: 7, Path: "/docker/" + idA, Adopted: adopted, Launched: true}}, Record: r}}
		tr.Look(time.Unix(1, 0), groups, describe, false)
		r.Launch = &caps.State{Bounding: all}
		tr.Look(time.Unix(2, 0), groups, describe, false)
		if got := tr.Get(key).Granted; got == nil || *got != want {
			t.Errorf("adopted %v: %v, want %v", adopted, got, want)
		}
	}
}

// TestTracker: what is new is said once, also over a restart of the container; nothing is
// said before the engine has named it.
func TestTracker(t *testing.T) {
	tr := watch.NewTracker(watch.Of)
	now := time.Unix(1000, 0)
	key := "container:" + idA
	named := false
	describe := func(s *watch.Subject) bool {
		if named {
			s.Name = "web"
			b := caps.Of(caps.Chown, caps.Setgid, caps.Kill)
			s.Granted = &b
		}
		return named
	}
	old := probe.Place{ID: 7, Path: "/docker/" + idA, Adopted: true}
	fresh := probe.Place{ID: 8, Path: "/docker/" + idA, Launched: true}
	look := func(last bool, groups map[string]*probe.Group) []string {
		now = now.Add(time.Second)
		return words(tr.Look(now, groups, describe, last))
	}
	group := func(p probe.Place, checks ...usage.Check) *probe.Group {
		return &probe.Group{Places: []probe.Place{p}, Record: record(checks...)}
	}
	refused := usage.Check{Cap: caps.NetAdmin, Verdict: usage.Denied, Phase: usage.Steady, Syscall: "ioctl", Call: "ioctl()", Count: 1}
	returned := refused
	returned.Failed, returned.Errno = 1, "EPERM"

	for i, step := range []struct {
		name   bool
		last   bool
		groups map[string]*probe.Group
		want   []string
	}{
		{false, false, map[string]*probe.Group{key: group(old, granted(caps.Chown, "chown"))}, nil},
		{true, false, map[string]*probe.Group{key: group(old, granted(caps.Chown, "chown"))}, []string{"web begin running", "web use chown"}},
		{true, false, map[string]*probe.Group{key: group(old, granted(caps.Chown, "chown"))}, nil},
		// The system call has not returned yet.
		{true, false, map[string]*probe.Group{key: group(old, granted(caps.Chown, "chown"), refused)}, nil},
		{true, false, map[string]*probe.Group{key: group(old, granted(caps.Chown, "chown"), returned)}, []string{"web denial net_admin mattered"}},
		// It is restarted: the old cgroup is gone, and there is a new one.
		{true, false, map[string]*probe.Group{key + watch.Gone: group(old, granted(caps.Chown, "chown"), returned)}, []string{"web end"}},
		{true, false, map[string]*probe.Group{key: group(fresh, granted(caps.Chown, "chown"), granted(caps.Setgid, "setgid"))}, []string{"web begin", "web use setgid"}},
		{true, true, map[string]*probe.Group{key + watch.Gone: group(fresh, granted(caps.Chown, "chown"), granted(caps.Setgid, "setgid"))}, []string{"web end"}},
	} {
		named = step.name
		if diff := cmp.Diff(step.want, look(step.last, step.groups)); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
	s := tr.Get(key)
	total := s.Total(now)
	if total.Used != caps.Of(caps.Chown, caps.Setgid) || total.Denied != caps.Of(caps.NetAdmin) || total.Unused != caps.Of(caps.Kill) || !total.StartSeen || !total.Complete || total.Seconds != 7 {
		t.Errorf("total: %+v", total)
	}
	if n := slices.IndexFunc(s.Record.Checks, func(c usage.Check) bool { return c.Cap == caps.Chown }); n < 0 || s.Record.Checks[n].Count != 2 {
		t.Errorf("the checks of before the restart and after it are not added up: %+v", s.Record.Checks)
	}
}

// TestTrackerPending: one that ends before its engine has named it waits to be told, though
// no survey has it any more.
func TestTrackerPending(t *testing.T) {
	tr := watch.NewTracker(watch.Of)
	groups := map[string]*probe.Group{"container:" + idA + watch.Gone: {Places: []probe.Place{{ID: 7, Path: "/docker/" + idA, Launched: true}}, Record: record(granted(caps.Chown, "chown"))}}
	if got := tr.Look(time.Unix(1, 0), groups, func(*watch.Subject) bool { return false }, false); len(got) != 0 || !tr.Pending() {
		t.Errorf("unnamed: %q, pending %v", words(got), tr.Pending())
	}
	got := tr.Look(time.Unix(2, 0), nil, func(s *watch.Subject) bool { s.Name = "web"; return true }, false)
	if diff := cmp.Diff([]string{"web begin", "web use chown", "web end"}, words(got)); diff != "" || tr.Pending() {
		t.Errorf("%s, pending %v", diff, tr.Pending())
	}
}

// TestTrackerBoth: where the old cgroup and the new one are in one survey, both are what is
// known, and of what is a cgroup's own neither is forgotten.
func TestTrackerBoth(t *testing.T) {
	tr := watch.NewTracker(watch.Of)
	key := "container:" + idA
	old, fresh := record(granted(caps.Chown, "chown")), record(granted(caps.Setgid, "setgid"))
	old.Lost, fresh.Lost = map[string]uint64{"moved": 1, "tasks": 5}, map[string]uint64{"moved": 1, "tasks": 5}
	path := "/docker/" + idA
	events := tr.Look(time.Unix(1, 0), map[string]*probe.Group{
		key:              {Places: []probe.Place{{ID: 8, Path: path, Launched: true}}, Record: fresh},
		key + watch.Gone: {Places: []probe.Place{{ID: 7, Path: path, Launched: true}}, Record: old},
	}, func(*watch.Subject) bool { return true }, false)
	s := tr.Get(key)
	if got := words(events); len(got) != 3 || watch.Used(s.Record) != caps.Of(caps.Chown, caps.Setgid) || !s.Ended.IsZero() {
		t.Errorf("%q: %+v", got, s.Record)
	}
	want := []string{"2 processes left its cgroup and were not seen from then on", "lost 5 of the tasks"}
	if diff := cmp.Diff(want, watch.LostWords(s.Record.Lost)); diff != "" {
		t.Error(diff)
	}
}

// TestTrackerRestart: a restart between two looks is an end and a beginning, and after it the
// subject is starting again. The end of a cgroup that it made itself is none.
func TestTrackerRestart(t *testing.T) {
	const path = "/system.slice/web.service"
	key := "unit:" + path
	group := func(id uint64, path string, checks ...usage.Check) *probe.Group {
		return &probe.Group{Places: []probe.Place{{ID: id, Path: path, Host: true}}, Record: record(checks...)}
	}
	tr := watch.NewTracker(watch.Of)
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	look := func(seconds int64, groups map[string]*probe.Group) []string {
		return words(tr.Look(at(seconds), groups, func(*watch.Subject) bool { return true }, false))
	}
	chown, setgid, kill := granted(caps.Chown, "chown"), granted(caps.Setgid, "setgid"), granted(caps.Kill, "kill")
	for _, step := range []struct {
		seconds int64
		groups  map[string]*probe.Group
		want    []string
		settled bool
	}{
		{100, map[string]*probe.Group{key: group(7, path)}, []string{"web.service begin"}, false},
		{120, map[string]*probe.Group{key: group(7, path), key + watch.Gone: group(8, path+"/worker", kill)}, []string{"web.service use kill"}, true},
		{130, map[string]*probe.Group{key: group(9, path, setgid), key + watch.Gone: group(7, path, chown)},
			[]string{"web.service use chown", "web.service end", "web.service begin", "web.service use setgid"}, false},
		{140, map[string]*probe.Group{key: group(9, path, setgid)}, nil, true},
	} {
		if diff := cmp.Diff(step.want, look(step.seconds, step.groups)); diff != "" {
			t.Errorf("%d: %s", step.seconds, diff)
		}
		if s := tr.Get(key); s.Settled(at(step.seconds)) != step.settled || !s.Ended.IsZero() {
			t.Errorf("%d: settled %v, ended %v", step.seconds, !step.settled, s.Ended)
		}
	}
	if got := watch.Used(tr.Get(key).Record); got != caps.Of(caps.Chown, caps.Setgid, caps.Kill) {
		t.Errorf("used %v", got)
	}
}

// TestGather: a program that keeps by capset(2) what it has is one line, with its name, and
// not one for each capability.
func TestGather(t *testing.T) {
	tr := watch.NewTracker(watch.Of)
	prctl := granted(caps.Setpcap, "prctl")
	prctl.Process.Comm = "x"
	r := record(prctl)
	kept := caps.All().Without(caps.SysResource)
	keep := usage.Capset{Call: "capset", Permitted: kept, Phase: usage.Steady, Process: usage.Process{Comm: "chronyd", EUID: 5}}
	failed := keep
	failed.Failed, failed.Permitted = true, caps.All()
	r.Capsets = []usage.Capset{failed, keep}
	r.AddSets(usage.Steady, usage.Sets{Capset: kept})
	groups := map[string]*probe.Group{"cgroup:/x": {Places: []probe.Place{{ID: 7, Path: "/x", Host: true}}, Record: r}}
	events := tr.Look(time.Unix(1, 0), groups, func(*watch.Subject) bool { return true }, false)
	if n := len(events); n != 1+kept.Len() {
		t.Errorf("%d events, want one for each capability: %q", n, words(events))
	}
	want := []string{"begins", "uses all but setpcap, sys_resource: capset() by chronyd as uid 5", "uses setpcap: prctl() by x as uid 0"}
	var lines []string
	for _, e := range watch.Gather(events) {
		lines = append(lines, e.Words())
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

// TestLacked: what was refused to a process without it is summed up, though others may have it.
func TestLacked(t *testing.T) {
	bounding := caps.Of(caps.DacOverride, caps.Setuid)
	check := func(c caps.Cap, errno string) usage.Check {
		k := usage.Check{Cap: c, Verdict: usage.Denied, Phase: usage.Steady, Syscall: "openat", Count: 1, Errno: errno}
		if errno != "" {
			k.Failed = 1
		}
		return k
	}
	s := watch.Tracked{Subject: watch.Of("/docker/" + idA), Record: record(check(caps.DacOverride, "EACCES"), check(caps.DacReadSearch, "EACCES"), check(caps.Setuid, ""))}
	s.Granted = &bounding
	if got := s.Total(time.Unix(1, 0)); got.Lacked != caps.Of(caps.DacOverride) || got.Denied != caps.Of(caps.DacReadSearch) {
		t.Errorf("lacked %v, denied %v", got.Lacked, got.Denied)
	}
}

// TestProfile: a profile of what was only watched says so, and recommends nothing while no
// start was seen; it is gone on with after a restart of leastcap.
func TestProfile(t *testing.T) {
	now := time.Unix(5000, 0)
	bounding := caps.Of(caps.Chown, caps.Setgid, caps.Kill)
	tracked := func(started bool, checks ...usage.Check) *watch.Tracked {
		s := &watch.Tracked{Subject: watch.Of("/docker/" + idA), Began: now.Add(-time.Minute), StartSeen: started, Record: record(checks...)}
		s.Name, s.Image, s.ImageID, s.Granted = "web", "nginx", "sha256:1", &bounding
		return s
	}
	first := watch.Profile(tracked(false, granted(caps.Chown, "chown")), nil, now)
	if first.Complete || first.Proven || first.Runs != 0 || first.Recommended != bounding || first.Used != caps.Of(caps.Chown) || len(first.Use.Flags) != 0 || !strings.Contains(strings.Join(first.Notes, "; "), "its start was not seen") {
		t.Errorf("start unseen: %+v", first)
	}
	data, err := first.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	prior, err := usage.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	second := watch.Profile(tracked(true, granted(caps.Setgid, "setgid")), prior, now.Add(time.Hour))
	if want := caps.Of(caps.Chown, caps.Setgid); !second.Complete || second.Proven || second.Recommended != want || second.Used != want || second.Unused != caps.Of(caps.Kill) {
		t.Errorf("gone on with, start seen: %+v", second)
	}
	if o := second.Observed; o.Looks != 2 || !o.Since.Equal(first.Observed.Since) || !o.StartSeen || o.Checks != 2 {
		t.Errorf("observed: %+v", o)
	}
	if !slices.Contains(second.Use.Flags, "--cap-add=SETGID") {
		t.Errorf("flags: %v", second.Use.Flags)
	}
	third := watch.Profile(tracked(false), second, now.Add(2*time.Hour))
	if third.Used != second.Used || !third.Complete || third.Observed.Looks != 3 {
		t.Errorf("nothing new: %+v", third)
	}
	// Another image under the same name is another workload.
	other := tracked(true)
	other.ImageID = "sha256:2"
	if p := watch.Profile(other, second, now); !p.Used.Empty() {
		t.Errorf("another image took over %v", p.Used)
	}
	// What was learned is not a watch's to go on with.
	learned := &usage.Profile{Version: usage.Version, Subject: second.Subject, Required: caps.Of(caps.Kill), Trials: []usage.Trial{{}}}
	if watch.WatchedBefore(learned) || watch.WatchedBefore(nil) {
		t.Error("a learned profile is taken for a watched one")
	}
	lossy := tracked(true, granted(caps.Chown, "chown"))
	lossy.Record.Lost = map[string]uint64{"sets": 3}
	if p := watch.Profile(lossy, second, now); p.Complete || p.Lost["sets"] != 3 {
		t.Errorf("lost, and said to be complete: %+v", p)
	}
}
