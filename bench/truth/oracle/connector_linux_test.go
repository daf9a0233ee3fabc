package oracle

import (
	"encoding/binary"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
)

// message is a netlink datagram of the process connector.
func message(what uint32, data ...uint32) []byte {
	ne := binary.NativeEndian
	body := make([]byte, 20+16)
	ne.PutUint32(body[20:], what)
	for _, d := range data {
		body = ne.AppendUint32(body, d)
	}
	head := make([]byte, 16)
	ne.PutUint32(head, uint32(16+len(body)))
	return append(head, body...)
}

func TestParseEvents(t *testing.T) {
	data := slices.Concat(message(eventFork, 1, 1, 7, 7), message(eventExec, 7, 7), message(eventUID, 7, 7, 33, 0), message(eventExit, 7, 7, 0, 0))
	want := []event{
		{what: eventFork, pid: 1, tgid: 1, child: 7, childTgid: 7},
		{what: eventExec, pid: 7, tgid: 7},
		{what: eventUID, pid: 7, tgid: 7, real: 33},
		{what: eventExit, pid: 7, tgid: 7},
	}
	if d := cmp.Diff(want, parseEvents(data), cmp.AllowUnexported(event{})); d != "" {
		t.Error(d)
	}
	for n := range data { // cut anywhere
		parseEvents(data[:n])
	}
}

// A child has its parent's ids until it changes them; what only the runtime
// did is no fact.
func TestFacts(t *testing.T) {
	c := &connector{facts: map[string]map[string]bool{"ID": {}}, procs: map[int]*process{
		7: {container: "ID"},
	}}
	for _, e := range []event{
		{what: eventUID, pid: 7, tgid: 7, real: 5, effective: 5},
		{what: eventUID, pid: 7, tgid: 7},
		{what: eventExec, pid: 7, tgid: 7},
		{what: eventFork, pid: 7, tgid: 7, child: 8, childTgid: 8},
		{what: eventFork, pid: 7, tgid: 7, child: 9, childTgid: 7}, // a thread
		{what: eventGID, pid: 8, tgid: 8, real: 33, effective: 33},
		{what: eventUID, pid: 8, tgid: 8, real: 33, effective: 33},
		{what: eventUID, pid: 9, tgid: 8, real: 44, effective: 44}, // a thread's
		{what: eventExit, pid: 8, tgid: 8},
		{what: eventExit, pid: 7, tgid: 7},
	} {
		c.take(e)
	}
	got, _ := c.forget("ID")
	want := map[string]bool{"some process with uid 0/0 gid 0/0": true, "some process with uid 33/33 gid 33/33": true}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(c.procs) != 0 {
		t.Errorf("still known: %v", c.procs)
	}
}

// The kernel's own messages arrive.
func TestConnector(t *testing.T) {
	testenv.Need(t, testenv.Root)
	c, err := newConnector()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	self := os.Getpid()
	c.mu.Lock()
	c.facts["ID"] = map[string]bool{}
	c.procs[self] = &process{container: "ID", executed: true}
	c.mu.Unlock()
	if err := exec.Command("setpriv", "--reuid=33", "--regid=33", "--clear-groups", "true").Run(); err != nil {
		t.Fatal(err)
	}
	const want = "some process with uid 33/33 gid 33/33"
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		c.mu.Lock()
		found := c.facts["ID"][want]
		c.mu.Unlock()
		if found {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	facts, lost := c.forget("ID")
	t.Errorf("facts %v, %d lost", facts, lost)
}

func TestCompareFacts(t *testing.T) {
	e := expectation{must: map[string]bool{"a": true}, may: map[string]bool{"a": true, "b": true}, exits: []string{"0"}}
	for _, c := range []struct {
		facts []string
		exit  string
		want  string
	}{
		{[]string{"a"}, "0", ""},
		{[]string{"a", "b"}, "0", ""},
		{[]string{"a"}, "1", "exit status 1"},
		{[]string{"b"}, "0", "no process was: a"},
		{[]string{"a", "c"}, "0", "a process was: c"},
	} {
		s := startOutcome{facts: map[string]bool{}, exit: c.exit}
		for _, f := range c.facts {
			s.facts[f] = true
		}
		if got := e.compare(s); got != c.want {
			t.Errorf("%v: %q", c, got)
		}
	}
}

func TestLine(t *testing.T) {
	w := &truth.Workload{Name: "x", Flags: []string{"--cap-add", "SYS_NICE", "-v", "/x", "--cap-drop=KILL"}, Command: []string{"true"}}
	set := caps.Of(caps.Chown)
	got := line(w, &set)[3:]
	want := []string{"-v", "/x", "--cap-drop=ALL", "--cap-add=CHOWN", truth.SharedImage, "true"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	base, err := today(w.Flags)
	if want := dockerDefault.With(caps.SysNice).Without(caps.Kill); err != nil || base != want {
		t.Errorf("today %v %v", base, err)
	}
	if _, err := today([]string{"--cap-add", "NONESUCH"}); err == nil {
		t.Error("an unknown name is no error")
	}
}
