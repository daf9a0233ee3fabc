package label

import (
	"slices"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`/usr/bin/docker run -d --cap-drop=all ${IMAGE} sleep 10`, "docker run -v ${LOGDIR}:/x NAME", `a "$X b" 'c'`,
		`-e FOO="${FOO:-bar}"`, "$", "${", "$$ ${} x$", `\`, `"\"`, " $a $b ", "IMAGE=IMAGE NAME=NAME",
	} {
		f.Add(s, "web")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		env := map[string]string{"NAME": name, "IMAGE": "img"}
		c, err := Parse(text, env, []string{"last  $word"})
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a word")
			}
			return
		}
		if len(c.Words) < 2 || c.Words[len(c.Words)-1] != "last  $word" {
			t.Fatalf("what was appended is not there: %q", c.Words)
		}
		own := c.Words[:len(c.Words)-1]
		for _, w := range own {
			if strings.ContainsAny(w, "$\x00") && !strings.ContainsRune(name, 0) {
				t.Errorf("word %q", w)
			}
		}
		for _, l := range c.Lost {
			if l.At < 0 || l.At > len(own) || !l.Whole && l.At == len(own) || !strings.HasPrefix(l.Text, "$") {
				t.Errorf("lost %+v of %q", l, own)
			}
		}
		// Words that a label can say come back as they are.
		written, err := Format(own)
		if err != nil {
			return
		}
		again, err := Parse(written, map[string]string{"NAME": "name", "IMAGE": "image"}, nil)
		if err != nil {
			t.Fatalf("%q: written as %q: %v", own, written, err)
		}
		if !slices.Equal(again.Words, own) {
			t.Errorf("%q: written as %q, read as %q", own, written, again.Words)
		}
	})
}
