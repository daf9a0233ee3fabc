package words

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reading writes commands as words with | between them; ? marks what is not known, * what
// can be several words, @NAME what comes from a variable.
func reading(t *testing.T, in string) string {
	list, err := Parse(Whole([]byte(in), 0), func(name string) (string, bool) { return "/root", name == "HOME" })
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range list {
		var ws []string
		for _, w := range c.Words {
			text := w.Text
			if w.Why != "" {
				text += "?"
			}
			if w.Many {
				text += "*"
			}
			if w.From != "" {
				text += "@" + w.From
			}
			ws = append(ws, text)
			if w.Written() && w.Why == "" {
				for i := range w.Text {
					if s, e := w.Range(i, i+1); in[s:e] != w.Text[i:i+1] {
						t.Errorf("%q: byte %d of %q is said to stand at %d", in, i, w.Text, s)
					}
				}
			}
		}
		lines = append(lines, strings.Join(ws, "|"))
	}
	return strings.Join(lines, "\n")
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`a b'c d'"e \" \x f"\ g`, `a|bc de " \x f g`},
		{"a \\\n  b\\\nc", "a|bc"},
		{"a \\\r\n  b\r\nc", "a|b\nc"},
		{`a $x "$x" "${x}y" ${HOME}/z $'q' $'\n' "$(id)" $(id) $((1+1)) <(b)`, `a|$x?*|$x?|${x}y?|/root/z@HOME|q|\n?|$(id)?|$(id)?*|$((1+1))?|<(b)?*
id
id
b`},
		{`x='1 2'; a $x "$x" -$x-`, "a|1@x|2@x|1 2@x|-1@x|2-@x"},
		{`x=1; x=2; a $x`, "a|$x?*"},
		{`if b; then x=1; fi; a $x`, "b\na|$x?*"},
		{`for x in 1 2; do a $x; done; read y; b $y`, "a|$x?*\nread|y\nb|$y?*"},
		{`x=1 a $x`, "a|$x?*"},
		{`export x=1; a ${x:-2} ${z:-3} ${z} ${x#1} ${#x}`, "a|1@x|3@z|${z}?*|${x#1}?*|${#x}?"},
		{`x=$y; y=$x; a $x`, "a|$x?*"},
		{`x=(1 "2 3"); x+=(4); a "${x[@]}" "-${x[@]}-" "$x" ${x[1]}`, "a|1@x|2 3@x|4@x|-1@x|2 3@x|4-@x|$x?|${x[1]}?*"},
		{`x=(); a "${x[@]}" b`, "a|b"},
		{`a {1,2} "$@" $1`, "a|{1,2}?*|$@?*|$1?*"},
		{"f() { a; }\nwhile b | c; do (d); done &", "a\nb\nc\nd"},
		{`sh -c 'a "b c"'; sudo bash -ec "d"; eval 'e f'; sh x -c 'g'`, "sh|-c|a \"b c\"\na|b c\nsudo|bash|-ec|d\nd\neval|e f\ne|f\nsh|x|-c|g"},
	} {
		if diff := cmp.Diff(tt.want, reading(t, tt.in)); diff != "" {
			t.Errorf("%s\n%s", tt.in, diff)
		}
	}
}

// Variables that hold one another must not grow without bound.
func TestGrowth(t *testing.T) {
	var b strings.Builder
	b.WriteString("x0=aaaaaaaaaa\n")
	for i := range 25 {
		from, to := string(rune('a'+i)), string(rune('a'+i+1))
		if i == 0 {
			from = "x0"
		}
		b.WriteString(to + "=\"" + strings.Repeat("$"+from, 20) + "\"\n")
	}
	b.WriteString("c $z")
	list, err := Parse(Whole([]byte(b.String()), 0), nil)
	if err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	if w := list[0].Words[1]; w.Why == "" {
		t.Errorf("%d bytes", len(w.Text))
	}
}

func TestProgram(t *testing.T) {
	list, err := Parse(Whole([]byte("exec timeout -k 5 10 sudo -u x nice -n 3 a b"), 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := list[0].Program()[0].Text; got != "sudo" {
		t.Error(got)
	}
	if got := list[0].Bare()[0].Text; got != "a" {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a $b", "x=(1 2); a \"${x[@]}\"", "sh -c 'sh -c \"a\"'", "a ${x:=1} $x", "`a`", "a <<E\n$x\nE", "case a in b) c;; esac"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _ := Parse(Whole(data, 0), nil)
		for _, c := range list {
			if c.Start < 0 || c.End > len(data) || c.Start > c.End || len(c.Words) == 0 {
				t.Fatalf("%+v", c)
			}
			for _, w := range c.Words {
				if w.Start < c.Start || w.End > c.End || w.Start >= w.End {
					t.Fatalf("%+v in %+v", w, c)
				}
				if s, e := w.Range(0, len(w.Text)); s < w.Start || e > w.End {
					t.Fatalf("%+v: %d to %d", w, s, e)
				}
			}
		}
	})
}
