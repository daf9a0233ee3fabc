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
