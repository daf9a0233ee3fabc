package proc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamespacesOwn(t *testing.T) {
	host := Namespaces{NSUser: 1, NSPid: 2, NSNet: 3}
	for want, ns := range map[string]Namespaces{
		"nothing is known": {},
		"all the host's":   {NSUser: 1, NSPid: 2},
		"some of its own":  {NSUser: 1, NSPid: 20, NSNet: 30},
	} {
		own := map[string][]string{"all the host's": {}, "some of its own": {"pid", "net"}}[want]
		if diff := cmp.Diff(own, ns.Own(&host)); diff != "" {
			t.Errorf("%s: %s", want, diff)
		}
	}
}

func TestIDMap(t *testing.T) {
	m, err := parseIDMap("         0       1000          1\n         1     100000      65536\n")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint32]uint32{1000: 0, 100000: 1, 100032: 33, 165535: 65536} {
		if got, ok := m.Inside(id); !ok || got != want {
			t.Errorf("%d: %d %v, want %d", id, got, ok, want)
		}
	}
	for _, id := range []uint32{0, 999, 1001, 165536} {
		if got, ok := m.Inside(id); ok {
			t.Errorf("%d is not mapped: %d", id, got)
		}
	}
	if _, err := parseIDMap("0 x 1\n"); err == nil {
		t.Error("no number: want an error")
	}
}
