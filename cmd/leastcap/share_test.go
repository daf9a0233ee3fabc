package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/usage"
)

// registry_ starts a registry on loopback, whose host is then $REGISTRY: registry
// [referrers]. Without the word it has no referrers API. While there is a file
// "readonly", it takes nothing.
func registry_(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: registry [referrers]")
	}
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(slices.Contains(args, "referrers")))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, locked := os.Stat(ts.MkAbs("readonly"))
		if locked == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"requested access is denied"}]}`, http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	}))
	ts.Defer(s.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(s.URL, "http://"))
}

// image_ pushes a new image, of several platforms if they are named, and sets $ID and
// $DIGEST to the first one's: image NAME [PLATFORM...].
func image_(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: image NAME [PLATFORM...]")
	}
	ref, err := name.ParseReference(args[0])
	ts.Check(err)
	first, err := random.Image(64, 1)
	ts.Check(err)
	if len(args) == 1 {
		ts.Check(remote.Write(ref, first))
	} else {
		index := v1.ImageIndex(empty.Index)
		img := first
		for _, text := range args[1:] {
			p, err := v1.ParsePlatform(text)
			ts.Check(err)
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
			img, err = random.Image(64, 1)
			ts.Check(err)
		}
		ts.Check(remote.WriteIndex(ref, index))
		d, err := index.Digest()
		ts.Check(err)
		ts.Setenv("INDEX", d.String())
	}
	id, err := first.ConfigName()
	ts.Check(err)
	digest, err := first.Digest()
	ts.Check(err)
	ts.Setenv("ID", id.String())
	ts.Setenv("DIGEST", digest.String())
}

// What is shared says which variables were set, and not to what.
func TestWithoutSecrets(t *testing.T) {
	line := []string{"sudo", "HOME=/hidden", "docker", "run", "-e", "A=hidden", "-ite", "B=hidden", "--env=C=hidden", "-eD=hidden", "-e", "E", "--name", "f=kept", "db", "-e", "G=kept"}
	want := []string{"sudo", "HOME=", "docker", "run", "-e", "A", "-ite", "B", "--env=C", "-eD", "-e", "E", "--name", "f=kept", "db", "-e", "G=kept"}
	p := &usage.Profile{
		Subject: usage.Subject{Kind: "container", Command: line},
		Use:     usage.Use{Command: line},
		Merged:  []usage.Source{{Subject: usage.Subject{Command: line}}},
		Notes:   []string{"command lines differ: " + strings.Join(line, " ") + " (a), docker run db (b)", "a note: kept"},
		Origin:  &usage.Origin{Reference: "hidden"},
	}
	got, err := withoutSecrets(p)
	if err != nil {
		t.Fatal(err)
	}
	for what, words := range map[string][]string{"subject": got.Subject.Command, "use": got.Use.Command, "merged": got.Merged[0].Subject.Command} {
		if !slices.Equal(words, want) {
			t.Errorf("%s: %q, want %q", what, words, want)
		}
	}
	data, err := got.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "hidden") || !strings.Contains(string(data), "a note: kept") {
		t.Errorf("shared: %s", data)
	}
	if before, _ := json.Marshal(p); strings.Count(string(before), "A=hidden") != 4 {
		t.Errorf("the profile itself was changed: %s", before)
	}
	// It is the same workload.
	a, err := cli.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cli.Parse(want)
	if err != nil || storeFile("", "sha256:1", a) != storeFile("", "sha256:1", b) {
		t.Errorf("it is kept under another name (%v)", err)
	}
	p.Subject.Command = []string{"docker", "run", "--no-such-flag=secret", "db"}
	if _, err := withoutSecrets(p); err == nil {
		t.Error("a line that is not understood would be shared as it stands")
	}
}

func TestFromRegistry(t *testing.T) {
	digests := []string{"a.example/web@sha256:1", "b.example:5000/web@sha256:2", "web@sha256:3"}
	for named, want := range map[string]string{
		"b.example:5000/web:1":        digests[1],
		"b.example:5000/web":          digests[1],
		"b.example:5000/web@sha256:2": digests[1],
		"web":                         digests[2],
		"web2":                        digests[0],
		"sha256:4":                    digests[0],
	} {
		if got := fromRegistry(named, digests); got != want {
			t.Errorf("%s: %s, want %s", named, got, want)
		}
	}
	if got := fromRegistry("web", nil); got != "" {
		t.Errorf("built here: %s", got)
	}
}

// With containerd's image store Docker calls an image by its manifest or index.
func TestKeptForEveryID(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(storeVariable, dir)
	line, err := cli.Parse([]string{"docker", "run", "web"})
	if err != nil {
		t.Fatal(err)
	}
	p := fetched{
		Profile: &usage.Profile{
			Version: usage.Version, Created: time.Now(), Subject: usage.Subject{Kind: "container", Command: line.Words(), ImageID: "sha256:config"},
			Origin: &usage.Origin{Images: []string{"sha256:config", "sha256:manifest", "sha256:index"}},
		},
		line: line, ids: []string{"sha256:config", "sha256:manifest", "sha256:index"},
	}
	for range 2 { // again over itself
		kept, err := keep(io.Discard, []fetched{p}, false)
		if err != nil || len(kept) != 1 {
			t.Fatalf("kept %v, error %v", kept, err)
		}
	}
	for _, id := range p.ids {
		file, err := saved(id, line)
		if err != nil || file == "" {
			t.Fatalf("%s: %q, %v", id, file, err)
		}
		g := new(given)
		g.fromProfile(p.Profile, file, &localImage{ID: id})
		if len(g.warnings) != 1 || !strings.Contains(g.warnings[0], "not complete") {
			t.Errorf("%s: warnings %q", id, g.warnings)
		}
	}
	s, err := readStore(io.Discard)
	if err != nil || len(s.profiles) != 1 {
		t.Fatalf("%d are listed, error %v", len(s.profiles), err)
	}
	if err := s.remove(s.profiles[0].File); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left: %s", left)
	}

	// What was learned here under one of the ids stays.
	local := *p.Profile
	local.Origin = nil
	if err := writeFile(storeFile(dir, "sha256:index", line), &local); err != nil {
		t.Fatal(err)
	}
	if kept, err := keep(io.Discard, []fetched{p}, false); err != nil || len(kept) != 0 {
		t.Errorf("kept %v over what was learned here, error %v", kept, err)
	}
	if kept, err := keep(io.Discard, []fetched{p}, true); err != nil || len(kept) != 1 {
		t.Errorf("by force: kept %v, error %v", kept, err)
	}
}
