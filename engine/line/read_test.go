package line

import (
	"errors"
	"slices"
	"testing"
)

// Read takes what Parse refuses for its values, and says where verb and image are.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		argv        []string
		verb, image int
	}{
		{[]string{"docker", "run", "--cap-add", "NET_ADMN", "--memory-swappiness=x", "img", "--help"}, 1, 5},
		{[]string{"sudo", "-E", "podman", "--log-level", "x", "container", "create", "-it", "--", "img"}, 6, 9},
		{[]string{"nerdctl", "run", "--name=$X", "img"}, 1, 3},
	} {
		l, err := Read(tt.argv)
		if err != nil {
			t.Errorf("%q: %v", tt.argv, err)
			continue
		}
		if l.VerbAt() != tt.verb || l.ImageAt() != tt.image || !slices.Equal(l.Words(), tt.argv) {
			t.Errorf("%q: verb %d, image %d", tt.argv, l.VerbAt(), l.ImageAt())
		}
	}
	for _, argv := range [][]string{{"docker", "ps"}, {"docker"}, {"docker", "compose", "run", "x"}} {
		if _, err := Read(argv); !errors.Is(err, ErrOtherVerb) {
			t.Errorf("%q: %v", argv, err)
		}
	}
	if _, err := Read([]string{"docker", "run", "--help"}); err == nil || errors.Is(err, ErrOtherVerb) {
		t.Error("--help starts nothing")
	}
}

func TestSplits(t *testing.T) {
	for engine, want := range map[string]bool{"docker": false, "podman": true, "nerdctl": true} {
		l, err := Read([]string{engine, "run", "x"})
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Splits("cap-add"); got != want {
			t.Errorf("%s: %v", engine, got)
		}
	}
}
