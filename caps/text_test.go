package caps_test

import (
	_ "embed"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// libcapText is what the real libcap makes of texts; testdata/libcap_text.py
// writes it.
//
//go:embed testdata/libcap_text.tsv
var libcapText string

func TestTextAgainstLibcap(t *testing.T) {
	rows := 0
	for line := range strings.Lines(libcapText) {
		rows++
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		var text string
		if err := json.Unmarshal([]byte(fields[0]), &text); err != nil {
			t.Fatal(err)
		}
		got, err := caps.ParseText(text)
		if fields[1] == "error" {
			if err == nil {
				t.Errorf("ParseText(%q) = %+v, libcap refuses it", text, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseText(%q): %v, libcap takes it", text, err)
			continue
		}
		want := caps.Text{Effective: mask(t, fields[1]), Permitted: mask(t, fields[2]), Inheritable: mask(t, fields[3])}
		if got != want {
			t.Errorf("ParseText(%q) =\n%+v, libcap\n%+v", text, got, want)
		}
		if got := want.String(); got != fields[4] {
			t.Errorf("%q: String() =\n%q, libcap\n%q", text, got, fields[4])
		}
	}
	if rows < 300 {
		t.Errorf("only %d rows", rows)
	}
}

func mask(t *testing.T, hex string) caps.Set {
	t.Helper()
	set, err := caps.ParseSet("0x" + hex)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestTextError(t *testing.T) {
	for in, want := range map[string]string{
		"cap_chown=ep cap_net_rwa=p": `at byte 13: unknown capability "cap_net_rwa": did you mean "cap_net_raw"?`,
		"chown=e":                    `at byte 0: unknown capability "chown": did you mean "cap_chown"?`,
		"cap_chown":                  `at byte 9: want one of =, +, -`,
		"cap_chown=x":                `at byte 10: want one of e, i, p`,
		"cap_chown+":                 `at byte 10: want one of e, i, p`,
		"=e+p":                       `at byte 2: "+" needs a list of capabilities before it`,
		"64=p":                       `at byte 0: "64" is no number from 0 to 63, as C writes it`,
		"=e 08=p":                    `at byte 3: "08" is no number from 0 to 63, as C writes it`,
		"cap_chown,=p":               `at byte 10: empty capability name`,
	} {
		_, err := caps.ParseText(in)
		var textError *caps.TextError
		if !errors.As(err, &textError) || textError.Text != in || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("ParseText(%q): %v, want …%s", in, err, want)
		}
	}
	_, err := caps.ParseText("cap_net_rwa=p")
	var unknown *caps.UnknownError
	if !errors.As(err, &unknown) || unknown.Suggestion != "cap_net_raw" {
		t.Errorf("got %v, want an UnknownError inside", err)
	}
}

func TestStateText(t *testing.T) {
	state := caps.State{Effective: 1, Permitted: 3, Inheritable: 4, Bounding: docker, Ambient: 8}
	if got, want := state.Text().String(), "cap_dac_read_search=i cap_chown+ep cap_dac_override+p"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzText(f *testing.F) {
	f.Add("=ep cap_chown-e 47+i", uint64(1), uint64(docker), uint64(1)<<63)
	f.Add("cap_net_raw,all,0x2f=+e-p+i", uint64(0), uint64(0x1ffffffffff), uint64(0))
	f.Fuzz(func(t *testing.T, s string, e, p, i uint64) {
		roundTrip := func(want caps.Text) {
			if got, err := caps.ParseText(want.String()); err != nil || got != want {
				t.Fatalf("ParseText(%q) = %+v, %v; want %+v", want, got, err, want)
			}
		}
		roundTrip(caps.Text{Effective: caps.Set(e), Permitted: caps.Set(p), Inheritable: caps.Set(i)})
		parsed, err := caps.ParseText(s)
		if err != nil && parsed != (caps.Text{}) {
			t.Fatalf("ParseText(%q) = %+v with the error %v", s, parsed, err)
		}
		roundTrip(parsed)
	})
}
