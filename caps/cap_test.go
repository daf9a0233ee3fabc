package caps_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
)

func TestNumbers(t *testing.T) {
	// include/uapi/linux/capability.h; TestDecode holds all 41 against capsh.
	for c, want := range map[caps.Cap]int{
		caps.Chown: 0, caps.NetRaw: 13, caps.SysAdmin: 21, caps.SysBoot: 22,
		caps.Setfcap: 31, caps.Last: 40,
	} {
		if int(c) != want {
			t.Errorf("%v is %d, want %d", c, c, want)
		}
	}
}

func TestCapSpellings(t *testing.T) {
	for _, test := range []struct {
		c                    caps.Cap
		text, kernel, docker string
		known                bool
	}{
		{caps.Chown, "chown", "CAP_CHOWN", "CHOWN", true},
		{caps.NetRaw, "net_raw", "CAP_NET_RAW", "NET_RAW", true},
		{caps.CheckpointRestore, "checkpoint_restore", "CAP_CHECKPOINT_RESTORE", "CHECKPOINT_RESTORE", true},
		{41, "41", "41", "41", false},
		{47, "47", "47", "47", false},
		{255, "255", "255", "255", false},
	} {
		got := []any{test.c.String(), test.c.Name(), test.c.Docker(), test.c.Known()}
		if diff := cmp.Diff([]any{test.text, test.kernel, test.docker, test.known}, got); diff != "" {
			t.Errorf("Cap(%d) (-want +got):\n%s", uint8(test.c), diff)
		}
	}
}

func TestParseCap(t *testing.T) {
	for _, c := range caps.UpTo(63).Caps() {
		for _, s := range []string{
			c.String(), c.Name(), c.Docker(),
			strings.ToLower(c.Name()), strings.ToUpper(c.String()), " " + c.Name() + "\t\n",
		} {
			if got, err := caps.ParseCap(s); err != nil || got != c {
				t.Errorf("ParseCap(%q) = %v, %v; want %v", s, got, err, c)
			}
		}
	}
	if got, err := caps.ParseCap("21"); err != nil || got != caps.SysAdmin {
		t.Errorf("ParseCap(21) = %v, %v", got, err)
	}
}

func TestParseCapUnknown(t *testing.T) {
	for _, test := range []struct{ in, name, suggestion, message string }{
		{"", "", "", "empty capability name"},
		{"  ", "", "", "empty capability name"},
		{"net_rwa", "net_rwa", "net_raw", `unknown capability "net_rwa": did you mean "net_raw"?`},
		{" CAP_NET-ADMIN", "CAP_NET-ADMIN", "net_admin", `unknown capability "CAP_NET-ADMIN": did you mean "net_admin"?`},
		{"sysadmin", "sysadmin", "sys_admin", ""},
		{"dac_overide", "dac_overide", "dac_override", ""},
		{"bfp", "bfp", "bpf", ""},
		{"checkpoint_restor", "checkpoint_restor", "checkpoint_restore", ""},
		{"root", "root", "", `unknown capability "root"`},
		{"xyz", "xyz", "", ""},
		{"all", "all", "", ""},
		{strings.Repeat("net_raw", 100), strings.Repeat("net_raw", 100), "", ""},
		{"64", "64", "", `unknown capability "64": numbers are 0 to 63, without leading zeros`},
		{"010", "010", "", ""},
		{"00", "00", "", ""},
		{"-1", "-1", "", ""},
		{"+1", "+1", "", ""},
		{"0x1", "0x1", "", ""},
		{"cap_13", "cap_13", "", ""},
		{"\u212aill", "\u212aill", "", ""}, // the Kelvin sign, not a K
		{"1٣", "1٣", "", ""},               // a digit, but not one of ours
	} {
		_, err := caps.ParseCap(test.in)
		var unknown *caps.UnknownError
		if !errors.As(err, &unknown) {
			t.Errorf("ParseCap(%q): %v, want an UnknownError", test.in, err)
			continue
		}
		if unknown.Name != test.name || unknown.Suggestion != test.suggestion {
			t.Errorf("ParseCap(%q): %+v, want %q, %q", test.in, *unknown, test.name, test.suggestion)
		}
		if test.message != "" && err.Error() != test.message {
			t.Errorf("ParseCap(%q): %s, want %s", test.in, err, test.message)
		}
	}
}

func TestCapJSON(t *testing.T) {
	in := map[caps.Cap]caps.Cap{caps.NetRaw: caps.Chown, 47: 63}
	data, err := json.Marshal(in)
	if want := `{"47":"63","CAP_NET_RAW":"CAP_CHOWN"}`; err != nil || string(data) != want {
		t.Fatalf("got %s, %v; want %s", data, err, want)
	}
	var out map[caps.Cap]caps.Cap
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	if _, err := json.Marshal(caps.Cap(64)); err == nil {
		t.Error("a number that fits no set was written")
	}
	if err := json.Unmarshal([]byte(`"net_wra"`), new(caps.Cap)); err == nil {
		t.Error("an unknown name was read")
	}
}
