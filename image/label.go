package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/leastcap/leastcap/proc"
)

// Labelled is what [SetLabels] made.
type Labelled struct {
	// Place is where it was put, as a reference that [Open] takes.
	Place string
	// Digest is the new image's configuration, or the index's manifest.
	Digest string
	// Changed is false where the image had these labels already, and nothing was done.
	Changed bool
}

// SetLabels makes an image like ref with these labels, all else kept, and puts it to
// the place to: a reference as ref is, where one without a prefix is of ref's kind; ""
// is ref itself. An engine gets it by load, a registry by push; a layout and an archive
// of docker save are changed where they are. Of an index every image is labelled, and
// attestations, which are of the old images, are left out.
//
// ref is docker-daemon:NAME, podman:NAME or NAME (an engine's), docker://NAME,
// oci:DIR[:TAG], docker-archive:FILE, or the path of one of the last two. Errors are
// [*Error].
func SetLabels(ctx context.Context, ref string, labels map[string]string, to string, o Options) (*Labelled, error) {
	from, err := findPlace(ctx, ref)
	if err != nil {
		return nil, &Error{ref, err, "name it as NAME, podman:NAME, docker://NAME, oci:DIR[:TAG] or docker-archive:FILE"}
	}
	dest := from
	if to != "" {
		if dest, err = from.destination(to); err != nil {
			return nil, &Error{to, err, "name the new image as the old one, with another name or tag"}
		}
	}
	var temp Image
	dir, err := temp.tempDir(o)
	if err != nil {
		return nil, &Error{ref, err, "free some space, or set TMPDIR"}
	}
	defer temp.Close()
	c, err := from.read(ctx, dir)
	if err != nil {
		return nil, &Error{ref, err, hintName}
	}
	changed, err := c.label(labels)
	if err != nil {
		return nil, &Error{ref, err, "the image is kept as it is"}
	}
	out := &Labelled{Place: dest.String(), Changed: changed || to != ""}
	if out.Digest, err = c.digest(); err != nil {
		return nil, &Error{ref, err, "the image is kept as it is"}
	}
	if !out.Changed {
		return out, nil
	}
	if err := dest.write(ctx, dir, c); err != nil {
		return nil, &Error{dest.String(), err, "look at its name, and whether you may write there"}
	}
	return out, nil
}

// target is where an image is, or is to be.
type target struct {
	location
	tag string // a layout's
}

func (t target) String() string {
	switch t.kind {
	case "docker":
		return "docker-daemon:" + t.name
	case "registry":
		return "docker://" + t.name
	case "oci":
		return "oci:" + strings.TrimSuffix(t.name+":"+t.tag, ":")
	}
	return t.kind + ":" + t.name
}

// prefixed reads a reference that says of which kind it is; ok is false for another.
func prefixed(ref string) (t target, ok bool, err error) {
	l, _, err := parseRef(ref)
	if err != nil {
		return t, false, err
	}
	t.location = l
	switch l.kind {
	case "":
		return t, false, nil
	case "oci":
		t.name, t.tag = splitTag(l.name)
	case "oci-archive", "tar", "dir":
		return t, true, fmt.Errorf("%s: has no labels that leastcap can set", l.kind)
	}
	return t, true, nil
}

func findPlace(ctx context.Context, ref string) (target, error) {
	t, ok, err := prefixed(ref)
	if ok || err != nil {
		return t, err
	}
	if info, err := os.Stat(ref); err == nil && info.Mode().IsRegular() {
		return target{location: location{"docker-archive", ref}}, nil
	} else if err == nil {
		if _, err := os.Stat(filepath.Join(ref, "oci-layout")); err == nil {
			return target{location: location{"oci", ref}}, nil
		}
	}
	var tried []error
	for _, engine := range []string{"docker", "podman"} {
		if strings.HasPrefix(ref, "-") || ref == "" {
			break
		}
		if _, err := engineCommand(ctx, engine, "image", "inspect", "--format", "{{.Id}}", ref); err != nil {
			tried = append(tried, err)
			continue
		}
		return target{location: location{engine, ref}}, nil
	}
	return target{}, errors.Join(append(tried, errors.New("no engine has it (docker://NAME is a registry's)"))...)
}

// destination reads where the new image goes.
func (t target) destination(to string) (target, error) {
	d, ok, err := prefixed(to)
	if ok || err != nil {
		return d, err
	}
	d = t
	switch t.kind {
	case "oci":
		if d.tag = to; strings.ContainsAny(to, "/ ") {
			return d, errors.New("a tag of the same layout, or oci:DIR:TAG, is needed")
		}
	default:
		d.name = to
	}
	return d, nil
}

// content is an image, or an index of some.
type content struct {
	image v1.Image
	index v1.ImageIndex
	entry v1.Descriptor    // a layout's
	tags  []name.Reference // an archive's
}

func (c *content) digest() (string, error) {
	if c.index != nil {
		h, err := c.index.Digest()
		return h.String(), err
	}
	h, err := c.image.ConfigName()
	return h.String(), err
}

func (t target) read(ctx context.Context, dir string) (*content, error) {
	switch t.kind {
	case "registry":
		r, err := name.ParseReference(t.name)
		if err != nil {
			return nil, err
		}
		top, err := remote.Get(r, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
		if err != nil {
			return nil, err
		}
		if top.MediaType.IsIndex() {
			index, err := top.ImageIndex()
			return &content{index: index}, err
		}
		image, err := top.Image()
		return &content{image: image}, err
	case "oci":
		index, err := layout.ImageIndexFromPath(t.name)
		if err != nil {
			return nil, fmt.Errorf("no OCI layout: %w", err)
		}
		return tagged(index, t.tag)
	case "docker-archive":
		return readArchive(t.name)
	}
	if t.name == "" || strings.HasPrefix(t.name, "-") {
		return nil, fmt.Errorf("%q is no image name", t.name)
	}
	file := filepath.Join(dir, "old.tar")
	if _, err := engineCommand(ctx, t.kind, "image", "save", "-o", file, t.name); err != nil {
		return nil, err
	}
	return readArchive(file)
}

const refName = "org.opencontainers.image.ref.name"

// tagged finds the one entry of a layout.
func tagged(index v1.ImageIndex, tag string) (*content, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var fit []v1.Descriptor
	var have []string
	for _, d := range manifest.Manifests {
		have = append(have, d.Annotations[refName])
		if tag == "" || d.Annotations[refName] == tag {
			fit = append(fit, d)
		}
	}
	if len(fit) != 1 {
		return nil, fmt.Errorf("%d images fit tag %q; it has %q", len(fit), tag, have)
	}
	c := &content{entry: fit[0]}
	if c.entry.MediaType.IsIndex() {
		c.index, err = index.ImageIndex(c.entry.Digest)
	} else {
		c.image, err = index.Image(c.entry.Digest)
	}
	return c, err
}

func readArchive(file string) (*content, error) {
	open := func() (io.ReadCloser, error) { return os.Open(file) }
	list, err := tarball.LoadManifest(open)
	if err != nil || len(list) != 1 {
		return nil, errors.Join(errors.New("no archive of docker save with one image"), err)
	}
	c := &content{}
	for _, t := range list[0].RepoTags {
		tag, err := name.NewTag(t)
		if err != nil {
			return nil, err
		}
		c.tags = append(c.tags, tag)
	}
	c.image, err = tarball.Image(open, nil)
	return c, err
}

// label puts the labels in, and says whether that changes anything.
func (c *content) label(labels map[string]string) (changed bool, err error) {
	if c.index != nil {
		c.index, changed, err = labelIndex(c.index, labels, 0)
		return changed, err
	}
	c.image, changed, err = labelImage(c.image, labels)
	return changed, err
}

// attestation is how BuildKit marks what it says of another image of an index.
const attestation = "vnd.docker.reference.type"

func labelIndex(index v1.ImageIndex, labels map[string]string, depth int) (v1.ImageIndex, bool, error) {
	if depth > 4 {
		return nil, false, errors.New("the index is nested too deep")
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, false, err
	}
	changed := false
	var adds []mutate.IndexAddendum
	for _, d := range manifest.Manifests {
		if d.Annotations[attestation] != "" {
			continue
		}
		add := mutate.IndexAddendum{Descriptor: v1.Descriptor{MediaType: d.MediaType, Platform: d.Platform, URLs: d.URLs, Annotations: d.Annotations, ArtifactType: d.ArtifactType}}
		one := false
		switch {
		case d.MediaType.IsIndex():
			var sub v1.ImageIndex
			if sub, err = index.ImageIndex(d.Digest); err == nil {
				sub, one, err = labelIndex(sub, labels, depth+1)
			}
			add.Add = sub
		case d.MediaType.IsImage():
			var img v1.Image
			if img, err = index.Image(d.Digest); err == nil {
				img, one, err = labelImage(img, labels)
			}
			add.Add = img
		default:
			err = fmt.Errorf("the index has a %q", d.MediaType)
		}
		if err != nil {
			return nil, false, err
		}
		changed = changed || one
		adds = append(adds, add)
	}
	if !changed {
		return index, false, nil
	}
	all := func(v1.Descriptor) bool { return true }
	return mutate.AppendManifests(mutate.RemoveManifests(index, all), adds...), true, nil
}

// labelImage changes the configuration as JSON, so that nothing in it is lost that
// package v1 does not know.
func labelImage(img v1.Image, labels map[string]string) (v1.Image, bool, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, false, err
	}
	same := true
	all := map[string]string{}
	for k, v := range config.Config.Labels {
		all[k] = v
	}
	for k, v := range labels {
		old, ok := all[k]
		same = same && ok && old == v
		all[k] = v
	}
	if same {
		return img, false, nil
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, false, err
	}
	entry := v1.History{Created: config.Created, CreatedBy: "leastcap image label", EmptyLayer: true}
	raw, err = editJSON(raw, "history", func(old json.RawMessage) (json.RawMessage, error) {
		var list []json.RawMessage
		if len(old) > 0 {
			if err := json.Unmarshal(old, &list); err != nil {
				return nil, err
			}
		}
		if len(list) == 0 {
			return old, nil // without one, all layers are without
		}
		one, err := json.Marshal(entry)
		if err != nil {
			return nil, err
		}
		return json.Marshal(append(list, one))
	})
	if err == nil {
		raw, err = editJSON(raw, "config", func(old json.RawMessage) (json.RawMessage, error) {
			return editJSON(old, "Labels", func(json.RawMessage) (json.RawMessage, error) { return json.Marshal(all) })
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("the configuration: %w", err)
	}
	return &relabelled{img, raw}, true, nil
}

// editJSON changes one member of an object; what comes back empty is left out.
func editJSON(object json.RawMessage, key string, edit func(json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	m := map[string]json.RawMessage{}
	if len(object) > 0 && !bytes.Equal(object, []byte("null")) {
		if err := json.Unmarshal(object, &m); err != nil {
			return nil, err
		}
	}
	value, err := edit(m[key])
	if err != nil {
		return nil, err
	}
	if m[key] = value; len(value) == 0 {
		delete(m, key)
	}
	return json.Marshal(m)
}

// relabelled is an image with another configuration.
type relabelled struct {
	v1.Image
	config []byte
}

func (r *relabelled) RawConfigFile() ([]byte, error)      { return r.config, nil }
func (r *relabelled) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(r) }
func (r *relabelled) ConfigName() (v1.Hash, error)        { return partial.ConfigName(r) }
func (r *relabelled) Digest() (v1.Hash, error)            { return partial.Digest(r) }
func (r *relabelled) Size() (int64, error)                { return partial.Size(r) }
func (r *relabelled) Manifest() (*v1.Manifest, error)     { return partial.Manifest(r) }
func (r *relabelled) MediaType() (types.MediaType, error) { return r.Image.MediaType() }

func (r *relabelled) RawManifest() ([]byte, error) {
	raw, err := r.Image.RawManifest()
	if err != nil {
		return nil, err
	}
	h, size, err := v1.SHA256(bytes.NewReader(r.config))
	if err != nil {
		return nil, err
	}
	return editJSON(raw, "config", func(old json.RawMessage) (json.RawMessage, error) {
		set := func(value any) func(json.RawMessage) (json.RawMessage, error) {
			return func(json.RawMessage) (json.RawMessage, error) {
				if value == nil {
					return nil, nil
				}
				return json.Marshal(value)
			}
		}
		old, err := editJSON(old, "digest", set(h.String()))
		if err == nil {
			old, err = editJSON(old, "size", set(size))
		}
		if err == nil {
			old, err = editJSON(old, "data", set(nil)) // the old one, embedded
		}
		return old, err
	})
}

func (r *relabelled) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if own, err := r.ConfigName(); err == nil && h == own {
		return partial.ConfigLayer(r)
	}
	return r.Image.LayerByDigest(h)
}

func (t target) write(ctx context.Context, dir string, c *content) error {
	switch t.kind {
	case "registry":
		tag, err := newTag(t.name)
		if err != nil {
			return err
		}
		opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
		if c.index != nil {
			return remote.WriteIndex(tag, c.index, opts...)
		}
		return remote.Write(tag, c.image, opts...)
	case "oci":
		return t.writeLayout(c)
	}
	if c.index != nil {
		return errors.New("an index of several images does not go into an engine or an archive")
	}
	if t.kind == "docker-archive" {
		return writeArchive(t.name, c)
	}
	id, err := engineCommand(ctx, t.kind, "image", "inspect", "--format", "{{.Id}}", t.name)
	if err == nil && imageID().MatchString(t.name) && strings.HasPrefix(trimID(string(id)), trimID(t.name)) {
		return errors.New("that is an id and no name: name the new image")
	}
	tag, err := newTag(t.name)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "new.tar")
	if err := tarball.WriteToFile(file, tag, c.image); err != nil {
		return err
	}
	_, err = engineCommand(ctx, t.kind, "load", "-i", file)
	return err
}

// trimID: Podman leaves the algorithm out.
func trimID(s string) string { return strings.TrimPrefix(strings.TrimSpace(s), "sha256:") }

func newTag(s string) (name.Tag, error) {
	if strings.Contains(s, "@") {
		return name.Tag{}, errors.New("what is named by its digest cannot change: name a tag")
	}
	return name.NewTag(s)
}

// writeLayout replaces the entry of that tag, or the one that was read.
func (t target) writeLayout(c *content) error {
	path, err := layout.FromPath(t.name)
	if errors.Is(err, fs.ErrNotExist) {
		path, err = layout.Write(t.name, empty.Index)
	}
	if err != nil {
		return fmt.Errorf("no OCI layout: %w", err)
	}
	notes := map[string]string{}
	for k, v := range c.entry.Annotations {
		notes[k] = v
	}
	replaces := match.Digests(c.entry.Digest)
	if t.tag != "" {
		notes[refName] = t.tag
		replaces = match.Name(t.tag)
	}
	opts := []layout.Option{layout.WithAnnotations(notes)}
	if c.entry.Platform != nil {
		opts = append(opts, layout.WithPlatform(*c.entry.Platform))
	}
	if c.index != nil {
		return path.ReplaceIndex(c.index, replaces, opts...)
	}
	return path.ReplaceImage(c.image, replaces, opts...)
}

// writeArchive puts a new archive in a file's place, with its mode and owner.
func writeArchive(file string, c *content) (err error) {
	refs := map[name.Reference]v1.Image{}
	for _, t := range c.tags {
		refs[t] = c.image
	}
	if len(refs) == 0 {
		h, err := c.image.ConfigName()
		if err != nil {
			return err
		}
		none, err := name.NewDigest("none@" + h.String()) // which puts no tag in
		if err != nil {
			return err
		}
		refs[none] = c.image
	}
	proc.SweepTemp(filepath.Dir(file))
	tmp, err := os.CreateTemp(filepath.Dir(file), proc.TempPattern())
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = tarball.MultiRefWrite(refs, tmp)
	if info, serr := os.Stat(file); serr == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
			err = errors.Join(err, tmp.Chown(int(st.Uid), int(st.Gid)))
		}
		err = errors.Join(err, tmp.Chmod(info.Mode().Perm()))
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
