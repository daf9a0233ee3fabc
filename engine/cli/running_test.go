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

	install("podman", "exec sleep 60")
	install("nerdctl", "echo '{}'")
	delete(want, two)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	got, err = cli.Describe(ctx, ids)
	if err == nil || err.Error() != "podman inspect: no answer in time" {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := cli.Describe(t.Context(), nil); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}
