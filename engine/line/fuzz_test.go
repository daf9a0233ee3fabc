package line

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// FuzzParse: no words make it panic, errors are Errors with a reason, and
// what parses is put together again to the same words, is a line again when
// rewritten, and then asks for exactly the set. Words are separated by newlines.
func FuzzParse(f *testing.F) {
	for _, line := range lines(f) {
		f.Add(strings.Join(words(f, line), "\n"), uint64(0xa80425fb))
	}
	for _, line := range []string{
		"docker run -idp", "docker run --help x", "docker run -it-d=x y", "sudo -u", "env -S x", "docker container",
		"docker run --cap-add , x", "podman run --cap-add , x", "docker run -=x y", "docker run --- x", "docker run -\xff x",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\n"), uint64(0))
	}
	f.Fuzz(func(t *testing.T, text string, bits uint64) {
		argv := strings.Split(text, "\n")
		engine, ok := Recognise(argv)
		l, err := Parse(argv)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason == "" || e.At < 0 || e.At > len(argv) {
				t.Fatalf("%q: error %#v", argv, err)
			}
			return
		}
		if !ok || l.Engine != engine {
			t.Fatalf("%q: recognised as %q, parsed as %q", argv, engine, l.Engine)
		}
		if got := l.Words(); !slices.Equal(got, argv) {
			t.Fatalf("%q is put together to %q", argv, got)
		}
		l.BaselineRequest()
		set := caps.Set(bits).Intersect(caps.All())
		for _, argv := range [][]string{l.Create(Rewrite{Caps: &set, Labels: []string{"a=b"}}), l.Recommend(set, true)} {
			m, err := Parse(argv)
			if err != nil {
				t.Fatalf("rewritten to %q: %v", argv, err)
			}
			if got := m.BaselineRequest(); got != (Request{Adds: set, DropAll: true}) {
				t.Fatalf("rewritten to %q, which asks for %+v", argv, got)
			}
			if m.Image != l.Image || !slices.Equal(m.Command, l.Command) {
				t.Fatalf("rewritten to %q: image %q, command %q", argv, m.Image, m.Command)
			}
		}
	})
}

// FuzzParseHelp: no text makes it panic, nor any table with its flags in it.
func FuzzParseHelp(f *testing.F) {
	f.Add("      --rm   Remove\n  -e, --env list   Environment\n      --c s[=\"x\"]  y\n", "docker run --rm -e A=b x")
	f.Add("  -t, --tty\n  -t, --twice\n      --tty\n      --run[=]  \n", "docker run -t x")
	f.Fuzz(func(t *testing.T, help, line string) {
		list := ParseHelp(help)
		table, err := TableFor("docker")
		if err != nil {
			t.Fatal(err)
		}
		argv := strings.Fields(line)
		l, err := ParseWith(argv, table.With(list, list, list))
		if err == nil && !slices.Equal(l.Words(), argv) {
			t.Fatalf("%q is put together to %q", argv, l.Words())
		}
	})
}
