package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
)

// TestDescribe: each engine knows its own, one that does not answer is named and costs
// no more than the time that there is, and one that is broken says nothing.
func TestDescribe(t *testing.T) {
	bin := t.TempDir()
	install := func(name, script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	one, two := strings.Repeat("1", 64), strings.Repeat("2", 64)
	install("docker", `[ "$1 $2 $3 $4" = "container inspect `+one+" "+two+`" ] || exit 9
echo '[{"Id":"`+one+`","Name":"/web","Config":{"Image":"nginx","User":"33"},"HostConfig":{"CapAdd":["NET_ADMIN"],"CapDrop":null,"Privileged":false}}]'
echo "Error: No such container: `+two+`" >&2
exit 1`)
	install("podman", `echo '[{"Id":"`+two+`","Name":"db","ImageName":"localhost/db:1","Config":{"Image":"sha256:9"},"HostConfig":{"CapAdd":[],"CapDrop":["CAP_KILL"],"Privileged":true}}]'`)
	install("nerdctl", "echo 'no daemon' >&2; exit 1")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	ids := []string{one, two}
	want := map[string]engine.Running{
		one: {Engine: "docker", Told: true, ID: one, Name: "web", Image: "nginx", CapAdd: []string{"NET_ADMIN"}, User: "33"},
		two: {Engine: "podman", Told: true, ID: two, Name: "db", Image: "localhost/db:1", CapAdd: []string{}, CapDrop: []string{"CAP_KILL"}, Privileged: true},
	}
	got, err := cli.Describe(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// What nerdctl 2.0.5 says: its HostConfig has nothing of capabilities.
	install("podman", "echo '[]'")
	install("nerdctl", `echo '[{"Id":"`+two+`","Path":"sleep","Args":["9"],"State":{"Status":"running"},"Image":"docker.io/library/alpine:latest","Name":"slp","HostConfig":{"PortBindings":null,"Devices":null},"Config":{"User":"33:33","Labels":{"nerdctl/name":"slp"}}}]'`)
	want[two] = engine.Running{Engine: "nerdctl", ID: two, Name: "slp", Image: "docker.io/library/alpine:latest", User: "33:33"}
	if got, err = cli.Describe(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// Podman's container is Podman's, also where docker is another name for podman (Debian's
	// podman-docker), or speaks with its socket.
	const podmans = `"Name":"db","ImageName":"localhost/db:1","Config":{},"HostConfig":{"CapAdd":[],"CapDrop":[]}}]'`
	const spoken = `"Name":"/db","Config":{"Image":"localhost/db:1"},"HostConfig":{"CapAdd":[],"CapDrop":[]}}]'`
	install("nerdctl", "exit 1")
	for _, c := range []struct{ docker, podman string }{
		{`echo '[{"Id":"` + two + `",` + podmans, "exit 1"},
		{`echo '[{"Id":"` + two + `",` + spoken, `sleep .1; echo '[{"Id":"` + two + `",` + podmans},
		{`sleep .1; echo '[{"Id":"` + two + `",` + spoken, `echo '[{"Id":"` + two + `",` + podmans},
	} {
		install("docker", c.docker)
		install("podman", c.podman)
		got, err := cli.Describe(t.Context(), []string{two})
		if r := got[two]; err != nil || r.Engine != "podman" || r.Name != "db" || r.Image != "localhost/db:1" {
			t.Errorf("%q: %+v, %v", c, r, err)
		}
	}
	install("docker", `echo '[{"Id":"`+one+`","Name":"/web","Config":{"Image":"nginx","User":"33"},"HostConfig":{"CapAdd":["NET_ADMIN"],"CapDrop":null,"Privileged":false}}]'`)

	install("podman", "exec sleep 1000")
	install("nerdctl", "echo '{}'")
	delete(want, two)
	for _, within := range []time.Duration{time.Second, 10 * time.Second, time.Minute} { // a slow machine needs more
		ctx, cancel := context.WithTimeout(t.Context(), within)
		got, err = cli.Describe(ctx, ids)
		cancel()
		if err != nil && err.Error() == "podman inspect: no answer in time" {
			break
		}
	}
	if err == nil || err.Error() != "podman inspect: no answer in time" {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A daemon that fails says of no container that it is not its own.
	install("podman", "echo 'Error: no such container' >&2; exit 125")
	install("docker", `echo '[]'
echo "Error response from daemon: No such container: `+one+`" >&2
echo "Error response from daemon: open /run/config.json: too many open files" >&2
exit 1`)
	if got, err = cli.Describe(t.Context(), ids); err == nil || err.Error() != "docker inspect: open /run/config.json: too many open files" || len(got) != 0 {
		t.Error(got, err)
	}
	install("docker", "echo '[]'; echo 'Error response from daemon: No such container: "+one+"' >&2; exit 1")
	if got, err = cli.Describe(t.Context(), ids); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
	if got, err := cli.Describe(t.Context(), nil); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

// TestImageIDs: docker and Podman say the id of a container's image, nerdctl 2.0.5 its name,
// and that is looked up; an image that is gone by now has none.
func TestImageIDs(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	one, two, three := strings.Repeat("1", 64), strings.Repeat("2", 64), strings.Repeat("3", 64)
	id := "sha256:" + strings.Repeat("a", 64)
	for name, script := range map[string]string{
		"docker": "echo " + one + " " + id,
		"nerdctl": `case "$*" in
"container inspect --format {{.Id}} {{.Image}} "*) echo ` + one + ` docker.io/library/alpine:latest; echo ` + two + ` docker.io/library/gone:1; echo ` + three + ` docker.io/library/alpine:latest ;;
"image inspect --format {{.ID}} docker.io/library/alpine:latest") echo asked >>` + bin + `/asked; echo ` + id + ` ;;
*) echo 'level=fatal msg="1 errors:\nno such image"' >&2; exit 1 ;;
esac`,
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]map[string]string{"docker": {one: id}, "nerdctl": {one: id, three: id}} {
		if diff := cmp.Diff(want, cli.ImageIDs(t.Context(), name, []string{one, two, three})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if asked, err := os.ReadFile(filepath.Join(bin, "asked")); err != nil || string(asked) != "asked\n" {
		t.Errorf("asked %q, %v: want once", asked, err)
	}
}
