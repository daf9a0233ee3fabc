package probe_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// TestTricks: a workload that does all it can to be taken for something else is still seen
// as what it is.
func TestTricks(t *testing.T) {
	p := theProbe(t)
	all := bounding(t)
	self := program(t, "workload")
	namespaces := strconv.Itoa(unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP)
	container := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		name    string
		steps   func(dir string) []string
		granted caps.Set
		calls   map[string]uint64 // how often each asked
	}{
		{"named like a runtime's process, through execs and threads", func(string) []string {
			return []string{"comm", "runc:[2:INIT]", ",", "setgid", "33", ",", "thread", "{", "comm", "runc:[1:CHILD]", ",", "setgid", "33", "}", ",",
				"exec", self, "comm", "runc:[0:PARENT]", ",", "fork", "{", "comm", "crun", ",", "setuid", "0", "}"}
		}, caps.Of(caps.Setgid, caps.Setuid), map[string]uint64{"setgid": 2, "setuid": 1}},
		{"that sets its capabilities and executes, as a runtime does last", func(string) []string {
			return []string{"setgid", "0", ",", "capset", "3", "0xc0", "0xc0", "0", ",", "exec", self,
				"setuid", "0", ",", "capset", "3", "0xc0", "0xc0", "0", ",", "exec", self, "setgid", "0"}
		}, caps.Of(caps.Setgid, caps.Setuid), map[string]uint64{"setgid": 2, "setuid": 1}},
		{"many generations", func(string) []string {
			return []string{"deep", "60", "setgid", "33", ",", "exec", self, "setuid", "0"}
		}, caps.Of(caps.Setgid, caps.Setuid), map[string]uint64{"setgid": 1, "setuid": 1}},
		{"that executes itself again and again", func(string) []string {
			return []string{"again", "500", "setgid", "33", ",", "vfork", "{", "setuid", "0", "}"}
		}, caps.Of(caps.Setgid, caps.Setuid), map[string]uint64{"setgid": 1, "setuid": 1}},
		{"in new namespaces of all kinds", func(string) []string {
			return []string{"unshare", namespaces, ",", "fork", "{", "setgid", "33", ",", "sethostname", "x", ",", "fork", "{", "exec", self, "setuid", "0", "}", "}"}
		}, caps.Of(caps.SysAdmin, caps.Setgid, caps.Setuid), map[string]uint64{"setgid": 1, "setuid": 1}},
		{"in a cgroup that it calls like a container's", func(dir string) []string {
			own := filepath.Join(dir, container)
			return []string{"mkdir", own, ",", "fork", "{", "cgroup", own, ",", "setgid", "33", ",", "exec", self, "setuid", "0", "}"}
		}, caps.Of(caps.Setgid, caps.Setuid), map[string]uint64{"setgid": 1, "setuid": 1}},
		{"whose first thread has ended", func(string) []string {
			return []string{"orphan", "{", "setgid", "33", ",", "thread", "{", "setuid", "0", "}", ",", "vfork", "{", "setuid", "0", "}", ",", "exec", self, "setgid", "0", "}"}
		}, caps.Of(caps.Setgid, caps.Setuid), map[string]uint64{"setgid": 2, "setuid": 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScope(t, p)
			s.steps(all, c.steps(s.dir)...).ends()
			r := s.record()
			wantSet(t, "granted", r.All().Granted, c.granted)
			wantSet(t, "denied", r.All().Denied, 0)
			asked := map[string]uint64{}
			for _, k := range r.Checks {
				if k.Process.Exe != self || k.Verdict != usage.Granted {
					t.Errorf("%+v", k)
				}
				asked[k.Syscall] += k.Count
			}
			for call, n := range c.calls {
				if asked[call] != n {
					t.Errorf("%s asked %d times, want %d", call, asked[call], n)
				}
			}
			for _, id := range r.Identities {
				if id.Exe != self {
					t.Errorf("identity %v", id)
				}
			}
			if t.Failed() {
				t.Log(asJSON(t, r.Checks))
			}
		})
	}
}
