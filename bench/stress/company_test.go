//go:build linux

package stress

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/watch"
)

// TestCompany: bpftrace at the same tracepoint, another leastcap that watches everything, and
// two probes of this process: each sees all of it.
func TestCompany(t *testing.T) { company(t, 20_000) }

func BenchmarkCompany(b *testing.B) {
	for b.Loop() {
		company(b, 1_000_000)
	}
}

func company(t testing.TB, n int) {
	testenv.Need(t, testenv.Command("bpftrace"), testenv.Command("unshare"))
	m := newMachine(t, probe.Options{Running: true})
	second := newMachine(t, probe.Options{Running: true, Refusals: true})
	tracer := neighbour(t, "", "unshare", "--mount", "sh", "-c",
		`mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; exec bpftrace -e "$0"`,
		`BEGIN { printf("ready\n"); } tracepoint:capability:cap_capable /args->cap == 6 && comm == "flood"/ { @seen = count(); }`)
	other := neighbour(t, "Ctrl-C ends", testenv.Leastcap(t), "watch", "-o", "json")

	dir := m.container("a")
	m.workload("contain", dir, "comm", "flood", ",", "flood", "setgid", "4", strconv.Itoa(n))
	m.wait()
	for _, m := range []*machine{m, second} {
		r := m.record(m.survey(), dir)
		if got := r.All(); got.Granted != caps.Of(caps.Setgid) || got.Denied != 0 {
			t.Errorf("granted %v, denied %v", got.Granted, got.Denied)
		}
		if len(r.Checks) != 1 || r.Checks[0].Count != uint64(n) {
			t.Errorf("counted: %+v; want %d", r.Checks, n)
		}
		m.nothingLost()
	}
	t.Logf("bpftrace: %s", strings.TrimSpace(tracer.end(t)))
	var uses []string
	for line := range strings.Lines(other.end(t)) {
		var e watch.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Subject != nil && strings.Contains(filepath.Base(dir), e.Subject.ID) && e.Subject.ID != "" && e.Capability != nil {
			uses = append(uses, e.Event+" "+e.Capability.String())
		}
	}
	if len(uses) != 1 || uses[0] != "use setgid" {
		t.Errorf("the other leastcap saw %q", uses)
	}
}

// other is a program that looks on.
type other struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stdout bytes.Buffer
}

// neighbour starts one and waits until it says that it looks: on stderr, or else "ready".
func neighbour(t testing.TB, sign string, argv ...string) *other {
	t.Helper()
	o := &other{cmd: exec.Command(argv[0], argv[1:]...)}
	from := o.cmd.StdoutPipe
	if sign != "" {
		from, o.cmd.Stdout = o.cmd.StderrPipe, &o.stdout
	} else {
		sign = "ready"
	}
	pipe, err := from()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.cmd.Process.Kill() })
	o.out = bufio.NewReader(pipe)
	for line := ""; !strings.Contains(line, sign); {
		if line, err = o.out.ReadString('\n'); err != nil {
			t.Fatalf("%s said no more: %v", argv[0], err)
		}
	}
	return o
}

// end interrupts it and gives the rest of what it prints.
func (o *other) end(t testing.TB) string {
	t.Helper()
	if err := o.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	rest := new(strings.Builder)
	_, _ = o.out.WriteTo(rest)
	if err := o.cmd.Wait(); err != nil {
		t.Errorf("%s: %v: %s", o.cmd.Path, err, rest)
	}
	return rest.String() + o.stdout.String()
}
