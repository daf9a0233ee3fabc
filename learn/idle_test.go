package learn

import (
	"testing"
	"time"
)

func TestParseIdle(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"cpu  5 6 7 400 9 0 0 0 0 0\ncpu0 1 1 1 100\ncpu3 1 1 1 300\nintr 8 1\n": 2 * time.Second,
		"cpu  5 6 7 400 9\nintr 8 1\n":                                           -1,
		"cpu  5 6 7":                                                             -1,
		"cpu  5 6 7 x 9":                                                         -1,
		"intr 5 6 7 8 9":                                                         -1,
		"":                                                                       -1,
	} {
		got, ok := parseIdle([]byte(in))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}
