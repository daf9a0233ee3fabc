package report

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/leastcap/leastcap/usage"
)

var update = flag.Bool("update", false, "write the golden files")

func render(t testing.TB, p *usage.Profile, style Style) string {
	t.Helper()
	var b bytes.Buffer
	if err := Profile(&b, p, style); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, p := range examples() {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".txt", render(t, p, Style{}))
			golden(t, name+".flags", flagsOf(t, p))
		})
	}
	golden(t, "nginx-color.txt", render(t, nginx(), Style{Color: true, Width: 100}))
	golden(t, "nginx-narrow.txt", render(t, nginx(), Style{Width: 40}))
}

// flagsOf is what Flags writes, or the error.
func flagsOf(t *testing.T, p *usage.Profile) string {
	t.Helper()
	var b bytes.Buffer
	err := Flags(&b, p)
	if (err != nil) != unknown(p) {
		t.Errorf("Flags: %v", err)
	}
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", file, diff)
	}
}

// Whatever a profile holds, a page of it is lines of printed characters.
func TestPrintedCharactersOnly(t *testing.T) {
	for name, p := range examples() {
		for _, width := range []int{0, 1, 40, 80, 120, 1000} {
			out := render(t, p, Style{Width: width})
			printed(t, name, out)
			limit := Style{Width: width}.width()
			inUse := false
			for line := range strings.Lines(out) {
				inUse = inUse || strings.HasPrefix(line, "USE")
				if w := ansi.StringWidth(line); w > limit && !inUse { // a word to paste is not cut
					t.Errorf("%s: %d columns, want at most %d: %q", name, w, limit, line)
				}
				if strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
					t.Errorf("%s: space at the end of %q", name, line)
				}
			}
			if colored := ansi.Strip(render(t, p, Style{Width: width, Color: true})); colored != out {
				t.Errorf("%s: colour changes the text:\n%s", name, cmp.Diff(out, colored))
			}
		}
		printed(t, name, flagsOf(t, p))
	}
}

func printed(t testing.TB, name, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s: invalid UTF-8: %q", name, s)
	}
	for _, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%s: control character %U", name, r)
		}
	}
}

// The line to paste is the command, whatever is in its words.
func TestCommandLine(t *testing.T) {
	for name, p := range examples() {
		for _, width := range []int{40, 80, 120} {
			_, line, ok := strings.Cut(render(t, p, Style{Width: width}), "\nUSE")
			if !ok {
				t.Fatalf("%s: no USE", name)
			}
			_, line, _ = strings.Cut(line, "\n")
			if isCommand(p) || unknown(p) {
				continue
			}
			want := p.Use.Command
			if len(want) == 0 {
				want = []string{"--cap-drop=ALL"}
			}
			if got := words(t, line); !cmp.Equal(got, want) {
				t.Errorf("%s, %d columns: %s", name, width, cmp.Diff(want, got))
			}
		}
	}
}

// words reads a line as Bash does.
func words(t *testing.T, line string) []string {
	t.Helper()
	var out []*syntax.Word
	for w, err := range syntax.NewParser(syntax.Variant(syntax.LangBash)).WordsSeq(strings.NewReader(line)) {
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, w)
	}
	fields, err := expand.Fields(&expand.Config{NoUnset: true}, out...)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return fields
}

func TestJSON(t *testing.T) {
	p := nginx()
	var b bytes.Buffer
	if err := JSON(&b, p); err != nil {
		t.Fatal(err)
	}
	back, err := usage.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(render(t, p, Style{}), render(t, back, Style{})); diff != "" {
		t.Error(diff)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriteErrors(t *testing.T) {
	p := nginx()
	for name, err := range map[string]error{
		"Profile": Profile(broken{}, p, Style{}), "JSON": JSON(broken{}, p), "Flags": Flags(broken{}, p),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestShortDigest(t *testing.T) {
	const hex = "9d6b58feebd2dbd3c56ab5853333d627cc6e281011cfd6050fa4bcf2072c9496"
	for digest, want := range map[string]string{
		"sha256:" + hex:                      "sha256:9d6b58feebd2",
		"nginx@sha256:" + hex:                "nginx@sha256:9d6b58feebd2",
		"localhost:5000/nginx@sha256:" + hex: "localhost:5000/nginx@sha256:9d6b58feebd2",
		"0123456789abcdef":                   "0123456789ab",
		"":                                   "",
	} {
		if got := shortDigest(digest); got != want {
			t.Errorf("%q: got %q, want %q", digest, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"plain text", 20, "plain text"},
		{"Zürich 東京", 20, "Zürich 東京"},
		{"\x1b[1;31merror\x1b[0m: no\n", 20, "error: no"},
		{"a\x1b[2Jb", 20, `a\x1b[2Jb`},
		{"a\tb\r\nc", 20, `a b\r\nc`},
		{"\xff\xc3(", 20, `\xff\xc3(`},
		{"\u009b31m\u202e\U000e0041", 40, `\u009b31m\u202e\U000e0041`},
		{"�", 20, "�"}, // the character itself, not a mistake
		{"1234567890", 10, "1234567890"},
		{"12345678901", 10, "1234567..."},
		{"1234\x00\x00\x00", 10, "1234\\x0..."},
		{"", 10, ""},
	} {
		if got := Clean(tt.in, tt.limit); got != tt.want {
			t.Errorf("Clean(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31m\xff\u202e", 10)
	f.Add(strings.Repeat("\x1b[0m", 100)+"x", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 10 + (limit&0xff+0xff)%0xff
		got := Clean(s, limit)
		printed(t, "Clean", got)
		if strings.ContainsAny(got, "\n") || utf8.RuneCountInString(got) > limit {
			t.Errorf("Clean(%q, %d) = %q", s, limit, got)
		}
		p := newPage(Style{Width: 40})
		p.para(text("label"), 8, text(s), text(s))
		p.flush()
		printed(t, "para", p.b.String())
	})
}
