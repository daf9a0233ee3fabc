package dockerfile

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSetLabels(t *testing.T) {
	run := Label{"RUN", `docker run --cap-drop=all ${IMAGE} sh -c 'a "b" \c'`}
	const written = `RUN="docker run --cap-drop=all \${IMAGE} sh -c 'a \"b\" \\c'"`
	for _, c := range []struct {
		name, in, want string
	}{
		{"at the end", "FROM a\nCMD b\n", "FROM a\nCMD b\nLABEL " + written + "\n"},
		{"no newline at the end", "FROM a\nCMD b", "FROM a\nCMD b\nLABEL " + written},
		{"behind the last LABEL", "FROM a\nLABEL x=1\nlabel y=2 \\\n  z=3\nCMD b\n", "FROM a\nLABEL x=1\nlabel y=2 \\\n  z=3\nLABEL " + written + "\nCMD b\n"},
		{"in the last stage", "FROM a AS b\nLABEL RUN=x\nFROM c\nCOPY --from=b / /\n\n# end\n", "FROM a AS b\nLABEL RUN=x\nFROM c\nCOPY --from=b / /\nLABEL " + written + "\n\n# end\n"},
		{"in place", "FROM a\nLABEL a=1   RUN=old\tb=\"2 3\"  # no comment=x\n", ""},
		{"in place of one word", "FROM a\nLABEL a=1   RUN=old\tb=\"2 3\"\nCMD x\n", "FROM a\nLABEL a=1   " + written + "\tb=\"2 3\"\nCMD x\n"},
		{"in place of a quoted one", "FROM a\n  LABEL 'RUN'=\"o \\\" x\" b=1\n", "FROM a\n  LABEL " + written + " b=1\n"},
		{"in place, with continuations and comments", "FROM a\nLABEL a=1 \\\n  # about RUN=x\n\n\tRUN='x \\\n y' \\  \n  b=2\n", "FROM a\nLABEL a=1 \\\n  # about RUN=x\n\n\t" + written + " \\  \n  b=2\n"},
		{"the old form", "FROM a\nLABEL RUN /usr/bin/docker run \\\n   -d \\${IMAGE}  \nUSER b\n", "FROM a\nLABEL " + written + "  \nUSER b\n"},
		{"the last one of several", "FROM a\nLABEL RUN=1\nLABEL RUN=2\n", "FROM a\nLABEL RUN=1\nLABEL " + written + "\n"},
		{"another case is another label", "FROM a\nLABEL run=1\n", "FROM a\nLABEL run=1\nLABEL " + written + "\n"},
		{"CRLF", "FROM a\r\nLABEL x=1\r\nCMD b\r\n", "FROM a\r\nLABEL x=1\r\nLABEL " + written + "\r\nCMD b\r\n"},
		{"a byte order mark", "\ufeffFROM a\n", "\ufeffFROM a\nLABEL " + written + "\n"},
		{"here documents", "FROM a\nRUN <<EOF\nLABEL RUN=x\nEOF\n", "FROM a\nRUN <<EOF\nLABEL RUN=x\nEOF\nLABEL " + written + "\n"},
		{"another escape character", "# escape=`\nFROM a\nLABEL RUN=x `\n  y=1\n",
			"# escape=`\nFROM a\nLABEL " + `RUN="docker run --cap-drop=all ` + "`" + `${IMAGE} sh -c 'a ` + "`\"b`\"" + ` \c'"` + " `\n  y=1\n"},
		{"there already, as others write it", "FROM a\nLABEL RUN \"docker run --cap-drop=all \\${IMAGE} sh -c 'a \\\"b\\\" \\\\c'\"\n", "same"},
		{"a value with a variable is another", "FROM a\nARG X\nLABEL RUN=\"docker run --cap-drop=all \\${IMAGE} sh -c 'a \\\"b\\\" \\\\c'$X\"\n", "FROM a\nARG X\nLABEL " + written + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := SetLabels([]byte(c.in), run)
			if c.want == "" {
				if err == nil {
					t.Errorf("no error: %q", out)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "same" {
				c.want = c.in
			}
			if diff := cmp.Diff(c.want, string(out)); diff != "" {
				t.Error(diff)
			}
			again, err := SetLabels(out, run)
			if err != nil || !bytes.Equal(again, out) {
				t.Errorf("a second time: %q, %v", again, err)
			}
		})
	}
}

func TestSetTwoLabels(t *testing.T) {
	out, err := SetLabels([]byte("FROM a\n"), Label{"RUN", "docker"}, Label{"io.containers.capabilities", "CHOWN,KILL"})
	if want := "FROM a\nLABEL RUN=\"docker\"\nLABEL io.containers.capabilities=\"CHOWN,KILL\"\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v", out, err)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		in, want string
		l        Label
	}{
		{"", "file with no instructions", Label{"a", "b"}},
		{"ARG x\n", "no FROM", Label{"a", "b"}},
		{"FROM a\nRUN <<E\n", "unterminated heredoc", Label{"a", "b"}},
		{"FROM a\x00", "no text", Label{"a", "b"}},
		{"FROM a\n", "one line", Label{"a", "b\nc"}},
		{"FROM a\n", "label name", Label{"a b", "c"}},
		{"FROM a\nRUN b \\", "cannot be put in", Label{"a", "b"}},
	} {
		_, err := SetLabels([]byte(c.in), c.l)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.in, err, c.want)
		}
	}
}

func FuzzSetLabels(f *testing.F) {
	for _, s := range []string{
		"FROM a\nLABEL RUN docker run \\${IMAGE} x\n", "FROM a\nLABEL a=1 RUN=\"x y\" \\\n# c\n b='2'\n", "# escape=`\nFROM a\nLABEL RUN=`\n",
		"FROM a\nRUN <<EOF\nx\nEOF\nLABEL RUN=1", "FROM a\r\nLABEL \"RUN\"=x\r\n", "FROM a\nLABEL RUN=a\\\n", "FROM a\nlabel\tRUN=\\\n'",
	} {
		f.Add([]byte(s), "docker run ${IMAGE}")
	}
	f.Fuzz(func(t *testing.T, in []byte, value string) {
		l := Label{"RUN", value}
		out, err := SetLabels(in, l)
		if err != nil {
			return
		}
		again, err := SetLabels(out, l)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("a second time: %q, then %q, %v", out, again, err)
		}
	})
}
