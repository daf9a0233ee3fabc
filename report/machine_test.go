package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func machine() *Machine {
	return &Machine{
		Version: MachineVersion, System: "linux", Kernel: "6.1.0-50-cloud-amd64", Arch: "amd64", Hook: "fexit/cap_capable",
		Facts: []Fact{
			{"kernel", "type information", Good, "BTF is there"},
			{"containers", "docker", Lacking, "does not answer: \x1b[31mno\nway"},
			{"containers", "podman", Absent, "not installed"},
		},
		Ways: []MachineWay{
			{Name: "tp_btf/cap_capable", Reason: "this kernel does not have it"},
			{Name: "fexit/cap_capable", Usable: true, Used: true, Sees: "commoncap's verdict"},
			{Name: "kprobe/cap_capable", Usable: true, Sees: "commoncap's verdict"},
		},
		NotSeen: []string{"what a long sentence says that is wrapped, since nobody reads lines longer than eighty"},
		Improve: []string{},
	}
}

func TestDoctor(t *testing.T) {
	var b bytes.Buffer
	if err := Doctor(&b, machine(), Style{}); err != nil {
		t.Fatal(err)
	}
	const want = `Linux 6.1.0-50-cloud-amd64 on amd64, as root

KERNEL
  type information        ok: BTF is there

CONTAINERS
  docker                  lacking: does not answer: no\nway
  podman                  no: not installed

WAYS IN to the kernel's capability checks, the preferred one first
  tp_btf/cap_capable      not usable: this kernel does not have it
  fexit/cap_capable       used: shows commoncap's verdict
  kprobe/cap_capable      usable: shows commoncap's verdict

NOT SEEN
  - what a long sentence says that is wrapped, since nobody reads lines longer
    than eighty
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	b.Reset()
	if err := Doctor(&b, machine(), Style{Width: 40}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 41 {
			t.Errorf("longer than 40 columns: %q", line)
		}
	}
}

func TestDoctorJSON(t *testing.T) {
	var b bytes.Buffer
	if err := DoctorJSON(&b, machine()); err != nil {
		t.Fatal(err)
	}
	var back Machine
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(machine(), &back); d != "" {
		t.Error(d)
	}
	if bytes.Contains(b.Bytes(), []byte("null")) || bytes.ContainsAny(b.Bytes(), "\x1b") {
		t.Errorf("%s", b.Bytes())
	}
}
