package caps_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// fileCapsTests are attributes as setcap 2.66 wrote them (versions 2 and 3),
// and one of version 1 made by hand.
var fileCapsTests = []struct {
	name, hex, text string
	want            caps.FileCaps
}{
	{
		"setcap cap_net_raw=ep", "0100000200200000000000000000000000000000", "cap_net_raw=ep",
		caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true, Version: 2},
	},
	{
		"setcap cap_setuid=i", "0000000200000000800000000000000000000000", "cap_setuid=i",
		caps.FileCaps{Inheritable: caps.Of(caps.Setuid), Version: 2},
	},
	{
		"setcap =", "0000000200000000000000000000000000000000", "=",
		caps.FileCaps{Version: 2},
	},
	{
		"setcap -n 1000 cap_net_raw,cap_chown=ep", "0100000301200000000000000000000000000000e8030000",
		"cap_chown,cap_net_raw=ep [rootid=1000]",
		caps.FileCaps{Permitted: caps.Of(caps.NetRaw, caps.Chown), Effective: true, RootID: 1000, Version: 3},
	},
	{
		"above 31", "0000000200000000000000008001000001000000", "cap_mac_override=i cap_bpf,cap_checkpoint_restore+p",
		caps.FileCaps{Permitted: caps.Of(caps.Bpf, caps.CheckpointRestore), Inheritable: caps.Of(caps.MacOverride), Version: 2},
	},
	{
		"version 1", "010000010020000000000080", "cap_setfcap=ei cap_net_raw+ep",
		caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Inheritable: caps.Of(caps.Setfcap), Effective: true, Version: 1},
	},
}

func TestFileCaps(t *testing.T) {
	for _, test := range fileCapsTests {
		xattr := unhex(t, test.hex)
		got, err := caps.ParseFileCaps(xattr)
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v, %v; want %+v", test.name, got, err, test.want)
		}
		if got := test.want.String(); got != test.text {
			t.Errorf("%s: String() = %q, want %q", test.name, got, test.text)
		}
		if back, err := test.want.Marshal(); err != nil || !bytes.Equal(back, xattr) {
			t.Errorf("%s: Marshal() = %x, %v; want %x", test.name, back, err, xattr)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseFileCapsErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":         "0 bytes, too short for its revision",
		"010000":   "3 bytes, too short for its revision",
		"01000002": "4 bytes, want 20 for revision 2",
		"01000000": "unknown revision 0, want 1, 2 or 3",
		"01000004": "unknown revision 4, want 1, 2 or 3",
		"010000ff": "unknown revision 255, want 1, 2 or 3",
		// Cut, too long, and the length of another revision.
		"01000002002000000000000000000000000000":     "19 bytes, want 20 for revision 2",
		"010000020020000000000000000000000000000000": "21 bytes, want 20 for revision 2",
		"0100000300200000000000000000000000000000":   "20 bytes, want 24 for revision 3",
		"0100000100200000000000000000000000000000":   "20 bytes, want 12 for revision 1",
	} {
		got, err := caps.ParseFileCaps(unhex(t, in))
		if err == nil || !strings.HasSuffix(err.Error(), want) || got != (caps.FileCaps{}) {
			t.Errorf("%s: got %+v, %v; want …%s", in, got, err, want)
		}
	}
}

func TestMarshalFileCaps(t *testing.T) {
	for _, test := range []struct {
		in   caps.FileCaps
		want int // the version written
	}{
		{caps.FileCaps{Permitted: docker}, 2},
		{caps.FileCaps{Permitted: docker, RootID: 1}, 3},
		{caps.FileCaps{Permitted: docker, Version: 3}, 3},
	} {
		xattr, err := test.in.Marshal()
		if err != nil {
			t.Errorf("%+v: %v", test.in, err)
			continue
		}
		got, err := caps.ParseFileCaps(xattr)
		if err != nil || got.Version != test.want {
			t.Errorf("%+v: read back %+v, %v", test.in, got, err)
		}
	}
	for _, bad := range []caps.FileCaps{
		{Version: 4},
		{Version: -1},
		{Version: 2, RootID: 1},
		{Version: 1, Permitted: caps.Of(32)},
		{Version: 1, Inheritable: caps.Of(63)},
	} {
		if xattr, err := bad.Marshal(); err == nil {
			t.Errorf("%+v: wrote %x, want an error", bad, xattr)
		}
	}
}

func FuzzFileCaps(f *testing.F) {
	for _, test := range fileCapsTests {
		xattr, err := hex.DecodeString(test.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(xattr)
	}
	f.Add([]byte("\xff\xff\xff\x02aaaabbbbccccdddd"))
	f.Fuzz(func(t *testing.T, xattr []byte) {
		parsed, err := caps.ParseFileCaps(xattr)
		if err != nil {
			return
		}
		back, err := parsed.Marshal()
		if err != nil {
			t.Fatalf("%+v: %v", parsed, err)
		}
		// Flags that mean nothing are the one thing that is not kept.
		want := bytes.Clone(xattr)
		want[0], want[1], want[2] = want[0]&1, 0, 0
		if !bytes.Equal(back, want) {
			t.Fatalf("%x was read as %+v and written as %x", xattr, parsed, back)
		}
	})
}
