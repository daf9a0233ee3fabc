package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What is taken from a registry, which is a stranger.
const (
	MaxAttachment = 1 << 20 // bytes of one attached file
	maxAttached   = 100     // attached files of one image
	maxAnswer     = 4 << 20 // bytes of any answer: a registry need not take a larger manifest
	maxManifests  = 32      // of one platform in an index
)

// created is the OCI annotation for when an artifact was made, in RFC 3339.
const created = "org.opencontainers.image.created"

// ErrReference is in the error for a reference that is no image's name.
var ErrReference = errors.New("not the name of an image in a registry")

// Remote is an image in a registry, to which files can be attached: as OCI
// artifacts that refer to it (OCI distribution-spec 1.1, "Listing Referrers" and
// "Referrers Tag Schema").
type Remote struct {
	// Ref is the reference as it was given, Repository what it names without tag.
	Ref, Repository string
	// Digest is that of what the reference names: a manifest or an index.
	Digest string
	// Images are those of one platform: the image itself, or the index's; more than
	// one where the platform has variants.
	Images []RemoteImage

	repo   name.Repository
	limits *limits
}

// RemoteImage is one platform's image.
type RemoteImage struct {
	Digest string // the manifest's
	ID     string // the configuration's: Docker's image id

	manifest v1.Descriptor
}

// Attachment is a file that is attached to an image.
type Attachment struct {
	// Type is the media type of the artifact and of the file.
	Type        string
	Annotations map[string]string
	Data        []byte

	// Digest is that of the artifact's manifest, and Image what it refers to. Both
	// are filled in where it was read from a registry.
	Digest string
	Image  RemoteImage
}

// Unread is what a registry lists and what could not be taken.
type Unread struct {
	Digest string
	Err    error
}

// Resolve finds an image in its registry, with the user's docker credentials. A
// platform is OS/ARCHITECTURE; "" is Linux on this machine's architecture.
func Resolve(ctx context.Context, ref, platform string) (*Remote, error) {
	r, err := name.ParseReference(strings.TrimPrefix(ref, "docker://"))
	if err != nil {
		return nil, &Error{ref, fmt.Errorf("%w: %w", ErrReference, err), "name it as docker pull does: [HOST/]NAME[:TAG][@DIGEST]"}
	}
	m := &Remote{Ref: ref, Repository: r.Context().Name(), repo: r.Context(), limits: &limits{}}
	if err := m.resolve(ctx, r, platform); err != nil {
		return nil, m.fail(err)
	}
	return m, nil
}

func (m *Remote) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(m.limits)}
}

func (m *Remote) resolve(ctx context.Context, r name.Reference, on string) error {
	want := platform()
	if on != "" {
		p, err := v1.ParsePlatform(on)
		if err != nil {
			return err
		}
		want = *p
	}
	top, err := remote.Get(r, m.options(ctx)...)
	if err != nil {
		return err
	}
	m.Digest = top.Digest.String()
	if top.MediaType.IsImage() {
		return m.add(top)
	}
	if !top.MediaType.IsIndex() {
		return fmt.Errorf("it is neither an image nor an index of images, but %q", top.MediaType)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(top.Manifest))
	if err != nil {
		return fmt.Errorf("the index: %w", err)
	}
	var have []string
	for _, d := range index.Manifests {
		if d.Platform == nil || !d.MediaType.IsImage() {
			continue
		}
		if !d.Platform.Satisfies(want) || len(m.Images) == maxManifests {
			have = append(have, d.Platform.String())
			continue
		}
		image, err := remote.Get(m.repo.Digest(d.Digest.String()), m.options(ctx)...)
		if err != nil {
			return err
		}
		if err := m.add(image); err != nil {
			return err
		}
	}
	if len(m.Images) == 0 {
		return fmt.Errorf("it has no image for %s; it has %q", want, have)
	}
	return nil
}

func (m *Remote) add(d *remote.Descriptor) error {
	manifest, err := v1.ParseManifest(bytes.NewReader(d.Manifest))
	if err != nil {
		return fmt.Errorf("the manifest: %w", err)
	}
	m.Images = append(m.Images, RemoteImage{
		Digest: d.Digest.String(), ID: manifest.Config.Digest.String(),
		manifest: v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size},
	})
	return nil
}

// Is says whether an engine that has the image calls it so. With Docker's own
// store an image's id is the configuration's digest, with containerd's that of the
// manifest or of the index.
func (m *Remote) Is(image RemoteImage, id string) bool {
	id = strings.TrimPrefix(id, "sha256:") // Podman leaves it out
	if id == "" {
		return false
	}
	return "sha256:"+id == image.ID || "sha256:"+id == image.Digest || "sha256:"+id == m.Digest
}

// Attach attaches a file to an image and gives the artifact's digest. The same file
// with the same annotations is one artifact, however often it is attached; added
// says that it was not there before. A registry without a referrers API has a tag
// for the list, which two at a time can spoil: so it is looked at again.
func (m *Remote) Attach(ctx context.Context, to RemoteImage, a Attachment) (digest string, added bool, err error) {
	if len(a.Data) > MaxAttachment {
		return "", false, m.fail(fmt.Errorf("what is to be attached has %d bytes; at most %d are taken", len(a.Data), MaxAttachment))
	}
	config := static.NewLayer([]byte("{}"), types.MediaType(a.Type))
	file := static.NewLayer(a.Data, types.MediaType(a.Type))
	art, err := newArtifact(a, to.manifest, config, file)
	if err != nil {
		return "", false, m.fail(err)
	}
	h, _, err := v1.SHA256(bytes.NewReader(art))
	if err != nil {
		return "", false, m.fail(err)
	}
	digest = h.String()
	for try := 0; ; try++ {
		list, err := m.list(ctx, to.Digest, a.Type)
		if err != nil {
			return "", false, m.fail(err)
		}
		if slices.ContainsFunc(list, func(d v1.Descriptor) bool { return d.Digest == h }) {
			return digest, try > 0, nil
		}
		if try > 0 && m.limits.more {
			return digest, true, nil // on another page, as far as can be told
		}
		if try == 3 {
			return "", false, m.fail(errors.New("the registry took the artifact and does not list it"))
		}
		for _, blob := range []v1.Layer{config, file} {
			if err := remote.WriteLayer(m.repo, blob, m.options(ctx)...); err != nil {
				return "", false, m.fail(err)
			}
		}
		if err := remote.Put(m.repo.Digest(digest), art, m.options(ctx)...); err != nil {
			return "", false, m.fail(err)
		}
	}
}

// artifact is the bytes of an artifact's manifest.
type artifact []byte

func (a artifact) RawManifest() ([]byte, error)        { return a, nil }
func (a artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// newArtifact makes a manifest as the image-spec has it in "Guidelines for Artifact
// Usage". Its configuration has the artifact's type too, for the registries that
// know an artifact by that.
func newArtifact(a Attachment, subject v1.Descriptor, config, file v1.Layer) (artifact, error) {
	var parts [2]v1.Descriptor
	for i, l := range []v1.Layer{config, file} {
		d, err := l.Digest()
		if err != nil {
			return nil, err
		}
		size, err := l.Size()
		if err != nil {
			return nil, err
		}
		parts[i] = v1.Descriptor{MediaType: types.MediaType(a.Type), Digest: d, Size: size}
	}
	return json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: a.Type,
		Config: parts[0], Layers: parts[1:], Subject: &subject, Annotations: a.Annotations,
	})
}

// Attached gives the files of a type that are attached to the image, or to the
// index it is in, the newest first. Other types are passed over. Every digest is
// verified, and so is what each refers to; unread says what could not be taken, and
// why.
func (m *Remote) Attached(ctx context.Context, kind string) (list []Attachment, unread []Unread, err error) {
	subjects := slices.Clone(m.Images)
	if subjects[0].Digest != m.Digest {
		// What refers to the index holds for each of its images; the file itself may say
		// for which.
		subjects = append(subjects, RemoteImage{Digest: m.Digest, ID: m.Images[0].ID})
	}
	reads, left := 0, 0
	for _, s := range subjects {
		found, err := m.list(ctx, s.Digest, kind)
		if err != nil {
			return nil, nil, m.fail(err)
		}
		for _, d := range found {
			if reads++; reads > maxAttached {
				left++
				continue
			}
			a, err := m.read(ctx, s, d, kind)
			switch {
			case ctx.Err() != nil:
				return nil, nil, m.fail(ctx.Err())
			case err != nil:
				unread = append(unread, Unread{d.Digest.String(), err})
			case a != nil:
				list = append(list, *a)
			}
		}
	}
	if left > 0 {
		unread = append(unread, Unread{m.Digest, fmt.Errorf("%d more are listed than the %d that are read", left, maxAttached)})
	}
	if m.limits.more {
		unread = append(unread, Unread{m.Digest, errors.New("the registry lists more than its first page, which is all that is read")})
	}
	slices.SortStableFunc(list, func(a, b Attachment) int { return cmp.Compare(b.Annotations[created], a.Annotations[created]) })
	return list, unread, nil
}

// list gives what refers to a digest and can be of the type, the newest first, as
// the registry says.
func (m *Remote) list(ctx context.Context, digest, kind string) ([]v1.Descriptor, error) {
	m.limits.kind = kind
	index, err := remote.Referrers(m.repo.Digest(digest), m.options(ctx)...)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("the list of what refers to it: %w", err)
	}
	list := slices.DeleteFunc(slices.Clone(manifest.Manifests), func(d v1.Descriptor) bool {
		return d.ArtifactType != kind && !untyped(d) || !d.MediaType.IsImage()
	})
	slices.SortStableFunc(list, func(a, b v1.Descriptor) int {
		if untyped(a) != untyped(b) {
			if untyped(a) {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.Annotations[created], a.Annotations[created])
	})
	return list, nil
}

// untyped: some registries know an artifact by its configuration's type alone, and
// that can be the empty one.
func untyped(d v1.Descriptor) bool {
	return d.ArtifactType == "" || d.ArtifactType == "application/vnd.oci.empty.v1+json"
}

// read gives what one descriptor names, nil if it is of another type.
func (m *Remote) read(ctx context.Context, subject RemoteImage, d v1.Descriptor, kind string) (*Attachment, error) {
	got, err := remote.Get(m.repo.Digest(d.Digest.String()), m.options(ctx)...)
	if err != nil {
		return nil, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(got.Manifest))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the manifest: %w", err)
	case manifest.ArtifactType != kind && string(manifest.Config.MediaType) != kind:
		if untyped(d) {
			return nil, nil // an artifact of whatever kind
		}
		return nil, fmt.Errorf("its type is %q, and the registry lists it as %q", cmp.Or(manifest.ArtifactType, string(manifest.Config.MediaType)), d.ArtifactType)
	case manifest.Subject == nil || manifest.Subject.Digest.String() != subject.Digest:
		return nil, errors.New("it does not refer to this image")
	case len(manifest.Layers) != 1 || string(manifest.Layers[0].MediaType) != kind:
		return nil, fmt.Errorf("it has not one file of the type %s", kind)
	}
	file := manifest.Layers[0]
	if file.Size < 0 || file.Size > MaxAttachment {
		return nil, fmt.Errorf("its file has %d bytes; at most %d are taken", file.Size, MaxAttachment)
	}
	layer, err := remote.Layer(m.repo.Digest(file.Digest.String()), m.options(ctx)...)
	if err != nil {
		return nil, err
	}
	in, err := layer.Compressed() // verifies the digest at the end
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, file.Size+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) != file.Size:
		return nil, fmt.Errorf("its file has not the %d bytes that it should have", file.Size)
	}
	if h, _, err := v1.SHA256(bytes.NewReader(data)); err != nil || h != file.Digest {
		return nil, fmt.Errorf("the digest of its file is %s, want %s", h, file.Digest)
	}
	return &Attachment{Type: kind, Annotations: manifest.Annotations, Data: data, Digest: d.Digest.String(), Image: subject}, nil
}

// fail adds the reference and the next step.
func (m *Remote) fail(err error) error {
	hint := "check the name and the network"
	var t *transport.Error
	if errors.As(err, &t) {
		switch t.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			hint = fmt.Sprintf("docker login %s gives access; to attach something takes the right to push", m.repo.RegistryStr())
		case http.StatusNotFound:
			hint = "check the name; it has to be in the registry: docker push puts it there"
		}
	}
	return &Error{m.Ref, err, hint}
}

// limits is the transport. It ends answers that are too long, asks for one type of
// referrers only (which a registry may ignore), and notices a list of several pages.
type limits struct {
	kind string
	more bool
}

func (l *limits) RoundTrip(r *http.Request) (*http.Response, error) {
	referrers := strings.Contains(r.URL.Path, "/referrers/")
	if referrers && l.kind != "" {
		r = r.Clone(r.Context())
		q := r.URL.Query()
		q.Set("artifactType", l.kind)
		r.URL.RawQuery = q.Encode()
	}
	resp, err := remote.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if referrers && strings.Contains(resp.Header.Get("Link"), "next") {
		l.more = true
	}
	resp.Body = &limited{resp.Body, maxAnswer}
	return resp, nil
}

type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, fmt.Errorf("the registry's answer is longer than %d bytes", maxAnswer)
	}
	n, err := l.ReadCloser.Read(p)
	l.left -= int64(n)
	return n, err
}
