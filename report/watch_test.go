package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

func TestHappened(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	var b strings.Builder
	for _, h := range []report.Happening{
		{Time: at, Who: "web", Words: `uses chown: chown("/var/lib/nginx/body", 33, -1) by nginx as uid 0, and so on and on`},
		{Time: at, Who: "a\x1b[2J\nb", Words: "was denied net_admin: ioctl(\"\x07\") by x\u202ey"},
	} {
		if err := report.Happened(&b, h, report.Style{Width: 80}); err != nil {
			t.Fatal(err)
		}
	}
	want := `15:04:05  web uses chown: chown("/var/lib/nginx/body", 33, -1) by nginx as uid
          0, and so on and on
15:04:05  a\x1b[2J\nb was denied net_admin: ioctl("\x07") by x\u202ey
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWatchTotals(t *testing.T) {
	docker := caps.Set(0xa80425fb)
	var b strings.Builder
	err := report.WatchTotals(&b, []report.WatchTotal{
		{Label: "web", What: "docker, nginx", Seconds: 62.4, Granted: &docker, Used: caps.Of(caps.Chown, caps.Setgid, caps.Setuid), Denied: caps.Of(caps.NetAdmin), Lacked: caps.Of(caps.DacOverride)},
		{Label: "keeper", Used: caps.All().Without(caps.SysResource), Granted: new(caps.All())},
		{Label: "gone", What: "container", Seconds: 1.23, StartSeen: true, Ended: true, Incomplete: "3 of the sets: something may be missing here"},
		{Label: "exec", What: "container", Granted: &docker, Used: caps.Of(caps.Chown, caps.SysTime)},
		{Label: "cron.service"}, {Label: "lossy.service", Incomplete: "lost 3 of the sets: something may be missing here"}, {Label: "/x\x1b"},
	}, report.Style{Width: 80})
	if err != nil {
		t.Fatal(err)
	}
	want := `
web (docker, nginx, watched 1m2s, its start was not seen)
  used    3 of 14: chown, setgid, setuid
  denied  net_admin
  denied  dac_override, to a process without it: another user's, or one with
          fewer
  not used 11, the most dangerous first: dac_override, fowner, mknod, net_raw,
           setfcap, fsetid, sys_chroot, kill, audit_write, setpcap,
           net_bind_service

keeper (watched 0s, its start was not seen)
  used    40 of 41: all but sys_resource
  not used 1: sys_resource

gone (container, watched 1.2s, ended)
  used    0
  BUT     3 of the sets: something may be missing here

exec (container, watched 0s, its start was not seen)
  used    2, 1 of them beyond its 14: chown, sys_time
  not used 13, the most dangerous first: dac_override, fowner, mknod, net_raw,
           setfcap, fsetid, sys_chroot, kill, audit_write, setuid, setgid,
           setpcap, net_bind_service

no capability used or asked for:
  cron.service, /x\x1b

no capability used or asked for:
  lossy.service
  BUT     lost 3 of the sets: something may be missing here
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	more := docker.With(caps.NetAdmin)
	if err := report.WatchTotals(&b, []report.WatchTotal{{Label: "web", What: "docker", Granted: &more}}, report.Style{}); err != nil || !strings.Contains(b.String(), "and 1 other\n") {
		t.Errorf("%v: %s", err, &b)
	}
}

// TestWatchedProfile: of what is kept for want of a start nothing else is said, and of what was
// denied not that it works without.
func TestWatchedProfile(t *testing.T) {
	p := usage.Profile{
		Version: usage.Version, Baseline: caps.Of(caps.Chown, caps.Setuid), Recommended: caps.Of(caps.Chown, caps.Setuid),
		Used: caps.Of(caps.Chown), Denied: caps.Of(caps.SysNice), Observed: &usage.Observation{}, Keep: string(usage.Used),
	}
	var b strings.Builder
	if err := report.Profile(&b, &p, report.Style{Width: 80}); err != nil {
		t.Fatal(err)
	}
	const kept = "though nothing was seen to use it"
	if strings.Count(b.String(), kept) != 1 || strings.Contains(b.String(), "It works without") || !strings.Contains(b.String(), "was not looked at") {
		t.Errorf("got\n%s", &b)
	}
	p.Observed.StartSeen = true
	b.Reset()
	if err := report.Profile(&b, &p, report.Style{Width: 80}); err != nil || strings.Contains(b.String(), kept) {
		t.Errorf("%v, and with a start:\n%s", err, &b)
	}
}

func TestRefusal(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	var b strings.Builder
	for _, r := range []report.Refused{
		{Time: at, Who: "web", Call: `openat("/data/\x1b", O_RDONLY)`, Errno: "EACCES", Process: "nginx (/usr/sbin/nginx) as uid 33, process 7", Cause: "file mode", Mattered: true, Certain: true,
			Why: []string{"/data belongs to 0:0 and has the mode 0700", "and so on"}, Allow: "dac_override", Instead: []string{"let it belong to user 33", "or else"}},
		{Time: at, Call: "sendto()", Errno: "EPERM", Process: "x", Cause: "unknown", Mattered: true, Why: []string{"no capability was asked for"}},
	} {
		if err := report.Refusal(&b, r, report.Style{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := report.WhyTotals(&b, report.WhyTotal{Kinds: 2, Mattered: 1, Refusals: 5, Lost: "1 of the refusals: more may have been refused", Harmless: []report.Harmless{
		{Who: "web", Cap: "net_admin", Call: "ioctl()", Count: 3}, {Cap: "kill", Call: "kill(1, SIGHUP)", Errno: "ESRCH", Count: 1},
	}}, report.Style{}); err != nil {
		t.Fatal(err)
	}
	want := `15:04:05  web: openat("/data/\x1b", O_RDONLY) gave EACCES (file mode)
  who      nginx (/usr/sbin/nginx) as uid 33, process 7
  why      /data belongs to 0:0 and has the mode 0700; and so on
  allowed  by dac_override
  instead  - let it belong to user 33
           - or else
15:04:05  sendto() gave EPERM (unknown)
  who      x
  maybe    no capability was asked for

5 refusals of 2 kinds; 1 of the kinds mattered
Denied, and it did not matter:
  - web: net_admin: ioctl() went on, 3 times
  - kill: kill(1, SIGHUP) gave ESRCH, 1 time
LOST  1 of the refusals: more may have been refused
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	for omitted, want := range map[int]string{0: "and 1 other kind\n", 1000: "and 1001 other kinds\n"} {
		if err := report.WhyTotals(&b, report.WhyTotal{Harmless: make([]report.Harmless, 11), Omitted: omitted}, report.Style{}); err != nil || !strings.HasSuffix(b.String(), want) {
			t.Errorf("%v: %s", err, &b)
		}
	}
	b.Reset()
	if err := report.WhyTotals(&b, report.WhyTotal{Lost: "1 of the events"}, report.Style{}); err != nil || !strings.HasPrefix(b.String(), "nothing was seen to be refused\n") {
		t.Errorf("%v, %s", err, &b)
	}
	b.Reset()
	if err := report.WhyTotals(&b, report.WhyTotal{}, report.Style{}); err != nil || b.String() != "nothing was refused\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}
