package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/reference"
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
		{"1.39", "", "", "is too old"},
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
	for _, host := range []string{"", "unix://", "nonesuch", "tcp://%"} {
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
	e := engineAt(t, "1.44", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/start"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"message":"it is taken\n"}`)
		case strings.HasSuffix(r.URL.Path, "/create"):
			fmt.Fprint(w, `{"status":"pulling"}{"errorDetail":{"message":"no such thing"}}`)
		case strings.HasSuffix(r.URL.Path, "/json"):
			fmt.Fprint(w, `{"Id":`)
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
	if err := a.pull(ctx, "docker.io/library/x", "latest", ""); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Error(err)
	}
	if _, err := a.inspect(ctx, "x"); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Error(err)
	}
	if _, err := a.hijack(ctx, "/exec/x/start", nil); !refusedWith(err, http.StatusConflict) {
		t.Error(err)
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
