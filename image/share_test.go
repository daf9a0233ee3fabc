package image

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/leastcap/leastcap/internal/testenv"
)

const testType = "application/vnd.leastcap.test.v1+json"

// serve starts a registry whose answers edit may change, and gives its host.
func serve(t *testing.T, edit func(http.Handler) http.Handler, o ...registry.Option) string {
	t.Helper()
	var h http.Handler = registry.New(append(o, registry.Logger(log.New(io.Discard, "", 0)))...)
	if edit != nil {
		h = edit(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// debianRegistry starts Docker's own registry.
func debianRegistry(t *testing.T) string {
	t.Helper()
	testenv.Need(t, testenv.Command("docker-registry"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			resp.Body.Close()
			return host
		}
		if time.Now().After(end) {
			t.Fatalf("docker-registry does not answer: %s", out.String())
		}
	}
}

func ref(t *testing.T, s string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pushImage(t *testing.T, to string) v1.Image {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref(t, to), img); err != nil {
		t.Fatal(err)
	}
	return img
}

// pushIndex pushes one image for each platform.
func pushIndex(t *testing.T, to string, platforms ...v1.Platform) []v1.Image {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var images []v1.Image
	for _, p := range platforms {
		img, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, img)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
	}
	if err := remote.WriteIndex(ref(t, to), index); err != nil {
		t.Fatal(err)
	}
	return images
}

func resolve(t *testing.T, ref, platform string) *Remote {
	t.Helper()
	m, err := Resolve(context.Background(), ref, platform)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func attach(t *testing.T, m *Remote, to RemoteImage, a Attachment) (string, bool) {
	t.Helper()
	digest, added, err := m.Attach(context.Background(), to, a)
	if err != nil {
		t.Fatal(err)
	}
	return digest, added
}

// attached gives the files' texts, and what could not be taken.
func attached(t *testing.T, m *Remote) (texts, problems []string) {
	t.Helper()
	list, unread, err := m.Attached(context.Background(), testType)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		texts = append(texts, string(a.Data))
	}
	for _, u := range unread {
		problems = append(problems, u.Err.Error())
	}
	return texts, problems
}

func note(text string) Attachment {
	return Attachment{Type: testType, Data: []byte(text), Annotations: map[string]string{created: "2026-01-02T03:04:05Z"}}
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestAttach(t *testing.T) {
	for kind, start := range map[string]func(*testing.T) string{
		"referrers API":   func(t *testing.T) string { return serve(t, nil, registry.WithReferrersSupport(true)) },
		"tag schema":      func(t *testing.T) string { return serve(t, nil) },
		"docker-registry": debianRegistry,
	} {
		t.Run(kind, func(t *testing.T) {
			host := start(t)
			name := host + "/web:1"
			img := pushImage(t, name)
			m := resolve(t, name, "")
			id, _ := img.ConfigName()
			digest, _ := img.Digest()
			if len(m.Images) != 1 || m.Images[0].ID != id.String() || m.Digest != digest.String() || m.Repository != host+"/web" {
				t.Fatalf("resolved to %+v, want id %s and digest %s", m, id, digest)
			}
			for id, want := range map[string]bool{m.Images[0].ID: true, m.Digest: true, id.Hex: true, "": false, "sha256:" + strings.Repeat("0", 64): false} {
				if m.Is(m.Images[0], id) != want {
					t.Errorf("is it %q: want %v", id, want)
				}
			}
			texts, problems := attached(t, m)
			equal(t, "before", append(texts, problems...))

			first, added := attach(t, m, m.Images[0], note(`{"n":1}`))
			if !added {
				t.Error("the first was there before")
			}
			if again, added := attach(t, m, m.Images[0], note(`{"n":1}`)); again != first || added {
				t.Errorf("attached again as %s (added: %v), want %s once", again, added, first)
			}
			newer := note(`{"n":2}`)
			newer.Annotations[created] = "2026-02-02T03:04:05Z"
			attach(t, m, m.Images[0], newer)
			other := note(`{"n":3}`)
			other.Type = "application/vnd.example.sbom"
			attach(t, m, m.Images[0], other)

			// As another who only knows the tag.
			m = resolve(t, "docker://"+name, "")
			texts, problems = attached(t, m)
			equal(t, "attached", texts, `{"n":2}`, `{"n":1}`)
			equal(t, "problems", problems)
			// The image is what it was.
			if now := resolve(t, name, ""); now.Digest != digest.String() {
				t.Errorf("the tag names %s, want %s", now.Digest, digest)
			}
		})
	}
}

func TestAttachToIndex(t *testing.T) {
	for kind, o := range map[string][]registry.Option{"referrers API": {registry.WithReferrersSupport(true)}, "tag schema": nil} {
		t.Run(kind, func(t *testing.T) {
			name := serve(t, nil, o...) + "/many:1"
			pushIndex(t, name, v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"},
				v1.Platform{OS: "unknown", Architecture: "unknown"})
			amd, arm := resolve(t, name, "linux/amd64"), resolve(t, name, "linux/arm64")
			if amd.Images[0].ID == arm.Images[0].ID || amd.Digest != arm.Digest || amd.Digest == amd.Images[0].Digest {
				t.Fatalf("%+v and %+v", amd, arm)
			}
			attach(t, amd, amd.Images[0], note("amd64"))
			attach(t, arm, arm.Images[0], note("arm64"))
			// To the index itself, as other tools do.
			top, err := remote.Get(ref(t, name))
			if err != nil {
				t.Fatal(err)
			}
			attach(t, amd, RemoteImage{Digest: amd.Digest, manifest: v1.Descriptor{MediaType: top.MediaType, Digest: top.Digest, Size: top.Size}}, note("index"))

			texts, problems := attached(t, resolve(t, name, "linux/amd64"))
			equal(t, "amd64", texts, "amd64", "index")
			equal(t, "problems", problems)
			texts, _ = attached(t, resolve(t, name, "linux/arm64"))
			equal(t, "arm64", texts, "arm64", "index")

			_, err = Resolve(context.Background(), name, "linux/riscv64")
			if err == nil || !strings.Contains(err.Error(), `no image for linux/riscv64; it has ["linux/amd64" "linux/arm64" "unknown/unknown"]`) {
				t.Errorf("another platform: %v", err)
			}
		})
	}
}

// A list under a tag is read, changed and written: what another wrote in between is
// lost, and what is left is an artifact that nothing lists.
func TestAttachMendsList(t *testing.T) {
	host := debianRegistry(t)
	name := host + "/web:1"
	pushImage(t, name)
	m := resolve(t, name, "")
	digest, _ := attach(t, m, m.Images[0], note("mine"))
	if err := remote.Put(ref(t, host+"/web:"+strings.Replace(m.Digest, ":", "-", 1)), empty.Index); err != nil {
		t.Fatal(err)
	}
	texts, _ := attached(t, m)
	equal(t, "after the list was overwritten", texts)
	if again, added := attach(t, m, m.Images[0], note("mine")); again != digest || !added {
		t.Errorf("attached again as %s, added: %v; want %s, listed again", again, added, digest)
	}
	texts, _ = attached(t, m)
	equal(t, "mended", texts, "mine")

	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			m, err := Resolve(context.Background(), name, "")
			if err == nil {
				_, _, err = m.Attach(context.Background(), m.Images[0], note(fmt.Sprint("at once ", i)))
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil && !strings.Contains(err.Error(), "does not list it") {
		t.Error(err)
	}
	// Whatever was lost, once more brings it back.
	for i := range errs {
		attach(t, m, m.Images[0], note(fmt.Sprint("at once ", i)))
	}
	texts, _ = attached(t, m)
	slices.Sort(texts)
	equal(t, "in the end", texts, "at once 0", "at once 1", "at once 2", "at once 3", "mine")
}

func TestAttachTooLarge(t *testing.T) {
	name := serve(t, nil) + "/web:1"
	pushImage(t, name)
	m := resolve(t, name, "")
	a := note(strings.Repeat("x", MaxAttachment))
	attach(t, m, m.Images[0], a)
	a.Data = append(a.Data, 'x')
	if _, _, err := m.Attach(context.Background(), m.Images[0], a); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("one byte too many: %v", err)
	}
	texts, problems := attached(t, m)
	if len(texts) != 1 || len(texts[0]) != MaxAttachment || len(problems) > 0 {
		t.Errorf("%d attached, problems %q", len(texts), problems)
	}
}

// secured lets in who has the password; guests only read.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case password != "secret":
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
		case user != "owner" && r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, `{"errors":[{"code":"DENIED","message":"requested access is denied"}]}`, http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	host := serve(t, secured, registry.WithReferrersSupport(true))
	name := host + "/web:1"
	login := func(user string) {
		t.Helper()
		auth := base64.StdEncoding.EncodeToString([]byte(user))
		if err := os.WriteFile(filepath.Join(dir, "config.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, auth), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Hint, "docker login "+host) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want a hint to log in", what, err)
		}
	}
	_, err := Resolve(context.Background(), name, "")
	refused("without credentials", err)
	login("owner:wrong")
	_, err = Resolve(context.Background(), name, "")
	refused("with the wrong ones", err)

	login("owner:secret")
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref(t, name), img, (&Remote{limits: &limits{}}).options(context.Background())...); err != nil {
		t.Fatal(err)
	}
	m := resolve(t, name, "")
	attach(t, m, m.Images[0], note("mine"))

	login("guest:secret")
	m = resolve(t, name, "")
	texts, _ := attached(t, m)
	equal(t, "a guest reads", texts, "mine")
	_, _, err = m.Attach(context.Background(), m.Images[0], note("a guest's"))
	refused("a guest pushes", err)
}

func TestResolveErrors(t *testing.T) {
	host := serve(t, nil)
	_, err := Resolve(context.Background(), "NOT A NAME", "")
	if !errors.Is(err, ErrReference) {
		t.Errorf("a name that is none: %v", err)
	}
	_, err = Resolve(context.Background(), host+"/nowhere:1", "")
	var e *Error
	if !errors.As(err, &e) || errors.Is(err, ErrReference) || !strings.Contains(e.Hint, "check the name") {
		t.Errorf("an image that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Resolve(ctx, host+"/web:1", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// put stores a manifest that refers to the image, as its owner might not.
func put(t *testing.T, host string, m *v1.Manifest) {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	h, _, _ := v1.SHA256(bytes.NewReader(raw))
	if err := remote.Put(ref(t, host+"/web@"+h.String()), artifact(raw)); err != nil {
		t.Fatal(err)
	}
}

// TestHostile has a registry, or somebody who may push to it, with other plans.
func TestHostile(t *testing.T) {
	good := func(m *Remote, data string) *v1.Manifest {
		l := static.NewLayer([]byte(data), testType)
		d, _ := l.Digest()
		return &v1.Manifest{
			SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: testType,
			Config:  v1.Descriptor{MediaType: testType, Digest: d, Size: int64(len(data))},
			Layers:  []v1.Descriptor{{MediaType: testType, Digest: d, Size: int64(len(data))}},
			Subject: &m.Images[0].manifest,
		}
	}
	for _, tt := range []struct {
		what    string
		edit    func(m *v1.Manifest)
		problem string // "" if it is no problem
		taken   bool
	}{
		{"nothing", func(*v1.Manifest) {}, "", true},
		{"another type", func(m *v1.Manifest) { m.ArtifactType, m.Config.MediaType = "application/x", "application/x" }, "", false},
		{"an empty configuration", func(m *v1.Manifest) { m.Config.MediaType = "application/vnd.oci.empty.v1+json" }, "", true},
		{"another type, called untyped", func(m *v1.Manifest) {
			m.ArtifactType, m.Config.MediaType = "application/x", "application/vnd.oci.empty.v1+json"
		}, "", false},
		{"no file", func(m *v1.Manifest) { m.Layers = []v1.Descriptor{} }, "not one file", false},
		{"two files", func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, "not one file", false},
		{"a file of another type", func(m *v1.Manifest) { m.Layers[0].MediaType = "text/html" }, "not one file", false},
		{"too large a file", func(m *v1.Manifest) { m.Layers[0].Size = MaxAttachment + 1 }, "at most 1048576", false},
		{"a negative size", func(m *v1.Manifest) { m.Layers[0].Size = -1 }, "at most 1048576", false},
		{"a file that is longer", func(m *v1.Manifest) { m.Layers[0].Size-- }, "has not the 3 bytes", false},
		{"a file that is shorter", func(m *v1.Manifest) { m.Layers[0].Size++ }, "has not the 5 bytes", false},
		{"a file that is not there", func(m *v1.Manifest) { m.Layers[0].Digest.Hex = strings.Repeat("0", 64) }, "Unknown blob", false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			host := serve(t, nil, registry.WithReferrersSupport(true))
			pushImage(t, host+"/web:1")
			m := resolve(t, host+"/web:1", "")
			if err := remote.WriteLayer(m.repo, static.NewLayer([]byte("data"), testType)); err != nil {
				t.Fatal(err)
			}
			manifest := good(m, "data")
			tt.edit(manifest)
			put(t, host, manifest)
			texts, problems := attached(t, m)
			if (len(texts) == 1) != tt.taken {
				t.Errorf("taken: %q", texts)
			}
			if tt.problem == "" && len(problems) > 0 || tt.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0], tt.problem)) {
				t.Errorf("problems: %q, want %q", problems, tt.problem)
			}
		})
	}

	// replace changes the answers to requests with this in their path.
	replace := func(part string, f func(path string, body []byte) []byte) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, part) {
					h.ServeHTTP(w, r)
					return
				}
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				for k, v := range rec.Header() {
					if k != "Content-Length" {
						w.Header()[k] = v
					}
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(f(r.URL.Path, rec.Body.Bytes()))
			})
		}
	}
	t.Run("a file that was changed", func(t *testing.T) {
		host := serve(t, replace("/blobs/sha256:", func(_ string, b []byte) []byte {
			return bytes.Replace(b, []byte("mine"), []byte("evil"), 1)
		}), registry.WithReferrersSupport(true))
		pushImage(t, host+"/web:1")
		m := resolve(t, host+"/web:1", "")
		attach(t, m, m.Images[0], note("mine"))
		texts, problems := attached(t, m)
		equal(t, "taken", texts)
		if len(problems) != 1 || !strings.Contains(problems[0], "sha256") {
			t.Errorf("problems: %q", problems)
		}
	})
	t.Run("a manifest that was changed", func(t *testing.T) {
		var changed bool
		host := serve(t, replace("/manifests/sha256:", func(_ string, b []byte) []byte {
			if changed {
				return append(b, ' ')
			}
			return b
		}), registry.WithReferrersSupport(true))
		pushImage(t, host+"/web:1")
		m := resolve(t, host+"/web:1", "")
		attach(t, m, m.Images[0], note("mine"))
		changed = true
		texts, problems := attached(t, m)
		equal(t, "taken", texts)
		if len(problems) != 1 || !strings.Contains(problems[0], "digest") {
			t.Errorf("problems: %q", problems)
		}
	})
	t.Run("another image's file", func(t *testing.T) {
		host := serve(t, nil) // a tag's list says whatever was put there
		other := pushImage(t, host+"/web:2")
		pushImage(t, host+"/web:1")
		m, o := resolve(t, host+"/web:1", ""), resolve(t, host+"/web:2", "")
		attach(t, o, o.Images[0], note("of another"))
		d, _ := other.Digest()
		got, err := remote.Get(ref(t, host+"/web:"+strings.Replace(d.String(), ":", "-", 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Put(ref(t, host+"/web:"+strings.Replace(m.Digest, ":", "-", 1)), got); err != nil {
			t.Fatal(err)
		}
		texts, problems := attached(t, m)
		equal(t, "taken", texts)
		equal(t, "problems", problems, "it does not refer to this image")
	})
	t.Run("too many", func(t *testing.T) {
		host := serve(t, nil, registry.WithReferrersSupport(true))
		pushImage(t, host+"/web:1")
		m := resolve(t, host+"/web:1", "")
		if err := remote.WriteLayer(m.repo, static.NewLayer([]byte("data"), testType)); err != nil {
			t.Fatal(err)
		}
		for i := range maxAttached + 7 {
			manifest := good(m, "data")
			manifest.Annotations = map[string]string{created: fmt.Sprintf("2026-01-02T03:%02d:%02dZ", i/60, i%60)}
			put(t, host, manifest)
		}
		list, unread, err := m.Attached(context.Background(), testType)
		if err != nil || len(list) != maxAttached || len(unread) != 1 || unread[0].Err.Error() != "7 more are listed than the 100 that are read" {
			t.Fatalf("%d taken, left out %v, error %v", len(list), unread, err)
		}
		// The newest are taken.
		if got := list[0].Annotations[created]; got != "2026-01-02T03:01:46Z" {
			t.Errorf("the first is of %s", got)
		}
	})
	t.Run("endless answers", func(t *testing.T) {
		host := serve(t, replace("/referrers/", func(_ string, _ []byte) []byte {
			return bytes.Repeat([]byte(" "), maxAnswer+1)
		}), registry.WithReferrersSupport(true))
		pushImage(t, host+"/web:1")
		m := resolve(t, host+"/web:1", "")
		if _, _, err := m.Attached(context.Background(), testType); err == nil || !strings.Contains(err.Error(), "longer than 4194304 bytes") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("several pages, filtered", func(t *testing.T) {
		var asked string
		host := serve(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/referrers/") {
					asked = r.URL.Query().Get("artifactType")
					w.Header().Set("Link", `</v2/web/referrers/x?n=1>; rel="next"`)
				}
				h.ServeHTTP(w, r)
			})
		}, registry.WithReferrersSupport(true))
		pushImage(t, host+"/web:1")
		m := resolve(t, host+"/web:1", "")
		attach(t, m, m.Images[0], note("mine"))
		texts, problems := attached(t, m)
		equal(t, "taken", texts, "mine")
		equal(t, "problems", problems, "the registry lists more than its first page, which is all that is read")
		if asked != testType {
			t.Errorf("asked for the type %q", asked)
		}
	})
	t.Run("no list", func(t *testing.T) {
		host := serve(t, replace("/referrers/", func(_ string, _ []byte) []byte { return []byte("<html>") }), registry.WithReferrersSupport(true))
		pushImage(t, host+"/web:1")
		m := resolve(t, host+"/web:1", "")
		if _, _, err := m.Attached(context.Background(), testType); err == nil {
			t.Error("what is no list was taken for an empty one")
		}
	})
}
