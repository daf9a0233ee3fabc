//go:build linux

package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRunning(t *testing.T) {
	const text = beginMark + "p way\n\x16=== RUN   TestA\n\x16=== RUN   TestA/x\n    \x16--- PASS: TestA/x (0.1s)\n\x16=== RUN   TestA/y\n"
	if got, want := running([]byte(text)), []string{"p way", "TestA", "TestA/y"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := running([]byte(text + doneMark + "0\n")); len(got) > 0 {
		t.Errorf("got %q of a program that ended", got)
	}
}

// What guests print, as far as repeat's decisions depend on it.
const (
	passes  = "\x16=== RUN   TestA\n\x16--- PASS: TestA (0.1s)\n\x16PASS\n" + doneMark + "0\n"
	hangs   = "\x16=== RUN   TestA\n\x16--- PASS: TestA (0.1s)\n\x16=== RUN   TestB\n"
	another = "\x16=== RUN   TestC\n"
	failed  = "\x16=== RUN   TestA\n\x16--- FAIL: TestA (0.1s)\n\x16=== RUN   TestB\n"
)

func TestRepeat(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		boots []string // what each prints, by step; "" ends
		err   error    // of the last one
		want  string   // NAME STATUS of each run
		logs  int
	}{
		{"no hang", []string{passes + "|" + passes}, nil, "a 0, b 0", 0},
		{"a hang", []string{passes + "|" + hangs, passes}, nil, "a 0, b 0", 1},
		{"a hang at the start", []string{"", "", passes + "|" + passes}, nil, "a 0, b 0", 2},
		{"hangs for ever", []string{"", "", ""}, &stall{}, "", 2},
		{"here and there", []string{hangs, another, hangs}, &stall{}, "a -1", 2},
		{"twice in the same test", []string{hangs, hangs}, &stall{}, "a -1", 1},
		{"reported before the hang", []string{failed, passes}, nil, "a -1, b 0", 1},
		{"reported before the last hang", []string{passes + "|" + failed}, &stall{}, "a 0, b -1", 0},
		{"no hang but an error", []string{hangs}, broken, "a -1", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, logs := 0, 0
			boot := func(_ context.Context, steps []Step) ([]byte, error) {
				text := ""
				for i, s := range strings.Split(c.boots[n], "|") {
					if s != "" {
						text += beginMark + steps[i].Name + "\n" + s
					}
				}
				if n++; n == len(c.boots) {
					if hung, ok := c.err.(*stall); ok {
						hung.tests = running([]byte(text))
					}
					return []byte(text), c.err
				}
				return []byte(text), fmt.Errorf("%w; console", &stall{tests: running([]byte(text))})
			}
			runs, _, err := repeat(t.Context(), []Step{{Name: "a"}, {Name: "b"}}, boot, func(string, ...any) { logs++ })
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			var got []string
			for _, r := range runs {
				got = append(got, fmt.Sprint(r.Name, " ", r.Status))
			}
			if n != len(c.boots) || logs != c.logs || strings.Join(got, ", ") != c.want {
				t.Errorf("%d boots, %d logged, runs %q; want %d, %d, %q", n, logs, got, len(c.boots), c.logs, c.want)
			}
		})
	}
}
