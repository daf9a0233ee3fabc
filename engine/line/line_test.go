package line

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/shell"

	"github.com/leastcap/leastcap/caps"
)

// words splits a line as a shell does, without expanding anything.
func words(t testing.TB, line string) []string {
	t.Helper()
	fields, err := shell.Fields(line, func(name string) string { return "$" + name })
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return fields
}

// lines reads testdata/lines.txt: one command line a line, as people write them.
func lines(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "lines.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

func mustParse(t testing.TB, line string) *Line {
	t.Helper()
	l, err := Parse(words(t, line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return l
}

func TestParseReal(t *testing.T) {
	for _, line := range lines(t) {
		argv := words(t, line)
		l, err := Parse(argv)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if diff := cmp.Diff(argv, l.Words()); diff != "" {
			t.Errorf("%s: put together again (-typed +ours):\n%s", line, diff)
		}
		for _, f := range l.Flags {
			if !strings.HasPrefix(argv[f.Word], f.Typed[:1]) || f.Words < 1 || f.Words > 2 {
				t.Errorf("%s: flag %+v is not at its word", line, f)
			}
			if f.Words == 2 && argv[f.Word+1] != f.Value {
				t.Errorf("%s: %s has value %q, and the next word is %q", line, f.Typed, f.Value, argv[f.Word+1])
			}
		}
	}
}

func TestParse(t *testing.T) {
	l := mustParse(t, `sudo -u root -E DOCKER_HOST=x /usr/bin/docker -H unix:///x --debug container run -itd --name web --name=web2 `+
		`-p80:80 -p 443:443/tcp --net=host --rm=false -e A=b --cap-add net_raw --cap-drop=ALL --privileged=0 `+
		`--stop-timeout 3 --entrypoint "" -- nginx:1 nginx -g "daemon off;" --rm`)
	check := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("engine", l.Engine, "docker")
	check("prefix", l.Prefix, []string{"sudo", "-u", "root", "-E", "DOCKER_HOST=x"})
	check("program", l.Program, "/usr/bin/docker")
	check("global", l.Global, []string{"-H", "unix:///x", "--debug"})
	check("host", l.GlobalValue("host"), "unix:///x")
	check("verb", l.Verb, "run")
	check("image", l.Image, "nginx:1")
	check("command", l.Command, []string{"nginx", "-g", "daemon off;", "--rm"})
	check("name", l.Name(), "web2")
	check("names", l.Values("name"), []string{"web", "web2"})
	check("publish", l.Publish(), []string{"80:80", "443:443/tcp"})
	check("network", l.Network(), "host")
	check("booleans", []bool{l.Interactive(), l.TTY(), l.Detach(), l.Rm(), l.Has("rm"), l.Privileged(), l.Has("init")},
		[]bool{true, true, true, false, true, false, false})
	seconds, ok := l.StopTimeout()
	check("stop timeout", []any{seconds, ok}, []any{3, true})
	entrypoint, ok := l.Entrypoint()
	check("entrypoint", []any{entrypoint, ok}, []any{"", true})
	check("request", l.BaselineRequest(), Request{Adds: caps.Of(13), DropAll: true})

	p := mustParse(t, `podman --log-level debug run --log-level=info --cap-add NET_RAW,chown --cap-drop "" --health-cmd none x`)
	check("podman's own", p.GlobalValue("log-level"), "info")
	check("podman's verb", p.Value("log-level"), "")
	check("podman's request", p.BaselineRequest(), Request{Adds: caps.Of(0, 13)})
	check("podman's healthcheck", p.NoHealthcheck(), true)
}

func TestRecognise(t *testing.T) {
	for line, want := range map[string]string{
		"docker run x":                       "docker",
		"/usr/local/bin/podman run x":        "podman",
		"nerdctl -n k8s.io ps":               "nerdctl",
		"docker compose up":                  "docker",
		"sudo docker run x":                  "docker",
		"sudo -nE -u root -- podman run x":   "podman",
		"env -u C - A=b docker run x":        "docker",
		"env -u X sudo -E docker run x":      "docker",
		"doas -u root docker run x":          "docker",
		"sudo --preserve-env=A docker run x": "docker",
		"env -S 'docker run x'":              "docker", // and Parse gives the error
		"sudo -b docker run x":               "docker",
		"sudo nginx":                         "",
		"sudo -e /etc/fstab":                 "",
		"sudo":                               "",
		"docker-compose up":                  "",
		"nginx -g docker":                    "",
		"nice docker run x":                  "",
		"":                                   "",
	} {
		got, ok := Recognise(words(t, line))
		if got != want || ok != (want != "") {
			t.Errorf("Recognise(%s) = %q, %v; want %q", line, got, ok, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ line, word, reason, hint string }{
		{"docker", "", "docker: there is no command", "give a whole docker run line"},
		{"docker compose up -d", "compose", `"docker compose" is not understood`, "one service at a time"},
		{"docker exec -it web sh", "exec", `"docker exec" is not understood`, "run [its flags] IMAGE COMMAND"},
		{"docker start web", "start", `only docker run, docker container run and docker create`, "the docker run line that made it"},
		{"podman container ls", "ls", `"podman container ls" is not understood`, "podman run line"},
		{"docker run", "", "docker run: no image", "IMAGE"},
		{"docker run -d -p nginx", "", "docker run: no image", "-p takes a value, and took nginx"},
		{"docker run ''", "", "docker run: no image", ""},
		{"docker run --", "", "docker run: no image", ""},
		{"docker run --bogus x", "--bogus", "docker run has no flag --bogus", "docker run --help"},
		{"docker run --privledged x", "--privledged", "no flag --privledged", "did you mean --privileged?"},
		{"docker run -Z x", "-Z", "docker run has no flag -Z", ""},
		{"docker run -idZ x", "-idZ", "docker run has no flag -Z (in -idZ)", ""},
		{"docker run -name x y", "-name", "no flag -n (in -name)", "did you mean --name?"},
		{"docker -X run x", "-X", "docker has no flag -X", ""},
		{"docker run --name", "--name", "docker run: --name needs a value", "--name=VALUE"},
		{"docker run -itp", "-itp", "-itp needs a value", "--publish=VALUE"},
		{"docker run --rm=maybe x", "maybe", "docker run: --rm maybe: not a boolean", "--rm=false"},
		{"docker run --stop-timeout ten x", "ten", "--stop-timeout ten: not a whole number", ""},
		{"docker run --cap-add NET_RAWW x", "NET_RAWW", "docker run: --cap-add NET_RAWW:", "NET_RAW"},
		{"docker run --cap-drop=FOO x", "FOO", "docker run: --cap-drop FOO:", ""},
		{"docker run --cap-add NET_RAW,CHOWN x", "NET_RAW,CHOWN", "one capability only", "once for each"},
		{"docker run --cap-add 13 x", "13", "the engine knows no numbers", "write NET_RAW"},
		{"docker run --cap-add '' x", "", "--cap-add '':", ""},
		{"podman run --cap-add CHOWN,FOO x", "CHOWN,FOO", "podman run: --cap-add CHOWN,FOO:", ""},
		{"docker run --help", "--help", "only prints", "leave --help out"},
		{"docker --version", "--version", "only prints", ""},
		{"docker run --=x y", "--=x", "bad flag syntax", ""},
		{"docker -- run x", "--", "-- stands before the command", "leave it out"},
		{"nginx -g x", "nginx", `"nginx" is not a container engine`, "docker run"},
		{"env -S 'docker run x'", "env", "cannot follow env", "give the docker line itself"},
	} {
		_, err := Parse(words(t, tc.line))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v, want a Error", tc.line, err)
			continue
		}
		if e.Word != tc.word || !strings.Contains(e.Reason, tc.reason) || !strings.Contains(e.Hint, tc.hint) {
			t.Errorf("%s:\ngot  %q, %q, %q\nwant %q, %q, %q", tc.line, e.Word, e.Reason, e.Hint, tc.word, tc.reason, tc.hint)
		}
	}

	var unknown *caps.UnknownError
	if _, err := Parse(words(t, "docker run --cap-add FOO x")); !errors.As(err, &unknown) {
		t.Errorf("an unknown capability gives %v, which wraps no caps.UnknownError", err)
	}
}

// A flag that the table does not have can be had from the engine's help.
func TestParseWithHelp(t *testing.T) {
	argv := words(t, "docker run --brand-new 3 -Zd x y")
	if _, err := Parse(argv); !errors.Is(err, ErrUnknownFlag) {
		t.Fatalf("error %v, want ErrUnknownFlag", err)
	}
	table, err := TableFor("docker")
	if err != nil {
		t.Fatal(err)
	}
	newer := ParseHelp("Options:\n      --brand-new int            A number\n                                 --not-a-flag\n" +
		"  -Z, --zip                      Zip it\n      --lang string[=\"en\"]   Language\n")
	l, err := ParseWith(argv, table.With(nil, newer, nil))
	if err != nil {
		t.Fatal(err)
	}
	if l.Value("brand-new") != "3" || !l.Bool("zip") || !l.Detach() || l.Image != "x" {
		t.Errorf("got %+v", l)
	}
	if got := l.Create(Rewrite{}); !slices.Equal(got, []string{"docker", "create", "x", "y"}) {
		t.Errorf("flags that only run has, by its help, stay: %q", got)
	}
}
