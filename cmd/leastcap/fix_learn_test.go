package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/usage"
)

// first is the first container of a file in a directory.
func first(t *testing.T, dir, name, text string) *manifest.Container {
	t.Helper()
	name = filepath.Join(dir, name)
	format := manifest.Recognise(formats, name, []byte(text))
	if format == nil {
		t.Fatalf("of no format: %s", text)
	}
	list, err := format.Parse(manifest.Source{Name: name, Data: []byte(text), Open: os.ReadFile})
	if err != nil || len(list) == 0 {
		t.Fatalf("%v: %s", err, text)
	}
	return list[0]
}

// The line that is learned is what is defined, and writes nothing of the host's.
func TestLearnLine(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"conf", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "f.conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	compose := "services:\n  a:\n    image: x\n    "
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: a\n    image: x\n    "
	for _, tt := range []struct{ file, text, want string }{
		{"compose.yaml", compose + "command: a 'b c'\n    user: '5:6'\n    environment: {A: b c, S: $S}\n    working_dir: /w\n    group_add: [audio, '7']",
			"docker run --group-add=audio --group-add=7 '--env=A=b c' --workdir=/w --user=5:6 x a 'b c'\nthe variable S is left out: the variable $S has no value"},
		{"compose.yaml", compose + "entrypoint: [run, -x]\n    command: [y]", "docker run --entrypoint=run x -x y"},
		{"compose.yaml", compose + "entrypoint: ''\n    command: [y]", "docker run --entrypoint= x y"},
		{"compose.yaml", compose + "command: []", "error: it takes the image's command away and gives none, which docker run cannot"},
		{"compose.yaml", compose + "command: [$V]", "error: its command cannot be known: the variable $V has no value"},
		{"compose.yaml", compose + "user: $V", "error: its user cannot be known: the variable $V has no value"},
		{"compose.yaml", compose + "cap_add: [$V]", "error: what it has today cannot be known: "},
		{"compose.yaml", compose + "cap_add: [NET_ADMIN]\n    cap_drop: [all]\n    read_only: true\n    security_opt: [no-new-privileges, seccomp=unconfined, apparmor:unconfined]",
			"docker run --cap-drop=ALL --cap-add=NET_ADMIN --read-only --security-opt=no-new-privileges --security-opt=seccomp=unconfined --security-opt=apparmor=unconfined x"},
		{"compose.yaml", compose + "privileged: true\n    network_mode: host\n    pid: service:b\n    ipc: host", "docker run --privileged --network=host --ipc=host x\nit shares the pid namespace of service:b, which is not there"},
		{"compose.yaml", compose + "volumes: [v:/v, ./data:/d, './conf:/c:ro', ./f.conf:/f, ./none:/n, /var/run/docker.sock:/s, '$V/x:/u']\n    tmpfs: [/t]\n    devices: ['/dev/fuse:/dev/x:r']",
			"docker run --volume=/v --volume=/d --mount=type=bind,source=DIR/conf,target=/c,readonly --mount=type=bind,source=DIR/f.conf,target=/f,readonly --volume=/n --mount=type=bind,source=/var/run/docker.sock,target=/s,readonly --volume=/u --tmpfs=/t --device=/dev/fuse:/dev/x:r x\n" +
				"/d is an empty volume, so that nothing is written to DIR/data\n/n is an empty volume: DIR/none is not here\n/u is an empty volume: what is mounted there is not known: the variable $V has no value"},
		{"pod.yaml", pod + "command: [run, -x]\n    args: [a, $(E)]\n    env: [{name: E, value: e}]\n    securityContext: {runAsUser: 5, runAsGroup: 6, capabilities: {drop: [ALL]}}",
			"docker run --cap-drop=ALL --env=E=e --user=5:6 --entrypoint=run x -x a e"},
		{"pod.yaml", pod + "args: [a]\n    volumeMounts: [{name: c, mountPath: /c}, {name: e, mountPath: /e}]\n  volumes: [{name: c, configMap: {name: c}}, {name: e, emptyDir: {}}]",
			"docker run --volume=/e x a\nthe configMap at /c is left out: it is not here"},
		{"a.container", "[Container]\nImage=x\nExec=a b\nUser=5\nAddCapability=NET_RAW\n",
			"docker run --cap-drop=ALL --cap-add=CHOWN --cap-add=DAC_OVERRIDE --cap-add=FOWNER --cap-add=FSETID --cap-add=KILL --cap-add=SETGID --cap-add=SETUID --cap-add=SETPCAP --cap-add=NET_BIND_SERVICE --cap-add=NET_RAW --cap-add=SYS_CHROOT --cap-add=SETFCAP --user=5 x a b"},
		{"Dockerfile", "FROM x\n", "error: its image has yet to be built"},
	} {
		c := first(t, dir, tt.file, tt.text+"\n")
		got := ""
		image, _ := c.Image.Get()
		w, err := startOf(c, image)
		if err == nil {
			var l *learnLine
			if l, err = lineFor(c, w); err == nil {
				got = strings.Join(append([]string{cli.Quote(l.words)}, l.notes...), "\n")
				line, err := cli.UnderstandAs("docker", l.words, nil)
				if err != nil || !w.is(line) {
					t.Errorf("%s: is not found again: %v", got, err)
				}
			}
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		got = strings.ReplaceAll(got, dir, "DIR")
		if strings.HasPrefix(tt.want, "error: ") && strings.HasSuffix(tt.want, ": ") {
			got = got[:min(len(got), len(tt.want))]
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s\n%s", tt.text, diff)
		}
	}
}

// A profile of the store is of an image, a command and a user.
func TestFindProfile(t *testing.T) {
	stored := func(name string, age int, line ...string) learnedProfile {
		p := &usage.Profile{Subject: usage.Subject{Image: "x", Command: line, User: "5"}, Created: time.Now().Add(-time.Duration(age) * time.Hour)}
		return learnedProfile{name: name, profile: p, stored: true}
	}
	named := func(name string, line ...string) learnedProfile {
		p := stored(name, 0, line...)
		p.stored = false
		return p
	}
	list := []learnedProfile{
		stored("old", 9, "docker", "run", "x"), stored("plain", 1, "docker", "run", "-p", "80:80", "docker.io/library/x:latest"),
		stored("worker", 2, "docker", "run", "x", "worker", "-v"), stored("user", 2, "docker", "run", "-u", "5", "x"),
		stored("entry", 2, "podman", "run", "--entrypoint", "sh", "x", "-c", "true"), stored("own", 2, "leastcap", "run", "x", "own"),
		stored("broken", 0, "docker", "run", "--bogus", "x"),
	}
	// "plain" has another name of the same image.
	compose := "services:\n  a: {image: x"
	inspect := `[{"Id":"1","Name":"/a","Config":{"Image":"x","User":"5"},"HostConfig":{"CapDrop":null}}]`
	for _, tt := range []struct {
		extra      []learnedProfile
		file, text string
		want       string
	}{
		{nil, "compose.yaml", compose + "}", "plain"},
		{nil, "compose.yaml", compose + ", command: worker -v}", "worker"},
		{nil, "compose.yaml", compose + ", command: worker}", ""},
		{nil, "compose.yaml", compose + ", command: $V}", ""},
		{nil, "compose.yaml", compose + ", user: '5'}", "user"},
		{nil, "compose.yaml", compose + ", user: '6'}", ""},
		{nil, "compose.yaml", compose + ", entrypoint: [sh, -c], command: ['true']}", "entry"},
		{nil, "compose.yaml", compose + ", command: own}", "own"},
		{nil, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: x, command: [sh], args: [-c, 'true']}]}", "entry"},
		{nil, "Dockerfile", "FROM x", ""},
		{[]learnedProfile{named("file", "docker", "run", "x", "other")}, "compose.yaml", compose + "}", "file"},
		{[]learnedProfile{named("file", "docker", "run", "x", "other"), named("better", "docker", "run", "x", "own")}, "compose.yaml", compose + ", command: own}", "better"},
		{nil, "inspect.json", inspect, ""}, // who knows what its image says?
	} {
		s := audit.Subject{Container: first(t, t.TempDir(), tt.file, tt.text+"\n")}
		image, _ := s.Container.Image.Get()
		(&learned{append(tt.extra, list...)}).find(&s, []string{image})
		if s.ProfileName != tt.want {
			t.Errorf("%s: %q, want %q", tt.text, s.ProfileName, tt.want)
		}
	}
}
