package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Options says how images are opened.
type Options struct {
	// TempDir holds what an engine saves; default the system's.
	TempDir string
}

// Open finds the image that ref names. A prefix says where: docker-daemon:,
// podman:, docker:// (a registry), oci:DIR[:TAG], docker-archive:FILE,
// oci-archive:FILE, tar:FILE, dir:DIR. Without one, what begins with / or . and a
// file that is there is a path, told apart by its content; other names are an
// engine's image, and else a registry's.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	m := &Image{Ref: ref}
	hint, err := m.find(ctx, ref, o)
	if err != nil {
		_ = m.Close() // the first error says more
		return nil, &Error{ref, err, hint}
	}
	return m, nil
}

const (
	hintPath     = "give an OCI layout, an archive of docker save, a root file system directory or its tar"
	hintName     = "check the name; docker login gives access to a private registry; oci:DIR, docker-archive:FILE and dir:DIR name local files"
	hintEngine   = "docker image ls lists what the engine has; docker://NAME asks the registry"
	hintRegistry = "check the name and the network; docker login gives access to a private registry"
)

// location is where a reference says that its image is: one of the kinds of
// source, or "" where that has to be found out.
type location struct{ kind, name string }

var prefixes = []struct{ prefix, kind string }{
	{"docker://", "registry"},
	{"docker-daemon:", "docker"},
	{"podman:", "podman"},
	{"oci:", "oci"},
	{"docker-archive:", "docker-archive"},
	{"oci-archive:", "oci-archive"},
	{"tar:", "tar"},
	{"dir:", "dir"},
}

// parseRef takes a reference apart. What is not a path is a name that engines and
// registries take, or an image ID.
func parseRef(ref string) (l location, hint string, err error) {
	if ref == "" {
		return location{}, hintName, fmt.Errorf("%w: it is empty", ErrReference)
	}
	if strings.ContainsRune(ref, 0) {
		return location{}, hintName, fmt.Errorf("%w: it has a zero byte", ErrReference)
	}
	l.name = ref
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(ref, p.prefix); ok {
			l = location{p.kind, rest}
			break
		}
	}
	switch l.kind {
	case "registry", "docker", "podman":
		hint = hintEngine
		if l.kind == "registry" {
			hint = hintRegistry
		}
		return l, hint, checkName(l.name, l.kind != "registry")
	case "":
		if isPath(ref) {
			return l, hintPath, nil
		}
		return l, hintName, nil // could be a file all the same
	}
	if l.name == "" {
		return l, hintPath, fmt.Errorf("nothing follows %q", ref)
	}
	return l, hintPath, nil
}

func isPath(ref string) bool { return strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, ".") }

var (
	imageID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(sha256:)?[0-9a-f]{1,64}$`) })
	// nameChars are those of the names' grammar; [ and ] are for an IPv6 address.
	nameChars = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[][0-9A-Za-z.:/@_+-]+$`) })
)

// checkName keeps what is no name, such as an option, from an engine's command.
func checkName(s string, id bool) error {
	if id && imageID().MatchString(s) {
		return nil
	}
	if strings.HasPrefix(s, "-") {
		return fmt.Errorf("%w: %q looks like an option", ErrReference, s)
	}
	if _, err := name.ParseReference(s); err != nil {
		return fmt.Errorf("%w: %w", ErrReference, err)
	}
	if !nameChars().MatchString(s) {
		return fmt.Errorf("%w: a character that no name has", ErrReference)
	}
	return nil
}

func (m *Image) find(ctx context.Context, ref string, o Options) (string, error) {
	l, hint, err := parseRef(ref)
	if err != nil {
		return hint, err
	}
	switch l.kind {
	case "registry":
		return hint, m.fromRegistry(ctx, l.name)
	case "docker", "podman":
		return hint, m.fromEngine(ctx, l.kind, l.name, o)
	case "oci":
		return hint, m.fromLayout(splitTag(l.name))
	case "docker-archive":
		return hint, m.fromDockerArchive(l.name)
	case "oci-archive":
		return hint, m.fromOCIArchive(ctx, l.name, o)
	case "tar":
		return hint, m.fromTar(ctx, l.name)
	case "dir":
		return hint, m.fromDir(l.name)
	}
	info, err := os.Stat(ref)
	switch {
	case err == nil && info.Mode().IsRegular():
		return hintPath, m.fromFile(ctx, ref, o)
	case isPath(ref) && err != nil:
		return hintPath, err
	case isPath(ref) && info.IsDir():
		if _, err := os.Stat(filepath.Join(ref, "oci-layout")); err == nil {
			return hintPath, m.fromLayout(ref, "")
		}
		return hintPath, m.fromDir(ref)
	case isPath(ref):
		return hintPath, errors.New("neither a directory nor a regular file")
	}
	if err := checkName(ref, true); err != nil {
		return hintName, err
	}
	var tried []error
	for _, engine := range []string{"docker", "podman"} {
		if _, err := exec.LookPath(engine); err != nil {
			continue
		}
		if err := m.fromEngine(ctx, engine, ref, o); err == nil {
			return "", nil
		} else if ctx.Err() != nil {
			return "", ctx.Err()
		} else {
			tried = append(tried, err)
		}
	}
	err = checkName(ref, false)
	if err == nil {
		err = m.fromRegistry(ctx, ref)
	}
	if err != nil {
		return hintName, errors.Join(append(tried, err)...)
	}
	return "", nil
}

// splitTag splits DIR[:TAG]; a directory that is there keeps its colon.
func splitTag(s string) (dir, tag string) {
	if _, err := os.Stat(s); err == nil {
		return s, ""
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 && !strings.Contains(s[i:], "/") {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// inspected is what docker and podman image inspect have in common.
type inspected struct {
	ID           string `json:"Id"`
	Architecture string
	Os           string
	Config       v1.Config
	Healthcheck  *v1.HealthConfig // Podman's place for it
	RootFS       struct{ Layers []string }
}

// fromEngine goes through the command, which knows its contexts, sockets and
// rights. The layers are asked for when the first is read: that takes seconds,
// and who has the image in a cache needs none.
func (m *Image) fromEngine(ctx context.Context, engine, ref string, o Options) error {
	out, err := engineCommand(ctx, engine, "image", "inspect", ref)
	if err != nil {
		return err
	}
	var found []inspected
	if err := json.Unmarshal(out, &found); err != nil || len(found) != 1 {
		return fmt.Errorf("%s image inspect says nothing of use: %w", engine, err)
	}
	in := found[0]
	if !strings.Contains(in.ID, ":") {
		in.ID = "sha256:" + in.ID // Podman leaves it out
	}
	if in.Config.Healthcheck == nil {
		in.Config.Healthcheck = in.Healthcheck
	}
	m.Source, m.ID = engine, in.ID
	m.Config = v1.ConfigFile{Architecture: in.Architecture, OS: in.Os, Config: in.Config, RootFS: v1.RootFS{Type: "layers"}}
	m.Layers = nil
	for _, d := range in.RootFS.Layers {
		h, err := v1.NewHash(d)
		if err != nil {
			return err
		}
		m.Config.RootFS.DiffIDs = append(m.Config.RootFS.DiffIDs, h)
	}
	var once sync.Once
	var loaded Image
	var loadErr error
	m.load = func(ctx context.Context) error {
		once.Do(func() {
			if loadErr = m.save(ctx, &loaded, engine, o); loadErr != nil {
				return
			}
			m.Config.History = loaded.Config.History
			for i := range m.Layers {
				m.Layers[i].History = loaded.Layers[i].History
			}
		})
		return loadErr
	}
	for i, d := range in.RootFS.Layers {
		m.Layers = append(m.Layers, Layer{DiffID: d, open: func() (io.ReadCloser, error) { return loaded.Layers[i].open() }})
	}
	return nil
}

// save writes the engine's image to a file, since an archive of docker save is
// read twice.
func (m *Image) save(ctx context.Context, to *Image, engine string, o Options) error {
	dir, err := m.tempDir(o)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "image.tar")
	// By ID: the name could mean another image by now.
	if _, err := engineCommand(ctx, engine, "image", "save", "-o", file, m.ID); err != nil {
		return err
	}
	if err := to.fromDockerArchive(file); err != nil {
		return err
	}
	got := to.Config.RootFS.DiffIDs
	if !slices.Equal(got, m.Config.RootFS.DiffIDs) {
		return fmt.Errorf("%s saved layers %v, want %v", engine, got, m.Config.RootFS.DiffIDs)
	}
	return nil
}

func engineCommand(ctx context.Context, engine string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, engine, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if said := complaint(stderr.String()); said != "" {
			return nil, fmt.Errorf("%s: %s", engine, said)
		}
		return nil, fmt.Errorf("%s: %w", engine, err)
	}
	return stdout.Bytes(), nil
}

// complaint is the line of an engine's standard error that says what is wrong: Podman
// logs warnings before it.
func complaint(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "Error") {
			return line
		}
	}
	return lines[len(lines)-1]
}

func platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

func (m *Image) fromRegistry(ctx context.Context, ref string) error {
	r, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	img, err := remote.Image(r, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(platform()))
	if err != nil {
		return err
	}
	m.Source = "registry"
	return m.use(img, true)
}

// use takes over what a go-containerregistry image says. stored: the layers have
// a digest of their stored bytes.
func (m *Image) use(img v1.Image, stored bool) error {
	raw, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	cfg, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("the configuration: %w", err)
	}
	m.Config = *cfg
	h := sha256.New()
	h.Write(raw)
	m.ID = fmt.Sprintf("sha256:%x", h.Sum(nil))
	if stored {
		manifest, err := img.Manifest()
		if err != nil {
			return err
		}
		if err := verify("configuration", manifest.Config.Digest.String(), h); err != nil {
			return err
		}
		d, err := img.Digest()
		if err != nil {
			return err
		}
		m.Digest = d.String()
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(cfg.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers, but the configuration names %d", len(layers), len(cfg.RootFS.DiffIDs))
	}
	var history []string
	for _, h := range cfg.History {
		if h.EmptyLayer {
			continue
		}
		by := h.CreatedBy
		if by == "" {
			by = h.Comment // docker import has only this
		}
		history = append(history, by)
	}
	for i, l := range layers {
		out := Layer{DiffID: cfg.RootFS.DiffIDs[i].String(), open: l.Uncompressed}
		if stored {
			d, err := l.Digest()
			if err != nil {
				return err
			}
			out.Digest, out.open = d.String(), l.Compressed
		}
		if i < len(history) {
			out.History = history[i]
		}
		m.Layers = append(m.Layers, out)
	}
	return nil
}

func (m *Image) fromLayout(dir, tag string) error {
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return fmt.Errorf("no OCI layout: %w", err)
	}
	img, err := choose(idx, tag, 0)
	if err != nil {
		return err
	}
	m.Source = "oci"
	return m.use(img, true)
}

// choose finds the image with the tag, or the only one, or the one for this
// platform in an index of several.
func choose(idx v1.ImageIndex, tag string, depth int) (v1.Image, error) {
	if depth > 4 {
		return nil, errors.New("the index is nested too deep")
	}
	manifest, err := idx.IndexManifest()
	if err != nil {
		return nil, err
	}
	var fit []v1.Descriptor
	var have []string
	for _, d := range manifest.Manifests {
		t := d.Annotations["org.opencontainers.image.ref.name"]
		have = append(have, t)
		if tag != "" && t != tag {
			continue
		}
		if d.Platform != nil && (d.Platform.OS != "linux" || d.Platform.Architecture != runtime.GOARCH) {
			continue
		}
		if d.MediaType.IsImage() || d.MediaType.IsIndex() {
			fit = append(fit, d)
		}
	}
	if len(fit) != 1 {
		return nil, fmt.Errorf("%d images fit tag %q and linux/%s; it has %q", len(fit), tag, runtime.GOARCH, have)
	}
	d := fit[0]
	check := func(raw []byte, err error) error {
		if err != nil {
			return err
		}
		h := sha256.New()
		h.Write(raw)
		return verify("manifest", d.Digest.String(), h)
	}
	if d.MediaType.IsIndex() {
		sub, err := idx.ImageIndex(d.Digest)
		if err != nil {
			return nil, err
		}
		if err := check(sub.RawManifest()); err != nil {
			return nil, err
		}
		return choose(sub, "", depth+1)
	}
	img, err := idx.Image(d.Digest)
	if err != nil {
		return nil, err
	}
	return img, check(img.RawManifest())
}

func (m *Image) fromDockerArchive(file string) error {
	img, err := tarball.Image(func() (io.ReadCloser, error) { return openPlain(file) }, nil)
	if err != nil {
		return fmt.Errorf("no archive of docker save with one image: %w", err)
	}
	m.Source = "docker-archive"
	return m.use(img, false)
}

// plainFile is a file behind its decompression.
type plainFile struct {
	io.Reader
	close func() error
}

func (p *plainFile) Close() error { return p.close() }

// openPlain opens a file that may be compressed.
func openPlain(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	in, done, err := decompress(bufio.NewReaderSize(f, 1<<18))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &plainFile{in, func() error {
		done()
		return f.Close()
	}}, nil
}

// fromOCIArchive puts the archive's layout into a directory of its own; only
// the names that a layout has are taken.
func (m *Image) fromOCIArchive(ctx context.Context, file string, o Options) error {
	in, err := openPlain(file)
	if err != nil {
		return err
	}
	defer in.Close()
	dir, err := m.tempDir(o)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := Limits{}.orDefault()
	for tr := tar.NewReader(&ctxReader{ctx, in}); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
		if left.Entries--; left.Entries < 0 {
			return errors.New("the archive has more entries than the limit")
		}
		if left.Bytes -= h.Size; left.Bytes < 0 {
			return errors.New("the archive has more bytes than the limit")
		}
		n := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || n != "index.json" && n != "oci-layout" && !strings.HasPrefix(n, "blobs/") {
			continue
		}
		if err := root.MkdirAll(path.Dir(n), 0o700); err != nil {
			return err
		}
		w, err := root.OpenFile(n, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, tr)
		if err := errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
	}
	if err := m.fromLayout(dir, ""); err != nil {
		return err
	}
	m.Source = "oci-archive"
	return nil
}

// fromFile tells archives apart by the names in them.
func (m *Image) fromFile(ctx context.Context, file string, o Options) error {
	in, err := openPlain(file)
	if err != nil {
		return err
	}
	defer in.Close()
	var oci bool
	// An archive of docker save has its manifest.json behind the layers.
	for tr := tar.NewReader(&ctxReader{ctx, in}); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("no tar archive: %w", err)
		}
		switch path.Clean(h.Name) {
		case "manifest.json":
			return m.fromDockerArchive(file)
		case "oci-layout":
			oci = true
		}
	}
	if oci {
		return m.fromOCIArchive(ctx, file, o)
	}
	return m.fromTar(ctx, file)
}

func (m *Image) fromTar(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &ctxReader{ctx, f}); err != nil {
		return err
	}
	m.ID = fmt.Sprintf("sha256:%x", h.Sum(nil))
	m.Source = "tar"
	// The digest notices that the file changed since.
	m.Layers = []Layer{{Digest: m.ID, open: openFile(file)}}
	return nil
}

func (m *Image) fromDir(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: dir, Err: errors.New("not a directory")}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	m.Source, m.dir = "dir", dir
	m.Layers = []Layer{{open: func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(tarDir(w, dir)) }()
		return r, nil
	}}}
	return nil
}
