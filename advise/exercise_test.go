package advise_test

import (
	"strings"
	"testing"

	"github.com/leastcap/leastcap/advise"
)

func TestNotExercised(t *testing.T) {
	for _, c := range []struct {
		name string
		e    advise.Exercise
		want string // the flags that would show it
	}{
		{"a command that ends", advise.Exercise{Container: true, OneShot: true}, ""},
		{"a service that was asked nothing", advise.Exercise{Container: true}, "--check --exec"},
		{"its health was asked", advise.Exercise{Container: true, Healthy: true, Helpers: 1}, ""},
		{"volumes as they are", advise.Exercise{Container: true, OneShot: true, Volumes: true}, "--starts"},
		{"fresh volumes only", advise.Exercise{Container: true, OneShot: true, Volumes: true, Starts: 1}, "--starts"},
		{"both", advise.Exercise{Container: true, OneShot: true, Volumes: true, Starts: 2}, ""},
		{"killed", advise.Exercise{Container: true, Checks: 1, Helpers: 1, Killed: true}, "--stop-timeout"},
		{"of the host", advise.Exercise{Volumes: true, Checks: 1}, ""},
	} {
		got := strings.Join(advise.NotExercised(c.e), "; ")
		if (got == "") != (c.want == "") {
			t.Errorf("%s: %q", c.name, got)
		}
		for flag := range strings.FieldsSeq(c.want) {
			if !strings.Contains(got, flag) {
				t.Errorf("%s: %q does not name %s", c.name, got, flag)
			}
		}
	}
}
