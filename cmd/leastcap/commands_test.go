package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/manifest"
)

// started writes what a container starts: ENTRYPOINT | COMMAND | VARIABLES | DIRECTORY.
// What is not known is ?, what is not said is -.
func started(c *manifest.Container) string {
	text := func(t manifest.Text) string {
		switch t.State {
		case manifest.Unset:
			return "-"
		case manifest.Unknown:
			return "?"
		}
		return t.V
	}
	args := func(a manifest.Args) string {
		switch a.State {
		case manifest.Unset:
			return "-"
		case manifest.Unknown:
			return "?"
		}
		words := make([]string, len(a.V))
		for i, w := range a.V {
			words[i] = text(w)
		}
		return fmt.Sprintf("%q", words)
	}
	var env []string
	for _, p := range c.Env {
		env = append(env, p.Key+"="+text(p.Value))
	}
	return strings.Join([]string{args(c.Entrypoint), args(c.Command), strings.Join(env, " "), text(c.WorkDir)}, " | ")
}

// Every format says what it starts.
func TestCommands(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"compose.yaml", "services:\n  a:\n    image: x\n    entrypoint: run -x\n    command: [a, 'b c', \"$V\"]\n    environment: [A=1, B]\n    env_file: [a.env, {path: no.env, required: false}, gone.env]\n    working_dir: /w\n",
			`["run" "-x"] | ["a" "b c" "?"] | A=1 Z=9 =? B=? | /w`},
		{"compose.yaml", "services:\n  a: {image: x, command: \"$ALL\", entrypoint: []}\n", `[] | ? |  | -`},
		{"pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: a\n    image: x\n    command: [sh, -c]\n    args: ['$(A) $$(A) $(B) $C', '$(NO)', '$(A']\n    env: [{name: A, value: '1'}, {name: B, value: '2$(A)'}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: E}]\n    envFrom: [{configMapRef: {name: c}}]\n    workingDir: /w\n",
			`["sh" "-c"] | ["1 $(A) 21 $C" "?" "$(A"] | =? A=1 B=21 S=? E= | /w`},
		{"Dockerfile", "FROM a AS b\nENV X=1 Y=2\nCMD old\nWORKDIR /w\nFROM b\nENV X=$X-3\nSHELL [\"/bin/bash\", \"-ec\"]\nENTRYPOINT exec x $X\nWORKDIR sub\n",
			`["/bin/bash" "-ec" "exec x $X"] | [] | Y=2 X=1-3 | /w/sub`},
		{"Dockerfile", "FROM a\nENTRYPOINT [\"x\"]\nCMD [\"a b\", \"c\"]\nENTRYPOINT [\"y\"]\n", `["y"] | ["a b" "c"] |  | -`},
		{"run.sh", "#!/bin/sh\ndocker run -e A=1 -eB --env-file f -w /w --entrypoint run x a \"b c\" $D\n", `["run"] | ? | A=1 B=? =? | /w`},
		{"run.sh", "#!/bin/sh\npodman run --entrypoint '[\"a\",\"b\"]' x \"$D\" e\n", `["a" "b"] | ["?" "e"] |  | -`},
		{"run.sh", "#!/bin/sh\ndocker run --entrypoint= x\n", `[] | - |  | -`},
		{"a.container", "[Container]\nImage=x\nExec=a \"b c\"\nEntrypoint=run\nEnvironment=A=1 \"B=2 3\"\nEnvironment=C=%h\nEnvironmentFile=/e\nWorkingDir=/w\n", `["run"] | ["a" "b c"] | A=1 B=2 3 C=? =? | /w`},
		{"a.service", "[Service]\nExecStartPre=no\nExecStart=-/usr/bin/a \"b c\" ${V}\nEnvironment=A=1\nWorkingDirectory=/w\n", `- | ["/usr/bin/a" "b c" "?"] | A=1 | /w`},
		{"config.json", `{"ociVersion":"1.0.0","root":{"path":"r"},"process":{"user":{"uid":0,"gid":0},"args":["a","b c"],"env":["A=1","B="],"cwd":"/w","capabilities":{}}}`, `[] | ["a" "b c"] | A=1 B= | /w`},
		{"ci.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    container:\n      image: x\n      env: {A: 1, B: '${{ b }}'}\n      options: --workdir /w -e C=2\n    steps: []\n", `["tail"] | ["-f" "/dev/null"] | C=2 A=1 B=? | /w`},
		{"ci.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    services:\n      db: {image: x, options: --entrypoint run}\n    steps: []\n", `["run"] | - |  | -`},
		{"devcontainer.json", `{"image": "x", "containerEnv": {"A": "1", "B": "${localEnv:B}"}, "runArgs": ["--workdir=/w"]}`, `["/bin/sh" "-c" "while sleep 1000; do :; done"] | [] | A=1 B=? | /w`},
		{"devcontainer.json", `{"image": "x", "overrideCommand": false}`, `- | - |  | -`},
		{"task.json", `{"family":"f","containerDefinitions":[{"name":"a","image":"x","entryPoint":["run"],"command":["a","b c"],"environment":[{"name":"A","value":"1"}],"secrets":[{"name":"S","valueFrom":"x"}],"workingDirectory":"/w"}]}`, `["run"] | ["a" "b c"] | A=1 =? | /w`},
		{"job.nomad", "job \"j\" {\n  group \"g\" {\n    task \"t\" {\n      driver = \"docker\"\n      env { A = \"1\" }\n      config {\n        image = \"x\"\n        entrypoint = [\"run\"]\n        command = \"a\"\n        args = [\"b c\", \"${meta.x}\"]\n        work_dir = \"/w\"\n      }\n    }\n  }\n}\n", `["run"] | ["a" "b c" "?"] | A=1 | /w`},
		{"inspect.json", `[{"Id":"1","Name":"/a","Config":{"Image":"x","Entrypoint":["run"],"Cmd":["a"],"Env":["A=1"],"WorkingDir":"/w"},"HostConfig":{"CapDrop":null}}]`, `["run"] | ["a"] | A=1 | /w`},
	} {
		format := manifest.Recognise(formats, tt.name, []byte(tt.in))
		if format == nil {
			t.Errorf("%s: of no format:\n%s", tt.name, tt.in)
			continue
		}
		list, err := format.Parse(manifest.Source{Name: tt.name, Data: []byte(tt.in), Open: func(name string) ([]byte, error) {
			if name == "a.env" {
				return []byte("Z=9\nA=0\n"), nil
			}
			return nil, errors.New("no such file")
		}})
		if err != nil || len(list) == 0 {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, started(list[0])); diff != "" {
			t.Errorf("%s:\n%s\n%s", tt.name, tt.in, diff)
		}
		for _, p := range list[0].Env {
			if format.Name != "inspect" && p.KeyAt.IsZero() && p.Value.At.IsZero() {
				t.Errorf("%s: %s has no place", tt.name, p.Key)
			}
		}
	}
}
