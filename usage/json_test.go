package usage_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/leastcap/leastcap/usage"
)

func FuzzEscapeJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b]0;t\a\x7f", "\u009b31m", "\u202eevil", "\xff\xc3", "\ufffd", "\U000e0001", "日本 ü", "\U0001f600"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got := usage.EscapeJSON(data)
		for _, r := range string(got) {
			if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
				t.Errorf("%q has %U", got, r)
			}
		}
		var before, after string
		if err := json.Unmarshal(data, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &after); err != nil || after != before {
			t.Errorf("%q became %q, %v", before, after, err)
		}
		// What was read is written as it was.
		again, err := json.Marshal(after)
		if err != nil || string(usage.EscapeJSON(again)) != string(got) {
			t.Errorf("%q is written again as %q", got, usage.EscapeJSON(again))
		}
	})
}

func TestJSONWriter(t *testing.T) {
	var b strings.Builder
	if err := json.NewEncoder(usage.JSONWriter(&b)).Encode(map[string]string{"a\u202e": "日\x7f"}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), `{"a\u202e":"日\u007f"}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
