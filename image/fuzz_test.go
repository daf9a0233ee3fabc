//go:build linux

package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/name"
)

// hold holds for any image: nothing outside the root is touched, an error
// leaves nothing, and what was unpacked is what Scan says.
func hold(t *testing.T, tars ...[]byte) {
	t.Helper()
	parent, root := sandbox(t)
	m := imageOf(tars...)
	err := Unpack(t.Context(), m, root, Limits{Bytes: 1 << 20, Entries: 1000})
	if err != nil {
		if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something is left: %v", err)
		}
	} else if os.Geteuid() == 0 {
		sameAsScan(t, m, root)
	}
	untouched(t, parent)
	if err := removeAll(root); err != nil {
		t.Error(err)
	}
}

// FuzzArchive unpacks bytes, whose checksums are mended so that more than the
// first header is looked at.
func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, dir("d"), file("d/f", "x").mode(0o4755), symlink("s", "/d"), link("h", "s/f")), tarOf(f, file("d/.wh.f", ""), special(tar.TypeFifo, "p", 0, 0)))
	f.Add(tarOf(f, symlink("up", "../.."), file("up/canary", "dead")), tarOf(f, link("l", "up/canary"), file("up/.wh.canary", "")))
	f.Add(tarOf(f, file("d/.wh..wh..opq", "")), tarOf(f, file("f", "x").xattr("user.note", "y")))
	f.Add(raw(f, 'S', "sparse", ""), raw(f, 'g', "global", ""))
	f.Add(raw(f, 'L', "././@LongLink", ""), []byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, low, high []byte) { hold(t, mend(low), mend(high)) })
}

// mend writes the checksum of each block that could be a header.
func mend(b []byte) []byte {
	b = bytes.Clone(b)
	for at := 0; at+512 <= len(b); at += 512 {
		h := b[at : at+512]
		if string(h[257:262]) != "ustar" {
			continue
		}
		copy(h[148:156], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return b
}

// FuzzLayers unpacks well-formed archives of hostile names. Of each line the
// first character is the kind, before = the name, behind it the target or the
// body; a line "-" begins the next layer.
func FuzzLayers(f *testing.F) {
	for _, s := range []string{
		"dd\nfd/f=x\nsl=d\nhl/h=l/f\n-\nfd/.wh.f\nfl/g=y",
		"sa=..\nsb=a/..\nfb/canary=dead\nhx=b/canary\n-\nf.wh.a\nda\nfa/.wh..wh..opq",
		"f../canary=x", "fa/../../canary=x", "h/l=/../canary", "s.=/etc", "f.wh...=", "f.wh..wh.plnk/1=x",
		"sd=/\nfd/etc/x=y\n-\nfd/.wh.etc\nfetc=y", "uu=x\nhv=u\n-\nf.wh.u", "dd\nud/u=x\n-\nf.wh.d\ndd\n-\nsd=e\nde\nfd/.wh..wh..opq",
		"pp\ncc\nbb\nfp/x=y", "sa=b\nsb=a\nfa/x=y", "ua=x\ndb\nsb=a\nhb=a", "da/b/c\nsx=a/b\n-\ndx\nfx/c/f=y\n-\nf.wh.a\nfx/.wh..wh..opq",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, script string) {
		if len(script) > 2000 {
			t.Skip()
		}
		var tars [][]byte
		for layer := range strings.SplitSeq(script, "\n-\n") {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for line := range strings.SplitSeq(layer, "\n") {
				if line == "" {
					continue
				}
				n, rest, _ := strings.Cut(line[1:], "=")
				h := &tar.Header{Name: n, Mode: 0o755, Format: tar.FormatPAX}
				switch line[0] {
				case 'd':
					h.Typeflag = tar.TypeDir
				case 's':
					h.Typeflag, h.Linkname = tar.TypeSymlink, rest
				case 'h':
					h.Typeflag, h.Linkname = tar.TypeLink, rest
				case 'p':
					h.Typeflag = tar.TypeFifo
				case 'c':
					h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
				case 'b':
					h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, 7, 200
				case 'u':
					h.Typeflag, h.Mode, h.Size = tar.TypeReg, 0o4755, int64(len(rest))
				default:
					h.Typeflag, h.Size = tar.TypeReg, int64(len(rest))
				}
				if err := w.WriteHeader(h); err != nil {
					t.Skip() // no archive has it
				}
				if h.Size > 0 {
					if _, err := w.Write([]byte(rest)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			tars = append(tars, b.Bytes())
		}
		hold(t, tars...)
	})
}

func TestParseRef(t *testing.T) {
	for ref, want := range map[string]location{
		"nginx":                     {"", "nginx"},
		"docker.io/library/nginx:1": {"", "docker.io/library/nginx:1"},
		"localhost:5000/x@sha256:0": {"", "localhost:5000/x@sha256:0"}, // what it is comes later
		"docker://nginx":            {"registry", "nginx"},
		"docker-daemon:nginx:1":     {"docker", "nginx:1"},
		"docker-daemon:sha256:0123": {"docker", "sha256:0123"},
		"podman:localhost/x":        {"podman", "localhost/x"},
		"oci:/a/b:c":                {"oci", "/a/b:c"},
		"docker-archive:x.tar":      {"docker-archive", "x.tar"},
		"oci-archive:./x":           {"oci-archive", "./x"},
		"tar:a:b":                   {"tar", "a:b"},
		"dir:.":                     {"dir", "."},
		"./dir:x":                   {"", "./dir:x"},
		"/x":                        {"", "/x"},
	} {
		got, hint, err := parseRef(ref)
		if got != want || hint == "" || err != nil {
			t.Errorf("parseRef(%q) = %+v, %q, %v; want %+v", ref, got, hint, err, want)
		}
	}
	for _, ref := range []string{"", "a\x00b", "dir:", "tar:", "oci:", "docker://", "docker://-x", "docker-daemon:", "docker-daemon:--all", "podman:A B", "docker://x y", `docker://"./0`, "podman:é.example/x"} {
		if got, hint, err := parseRef(ref); err == nil || hint == "" {
			t.Errorf("parseRef(%q) = %+v, %q, %v; want an error and a hint", ref, got, hint, err)
		}
	}
}

// FuzzParseRef: what goes to a command or to a registry is a name, and nothing
// is lost on the way.
func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"", "nginx", "docker://x", "docker-daemon:-x", "oci:a:b", "dir:/", "podman:sha256:0", "./x", "docker-daemon:docker-daemon:x", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		l, hint, err := parseRef(ref)
		if hint == "" {
			t.Error("no hint")
		}
		if err != nil {
			return
		}
		if !strings.HasSuffix(ref, l.name) || l.name == "" {
			t.Errorf("parseRef(%q) = %+v", ref, l)
		}
		switch l.kind {
		case "":
			if l.name != ref {
				t.Errorf("parseRef(%q) = %+v", ref, l)
			}
		case "docker", "podman", "registry":
			_, err := name.ParseReference(l.name)
			if strings.HasPrefix(l.name, "-") || strings.ContainsAny(l.name, " \n\x00'\"$") || !utf8.ValidString(l.name) || err != nil && !imageID().MatchString(l.name) {
				t.Errorf("parseRef(%q) = %+v, %v", ref, l, err)
			}
		}
	})
}

// FuzzSplitTag: directory and tag are what was given.
func FuzzSplitTag(f *testing.F) {
	f.Add("a:b")
	f.Add("/a:b/c")
	f.Add(":")
	f.Fuzz(func(t *testing.T, s string) {
		d, tag := splitTag(s)
		if d+":"+tag != s && !(d == s && tag == "") {
			t.Errorf("splitTag(%q) = %q, %q", s, d, tag)
		}
	})
}

// FuzzOpenFile opens bytes as whatever they look like, and unpacks what comes
// of it; nothing stays behind.
func FuzzOpenFile(f *testing.F) {
	img := sample(f)
	for _, p := range []string{dockerArchive(f, img), compressed(f, dockerArchive(f, img))} {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	lay := ociLayout(f, img)
	oci := filepath.Join(f.TempDir(), "oci.tar")
	run(f, "tar", "-C", lay, "-cf", oci, "index.json", "oci-layout", "blobs")
	b, err := os.ReadFile(oci)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(tarOf(f, file("oci-layout", "{}"), file("blobs/../../x", "y"), file("blobs/sha256/../../../x", "y"), symlink("blobs", "/")))
	f.Add(tarOf(f, file("manifest.json", `[{"Config":"../x","Layers":["/etc/passwd"]}]`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		parent, root := sandbox(t)
		archive, temp := filepath.Join(t.TempDir(), "archive"), t.TempDir()
		if err := os.WriteFile(archive, mend(b), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(t.Context(), archive, Options{TempDir: temp})
		if err == nil {
			_ = Unpack(t.Context(), m, root, Limits{Bytes: 1 << 20, Entries: 1000}) // any error is fine
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
		if left := names(t, temp); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		untouched(t, parent)
		if err := removeAll(root); err != nil {
			t.Error(err)
		}
	})
}
