package caps_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
)

// docker is Docker's default set, the mask everybody knows.
const docker caps.Set = 0xa80425fb

func TestSetOps(t *testing.T) {
	a, b := caps.Of(caps.Chown, caps.Kill, 47), caps.Of(caps.Kill, caps.Setuid)
	for _, test := range []struct {
		name      string
		got, want caps.Set
	}{
		{"zero", caps.Set(0), caps.Of()},
		{"union", a.Union(b), caps.Of(caps.Chown, caps.Kill, caps.Setuid, 47)},
		{"minus", a.Minus(b), caps.Of(caps.Chown, 47)},
		{"intersect", a.Intersect(b), caps.Of(caps.Kill)},
		{"with", b.With(caps.Kill, 63), b | 1<<63},
		{"without", a.Without(caps.Chown, caps.Setuid), caps.Of(caps.Kill, 47)},
		{"without too high", a.Without(64), a},
		{"too high", caps.Of(64, 255), 0},
		{"all", caps.All(), 0x1ffffffffff},
		{"up to 0", caps.UpTo(0), 1},
		{"up to 37", caps.UpTo(37), 0x3fffffffff}, // Linux 5.4
		{"up to 62", caps.UpTo(62), 1<<63 - 1},
		{"up to 63", caps.UpTo(63), ^caps.Set(0)},
		{"up to 64", caps.UpTo(64), ^caps.Set(0)},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	for _, test := range []struct {
		name      string
		got, want bool
	}{
		{"has", a.Has(47), true},
		{"has not", a.Has(46), false},
		{"has too high", (^caps.Set(0)).Has(64), false},
		{"subset", caps.Of(caps.Kill).SubsetOf(a), true},
		{"subset of itself", a.SubsetOf(a), true},
		{"no subset", b.SubsetOf(a), false},
		{"empty subset", caps.Set(0).SubsetOf(0), true},
		{"empty", caps.Set(0).Empty(), true},
		{"not empty", a.Empty(), false},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	if got := docker.Len(); got != 14 {
		t.Errorf("Len = %d, want 14", got)
	}
}

func TestSetOrder(t *testing.T) {
	set := caps.Of(63, caps.Setuid, caps.Chown)
	if diff := cmp.Diff([]caps.Cap{caps.Chown, caps.Setuid, 63}, set.Caps()); diff != "" {
		t.Error(diff)
	}
	for c := range set.Values() {
		if c != caps.Chown {
			t.Errorf("first is %v", c)
		}
		break
	}
	if got := slices.Collect(caps.UpTo(63).Values()); len(got) != 64 || !slices.IsSorted(got) {
		t.Errorf("got %v", got)
	}
}

func TestSetSpellings(t *testing.T) {
	for _, test := range []struct {
		set           caps.Set
		text, hex     string
		names, docker []string
	}{
		{0, "none", "0000000000000000", []string{}, []string{}},
		{1, "chown", "0000000000000001", []string{"CAP_CHOWN"}, []string{"CHOWN"}},
		{caps.Of(caps.Setuid, caps.Chown, 47), "chown,setuid,47", "0000800000000081",
			[]string{"CAP_CHOWN", "CAP_SETUID", "47"}, []string{"CHOWN", "SETUID", "47"}},
	} {
		if got := test.set.String(); got != test.text {
			t.Errorf("String() = %q, want %q", got, test.text)
		}
		if got := test.set.Hex(); got != test.hex {
			t.Errorf("Hex() = %q, want %q", got, test.hex)
		}
		if diff := cmp.Diff(test.names, test.set.Names()); diff != "" {
			t.Errorf("Names() (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(test.docker, test.set.Docker()); diff != "" {
			t.Errorf("Docker() (-want +got):\n%s", diff)
		}
	}
}

func TestSetBrief(t *testing.T) {
	for want, set := range map[string]caps.Set{
		"none": 0, "chown, setuid": caps.Of(caps.Setuid, caps.Chown), "all": caps.All(), "all but chown, sys_time": caps.All().Without(caps.SysTime, caps.Chown),
	} {
		if got := set.Brief(); got != want {
			t.Errorf("%v: %q, want %q", set, got, want)
		}
	}
	if got := caps.All().With(50).Brief(); !strings.HasPrefix(got, "chown, ") || !strings.HasSuffix(got, ", 50") {
		t.Errorf("with one that has no name: %s", got)
	}
}

func TestSetJSON(t *testing.T) {
	for set, want := range map[caps.Set]string{
		0:                              `[]`,
		caps.Of(caps.NetRaw):           `["CAP_NET_RAW"]`,
		caps.Of(caps.Chown, 47, 63):    `["CAP_CHOWN","47","63"]`,
		caps.Of(caps.Setuid, caps.Bpf): `["CAP_SETUID","CAP_BPF"]`,
	} {
		data, err := json.Marshal(set)
		if err != nil || string(data) != want {
			t.Errorf("%v: got %s, %v; want %s", set, data, err, want)
		}
		back := caps.All()
		if err := json.Unmarshal(data, &back); err != nil || back != set {
			t.Errorf("%s: read %v, %v", data, back, err)
		}
	}
	for _, bad := range []string{`null`, ` null `, `"CAP_CHOWN"`, `12`, `[12]`, `{}`, `["CAP_CHWON"]`, `["ALL"]`, `["CAP_CHOWN,CAP_KILL"]`} {
		set := docker
		if err := json.Unmarshal([]byte(bad), &set); err == nil {
			t.Errorf("%s was read as %v", bad, set)
		} else if set != docker {
			t.Errorf("%s changed the set although it is an error", bad)
		}
	}
	state := caps.State{Effective: 1, Permitted: 1, Bounding: docker.Intersect(3)}
	data, err := json.Marshal(state)
	want := `{"effective":["CAP_CHOWN"],"permitted":["CAP_CHOWN"],"inheritable":[],"bounding":["CAP_CHOWN","CAP_DAC_OVERRIDE"],"ambient":[]}`
	if err != nil || string(data) != want {
		t.Errorf("got %s, %v; want %s", data, err, want)
	}
}

func TestParseSet(t *testing.T) {
	for in, want := range map[string]caps.Set{
		"":                            0,
		" \n":                         0,
		",":                           0,
		"none":                        0,
		"NONE":                        0,
		"all":                         caps.All(),
		"ALL":                         caps.All(),
		"CAP_ALL":                     caps.All(),
		"ALL,net_raw":                 caps.All(),
		"all,47":                      caps.All().With(47),
		"net_raw":                     caps.Of(caps.NetRaw),
		"CAP_NET_RAW, chown;Setuid\n": caps.Of(caps.NetRaw, caps.Chown, caps.Setuid),
		"chown\tkill\r\nsetuid":       caps.Of(caps.Chown, caps.Kill, caps.Setuid),
		"chown,,kill,":                caps.Of(caps.Chown, caps.Kill),
		"0":                           caps.Of(caps.Chown),
		"12":                          caps.Of(caps.NetAdmin),
		"63":                          caps.Of(63),
		"0x12":                        caps.Of(caps.DacOverride, caps.Fsetid),
		"0X0":                         0,
		"0xA80425FB":                  docker,
		"a80425fb":                    docker,
		"00000000a80425fb":            docker,
		"A80425FB":                    docker,
		"00000012":                    caps.Of(caps.DacOverride, caps.Fsetid),
		"12345678":                    0x12345678,
		"0x1 net_raw":                 caps.Of(caps.Chown, caps.NetRaw),
		"0xffffffffffffffff":          ^caps.Set(0),
		"ffffffffffffffff":            ^caps.Set(0),
	} {
		if got, err := caps.ParseSet(in); err != nil || got != want {
			t.Errorf("ParseSet(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, bad := range []string{
		"net_rwa", "chown,net_rwa", "none,chown", "chown none", "none,none", "64", "007", "123", "1234567", "a80425f",
		"0x", "0xg", "0x1ffffffffffffffff", "1ffffffffffffffff", "[chown]", "chown+kill", "-chown", "!chown", "0x-1", "+0000001",
	} {
		if got, err := caps.ParseSet(bad); err == nil {
			t.Errorf("ParseSet(%q) = %v, want an error", bad, got)
		}
	}
	_, err := caps.ParseSet("chown,net_rwa")
	var unknown *caps.UnknownError
	if !errors.As(err, &unknown) || unknown.Name != "net_rwa" || unknown.Suggestion != "net_raw" {
		t.Errorf("got %v", err)
	}
}

// The rule of ParseSet needs this: a mask never hides a name.
func TestNoNameLooksLikeAMask(t *testing.T) {
	for c := range caps.All().Values() {
		if got, err := caps.ParseSet(c.String()); err != nil || got != caps.Of(c) {
			t.Errorf("ParseSet(%q) = %v, %v", c, got, err)
		}
	}
}

func TestParseList(t *testing.T) {
	for _, test := range []struct {
		in  []string
		set caps.Set
		all bool
	}{
		{nil, 0, false},
		{[]string{"NET_RAW"}, caps.Of(caps.NetRaw), false},
		{[]string{"ALL"}, 0, true},
		{[]string{"all"}, 0, true},
		{[]string{"cap_All"}, 0, true},
		{[]string{"net_raw,cap_chown", "47"}, caps.Of(caps.NetRaw, caps.Chown, 47), false},
		{[]string{" net_raw , ALL", "kill"}, caps.Of(caps.NetRaw, caps.Kill), true},
	} {
		set, all, err := caps.ParseList(test.in)
		if err != nil || set != test.set || all != test.all {
			t.Errorf("ParseList(%q) = %v, %v, %v; want %v, %v", test.in, set, all, err, test.set, test.all)
		}
	}
	for _, bad := range [][]string{{""}, {"chown,"}, {"chown kill"}, {"none"}, {"a80425fb"}, {"0x1"}, {"net_rwa"}, {"ALL", "net_rwa"}} {
		set, all, err := caps.ParseList(bad)
		var unknown *caps.UnknownError
		if !errors.As(err, &unknown) || set != 0 || all {
			t.Errorf("ParseList(%q) = %v, %v, %v; want only an UnknownError", bad, set, all, err)
		}
	}
}

func FuzzParseSet(f *testing.F) {
	for _, s := range []string{"", "none", "all", "chown,47", "0x12", "a80425fb", "00000012", "CAP_BPF;bpf 39", "007"} {
		f.Add(s, uint64(docker))
	}
	f.Fuzz(func(t *testing.T, s string, mask uint64) {
		// Whatever the set, all that it prints parses back to it.
		set := caps.Set(mask)
		for _, text := range []string{set.String(), set.Hex(), "0x" + set.Hex()} {
			if got, err := caps.ParseSet(text); err != nil || got != set {
				t.Fatalf("ParseSet(%q) = %v, %v", text, got, err)
			}
		}
		data, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		var back caps.Set
		if err := json.Unmarshal(data, &back); err != nil || back != set {
			t.Fatalf("%s: read %v, %v", data, back, err)
		}
		if got := caps.Of(set.Caps()...); got != set || set.Len() != len(set.Caps()) {
			t.Fatalf("Of(Caps()) = %v, want %v", got, set)
		}
		// Whatever the text, what parses is stable; what does not gives nothing.
		parsed, err := caps.ParseSet(s)
		if err != nil {
			if parsed != 0 {
				t.Fatalf("ParseSet(%q) = %v with the error %v", s, parsed, err)
			}
			return
		}
		if got, err := caps.ParseSet(parsed.String()); err != nil || got != parsed {
			t.Fatalf("ParseSet(%q) = %v, %v; want %v", parsed, got, err, parsed)
		}
	})
}

var sink int

func BenchmarkSetOps(b *testing.B) {
	extra := caps.Of(caps.NetRaw, caps.SysAdmin)
	for b.Loop() {
		set := docker.Union(extra).Minus(caps.Of(caps.Chown))
		if set.Has(caps.Setuid) && extra.SubsetOf(set) {
			sink += set.Len()
		}
	}
}

func BenchmarkSetString(b *testing.B) {
	for b.Loop() {
		sink += len(docker.String())
	}
}

func BenchmarkParseSet(b *testing.B) {
	for name, text := range map[string]string{"names": docker.String(), "mask": docker.Hex()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				set, err := caps.ParseSet(text)
				if err != nil {
					b.Fatal(err)
				}
				sink += set.Len()
			}
		})
	}
}
