//go:build linux

package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("LEASTCAP_TEST_FILL"); dir != "" {
		os.Exit(fillForever(dir))
	}
	os.Exit(m.Run())
}

// entry is one entry of a layer; its body is the content of a regular file.
type entry struct {
	tar.Header
	body string
}

var then = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: then}, body}
}
func dir(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: then}, ""}
}
func symlink(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777, ModTime: then}, ""}
}
func link(name, to string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, Mode: 0o644, ModTime: then}, ""}
}
func special(kind byte, name string, major, minor int64) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Mode: 0o620, Devmajor: major, Devminor: minor, ModTime: then}, ""}
}
func (e entry) mode(m int64) entry   { e.Mode = m; return e }
func (e entry) owner(u, g int) entry { e.Uid, e.Gid = u, g; return e }
func (e entry) xattr(k, v string) entry {
	e.PAXRecords = map[string]string{"SCHILY.xattr." + k: v}
	return e
}

// tarOf is a layer's tar.
func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.body))
		}
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sha(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// imageOf is an image in memory.
func imageOf(tars ...[]byte) *Image {
	m := &Image{Ref: "test"}
	all := sha256.New()
	for i, b := range tars {
		all.Write(b)
		m.Layers = append(m.Layers, Layer{
			Digest: sha(b), DiffID: sha(b), History: fmt.Sprintf("step %d", i+1),
			open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		})
	}
	m.ID = fmt.Sprintf("sha256:%x", all.Sum(nil))
	return m
}

// names lists what is in a directory, and nothing of a missing one.
func names(t testing.TB, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i] = filepath.Base(list[i])
	}
	return list
}

// header is one of a file whose content need not follow.
func header(name string, size int64) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatPAX}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// run is a command that has to succeed; it gives its standard output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, stderr.String())
	}
	return string(out)
}
