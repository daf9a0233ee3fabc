package label

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func environment() map[string]string {
	env := Environment([]string{"HOME=/root", "SPACED=a b", "QUOTED='x  y'", "MONEY=1$2", "EMPTY=", "noequals", "=x"},
		"web", "example.com/web:1", Options{"", "--net=${MODE}", "$HOME/x"})
	env["RUN_OPTS"] = "--memory=1g\n -e 'A=b c'\n"
	return env
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		args       []string
		want       string // words, joined with |
		used, lost string
	}{
		{name: "the classic",
			text: `/usr/bin/docker run -d --cap-drop=all --cap-add=setuid --cap-add=setgid ${IMAGE} sleep 10`,
			want: "/usr/bin/docker|run|-d|--cap-drop=all|--cap-add=setuid|--cap-add=setgid|example.com/web:1|sleep|10", used: "IMAGE"},
		{name: "bare words", text: "docker run --name NAME -e IMAGE=IMAGE -e NAME=NAME IMAGE",
			want: "docker|run|--name|web|-e|IMAGE=example.com/web:1|-e|NAME=web|example.com/web:1"},
		{name: "bare words are whole words", text: "docker run -e XNAME IMAGES",
			want: "docker|run|-e|XNAME|IMAGES"},
		{name: "both forms of variables", text: "docker run $IMAGE ${NAME}x $NAME:y",
			want: "docker|run|example.com/web:1|webx|web:y", used: "IMAGE NAME"},
		{name: "a value of several words", text: "docker run ${RUN_OPTS} ${IMAGE}",
			want: "docker|run|--memory=1g|-e|A=b c|example.com/web:1", used: "IMAGE RUN_OPTS"},
		{name: "OPT2 was expanded, its unset variable is deleted; OPT3's is set", text: "docker run ${OPT1} ${OPT2} ${IMAGE} $OPT3",
			want: "docker|run|--net=|example.com/web:1|/root/x", used: "IMAGE OPT2 OPT3", lost: "${OPT1}@2+ ${MODE}@2"},
		{name: "the mount vanishes and -v is left", text: "docker run -v ${LOGDIR}:/var/log ${IMAGE}",
			want: "docker|run|-v|example.com/web:1", used: "IMAGE", lost: "${LOGDIR}:/var/log@3+"},
		{name: "deleted at the end", text: "docker run IMAGE $NOTHING",
			want: "docker|run|example.com/web:1", lost: "$NOTHING@3+"},
		{name: "deleted within quotes", text: `docker run IMAGE "a $X b" c`,
			want: "docker|run|example.com/web:1|a b|c", lost: "$X@3"},
		{name: "a dollar of a value is deleted too", text: "docker run -e M=${MONEY} IMAGE",
			want: "docker|run|-e|M=1|example.com/web:1", used: "MONEY", lost: "$2@3"},
		{name: "a variable that is set and empty", text: "docker run ${EMPTY} IMAGE", want: "docker|run|example.com/web:1", used: "EMPTY"},
		{name: "spaces become one, in quotes too", text: "docker  run\t\n'a   b'", want: "docker|run|a b"},
		{name: "values are split", text: "docker run $SPACED ${QUOTED}", want: "docker|run|a|b|x y", used: "QUOTED SPACED"},
		{name: "quotes and backslashes", text: `docker run -e "A=\"b\" \n" -e 'c\d' e\ f ""`,
			want: `docker|run|-e|A="b" \n|-e|c\d|e f|`},
		{name: "no shell", text: "docker run IMAGE; rm -rf / && `id` | $(id) > /x # y",
			want: "docker|run|IMAGE;|rm|-rf|/|&&|`id`|||>|/x|#|y", lost: "$(id)@9+"},
		{name: "what is appended stays as it is", text: "docker run IMAGE sh -c", args: []string{"echo $HOME  'x'", "NAME", ""},
			want: "docker|run|example.com/web:1|sh|-c|echo $HOME  'x'|NAME|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.text, environment(), c.args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, strings.Join(got.Words, "|")); diff != "" {
				t.Error(diff)
			}
			if used := strings.Join(got.Used, " "); used != c.used {
				t.Errorf("used %q, want %q", used, c.used)
			}
			var lost []string
			for _, l := range got.Lost {
				s := l.Text + "@" + string(rune('0'+l.At))
				if l.Whole {
					s += "+"
				}
				lost = append(lost, s)
			}
			if s := strings.Join(lost, " "); s != c.lost {
				t.Errorf("lost %q, want %q", s, c.lost)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, reason, hint string }{
		{`docker run -e FOO="${FOO:-bar}" IMAGE`, `a quotation mark is not closed, after "${FOO:-bar}\"" was deleted`, "set it: FOO=…; a default"},
		{`docker run 'x`, "a quotation mark is not closed", "quotes are closed"},
		{`docker run x\`, "a backslash stands at the end", "quotes are closed"},
		{``, "the label is empty", "command"},
		{`$NOTHING`, "the label is empty", "command"},
		{"docker\x00", "NUL", "text"},
	} {
		_, err := Parse(c.text, environment(), []string{"x"})
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: error %v", c.text, err)
			continue
		}
		if !strings.Contains(e.Reason, c.reason) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%q: %q, %q", c.text, e.Reason, e.Hint)
		}
	}
}

func TestVariable(t *testing.T) {
	for text, want := range map[string]string{"$A:/x": "A", "${A}": "A", "${A:-b}": "A", "$$": "", "$(id)": "", "${}": ""} {
		if got := (Lost{Text: text}).Variable(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		labels map[string]string
		key    string
	}{
		{map[string]string{"RUN": "1", "run": "2", "Run": "3"}, "RUN"},
		{map[string]string{"run": "2", "Run": "3"}, "run"},
		{map[string]string{"Run": "3", "rUN": "4"}, "Run"},
		{map[string]string{"rUN": "4"}, ""},
		{nil, ""},
	} {
		key, text, ok := Lookup(c.labels, Run)
		if key != c.key || ok != (c.key != "") || text != c.labels[c.key] {
			t.Errorf("%v: %q, %q, %v", c.labels, key, text, ok)
		}
	}
}

func TestName(t *testing.T) {
	for image, want := range map[string]string{
		"nginx": "nginx", "nginx:1.27": "nginx", "localhost:5000/a/b:c": "b", "localhost:5000/b": "b",
		"a/b@sha256:12": "b", "a/b:1@sha256:12": "b",
	} {
		if got := Name(image, false); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
	if got := Name("a/b:1", true); got != "b-spc" {
		t.Errorf("%q", got)
	}
}

func TestDefault(t *testing.T) {
	for _, c := range []struct {
		d    Default
		want string
	}{
		{Default{Program: "docker"}, "docker run -i --name web IMG"},
		{Default{Program: "podman", TTY: true, Detach: true}, "podman run -t -d -i --name web IMG"},
		{Default{Program: "docker", SPC: true}, "docker run -i --privileged -v /:/host -v /run:/run -v /etc/localtime:/etc/localtime " +
			"-v /sys/fs/selinux:/sys/fs/selinux:ro --net=host --ipc=host --pid=host -e HOST=/host -e NAME=web -e IMAGE=IMG " +
			"-e SYSTEMD_IGNORE_CHROOT=1 --name web IMG"},
	} {
		if got := strings.Join(c.d.Words("web", "IMG"), " "); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string // "" is an error
	}{
		{[]string{"docker", "run", "--cap-drop=all", "${IMAGE}", "sh", "-c", "it's; \"x\""}, `docker run --cap-drop=all ${IMAGE} sh -c 'it'"'"'s; "x"'`},
		{[]string{"--name", "${NAME}", "IMAGE", ""}, `--name ${NAME} 'IMAGE' ''`},
		{[]string{"docker", "$HOME"}, ""},
		{[]string{"docker", "a  b"}, ""},
		{nil, ""},
	} {
		got, err := Format(c.words)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v, want %q", c.words, got, err, c.want)
		}
	}
}
