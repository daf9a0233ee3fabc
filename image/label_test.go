package image

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var someLabels = map[string]string{"RUN": "docker run ${IMAGE} <&>", "a.b": ""}

// labelled sets labels, and a second time, which changes nothing.
func labelled(t *testing.T, ref, to string) *Labelled {
	t.Helper()
	l, err := SetLabels(context.Background(), ref, someLabels, to, Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if !l.Changed {
		t.Error("nothing changed")
	}
	again, err := SetLabels(context.Background(), l.Place, someLabels, "", Options{TempDir: t.TempDir()})
	if err != nil || again.Changed || again.Digest != l.Digest {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	return l
}

// like holds that an image is another with labels, in its configuration and layers.
func like(t *testing.T, old, now v1.Image) {
	t.Helper()
	if err := validate.Image(now); err != nil {
		t.Error(err)
	}
	var a, b map[string]any
	for img, to := range map[v1.Image]*map[string]any{old: &a, now: &b} {
		raw, err := img.RawConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, to); err != nil {
			t.Fatal(err)
		}
	}
	config, _ := b["config"].(map[string]any)
	labels, _ := config["Labels"].(map[string]any)
	for k, v := range someLabels {
		if labels[k] != v {
			t.Errorf("label %s is %q, want %q", k, labels[k], v)
		}
		delete(labels, k)
	}
	if c, _ := a["config"].(map[string]any); c["Labels"] == nil && len(labels) == 0 {
		delete(config, "Labels")
	}
	if list, _ := b["history"].([]any); len(list) > 0 {
		b["history"] = list[:len(list)-1]
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the configuration is another: %s", diff)
	}
}

// richImage has what package v1 does not know in its configuration.
func richImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(100, 2)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	raw, err = editJSON(raw, "config", func(json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(`{"Cmd":["x"],"Labels":{"old":"1"},"Healthcheck":{"Test":["NONE"],"StartInterval":5},"new.field":[1e3]}`), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &relabelled{img, raw}
}

func TestLabelRegistry(t *testing.T) {
	host := serve(t, nil)
	img := richImage(t)
	if err := remote.Write(ref(t, host+"/a:1"), img); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{host + "/b:2", ""} {
		l := labelled(t, "docker://"+host+"/a:1", to)
		now, err := remote.Image(ref(t, strings.TrimPrefix(l.Place, "docker://")))
		if err != nil {
			t.Fatal(err)
		}
		like(t, img, now)
		if h, _ := now.ConfigName(); h.String() != l.Digest {
			t.Errorf("digest %s, want %s", l.Digest, h)
		}
	}
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	_, err = SetLabels(context.Background(), "docker://"+host+"/a@"+h.String(), someLabels, "", Options{})
	if err == nil || !strings.Contains(err.Error(), "name a tag") {
		t.Errorf("by digest: %v", err)
	}
}

func TestLabelIndex(t *testing.T) {
	host := serve(t, nil)
	old := pushIndex(t, host+"/a:1", v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"})
	index, err := remote.Index(ref(t, host+"/a:1"))
	if err != nil {
		t.Fatal(err)
	}
	// What BuildKit adds, and an annotation.
	att, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: att, Descriptor: v1.Descriptor{
		Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}, Annotations: map[string]string{attestation: "attestation-manifest"}}})
	index = mutate.Annotations(index, map[string]string{"k": "v"}).(v1.ImageIndex)
	if err := remote.WriteIndex(ref(t, host+"/a:1").(name.Tag), index); err != nil {
		t.Fatal(err)
	}
	labelled(t, "docker://"+host+"/a:1", "")
	now, err := remote.Index(ref(t, host+"/a:1"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := now.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Annotations["k"] != "v" || m.MediaType != types.OCIImageIndex || len(m.Manifests) != 2 {
		t.Fatalf("the index: %+v", m)
	}
	for i, d := range m.Manifests {
		img, err := now.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		like(t, old[i], img)
	}
	if m.Manifests[1].Platform.Variant != "v8" {
		t.Errorf("%+v", m.Manifests[1])
	}
}

func TestLabelLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a:b") // a colon in its name
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	images := []v1.Image{richImage(t), richImage(t)}
	for i, tag := range []string{"one", "two"} {
		if err := path.AppendImage(images[i], layout.WithAnnotations(map[string]string{refName: tag, "x": "y"}), layout.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH})); err != nil {
			t.Fatal(err)
		}
	}
	tags := func() map[string]v1.Image {
		t.Helper()
		index, err := layout.ImageIndexFromPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]v1.Image{}
		for _, d := range m.Manifests {
			if d.Annotations["x"] != "y" || d.Platform == nil {
				t.Errorf("%+v", d)
			}
			if found[d.Annotations[refName]], err = index.Image(d.Digest); err != nil {
				t.Fatal(err)
			}
		}
		return found
	}
	labelled(t, "oci:"+dir+":one", "three")
	if got := tags(); len(got) != 3 {
		t.Fatalf("%v", got)
	} else {
		like(t, images[0], got["three"])
	}
	labelled(t, "oci:"+dir+":two", "")
	got := tags()
	if len(got) != 3 {
		t.Fatalf("%v", got)
	}
	like(t, images[1], got["two"])
	if config, err := partial.ConfigFile(got["one"]); err != nil || config.Config.Labels["RUN"] != "" {
		t.Errorf("the other image has %v, %v", config.Config.Labels, err)
	}
	other := filepath.Join(t.TempDir(), "new")
	labelled(t, "oci:"+dir+":one", "oci:"+other)
	if _, err := Open(context.Background(), other, Options{}); err != nil {
		t.Error(err)
	}
	if _, err := SetLabels(context.Background(), dir, someLabels, "", Options{}); err == nil || !strings.Contains(err.Error(), "3 images fit") {
		t.Errorf("without a tag: %v", err)
	}
}

func TestLabelArchive(t *testing.T) {
	dir := t.TempDir()
	img := richImage(t)
	for _, tags := range [][]string{{"example.com/a:1", "b:2"}, nil} {
		file := filepath.Join(dir, "a.tar")
		c := &content{image: img}
		for _, s := range tags {
			c.tags = append(c.tags, ref(t, s))
		}
		if err := writeArchive(file, c); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
		labelled(t, file, "")
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		now, err := readArchive(file)
		if err != nil {
			t.Fatal(err)
		}
		like(t, img, now.image)
		var have []string
		for _, r := range now.tags {
			have = append(have, r.String())
		}
		if diff := cmp.Diff(len(tags), len(have)); diff != "" {
			t.Errorf("tags %q, want %q", have, tags)
		}
		if _, err := tarball.ImageFromPath(file, nil); err != nil {
			t.Error(err)
		}
		labelled(t, file, "oci:"+filepath.Join(t.TempDir(), "x")+":new")
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

func TestLabelErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := serve(t, nil)
	for _, c := range []struct{ ref, to, want string }{
		{"", "", "it is empty"},
		{"-x", "", "no engine has it"},
		{text, "", "no archive of docker save"},
		{"dir:/", "", "has no labels"},
		{"oci:" + dir, "", "no OCI layout"},
		{"docker://" + host + "/none:1", "", "NAME_UNKNOWN"},
		{"docker://" + host + "/none:1", "dir:/x", "has no labels"},
		{"podman:-x", "", "looks like an option"},
	} {
		_, err := SetLabels(context.Background(), c.ref, someLabels, c.to, Options{TempDir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v, want %q", c.ref, c.to, err, c.want)
		}
	}
	if data, err := os.ReadFile(text); err != nil || string(data) != "hello" {
		t.Errorf("the file is %q, %v", data, err)
	}
}
