package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/leastcap/leastcap/engine"
)

func TestVersions(t *testing.T) {
	if newestVersion != client.MaxAPIVersion || oldestVersion != client.MinAPIVersion {
		t.Errorf("%s to %s; moby's client speaks %s to %s", oldestVersion, newestVersion, client.MinAPIVersion, client.MaxAPIVersion)
	}
	if defaultHost() != client.DefaultDockerHost {
		t.Error(defaultHost(), client.DefaultDockerHost)
	}
}

// Names are taken apart as docker does.
func TestImageName(t *testing.T) {
	const digest = "@sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, name := range []string{
		"a", "a:1", "a/b", "a/b:1", "a/b/c", "a.b/c", "a.b/c:1", "a:5000/b", "a:5000/b:1", "localhost/a", "localhost:1/a:2", "Host/a",
		"docker.io/a", "index.docker.io/a", "docker.io/a/b:c", "index.docker.io/a/b", "a" + digest, "a:1" + digest, "a.b/c/d:1" + digest,
	} {
		named, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		version := ""
		if d, ok := named.(reference.Digested); ok {
			version = d.Digest().String()
		} else if tag, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
			version = tag.Tag()
		}
		registry, repository, got := imageName(name)
		if registry != reference.Domain(named) || repository != reference.Path(named) || got != version {
			t.Errorf("%s: %s %s %s; docker: %s %s %s", name, registry, repository, got, reference.Domain(named), reference.Path(named), version)
		}
	}
}

// engineAt answers as an engine of a version does.
func engineAt(t *testing.T, version string, handle http.HandlerFunc) endpoint {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_ping" {
			if r.Method == http.MethodHead && version == "1.39" {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Api-Version", version)
			return
		}
		handle(w, r)
	}))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return endpoint{host: "unix://" + socket}
}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct{ theirs, asked, path, problem string }{
		{"1.44", "", "/v1.44/version", ""},
		{"9.9", "", "/v" + newestVersion + "/version", ""},
		{"", "", "/v" + newestVersion + "/version", ""},
		{"1.44", "v1.43", "/v1.43/version", ""},
		{"1.100", "", "/v" + newestVersion + "/version", ""},
		{"1.39", "", "", "is too old"},
		{"1.9", "", "", "is too old"},
	} {
		var path string
		e := engineAt(t, c.theirs, func(w http.ResponseWriter, r *http.Request) {
			path = r.URL.Path
			fmt.Fprint(w, "{}")
		})
		e.version = c.asked
		a, err := newAPI(e)
		if err != nil {
			t.Fatal(err)
		}
		if err = a.negotiate(t.Context()); err == nil {
			err = a.call(t.Context(), http.MethodGet, "/version", nil, nil, &struct{}{})
		}
		if path != c.path || (err != nil) != (c.problem != "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%+v: %s %v", c, path, err)
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}
	for _, host := range []string{"unix://", "odd://x", "tcp://%", "https://127.0.0.1:1"} {
		if _, err := newAPI(endpoint{host: host}); err == nil {
			t.Errorf("%q is taken for an address", host)
		}
	}
	if _, err := newAPI(endpoint{host: "unix:///x", version: "new"}); err == nil {
		t.Error("a version that is none")
	}
}

// What an engine refuses, and that none answers, is told apart.
func TestAPIErrors(t *testing.T) {
	removals := 0
	e := engineAt(t, "1.44", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/start"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"message":"it is taken\n"}`)
		case strings.HasSuffix(r.URL.Path, "/rename"):
			http.Redirect(w, r, "https://example.org/", http.StatusMovedPermanently)
		case strings.HasSuffix(r.URL.Path, "/create"):
			fmt.Fprint(w, `{"status":"pulling"}{"errorDetail":{"message":"no such thing"}}`)
		case strings.HasSuffix(r.URL.Path, "/json"):
			fmt.Fprint(w, `{"Id":`)
		case strings.HasSuffix(r.URL.Path, "/going"):
			w.Header().Set("Content-Type", "application/json")
			if removals++; removals < 3 {
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, `{"message":"removal of container going is already in progress"}`)
				return
			}
			w.WriteHeader(http.StatusNotFound)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	a, err := newAPI(e)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	ctx := t.Context()
	if err := a.start(ctx, "x"); !refusedWith(err, http.StatusConflict) || err.Error() != "Error response from daemon: it is taken" {
		t.Error(err)
	}
	if err := a.remove(ctx, "x"); !refusedWith(err, http.StatusNotFound) || !strings.Contains(err.Error(), "404 Not Found") {
		t.Error(err)
	}
	if err := a.remove(ctx, "going"); !refusedWith(err, http.StatusNotFound) || removals != 3 {
		t.Errorf("what somebody else removes: %v after %d questions", err, removals)
	}
	if err := a.pull(ctx, "docker.io/library/x", "latest", ""); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Error(err)
	}
	if _, err := a.inspect(ctx, "x"); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Error(err)
	}
	if _, err := a.hijack(ctx, "/exec/x/start", nil); !refusedWith(err, http.StatusConflict) {
		t.Error(err)
	}
	if err := a.rename(ctx, "x", "y"); !refusedWith(err, http.StatusMovedPermanently) {
		t.Errorf("a redirection is taken for success: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.start(cancelled, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, err = Connect(ctx, Options{Host: "unix://" + filepath.Join(t.TempDir(), "none")})
	if problem := (*engine.Error)(nil); !errors.As(err, &problem) || !problem.Absent || !strings.Contains(problem.Problem, "no engine answers at unix://") {
		t.Error(err)
	}
}

// One connection does for calls that follow each other: over ssh each is a process.
func TestReuse(t *testing.T) {
	var connections atomic.Int32
	e := engineAt(t, "1.44", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/start") {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fmt.Fprint(w, `{"Id":"x"}`)
		w.(http.Flusher).Flush() // as the engine does, the end comes apart
		time.Sleep(10 * time.Millisecond)
		fmt.Fprintln(w)
	})
	a, err := newAPI(e)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	dial := a.http.Transport.(*http.Transport).DialContext
	a.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		connections.Add(1)
		return dial(ctx, network, addr)
	}
	for range 3 {
		if _, err := a.inspect(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if err := a.start(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	// net/http leaves one whose request was not quite written within 50 ms
	// (maxWriteWaitBeforeConnReuse), as where the machine stands still.
	if n := connections.Load(); n > 2 {
		t.Errorf("%d connections for six calls", n)
	}
}

// A container without an id is none.
func TestNoID(t *testing.T) {
	a, err := newAPI(engineAt(t, "1.44", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if id, err := a.create(t.Context(), "", &container.CreateRequest{HostConfig: &container.HostConfig{}}); err == nil {
		t.Errorf("%q", id)
	}
}

// Addresses are completed as docker does.
func TestAddress(t *testing.T) {
	for _, host := range []string{
		"unix:///x", "tcp://a:1", "tcp://a", "tcp://a/b", "tcp://[::1]:5/x", "a", "a:1", ":1", "127.0.0.1", "tcp://:1",
		"npipe:////./pipe/docker_engine", "ssh://u@h:22/run/s", " tcp://a:2 ",
	} {
		want, err := opts.ParseHost(false, host)
		if err != nil {
			t.Fatal(err)
		}
		if got := address(host); got != want {
			t.Errorf("%q: %q, docker %q", host, got, want)
		}
	}
}

// An engine is reached through ssh, wherever its address is from.
func TestSSH(t *testing.T) {
	if socket := os.Getenv("LEASTCAP_TEST_DIAL"); socket != "" { // as docker system dial-stdio
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(c, os.Stdin) }()
		_, _ = io.Copy(os.Stdout, c)
		os.Exit(0)
	}
	e := engineAt(t, "1.44", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/exec/x/start") {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhere")
			return
		}
		fmt.Fprint(w, `{"Components":[{"Name":"Podman Engine"}]}`)
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nLEASTCAP_TEST_DIAL=%s exec %s -test.run '^TestSSH$'\n", strings.TrimPrefix(e.host, "unix://"), self)
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("DOCKER_HOST", "ssh://somebody@somewhere")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	for _, o := range []Options{{}, {Host: "ssh://somebody@somewhere"}} {
		e, err := Connect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !e.podman || !strings.HasPrefix(e.host, "ssh://") {
			t.Errorf("%+v: another engine: %+v", o, e)
		}
		body, err := e.api.hijack(t.Context(), "/exec/x/start", struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(body); string(text) != "here" || err != nil {
			t.Errorf("%q %v", text, err)
		}
		body.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}
