package shell

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// show is a container in one line, with the places of what is asked for.
func show(data string, c *manifest.Container) string {
	var b strings.Builder
	text := func(name string, t manifest.Text) {
		switch t.State {
		case manifest.Known:
			fmt.Fprintf(&b, " %s=%s", name, t.V)
		case manifest.Unknown:
			fmt.Fprintf(&b, " %s=?%s(%s)", name, t.Raw, t.Why)
		}
	}
	fmt.Fprintf(&b, "%d:%d %s", c.At.Line, c.At.Column, c.Path)
	text("image", c.Image)
	for _, r := range c.Caps {
		text(r.Action.String(), r.Word)
		if r.Word.State == manifest.Known {
			if got := strings.Trim(data[r.Word.At.Start:r.Word.At.End], `'"`); got != r.Word.V {
				fmt.Fprintf(&b, "@%q", got)
			}
		}
	}
	if c.CapsWhy != "" {
		fmt.Fprintf(&b, " why=%s", c.CapsWhy)
	}
	text("user", c.User)
	for i, v := range []manifest.Bool{c.Privileged, c.NoNewPrivs} {
		if v.State != manifest.Unset {
			text([]string{"privileged", "nnp"}[i], manifest.Text{V: fmt.Sprint(v.V), State: v.State, Raw: v.Raw, Why: v.Why})
		}
	}
	for _, n := range c.Namespaces {
		text(n.Kind, n.With)
	}
	for _, m := range c.Mounts {
		text(m.Type, m.Source)
	}
	text("seccomp", c.Seccomp)
	return b.String()
}

var readings = []struct {
	name   string
	format manifest.Format
	in     string
	want   []string
}{
	{"plain", Format, "#!/bin/sh\ndocker run --rm --cap-add NET_ADMIN --cap-drop=all -u 1000:1000 nginx:1 nginx -g x\n",
		[]string{"2:1 #1 nginx image=nginx:1 add=NET_ADMIN drop=all user=1000:1000"}},
	{"continued, quoted, behind sudo, in a function", Format, "run() {\n  sudo -E docker run \\\n    --cap-add=\"SYS_ADMIN\" \\\n    -v /var/run/docker.sock:/s 'img' ; }\nrun\n",
		[]string{"2:3 #1 img image=img add=SYS_ADMIN bind=/var/run/docker.sock"}},
	{"variables", Format, "IMG=web:2\nNAME=$1\ndocker run --name \"$NAME\" --net=host --user ${UID_:-33} \"$IMG\"\n",
		[]string{"3:1 #1 web image=web:2 user=33 net=host"}},
	{"a variable with flags", Format, "OPTS='--cap-add SYS_PTRACE --pid host'\ndocker run $OPTS alpine\n",
		[]string{"2:1 #1 alpine image=alpine add=SYS_PTRACE pid=host"}},
	{"an unknown variable with flags", Format, "docker run $OPTS --cap-drop ALL alpine id\n",
		[]string{"1:1 #1 alpine image=alpine drop=ALL why=$OPTS can hold more flags: the variable OPTS has no value here"}},
	{"an image in a variable", Format, "docker run -it $IMAGE bash\ndocker run $REPO/x:$TAG\ndocker run --rm \"$1\" sh\n",
		[]string{"1:1 #1 container image=?$IMAGE(the variable IMAGE has no value here)",
			"2:1 #2 container image=?$REPO/x:$TAG(the variable REPO has no value here)",
			"3:1 #3 container image=?$1(the variable 1 has no value here)"}},
	{"an array", Format, "args=(--rm --cap-add NET_RAW)\nargs+=(-v \"$PWD:/x\")\npodman run \"${args[@]}\" alpine\n",
		[]string{"3:1 #1 alpine image=alpine add=NET_RAW bind=?$PWD(the variable PWD has no value here)"}},
	{"an array that depends", Format, "args=(--rm)\nif x; then args+=(--privileged); fi\npodman run \"${args[@]}\" alpine\n",
		[]string{"3:1 #1 alpine image=alpine why=\"${args[@]}\" can hold more flags: the variable args is set in more than one way"}},
	{"a function's arguments", Format, "f() { docker run --rm \"$@\"; }\n", []string{"1:7 #1 container image=?$@(the script's arguments) why=\"$@\" can hold more flags: the script's arguments"}},
	{"a synopsis", Markdown, "    docker run [OPTIONS] IMAGE [COMMAND] [ARG...]\n", nil},
	{"the engine in a variable", Format, "DOCKER=${DOCKER:-podman}\n$DOCKER run --privileged a\n${CONTAINER_ENGINE} run b\n$FOO run c\n",
		[]string{"2:1 #1 a image=a privileged=true", "3:1 #2 b image=b"}},
	{"substitutions and pipes", Format, "id=$(docker run -d --privileged=false a) && echo x | docker run -i b; if ! docker create c; then :; fi\ntimeout -k 5 10 docker run d\nexec docker run e\n",
		[]string{"1:6 #1 a image=a privileged=false", "1:54 #2 b image=b", "1:76 #3 c image=c", "2:17 #4 d image=d", "3:6 #5 e image=e"}},
	{"sh -c", Format, "ssh h x; bash -ec 'docker run --cap-add=KILL a'; sh -c \"docker run $X\"\n",
		[]string{"1:20 #1 a image=a add=KILL"}},
	{"other lines", Format, "docker compose run web; docker exec x run; docker ps; echo docker run x; # docker run y\n", nil},
	{"here documents are data", Format, "cat <<E >x.sh\ndocker run --privileged x\nE\n", nil},
	{"security options", Format, "docker run --security-opt no-new-privileges --security-opt=seccomp=unconfined a\npodman run --cap-add=CHOWN,kill a\n",
		[]string{"1:1 #1 a image=a nnp=true seccomp=unconfined", "2:1 #2 a image=a add=CHOWN add=kill"}},
	{"CRLF and a byte order mark", Format, "\ufeffdocker run \\\r\n  --cap-add KILL \\\r\n  a\r\n", []string{"1:1 #1 a image=a add=KILL"}},
	{"a misspelt capability is kept", Format, "docker run --cap-add NET_ADMN a\n", []string{"1:1 #1 a image=a add=NET_ADMN"}},

	{"a Makefile", Makefile, "IMAGE := web:1\nDOCKER ?= podman\nrun: build\n\t@$(DOCKER) run --rm -v $(PWD):/x \\\n\t\t--cap-add=NET_ADMIN $(IMAGE) sh -c 'echo $$HOME'\n\n\tdocker run $(OPTS) x\nDOCS = docker run y\n",
		[]string{"4:3 #1 web image=web:1 add=NET_ADMIN bind=?${PWD}(the variable PWD has no value here)",
			"7:2 #2 x image=x why=${OPTS} can hold more flags: the variable OPTS has no value here"}},
	{"a Makefile's variables", Makefile, "F := --cap-add KILL \\\n\t  --cap-add 'BPF' \"--cap-add=CHOWN\" # why\ndefine D\nF = x\nendef\nrun:\n\tdocker run $(F) ${G} x\n",
		[]string{"7:2 #1 x image=x add=KILL@\"$(F)\" add=BPF@\"$(F)\" add=CHOWN@\"$(F)\" why=${G} can hold more flags: the variable G has no value here"}},
	{"a Makefile's variables that are not known", Makefile, "ifdef X\nA = -d\nendif\nB = -d\nt: B += -i\nC = $(B)\nD = -d >x\ndefine E\n-d\nendef\nG = -d\nundefine G\na:\n\tdocker run $(A) a\n\tdocker run $(B) b\n\tdocker run $(C) c\n\tdocker run $(D) d\n\tdocker run $(E) e\n\tdocker run $(G) g\n",
		[]string{
			"14:2 #1 a image=a why=${A} can hold more flags: the variable A is set in a conditional",
			"15:2 #2 b image=b why=${B} can hold more flags: the variable B is set in more than one way",
			"16:2 #3 c image=c why=${C} can hold more flags: the variable C is set from other variables",
			"17:2 #4 d image=d why=${D} can hold more flags: the variable D holds more than words",
			"18:2 #5 e image=e why=${E} can hold more flags: the variable E is set with define",
			"19:2 #6 g image=g why=${G} can hold more flags: the variable G is set in more than one way",
		}},
	{"a Makefile with $$", Makefile, "a:\n\tfor i in 1 2; do docker run --name c$$i --cap-drop $$X img; done\n",
		[]string{"2:19 #1 img image=img drop=?$X(the variable X has no value here)"}},

	{"Markdown", Markdown, "# Use\n\n```sh\ndocker run -d \\\n  --privileged web\n```\n\nText docker run no.\n\n```console\n$ docker run --cap-add=all a\ndocker run output\n# podman run b\n```\n\n    $ docker run c\n\n1. Step\n   ```bash\n   docker run --network host <your image>\n   ```\n\n```yaml\ncommand: docker run y\n```\n",
		[]string{"4:1 #1 web image=web privileged=true", "11:3 #2 a image=a add=all", "13:3 #3 b image=b", "16:7 #4 c image=c",
			"20:4 #5 container image=?<your image>(something else is to be filled in here) net=host"}},
}

func TestParse(t *testing.T) {
	for _, tt := range readings {
		t.Run(tt.name, func(t *testing.T) {
			list, err := tt.format.Parse(manifest.Source{Name: "f", Data: []byte(tt.in)})
			if err != nil {
				t.Error(err)
			}
			var got []string
			for _, c := range list {
				got = append(got, show(tt.in, c))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		count    int
	}{
		{"docker run a\ndocker run 'b\n", "f:2:12: the shell cannot read this", 1},
		{"docker run --bogus a\ndocker run b\n", "f:1:12: docker run has no flag --bogus", 1},
		{"docker --version\npodman -v\ndocker run --help\ndocker run a\n", "", 1},
		{"docker run --cap-add\n", "f:1:12: docker run: --cap-add needs a value", 0},
		{"docker run \x00", "NUL", 0},
		{strings.Repeat("( ", 20000) + "docker run a", "nested deeper", 0},
		{"docker run a;" + strings.Repeat(" ", 1<<20), "at most", 0},
		{strings.Repeat("docker run a\n", 2100), "f:2001:1: more than 2000 lines", 2000},
		{"docker run " + strings.Repeat("$A ", 50000) + "a", "", 1},
	} {
		list, err := Format.Parse(manifest.Source{Name: "f", Data: []byte(tt.in)})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || len(list) != tt.count {
			t.Errorf("%.40q: %d containers, %v; want %q", tt.in, len(list), err, tt.want)
		}
	}
}

func TestEdit(t *testing.T) {
	two := caps.Of(caps.Chown, caps.NetAdmin)
	exactly := manifest.Want{Exactly: &two}
	for _, tt := range []struct {
		name   string
		format manifest.Format
		want   manifest.Want
		in     string
		out    string // "" for a refusal
		reason string
	}{
		{"behind the verb", Format, exactly, "docker run -d a\n", "docker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN -d a\n", ""},
		{"on lines of their own", Format, exactly, "docker run -d \\\n    --name x \\\n    a # c\n",
			"docker run -d \\\n    --cap-drop ALL \\\n    --cap-add CHOWN \\\n    --cap-add NET_ADMIN \\\n    --name x \\\n    a # c\n", ""},
		{"what is there stays", Format, exactly, "docker run --cap-add NET_ADMIN  --cap-add=SYS_ADMIN -d a\n", "docker run --cap-add NET_ADMIN --cap-drop=ALL --cap-add=CHOWN -d a\n", ""},
		{"lines that go", Format, exactly, "docker run \\\r\n  --cap-add ALL \\\r\n  -d a\r\n", "docker run \\\r\n  --cap-drop ALL \\\r\n  --cap-add CHOWN \\\r\n  --cap-add NET_ADMIN \\\r\n  -d a\r\n", ""},
		{"all there", Format, exactly, "docker run --cap-drop=all --cap-add=cap_chown --cap-add net_admin a", "docker run --cap-drop=all --cap-add=cap_chown --cap-add net_admin a", ""},
		{"Podman's lists", Format, exactly, "podman run --cap-add=CHOWN,SYS_ADMIN,KILL --cap-drop=all,KILL a\n", "podman run --cap-add=CHOWN --cap-drop=all --cap-add=NET_ADMIN a\n", ""},
		{"no new privileges", Format, manifest.Want{NoNewPrivs: true}, "docker run --name x a\n", "docker run --security-opt no-new-privileges --name x a\n", ""},
		{"no new privileges, where it was false", Format, manifest.Want{NoNewPrivs: true}, "docker run --security-opt=no-new-privileges:false a\n", "docker run --security-opt=no-new-privileges a\n", ""},
		{"privileged goes", Format, manifest.Want{Exactly: &two, Unprivileged: true}, "docker run -it --privileged a\n", "docker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN -it a\n", ""},
		{"privileged stays", Format, exactly, "docker run --privileged a\n", "", "it is privileged"},
		{"in an array", Format, exactly, "A=(--rm --cap-add 'KILL' -d)\ndocker run \"${A[@]}\" a\n", "A=(--rm -d)\ndocker run --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN \"${A[@]}\" a\n", ""},
		{"in an array of several lines", Format, exactly, "A=(\n  --cap-add=KILL # why\n  --rm\n)\nA+=(-d)\ndocker run ${A[@]} a\n", "A=(\n  --rm\n)\nA+=(-d)\ndocker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN ${A[@]} a\n", "other words would change"},
		{"all of an array", Format, exactly, "A=(--cap-add KILL)\ndocker run \"${A[@]}\" a\n", "", "nothing would be left in the array A"},
		{"in a variable", Format, exactly, "F=\"--cap-add KILL --rm --cap-add=NET_ADMIN\"\ndocker run $F a\n", "F=\"--rm --cap-add=NET_ADMIN\"\ndocker run --cap-drop=ALL --cap-add=CHOWN $F a\n", ""},
		{"all of a variable", Format, exactly, "F='--cap-add KILL'\ndocker run -d ${F} a\n", "F=''\ndocker run --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN -d ${F} a\n", ""},
		{"a word in a variable", Format, manifest.Want{Exactly: &two, Unprivileged: true}, "P=--privileged\ndocker run $P -d a\n", "P=\ndocker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN $P -d a\n", ""},
		{"a value in a variable", Format, exactly, "C=KILL\ndocker run --cap-add $C -d a\n", "C=KILL\ndocker run --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN -d a\n", ""},
		{"in a variable that is used twice", Format, exactly, "F='--cap-add KILL'\necho $F\ndocker run $F a\n", "", "comes from the variable F"},
		{"in a variable that is used in a string, too", Format, exactly, "F='--cap-add KILL'\ntrap 'echo $F' EXIT\ndocker run $F a\n", "", "comes from the variable F"},
		{"in a variable with a longer name beside", Format, exactly, "F='--cap-add KILL'\nFF=1\necho $FF\ndocker run -d $F a\n", "F=''\nFF=1\necho $FF\ndocker run --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN -d $F a\n", ""},
		{"in a variable that others see", Format, exactly, "export F='--cap-add KILL'\ndocker run $F a\n", "", "comes from the variable F"},
		{"in a variable that a sourced file may use", Format, exactly, "F='--cap-add KILL'\n. ./lib.sh\ndocker run $F a\n", "", "comes from the variable F"},
		{"in a variable that all see", Format, exactly, "set -ea\nF='--cap-add KILL'\ndocker run $F a\n", "", "comes from the variable F"},
		{"in a variable with another name", Format, exactly, "declare -n R=F\nF='--cap-add KILL'\ndocker run $F a\n", "", "comes from the variable F"},
		{"in a variable whose name is a variable's value", Format, exactly, "F='--cap-add KILL'\nn=F\necho \"${!n}\"\ndocker run $F a\n", "", "comes from the variable F"},
		{"in an array beside a sourced file", Format, exactly, "source x\nA=(--cap-add KILL -d)\ndocker run \"${A[@]}\" a\n", "", "comes from the variable A"},
		{"in a variable of a variable", Format, exactly, "G=KILL\nF=\"--cap-add $G\"\ndocker run $F a\n", "", "comes from the variable F"},
		{"in a variable beside text", Format, exactly, "F='-d --cap-add'\ndocker run $F=KILL a\n", "", "comes from the variable F"},
		{"beside an array", Format, exactly, "A=(--rm -d)\ndocker run \"${A[@]}\" a\n", "A=(--rm -d)\ndocker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN \"${A[@]}\" a\n", ""},
		{"unknown flags", Format, exactly, "docker run $A a\n", "", "$A can hold more flags"},
		{"an unknown capability", Format, exactly, "docker run --cap-add $A a\n", "", "the variable A has no value here"},
		{"the verb in a variable", Format, exactly, "RUN='docker run --rm'\n$RUN a\n", "RUN='docker run --rm'\n$RUN --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN a\n", ""},
		{"redirections stay", Format, exactly, "docker run >x --cap-add KILL a\n", "docker run --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN >x a\n", ""},
		{"sh -c", Format, exactly, "sh -c \"docker run --cap-add='KILL' a\"\n", "sh -c \"docker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN a\"\n", ""},
		{"Makefile", Makefile, exactly, "x:\n\t@docker run --rm \\\n\t\t-v $(PWD):/x \\\n\t\t$(IMAGE)\n",
			"x:\n\t@docker run --rm \\\n\t\t--cap-drop=ALL \\\n\t\t--cap-add=CHOWN \\\n\t\t--cap-add=NET_ADMIN \\\n\t\t-v $(PWD):/x \\\n\t\t$(IMAGE)\n", ""},
		{"a Makefile's variable", Makefile, exactly, "# F: flags\nF := --rm --cap-add SYS_TIME \\\n     --cap-add=\"KILL\" # why\nx:\n\tdocker run $(F) a\n",
			"# F: flags\nF := --rm # why\nx:\n\tdocker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN $(F) a\n", ""},
		{"all of a Makefile's variable", Makefile, exactly, "F?=--cap-add=KILL\r\nx:\r\n\tdocker run -d ${F} a\r\n", "F?=\r\nx:\r\n\tdocker run --cap-drop=ALL --cap-add=CHOWN --cap-add=NET_ADMIN -d ${F} a\r\n", ""},
		{"a word in a Makefile's variable", Makefile, manifest.Want{Exactly: &two, Unprivileged: true}, "F = -d --privileged --cap-add CHOWN\nx:\n\tdocker run $(F) a\n", "F = -d --cap-add CHOWN\nx:\n\tdocker run --cap-drop ALL --cap-add NET_ADMIN $(F) a\n", ""},
		{"a Makefile's variable that is used twice", Makefile, exactly, "F = -d --cap-add KILL\nx:\n\tdocker run $(F) a\n\techo $(F)\n", "", "comes from the variable F, which is used elsewhere, too"},
		{"a Makefile's variable that is exported", Makefile, exactly, "export F = -d --cap-add KILL\nx:\n\tdocker run $(F) a\n", "", "comes from the variable F, which is exported"},
		{"a Makefile's variable that may be exported", Makefile, exactly, "F = -d --cap-add KILL\nexport\nx:\n\tdocker run $(F) a\n", "", "which may be exported"},
		{"a Makefile's variable beside others' files", Makefile, exactly, "F = -d --cap-add KILL\n-include x.mk\nx:\n\tdocker run $(F) a\n", "", "which other files that are included may use, too"},
		{"a Makefile's variable and a computed name", Makefile, exactly, "F = -d --cap-add KILL\nx:\n\tdocker run $(F) a\n\techo $($(X))\n", "", "which may be used by a computed name"},
		{"a Makefile's variable in a conditional", Makefile, exactly, "ifdef X\nF = -d --cap-add KILL\nendif\nx:\n\tdocker run $(F) a\n", "", "the variable F is set in a conditional"},
		{"a Makefile's variable in quotes", Makefile, exactly, "F = KILL\nx:\n\tdocker run --cap-add \"$(F)\" a\n", "F = KILL\nx:\n\tdocker run --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN a\n", ""},
		{"Markdown", Markdown, exactly, "- x\n  ```sh\n  $ docker run \\\n  >   --cap-add SYS_TIME a\n  ```\n", "- x\n  ```sh\n  $ docker run --cap-drop ALL --cap-add CHOWN --cap-add NET_ADMIN \\\n  > a\n  ```\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := manifest.Source{Name: "f", Data: []byte(tt.in)}
			list, err := tt.format.Parse(src)
			if err != nil || len(list) != 1 {
				t.Fatal(len(list), err)
			}
			files, refusals, err := manifest.Rewrite(&tt.format, src, []manifest.Change{{Container: list[0], Want: tt.want}})
			if err != nil {
				t.Fatal(err)
			}
			if tt.reason != "" {
				if len(refusals) != 1 || !strings.Contains(refusals[0].Error(), tt.reason) || len(files) > 0 {
					t.Errorf("refusals %v, files %d; want %q", refusals, len(files), tt.reason)
				}
				return
			}
			out := tt.in
			if len(files) > 0 {
				out = string(files[0].After)
			}
			if diff := cmp.Diff(tt.out, out); diff != "" || len(refusals) > 0 {
				t.Errorf("%v %s", refusals, diff)
			}
		})
	}
}

// Words of one request are corrected and taken away where they stand.
func TestWords(t *testing.T) {
	in := "podman run --cap-add=CHWN,KILL,SYS_TIME --cap-drop 'FOO' --cap-add KILL a\n"
	src := manifest.Source{Name: "f", Data: []byte(in)}
	list, err := Format.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	c := list[0]
	w := manifest.Want{
		Correct: []manifest.Correction{{At: c.Caps[3].Word.At, Word: "FOWNER"}},
		Remove:  []manifest.Pos{c.Caps[1].Word.At, c.Caps[4].Word.At},
	}
	files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: c, Want: w}})
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	if got, want := string(files[0].After), "podman run --cap-add=CHWN,SYS_TIME --cap-drop 'FOWNER' a\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
