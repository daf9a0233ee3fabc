package report

import (
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

// examples are the profiles of the golden files.
func examples() map[string]*usage.Profile {
	return map[string]*usage.Profile{
		"nginx":       nginx(),
		"ping":        ping(),
		"chrony":      chrony(),
		"nothing":     nothing(),
		"kept-used":   keptUsed(),
		"observed":    observed(),
		"not-proven":  notProven(),
		"cut-short":   cutShort(),
		"incomplete":  incomplete(),
		"fails-today": failsToday(),
		"command":     command(),
		"substitutes": substitutes(),
		"privileged":  privileged(),
		"hostile":     hostile(),
		"empty":       {},
	}
}

func docker14() caps.Set {
	set, ok := catalog.DefaultSet("docker")
	if !ok {
		panic("no default set of docker")
	}
	return set
}

// profile is a proven profile of a docker command line, with a run for the
// baseline, one with the required set, one without each of these, and two to
// confirm.
func profile(image string, baseline, required, optional caps.Set, line ...string) *usage.Profile {
	p := &usage.Profile{
		Version: usage.Version,
		Created: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Subject: usage.Subject{
			Kind: "container", Engine: "docker", Image: image,
			Digest:  "sha256:9d6b58feebd2dbd3c56ab5853333d627cc6e281011cfd6050fa4bcf2072c9496",
			Command: append([]string{"docker", "run"}, line...),
		},
		Kernel: "6.12.9", Hook: "fentry",
		Baseline: baseline, Required: required, Optional: optional, Unused: baseline.Minus(required).Minus(optional),
		Recommended: required, Keep: "required", Proven: true, Runs: 2, Complete: true, Seconds: 13.4,
		Trials: []usage.Trial{
			{Kind: usage.Baseline, Set: baseline, Passed: true, Seconds: 1.6},
			{Kind: usage.Predict, Set: required.Union(optional), Passed: true, Seconds: 1.5},
		},
	}
	for _, c := range catalog.ByDanger(required.Union(optional)) {
		status := usage.Required
		if optional.Has(c) {
			status = usage.Optional
		}
		p.Capabilities = append(p.Capabilities, usage.Finding{
			Cap: c, Status: status, Reasons: []string{"check"},
			Without: &usage.Proof{Trial: len(p.Trials), Passed: status == usage.Optional},
		})
		p.Trials = append(p.Trials, usage.Trial{
			Kind: usage.Remove, Set: required.Without(c), Removed: caps.Of(c), Passed: status == usage.Optional,
			Failure: map[bool]string{true: "", false: "exit"}[status == usage.Optional], Seconds: 0.9,
		})
	}
	for range 2 {
		p.Trials = append(p.Trials, usage.Trial{Kind: usage.Confirm, Set: required, Passed: true, Seconds: 1.4})
	}
	use(p, line...)
	return p
}

func use(p *usage.Profile, line ...string) {
	p.Use.Flags = []string{"--cap-drop=ALL"}
	for _, name := range p.Recommended.Docker() {
		p.Use.Flags = append(p.Use.Flags, "--cap-add="+name)
	}
	p.Use.Command = append(append([]string{"docker", "run"}, p.Use.Flags...), line...)
}

func find(p *usage.Profile, c caps.Cap) *usage.Finding {
	for i := range p.Capabilities {
		if p.Capabilities[i].Cap == c {
			return &p.Capabilities[i]
		}
	}
	p.Capabilities = append(p.Capabilities, usage.Finding{Cap: c})
	return &p.Capabilities[len(p.Capabilities)-1]
}

func check(c caps.Cap, exe, syscall, call, path, function string, n uint64) usage.Check {
	return usage.Check{
		Cap: c, Verdict: usage.Granted, Phase: usage.Start, Syscall: syscall, Call: call, Path: path, Function: function,
		Process: usage.Process{PID: 4242, Comm: exe[strings.LastIndex(exe, "/")+1:], Exe: exe}, Count: n,
	}
}

func nginx() *usage.Profile {
	required := caps.Of(caps.Chown, caps.DacOverride, caps.Setgid, caps.Setuid)
	p := profile("nginx:1.27", docker14(), required, 0, "-p", "8080:80", "nginx:1.27")
	p.Subject.Checks = []string{"curl -fsS http://$LEASTCAP_IP/"}
	const exe = "/usr/sbin/nginx"
	for c, f := range map[caps.Cap]struct {
		check       usage.Check
		reason, log string
	}{
		caps.Chown: {
			check(caps.Chown, exe, "chown", `chown("/var/lib/nginx/body", 33, -1)`, "/var/lib/nginx/body", "chown_ok", 5),
			"it ended with status 1", `nginx: [emerg] chown("/var/lib/nginx/body", 33) failed (1: Operation not permitted)`,
		},
		caps.DacOverride: {
			check(caps.DacOverride, exe, "openat", `openat("/var/log/nginx/error.log", O_WRONLY|O_CREAT|O_APPEND)`,
				"/var/log/nginx/error.log", "generic_permission", 3),
			"it ended with status 1", `nginx: [alert] could not open error log file: open() "/var/log/nginx/error.log" failed (13: Permission denied)`,
		},
		caps.Setgid: {
			check(caps.Setgid, exe, "setgid", "setgid(33)", "", "__sys_setgid", 2),
			"the check command failed: exit status 7", `nginx: [emerg] setgid(33) failed (1: Operation not permitted)`,
		},
		caps.Setuid: {
			check(caps.Setuid, exe, "setuid", "setuid(33)", "", "__sys_setuid", 2),
			"the check command failed: exit status 7", `nginx: [emerg] setuid(33) failed (1: Operation not permitted)`,
		},
	} {
		finding := find(p, c)
		finding.Checks = []usage.Check{f.check}
		finding.Without.Reason, finding.Without.Log = f.reason, f.log
	}
	find(p, caps.Setgid).Checks = append(find(p, caps.Setgid).Checks,
		check(caps.Setgid, exe, "setgroups", "setgroups(1)", "", "may_setgroups", 2))
	p.Portability = usage.Portability{
		Ports:    []usage.Port{{Port: 80, Network: "tcp", Comm: "nginx"}},
		Sysctls:  &usage.Sysctls{UnprivilegedPortStart: 0, PingGroupRange: [2]uint32{0, 2147483647}},
		Inferred: caps.Of(caps.NetBindService),
		Reasons:  []string{"it binds 80/tcp, and ip_unprivileged_port_start is 0 here but 1024 by default"},
	}
	p.Substitutes = []usage.Substitute{{
		For: caps.DacOverride, Use: caps.DacReadSearch, Reason: "it ended with status 1", Trial: 6,
	}}
	return p
}

func ping() *usage.Profile {
	p := profile("debian:13", docker14(), caps.Of(caps.NetRaw), 0, "--rm", "debian:13", "ping", "-c1", "127.0.0.1")
	f := find(p, caps.NetRaw)
	f.Reasons = []string{"exec"}
	f.Execs = []usage.Exec{{
		Path: "/usr/bin/ping",
		Caps: &caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true, Version: 2},
	}}
	f.Without.Reason = "it ended with status 126"
	f.Without.Log = "exec /usr/bin/ping: operation not permitted"
	return p
}

func chrony() *usage.Profile {
	required := caps.Of(caps.NetBindService, caps.SysTime, caps.Setgid, caps.Setuid)
	p := profile("chrony", docker14().With(caps.SysTime), required, 0, "--cap-add", "SYS_TIME", "chrony")
	f := find(p, caps.NetBindService)
	f.Reasons = []string{"capset"}
	f.Capsets = []usage.Capset{{
		Call: "capset", Effective: caps.Of(caps.NetBindService, caps.SysTime), Permitted: caps.Of(caps.NetBindService, caps.SysTime),
		Phase: usage.Start, Count: 1, Process: usage.Process{Comm: "chronyd", Exe: "/usr/sbin/chronyd"},
	}}
	f.Without.Log = "cap_set_proc() failed"
	find(p, caps.SysTime).Checks = []usage.Check{
		check(caps.SysTime, "/usr/sbin/chronyd", "clock_adjtime", "clock_adjtime()", "", "cap_settime", 12),
	}
	find(p, caps.Setuid).Reasons = []string{"trial"}
	return p
}

func nothing() *usage.Profile {
	return profile("alpine:3.22", docker14(), 0, 0, "--rm", "alpine:3.22", "true")
}

// keptUsed was learned without a check command: what was used stays.
func keptUsed() *usage.Profile {
	p := profile("sudo", docker14(), caps.Of(caps.Setgid, caps.Setuid), caps.Of(caps.AuditWrite), "sudo")
	p.Keep, p.Recommended = "used", p.Required.Union(p.Optional)
	find(p, caps.AuditWrite).Checks = []usage.Check{
		check(caps.AuditWrite, "/usr/bin/sudo", "sendto", "sendto()", "", "audit_netlink_ok", 2),
	}
	use(p, "sudo")
	return p
}

func observed() *usage.Profile {
	p := nginx()
	p.Proven, p.Runs, p.Keep, p.Seconds = false, 0, "used", 3.1
	p.Trials, p.Substitutes = p.Trials[:1], nil
	p.Required, p.Used = 0, p.Required
	for i := range p.Capabilities {
		p.Capabilities[i].Status, p.Capabilities[i].Without = usage.Used, nil
	}
	return p
}

func notProven() *usage.Profile {
	p := nginx()
	p.Proven = false
	for i := range p.Trials {
		if p.Trials[i].Kind == usage.Confirm {
			p.Trials[i].Passed, p.Trials[i].Failure, p.Trials[i].Reason = false, "check", "the check command failed: exit status 22"
		}
	}
	return p
}

// cutShort ran into the time limit after the first two runs without something.
func cutShort() *usage.Profile {
	p := nginx()
	p.Proven, p.Complete, p.Seconds = false, false, 200
	p.Trials, p.Substitutes = p.Trials[:4], nil
	p.Required, p.Used = caps.Of(caps.DacOverride, caps.Chown), caps.Of(caps.Setgid, caps.Setuid)
	find(p, caps.Setgid).Without, find(p, caps.Setuid).Without = nil, nil
	p.Notes = []string{"the time limit of 3m20s ended before the proof did"}
	return p
}

func incomplete() *usage.Profile {
	p := nothing()
	p.Complete, p.Proven = false, false
	p.Trials = p.Trials[:1]
	p.Lost = map[string]uint64{"evidence": 12, "identities": 0}
	p.Notes = []string{"interrupted in run 2"}
	p.Execs = []usage.Exec{{Path: "/opt/app", Unknown: "permission denied"}}
	return p
}

// failsToday is a workload whose check fails with all that it has.
func failsToday() *usage.Profile {
	p := nothing()
	p.Complete, p.Proven = false, false
	p.Trials = []usage.Trial{{
		Kind: usage.Baseline, Set: p.Baseline, Failure: "check", Reason: "the check command failed: exit status 7", Seconds: 30,
	}}
	return p
}

func command() *usage.Profile {
	p := profile("", caps.All(), caps.Of(caps.NetAdmin, caps.SysAdmin), caps.Of(caps.Kill))
	p.Subject = usage.Subject{Kind: "command", Command: []string{"/usr/sbin/dnsmasq", "-k"}, Checks: []string{"dig @127.0.0.1"}}
	p.Use = usage.Use{Systemd: []string{"CapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_ADMIN", "NoNewPrivileges=yes"}}
	kill := check(caps.Kill, "/usr/sbin/dnsmasq", "kill", "kill(17, SIGTERM)", "", "kill_ok_by_cred", 1)
	kill.Phase = usage.Stop
	f := find(p, caps.Kill)
	f.Checks = []usage.Check{kill}
	kill.Verdict, kill.Failed, kill.Errno = usage.Denied, 1, "EPERM"
	f.Without.Denied = []usage.Check{kill}
	return p
}

func substitutes() *usage.Profile {
	p := profile("vpn", docker14().With(caps.NetAdmin), caps.Of(caps.NetAdmin, caps.DacOverride), caps.Of(caps.Setpcap), "vpn")
	p.Recommended = caps.Of(caps.NetRaw, caps.DacOverride)
	p.Required, p.Optional = p.Recommended, p.Optional.With(caps.NetAdmin)
	p.Denied = caps.Of(caps.SysNice, caps.SysResource)
	p.Substitutes = []usage.Substitute{
		{For: caps.NetAdmin, Use: caps.NetRaw, Passed: true, Adopted: true, Reason: "SO_MARK is all that it sets", Trial: 5},
		{For: caps.DacOverride, Use: caps.DacReadSearch, Passed: true, Trial: 6, Reason: "in a container it opens any file of the host"},
	}
	use(p, "vpn")
	return p
}

func privileged() *usage.Profile {
	return profile("registry.example.com:5000/team/long-named-service/backend:2026-03-04", ^caps.Set(0)>>20,
		caps.Of(caps.SysAdmin, 43), 0, "--name", "a name with spaces", "-e", "GREETING=it's me", "-e", "EMPTY=",
		"-v", "/srv/data:/data", "registry.example.com:5000/team/long-named-service/backend:2026-03-04")
}

// hostile is a workload that tries to speak for leastcap.
func hostile() *usage.Profile {
	const evil = "\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\a\r\nUSE\n  docker run --privileged \xff\xfe \u202ereversed \u009b31m \x7f end\n"
	p := profile(evil, docker14(), caps.Of(caps.Chown), caps.Of(caps.Kill), "-e", "A="+evil, "image")
	p.Subject.Checks = []string{evil}
	p.Subject.User, p.Kernel, p.Subject.Digest = evil, evil, evil
	all := check(caps.Chown, "/bin/x", evil, evil, evil, evil, 1)
	all.Process.Comm, all.Process.Exe, all.Phase, all.Errno, all.Failed = evil, evil, usage.Phase(evil), evil, 3
	for _, c := range []caps.Cap{caps.Chown, caps.Kill} {
		f := find(p, c)
		f.Checks = []usage.Check{all, all, all, all}
		f.Execs = []usage.Exec{{Path: evil, Caps: &caps.FileCaps{Permitted: caps.Of(caps.Chown), Effective: true}}}
		f.Capsets = []usage.Capset{{Call: evil, Process: all.Process, Phase: all.Phase}}
		f.Without.Reason, f.Without.Log, f.Without.Denied = evil, strings.Repeat(evil, 1000), []usage.Check{all}
	}
	p.Substitutes = []usage.Substitute{{For: caps.Chown, Use: caps.Fowner, Reason: evil}}
	p.Portability = usage.Portability{Inferred: caps.Of(caps.NetRaw), Reasons: []string{evil, strings.Repeat("a\u0301\u0301", 5000)}}
	p.Notes = []string{evil, strings.Repeat("long", 5000)}
	p.Use.Flags = append(p.Use.Flags, evil)
	return p
}
