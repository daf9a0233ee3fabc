package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
)

// TestArchives reads archives as the engines make them of a file, a directory, and nothing.
func TestArchives(t *testing.T) {
	file := func(name, text string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Uid: 7, Size: int64(len(text))}
	}
	granted := file("ping", "text")
	granted.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	there := map[string][]tar.Header{
		"/bin/ping": {granted},
		"/usr/bin": {
			{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755}, file("bin/cp", "text"),
			{Typeflag: tar.TypeSymlink, Name: "bin/sh", Linkname: "dash"},
			{Typeflag: tar.TypeDir, Name: "bin/deep/"}, file("bin/deep/cp", "text"),
		},
		"/bin":      {{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "usr/bin"}},
		"/dev/null": {{Typeflag: tar.TypeChar, Name: "null"}},
		"/gone":     nil,
	}
	a := engine.Archives(func(_ context.Context, name string, _ bool) (io.ReadCloser, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range there[name] {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Size > 0 {
				_, _ = w.Write([]byte("text"))
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return io.NopCloser(&b), nil
	})
	raw := caps.FileCaps{Effective: true, Permitted: caps.Of(caps.NetRaw)}
	want := &engine.File{Path: "/bin/ping", Program: caps.Program{Mode: 0o755, UID: 7, Caps: &raw}, Content: []byte("text")}
	if got, err := a.Read(t.Context(), "/bin/ping"); err != nil || !cmp.Equal(want.Content, got.Content) || got.Path != want.Path || got.Mode != want.Mode || got.UID != want.UID ||
		got.Caps == nil || got.Caps.Permitted != raw.Permitted {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, name := range []string{"/usr/bin", "/bin", "/dev/null", "/gone"} {
		if f, err := a.Read(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was read as a file: %+v, %v", name, f, err)
		}
	}
	var names []string
	list, err := a.List(t.Context(), "/usr/bin")
	for _, f := range list {
		names = append(names, f.Path+" "+f.Link)
	}
	if diff := cmp.Diff([]string{"/usr/bin/cp ", "/usr/bin/sh dash"}, names); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	if list, err := a.List(t.Context(), "/bin"); err != nil || len(list) > 0 {
		t.Errorf("of a link: %v, %v", list, err)
	}
	if _, err := a.List(t.Context(), "/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}
