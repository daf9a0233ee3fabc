//go:build linux

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/leastcap/leastcap/internal/testenv"
)

const testName = "leastcap-test/image-open:v1"

// sample has three layers, the last equal to the first, and a healthcheck.
func sample(t testing.TB) v1.Image {
	t.Helper()
	first := tarOf(t, dir("etc"), file("etc/name", "first"), symlink("s", "etc/name"))
	img := v1.Image(empty.Image)
	for i, b := range [][]byte{first, tarOf(t, file("etc/.wh.name", ""), file("bin/su", "x").mode(0o4755)), first} {
		l, err := tarball.LayerFromOpener(reader(b))
		if err != nil {
			t.Fatal(err)
		}
		h := v1.History{CreatedBy: fmt.Sprintf("step %d", i+1), Created: v1.Time{Time: then}}
		if i == 2 {
			h = v1.History{Comment: "step 3", Created: v1.Time{Time: then}}
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: l, History: h}, mutate.Addendum{History: v1.History{CreatedBy: "ENV x=y", EmptyLayer: true}})
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg.OS, cfg.Architecture, cfg.Created = "linux", platform().Architecture, v1.Time{Time: then}
	cfg.Config = v1.Config{
		User: "33:44", Entrypoint: []string{"/bin/su"}, Cmd: []string{"-c", "x"}, Env: []string{"PATH=/bin"}, WorkingDir: "/etc",
		Labels: map[string]string{"io.containers.capabilities": "CHOWN"}, StopSignal: "SIGQUIT",
		Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"80/tcp": {}},
		Healthcheck: &v1.HealthConfig{Test: []string{"CMD-SHELL", "true"}, Interval: 5 * time.Second},
	}
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

// dockerArchive writes what docker save writes.
func dockerArchive(t testing.TB, img v1.Image) string {
	t.Helper()
	tag, err := name.NewTag(testName)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		t.Fatal(err)
	}
	return file
}

// ociLayout writes a layout with the image under the tag v1.
func ociLayout(t testing.TB, img v1.Image, o ...layout.Option) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img, append(o, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"}))...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// compressed is a file next to another.
func compressed(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), os.WriteFile(file+".gz", b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return file + ".gz"
}

func serveRegistry(t testing.TB, o ...registry.Option) string {
	t.Helper()
	s := httptest.NewServer(registry.New(append(o, registry.Logger(log.New(io.Discard, "", 0)))...))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func push(t testing.TB, ref string, img v1.Image) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(r, img); err != nil {
		t.Fatal(err)
	}
}

// loaded gives the engine the image for the time of the test.
func loaded(t testing.TB, engine string, img v1.Image) {
	t.Helper()
	run(t, engine, "load", "-i", dockerArchive(t, img))
	t.Cleanup(func() { run(t, engine, "rmi", testName) })
}

// The same image, wherever it is.
func TestOpen(t *testing.T) {
	img := sample(t)
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	archive, lay := dockerArchive(t, img), ociLayout(t, img)
	ociArchive := filepath.Join(t.TempDir(), "oci.tar")
	run(t, "tar", "-C", lay, "-cf", ociArchive, "index.json", "oci-layout", "blobs")
	host := serveRegistry(t)
	push(t, host+"/"+testName, img)
	t.Chdir(filepath.Dir(archive))

	type test struct{ ref, source string }
	tests := []test{
		{"docker://" + host + "/" + testName, "registry"},
		{"docker://" + host + "/leastcap-test/image-open@" + digest.String(), "registry"},
		{"oci:" + lay, "oci"}, {"oci:" + lay + ":v1", "oci"}, {lay, "oci"},
		{"docker-archive:" + archive, "docker-archive"}, {archive, "docker-archive"}, {"image.tar", "docker-archive"}, {"./image.tar", "docker-archive"},
		{compressed(t, archive), "docker-archive"},
		{"oci-archive:" + ociArchive, "oci-archive"}, {ociArchive, "oci-archive"}, {compressed(t, ociArchive), "oci-archive"},
	}
	for _, tt := range tests {
		t.Run(tt.ref, func(t *testing.T) { opened(t, tt.ref, tt.source, id.String(), digest.String(), cfg) })
	}
	t.Run("docker", func(t *testing.T) {
		testenv.Need(t, testenv.Docker)
		loaded(t, "docker", img)
		for _, ref := range []string{"docker-daemon:" + testName, testName, "docker.io/" + testName, "docker-daemon:" + id.String(), id.String()[7:27]} {
			opened(t, ref, "docker", id.String(), "", cfg)
		}
	})
	t.Run("podman", func(t *testing.T) {
		testenv.Need(t, testenv.Root, testenv.Command("podman"))
		loaded(t, "podman", img)
		opened(t, "podman:"+testName, "podman", id.String(), "", cfg)
		// Where Docker has none of the name, Podman is asked.
		opened(t, "localhost/"+testName, "podman", id.String(), "", cfg)
	})
	t.Run("registry last", func(t *testing.T) {
		opened(t, host+"/"+testName, "registry", id.String(), digest.String(), cfg)
	})
}

// opened opens ref, looks at everything in it and closes it.
func opened(t *testing.T, ref, source, id, digest string, cfg *v1.ConfigFile) {
	t.Helper()
	temp := t.TempDir()
	m, err := Open(t.Context(), ref, Options{TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	if source == "docker-archive" {
		digest = ""
	}
	if source == "docker" || source == "podman" {
		if got := names(t, temp); len(got) != 0 {
			t.Errorf("%s: saved before a layer is read: %v", ref, got)
		}
	}
	if m.Ref != ref || m.Source != source || m.ID != id || m.Digest != digest {
		t.Errorf("%s: ref %q, source %q, ID %q, digest %q; want %q, %q, %q", ref, m.Ref, m.Source, m.ID, m.Digest, source, id, digest)
	}
	got, want := m.Config.Config, cfg.Config
	if source == "podman" {
		got.Healthcheck, want.Healthcheck = nil, nil // which Podman keeps, but not as it was
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: config -want +got:\n%s", ref, diff)
	}
	_, root := sandbox(t)
	if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	if diff := cmp.Diff([]string{"bin drwxr-xr-x", "bin/su urwxr-xr-x x", "etc drwxr-xr-x", "etc/name -rw-r--r-- first", "s Lrwxrwxrwx -> etc/name"}, tree(t, root)); diff != "" {
		t.Errorf("%s: -want +got:\n%s", ref, diff)
	}
	var history []string
	for i, l := range m.Layers {
		history = append(history, l.History)
		if d := m.Config.RootFS.DiffIDs[i].String(); l.DiffID != d || d != cfg.RootFS.DiffIDs[i].String() {
			t.Errorf("%s: layer %d is %q, %q", ref, i+1, l.DiffID, d)
		}
		if (digest != "") != (l.Digest != "") {
			t.Errorf("%s: layer %d has digest %q", ref, i+1, l.Digest)
		}
	}
	if !slices.Equal(history, []string{"step 1", "step 2", "step 3"}) {
		t.Errorf("%s: history %q", ref, history)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if left := names(t, temp); len(left) > 0 {
		t.Errorf("%s: left behind %v", ref, left)
	}
}

// A root file system without a configuration.
func TestOpenPlain(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "root.tar")
	b := tarOf(t, dir("etc"), file("etc/name", "x"))
	if err := os.WriteFile(archive, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, root := sandbox(t)
	if err := Unpack(t.Context(), imageOf(b), root, Limits{}); err != nil {
		t.Fatal(err)
	}
	way := filepath.Join(t.TempDir(), "way")
	if err := os.Symlink(root, way); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ ref, source, id string }{
		{"tar:" + archive, "tar", sha(b)}, {archive, "tar", sha(b)},
		{"dir:" + root, "dir", ""}, {root, "dir", ""}, {way, "dir", ""},
	} {
		m, err := Open(t.Context(), tt.ref, Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Source != tt.source || m.ID != tt.id {
			t.Errorf("%s: source %q, ID %q", tt.ref, m.Source, m.ID)
		}
		_, to := sandbox(t)
		if err := Unpack(t.Context(), m, to, Limits{}); err != nil {
			t.Errorf("%s: %v", tt.ref, err)
		}
		if diff := cmp.Diff([]string{"etc drwxr-xr-x", "etc/name -rw-r--r-- x"}, tree(t, to)); diff != "" {
			t.Errorf("%s: -want +got\n%s", tt.ref, diff)
		}
	}

	// A file that changed since is not taken for what it was.
	m, err := Open(t.Context(), archive, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, tarOf(t, file("etc/name", "y")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, to := sandbox(t)
	if err := Unpack(t.Context(), m, to, Limits{}); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("a changed file: %v", err)
	}
}

// An index has images for several platforms.
func TestOpenIndex(t *testing.T) {
	img := sample(t)
	other, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	here := platform()
	idx := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &here}},
	)
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	host := serveRegistry(t)
	r, err := name.ParseReference(host + "/idx")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(r, idx); err != nil {
		t.Fatal(err)
	}
	nested := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(nested, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(idx); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"docker://" + host + "/idx", "oci:" + nested} {
		m, err := Open(t.Context(), ref, Options{})
		if err != nil {
			t.Error(err)
		} else if m.ID != id.String() {
			t.Errorf("%s: ID %s, want %s", ref, m.ID, id)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	img := sample(t)
	lay := ociLayout(t, img)
	host := serveRegistry(t)
	two := ociLayout(t, img)
	p, err := layout.FromPath(two)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		f := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	text := write("text", bytes.Repeat([]byte("no archive\n"), 100))
	manifest := write("x.tar", tarOf(t, file("manifest.json", "[]")))
	fifo := filepath.Join(t.TempDir(), "fifo")
	run(t, "mkfifo", fifo)
	type test struct{ ref, want, hint string }
	tests := []test{
		{"", "empty", "check the name"},
		{"Nope!", "could not parse reference", "check the name"},
		{"docker-daemon:-v", "looks like an option", "docker image ls"},
		{"podman:--help", "looks like an option", "docker image ls"},
		{"docker://-v", "looks like an option", "network"},
		{"docker://" + host + "/none", "NAME_UNKNOWN", "docker login"},
		{"docker://127.0.0.1:1/none", "connection refused", "network"},
		{"/no/such/file", "no such file", "root file system"},
		{"./no", "no such file", "root file system"},
		{"dir:", "nothing follows", "root file system"},
		{"dir:" + text, "not a directory", "root file system"},
		{"tar:/no", "no such file", "root file system"},
		{"oci:" + lay + ":v2", `tag "v2"`, "OCI layout"},
		{"oci:" + two, "2 images fit", "OCI layout"},
		{"oci:" + t.TempDir(), "no OCI layout", "OCI layout"},
		{"docker-archive:" + text, "no archive of docker save", "docker save"},
		{"oci-archive:" + text, "archive: ", "OCI layout"},
		{text, "no tar archive", "its tar"},
		{manifest, "no archive of docker save", "its tar"},
		{fifo, "neither a directory nor a regular file", "root file system"},
	}
	for _, tt := range tests {
		temp := t.TempDir()
		_, err := Open(t.Context(), tt.ref, Options{TempDir: temp})
		var e *Error
		if !errors.As(err, &e) || e.Ref != tt.ref || !strings.Contains(err.Error(), tt.want) || !strings.Contains(e.Hint, tt.hint) {
			t.Errorf("Open(%q) = %v (%+v), want %q, hint %q", tt.ref, err, e, tt.want, tt.hint)
		}
		if left := names(t, temp); len(left) > 0 {
			t.Errorf("Open(%q) left %v", tt.ref, left)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, text, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context ended: %v", err)
	}
}

// What a registry or a layout says is verified.
func TestOpenVerifies(t *testing.T) {
	img := sample(t)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for what, h := range map[string]v1.Hash{"layer": layer, "config": config, "manifest": manifest} {
		lay := ociLayout(t, img)
		blob := filepath.Join(lay, "blobs", h.Algorithm, h.Hex)
		b, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		if what == "layer" {
			b[len(b)-1] ^= 1 // of the length that gzip has at its end
		} else {
			b = append(b, ' ')
		}
		if err := os.WriteFile(blob, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(t.Context(), "oci:"+lay, Options{})
		_, root := sandbox(t)
		if err == nil {
			err = Unpack(t.Context(), m, root, Limits{})
		}
		if err == nil {
			t.Errorf("a changed %s: no error", what)
		}
		if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a changed %s: something is left", what)
		}
	}
}

// An image that docker saves with other layers than it named is refused.
func TestEngineChanges(t *testing.T) {
	img := sample(t)
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
case "$2" in
inspect) echo '[{"Id":"%s","RootFS":{"Layers":["sha256:%064d"]}}]' ;;
save) cp %s "$4" ;;
esac
`, id, 7, dockerArchive(t, img))
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	temp := t.TempDir()
	m, err := Open(t.Context(), "docker-daemon:x", Options{TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	_, root := sandbox(t)
	if err := Unpack(t.Context(), m, root, Limits{}); err == nil || !strings.Contains(err.Error(), "docker saved layers") {
		t.Errorf("error %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if left := names(t, temp); len(left) > 0 {
		t.Errorf("left behind %v", left)
	}
}

// What docker export says of an image is what Unpack makes of it.
func TestUnpackAsDockerDoes(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image("leastcap-test/services"))
	m, err := Open(t.Context(), "docker-daemon:leastcap-test/services", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, root := sandbox(t)
	if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
		t.Fatal(err)
	}
	got := listTar(t, func(w io.Writer) error { return tarDir(w, root) })
	id := strings.TrimSpace(run(t, "docker", "create", "leastcap-test/services", "true"))
	defer run(t, "docker", "rm", id)
	want := listTar(t, func(w io.Writer) error {
		cmd := exec.Command("docker", "export", id)
		cmd.Stdout = w
		return cmd.Run()
	})
	if len(want) < 1000 {
		t.Fatalf("docker export has %d files", len(want))
	}
	// What Docker puts into every container.
	for _, own := range []string{".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "proc", "sys", "."} {
		delete(want, own)
		delete(got, own)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-docker +leastcap:\n%s", diff)
	}
	privileged := 0
	for _, e := range got {
		if strings.Contains(e, "security.capability") {
			privileged++
		}
	}
	if privileged == 0 {
		t.Error("no file capability was compared")
	}
}

// listTar describes every entry of a tar. A file with several names is
// described by all of them, since which comes first is the writer's choice.
func listTar(t testing.TB, write func(io.Writer) error) map[string]string {
	t.Helper()
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	out, links := map[string]string{}, map[string][]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n := filepath.Clean(h.Name)
		if h.Typeflag == tar.TypeLink {
			first := filepath.Clean(h.Linkname)
			links[first] = append(links[first], n)
			continue
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		e := fmt.Sprintf("%c %o %d:%d %d:%d %q %s", h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.Devmajor, h.Devminor, h.Linkname, sha(body))
		if h.Typeflag != tar.TypeSymlink { // times of links are not kept
			e += fmt.Sprint(" ", h.ModTime.Unix())
		}
		for k, v := range h.PAXRecords {
			if strings.HasPrefix(k, paxXattr) {
				e += fmt.Sprintf(" %s=%q", k, v)
			}
		}
		out[n] = e
	}
	for first, others := range links {
		all := append(others, first)
		slices.Sort(all)
		e := out[first] + fmt.Sprintf(" names %q", all)
		for _, n := range all {
			out[n] = e
		}
	}
	return out
}
