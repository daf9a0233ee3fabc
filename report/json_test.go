package report

import (
	"bytes"
	"encoding/json"
	"testing"
)

func FuzzIndented(f *testing.F) {
	for _, seed := range []string{
		`null`, `{}`, `[]`, `""`, `{"a":[],"b":{},"c":[{}],"d":[1,-2.5e3,true]}`, `{"a\"}":"\\","b":"{[,:\\\""}`, `[[[["x"]]],{"":{"":null}}]`, `"é\u2028\u0000<>&"`,
	} {
		f.Add([]byte(seed), "  ")
	}
	f.Fuzz(func(t *testing.T, data []byte, prefix string) {
		var v any
		if json.Unmarshal(data, &v) != nil {
			t.Skip()
		}
		compact, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Indent(&want, compact, prefix, "  "); err != nil {
			t.Fatal(err)
		}
		if got := appendIndented(nil, compact, prefix); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s\n%s\nwant\n%s", compact, got, want.Bytes())
		}
	})
}
