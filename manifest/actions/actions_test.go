package actions

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

const workflow1 = `name: ci
on: [push]
jobs:
  test:
    runs-on: ubuntu-latest
    container:
      image: node:18
      options: --cap-add=SYS_ADMIN --user "0:0" --security-opt seccomp=unconfined # why
      volumes: [/var/run/docker.sock:/s]
    services:
      db:
        image: postgres:15
        ports: ["5432:5432"]
        options: >-
          --health-cmd pg_isready
          --privileged
      cache:
        image: ${{ matrix.redis }}
        options: ${{ matrix.options }}
    steps:
      - uses: actions/checkout@v4
      - run: docker run --rm --cap-add NET_ADMIN "${{ env.IMAGE }}" x
      - name: more
        run: |
          set -e
          docker run \
            --net=host \
            app:${{ github.sha }}

          docker compose up
      - run: docker run no
        shell: pwsh
      - run: "docker run 'a b'\n"
  plain:
    container: alpine:3
    steps: []
  none:
    container: ""
`

func show(c *manifest.Container) string {
	var b strings.Builder
	text := func(name string, t manifest.Text) {
		switch t.State {
		case manifest.Known:
			fmt.Fprintf(&b, " %s=%s", name, t.V)
		case manifest.Unknown:
			fmt.Fprintf(&b, " %s=?%s", name, t.Raw)
		}
	}
	fmt.Fprintf(&b, "%d:%d %s (%s, %s)", c.At.Line, c.At.Column, c.Path, c.Name, c.Kind)
	text("image", c.Image)
	text("user", c.User)
	for _, r := range c.Caps {
		text(r.Action.String(), r.Word)
		fmt.Fprintf(&b, "@%d:%d", r.Word.At.Line, r.Word.At.Column)
	}
	if c.CapsWhy != "" {
		fmt.Fprintf(&b, " why=%s", c.CapsWhy)
	}
	if c.Privileged.State != manifest.Unset {
		fmt.Fprintf(&b, " privileged=%v", c.Privileged.V)
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

func TestParse(t *testing.T) {
	src := manifest.Source{Name: ".github/workflows/ci.yml", Data: []byte(workflow1)}
	if l := Format.Recognise("x", src.Data); l != manifest.Sure {
		t.Errorf("recognised as %d", l)
	}
	list, err := Format.Parse(src)
	if err != nil {
		t.Error(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, show(c))
	}
	want := []string{
		"6:5 jobs.test.container (test, job container) image=node:18 user=0:0 add=SYS_ADMIN@8:26 bind=/var/run/docker.sock seccomp=unconfined",
		"11:7 jobs.test.services.db (db, service container) image=postgres:15 privileged=true",
		"17:7 jobs.test.services.cache (cache, service container) image=?${{ matrix.redis }} why=${{ matrix.options }} can hold more flags: an expression is GitHub's to fill in",
		"22:14 jobs.test.steps.1 #1 (container, docker run) image=?${{ env.IMAGE }} add=NET_ADMIN@22:40",
		"26:11 jobs.test.steps.2 #1 (container, docker run) image=?app:${{ github.sha }} net=host",
		"33:14 jobs.test.steps.4 #1 (a b, docker run) image=a b",
		"35:5 jobs.plain.container (plain, job container) image=alpine:3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// PowerShell's scripts are not read, nor is what may be one an error.
func TestRunners(t *testing.T) {
	const script = "$x = & docker run a; if ($x) { docker run --bogus b"
	for _, tt := range []struct {
		job, step  string
		containers int
		fails      bool
	}{
		{"runs-on: ubuntu-latest", "run: '" + script + "'", 1, true},
		{"runs-on: windows-2022", "run: '" + script + "'", 0, false},
		{"runs-on: [self-hosted, Windows]", "run: docker run a", 0, false},
		{"runs-on: {group: x, labels: windows-x}", "run: docker run a", 0, false},
		{"runs-on: windows-2022", "shell: bash\n        run: docker run a", 1, false},
		{"runs-on: windows-2022\n    defaults: {run: {shell: bash}}", "run: docker run a", 1, false},
		{"runs-on: ${{ matrix.os }}", "run: '" + script + "'", 0, false},
		{"runs-on: ${{ matrix.os }}", "run: docker run a", 1, false},
		{"runs-on: ${{ matrix.os }}", "run: docker run --bogus a", 0, false},
		{"runs-on: ${{ matrix.os }}", "shell: bash\n        run: '" + script + "'", 1, true},
		{"runs-on: ubuntu-latest", "shell: ${{ matrix.shell }}\n        run: '" + script + "'", 0, false},
	} {
		data := "on: push\njobs:\n  a:\n    " + tt.job + "\n    steps:\n      - " + tt.step + "\n"
		list, err := Format.Parse(manifest.Source{Name: "ci.yml", Data: []byte(data)})
		if len(list) != tt.containers || (err != nil) != tt.fails {
			t.Errorf("%s, %s: %d containers, %v", tt.job, tt.step, len(list), err)
		}
	}
}

func TestComposite(t *testing.T) {
	data := "name: x\nruns:\n  using: composite\n  steps:\n    - shell: bash\n      run: docker run --cap-add=ALL x\n"
	list, err := Format.Parse(manifest.Source{Name: "action.yml", Data: []byte(data)})
	if err != nil || len(list) != 1 || list[0].Path != "runs.steps.0 #1" || Format.Recognise("action.yml", []byte(data)) != manifest.Sure {
		t.Error(list, err)
	}
}

func TestEdit(t *testing.T) {
	one := caps.Of(caps.Chown)
	all := manifest.Want{Exactly: &one, Unprivileged: true}
	for _, tt := range []struct {
		name, path, out, no string // out: line before => line after
		want                manifest.Want
	}{
		{"in options", "jobs.test.container", `--cap-add=SYS_ADMIN --user "0:0" --security-opt seccomp=unconfined # why` + " => " + `--user "0:0" --security-opt seccomp=unconfined --cap-drop=ALL --cap-add=CHOWN # why`, "", all},
		{"folded", "jobs.test.services.db", "", "several lines", all},
		{"an expression", "jobs.test.services.cache", "", "can hold more flags", all},
		{"in a line", "jobs.test.steps.1 #1", `docker run --rm --cap-add NET_ADMIN => docker run --cap-drop ALL --cap-add CHOWN --rm`, "", all},
		{"in a block", "jobs.test.steps.2 #1", "docker run \\\n => docker run \\\n            --cap-drop=ALL \\\n            --cap-add=CHOWN \\\n", "", all},
		{"with escapes", "jobs.test.steps.4 #1", "", "escapes", all},
		{"an image alone", "jobs.plain.container", "    container: alpine:3\n =>     container:\n      image: alpine:3\n      options: --cap-drop=ALL --cap-add=CHOWN --security-opt=no-new-privileges\n", "", manifest.Want{Exactly: &one, NoNewPrivs: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := manifest.Source{Name: "ci.yml", Data: []byte(workflow1)}
			list, _ := Format.Parse(src)
			for _, c := range list {
				if c.Path != tt.path {
					continue
				}
				files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: c, Want: tt.want}})
				if err != nil {
					t.Fatal(err)
				}
				if tt.no != "" {
					if len(refusals) != 1 || !strings.Contains(refusals[0].Reason, tt.no) {
						t.Errorf("%v, want %q", refusals, tt.no)
					}
					return
				}
				if len(files) != 1 {
					t.Fatal(refusals)
				}
				before, after, _ := strings.Cut(tt.out, " => ")
				if diff := cmp.Diff(strings.Replace(workflow1, before, after, 1), string(files[0].After)); diff != "" {
					t.Error(diff)
				}
				return
			}
			t.Error("it is not there")
		})
	}
}

// Flags in a variable that env: sets are changed there, if it is for one line alone.
func TestVariables(t *testing.T) {
	one := caps.Of(caps.Chown)
	const head = "on: push\n"
	for _, tt := range []struct {
		name, in  string
		out       string // before => after, of in
		no, known string // the refusal; what is known of the container
	}{
		{"a step's", "jobs:\n  a:\n    steps:\n    - env:\n        F: --rm --cap-add KILL --cap-add=CHOWN # why\n      run: docker run $F x\n",
			"--rm --cap-add KILL --cap-add=CHOWN # why\n      run: docker run $F => --rm --cap-add=CHOWN # why\n      run: docker run --cap-drop=ALL $F", "", "add=KILL add=CHOWN"},
		{"a job's, quoted, all of it", "jobs:\n  a:\n    env: {F: \"--cap-add KILL\"}\n    steps:\n    - run: |\n        docker run -d ${F} x\n",
			"\"--cap-add KILL\"}\n    steps:\n    - run: |\n        docker run -d => \"\"}\n    steps:\n    - run: |\n        docker run --cap-drop ALL --cap-add CHOWN -d", "", "add=KILL"},
		{"the workflow's, all of it", "env:\n  F: --cap-add=KILL\njobs:\n  a:\n    steps:\n    - run: docker run -d $F x\n",
			"F: --cap-add=KILL\njobs:\n  a:\n    steps:\n    - run: docker run -d => F: \njobs:\n  a:\n    steps:\n    - run: docker run --cap-drop=ALL --cap-add=CHOWN -d", "", "add=KILL"},
		{"a composite action's", "runs:\n  using: composite\n  steps:\n    - shell: bash\n      env: {F: --cap-add=KILL}\n      run: docker run -d $F x\n",
			"{F: --cap-add=KILL}\n      run: docker run -d => {F: }\n      run: docker run --cap-drop=ALL --cap-add=CHOWN -d", "", "add=KILL"},
		{"one that is used twice", "env:\n  F: -d --cap-add=KILL\njobs:\n  a:\n    steps:\n    - run: docker run $F x\n    - run: echo $F\n", "", "comes from the variable F, which is used elsewhere, too", "add=KILL"},
		{"one that is set twice, the inner counts", "env:\n  F: -d --cap-add=BPF\njobs:\n  a:\n    env: {F: -d --cap-add=KILL}\n    steps:\n    - run: docker run $F x\n", "", "which is used elsewhere, too", "add=KILL"},
		{"one of several lines", "env:\n  F: >-\n    -d\n    --cap-add=KILL\njobs:\n  a:\n    steps:\n    - run: docker run $F x\n", "", "which is written with escapes or over several lines", "add=KILL"},
		{"one that has an anchor", "env:\n  F: &f -d --cap-add=KILL\njobs:\n  a:\n    steps:\n    - run: docker run $F x\n      env: {G: *f}\n", "", "which is ", "add=KILL"},
		{"an expression", "env:\n  F: ${{ inputs.f }}\njobs:\n  a:\n    steps:\n    - run: docker run $F x\n", "", "can hold more flags", ""},
		{"by way of GITHUB_ENV", "env:\n  F: -d\njobs:\n  a:\n    steps:\n    - run: echo \"F=-i\" >>$GITHUB_ENV\n    - run: docker run $F x\n", "", "may be set by way of GITHUB_ENV", ""},
		{"none of another job's", "jobs:\n  b:\n    env: {F: -d}\n    steps: []\n  a:\n    steps:\n    - run: docker run $F x\n", "", "the variable F has no value here", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := head + tt.in
			src := manifest.Source{Name: "ci.yml", Data: []byte(data)}
			list, err := Format.Parse(src)
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			known := ""
			for _, r := range list[0].Caps {
				known += " add=" + r.Word.V
			}
			if strings.TrimSpace(known) != tt.known {
				t.Errorf("known:%s, want %s", known, tt.known)
			}
			files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: &one}}})
			if err != nil {
				t.Fatal(err)
			}
			if tt.no != "" {
				if len(refusals) != 1 || !strings.Contains(refusals[0].Reason, tt.no) {
					t.Errorf("%v, want %q", refusals, tt.no)
				}
				return
			}
			if len(files) != 1 {
				t.Fatal(refusals)
			}
			before, after, _ := strings.Cut(tt.out, " => ")
			if diff := cmp.Diff(strings.Replace(data, before, after, 1), string(files[0].After)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte("on: x\nenv: {F: --cap-add=KILL}\njobs:\n a:\n  steps:\n  - run: docker run $F a\n    env: {G: -d}\n"), uint64(32))
	f.Add([]byte(workflow1), uint64(1))
	f.Add([]byte("on: x\njobs:\n a:\n  container: &c {image: a, options: --cap-add=KILL}\n b:\n  container: *c\n"), uint64(32))
	f.Add([]byte("on: x\njobs:\n a:\n  steps:\n  - run: |2\n     docker run x\n  - run: 'docker run ''a'''\n"), uint64(3))
	f.Fuzz(func(t *testing.T, data []byte, bits uint64) {
		src := manifest.Source{Name: "f", Data: data}
		list, bad := Format.Parse(src)
		if bad != nil {
			return
		}
		set := caps.Set(bits) & caps.All()
		var changes []manifest.Change
		for _, c := range list {
			if c.At.Start < 0 || c.At.End > len(data) || c.At.Start > c.At.End {
				t.Fatalf("%+v", c.At)
			}
			changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: &set, NoNewPrivs: true, Unprivileged: bits&1 != 0}})
		}
		if _, _, err := manifest.Rewrite(&Format, src, changes); err != nil && !strings.Contains(err.Error(), "is not made") {
			t.Fatalf("%q: %v", data, err)
		}
	})
}
