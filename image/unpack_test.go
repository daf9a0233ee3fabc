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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
)

// sandbox is a directory with a file beside it that nobody may touch.
func sandbox(t testing.TB) (parent, root string) {
	t.Helper()
	parent = t.TempDir()
	if err := os.WriteFile(filepath.Join(parent, "canary"), []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(parent, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	return parent, filepath.Join(parent, "root")
}

// untouched holds that only root came to the parent.
func untouched(t testing.TB, parent string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(parent, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == filepath.Join(parent, "root") {
			return fs.SkipDir
		}
		info, err := d.Info()
		got = append(got, fmt.Sprintf("%s %s", strings.TrimPrefix(p, parent), info.Mode()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if body, err := os.ReadFile(filepath.Join(parent, "canary")); err != nil || string(body) != "alive" {
		t.Errorf("the file beside: %q, %v", body, err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(parent, "canary"), &st); err != nil || st.Nlink != 1 {
		t.Errorf("the file beside has %d names, %v", st.Nlink, err)
	}
	got = got[1:] // the parent itself
	if want := []string{"/canary -rw-------", "/etc drwx------"}; !slices.Equal(got, want) {
		t.Errorf("beside the root: %q, want %q", got, want)
	}
}

// tree lists a directory: names, modes, links' targets, contents.
func tree(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s", strings.TrimPrefix(p, root+"/"), info.Mode())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += " -> " + to
		case info.Mode().IsRegular():
			body, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += " " + string(body[:min(len(body), 20)])
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Layers that are fine, whatever they try, and what comes of them.
func TestUnpack(t *testing.T) {
	tests := map[string]struct {
		layers [][]entry
		want   []string
	}{
		"kinds": {[][]entry{{
			dir("d").mode(0o1777), file("d/f", "body"), symlink("s", "d/f"), link("h", "d/f"), special(tar.TypeFifo, "p", 0, 0),
		}}, []string{"d dtrwxrwxrwx", "d/f -rw-r--r-- body", "h -rw-r--r-- body", "p prw--w----", "s Lrwxrwxrwx -> d/f"}},
		"set-id bits":       {[][]entry{{file("u", "x").mode(0o4755), file("g", "x").mode(0o2711), dir("d").mode(0o2775)}}, []string{"d dgrwxrwxr-x", "g grwx--x--x x", "u urwxr-xr-x x"}},
		"no directories":    {[][]entry{{file("a/b/c", "x")}}, []string{"a drwxr-xr-x", "a/b drwxr-xr-x", "a/b/c -rw-r--r-- x"}},
		"absolute names":    {[][]entry{{file("/etc/passwd", "x"), link("//l", "/etc/passwd")}}, []string{"etc drwxr-xr-x", "etc/passwd -rw-r--r-- x", "l -rw-r--r-- x"}},
		"dots":              {[][]entry{{file("./a/./b", "x")}}, []string{"a drwxr-xr-x", "a/b -rw-r--r-- x"}},
		"a read-only dir":   {[][]entry{{dir("d").mode(0o555), file("d/f", "x")}, {file("d/g", "y")}}, []string{"d dr-xr-xr-x", "d/f -rw-r--r-- x", "d/g -rw-r--r-- y"}},
		"a file twice":      {[][]entry{{file("f", "one"), file("f", "two")}}, []string{"f -rw-r--r-- two"}},
		"a link to itself":  {[][]entry{{file("f", "x"), link("f", "f"), link("./f", "/f")}}, []string{"f -rw-r--r-- x"}},
		"an empty archive":  {[][]entry{{}}, nil},
		"the root":          {[][]entry{{dir("./"), file("a", "x")}}, []string{"a -rw-r--r-- x"}},
		"a global header":   {[][]entry{{{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"comment": "x"}}, ""}, file("a", "x")}}, []string{"a -rw-r--r-- x"}},
		"a link to a link":  {[][]entry{{symlink("s", "/etc/passwd"), link("h", "s")}}, []string{"h Lrwxrwxrwx -> /etc/passwd", "s Lrwxrwxrwx -> /etc/passwd"}},
		"a lower hard link": {[][]entry{{file("a", "x")}, {link("b", "a")}}, []string{"a -rw-r--r-- x", "b -rw-r--r-- x"}},

		// Symbolic links are followed as in a chroot.
		"through an absolute link":     {[][]entry{{dir("usr/bin"), symlink("bin", "/usr/bin"), file("bin/sh", "x")}}, []string{"bin Lrwxrwxrwx -> /usr/bin", "usr drwxr-xr-x", "usr/bin drwxr-xr-x", "usr/bin/sh -rw-r--r-- x"}},
		"through a link out of it":     {[][]entry{{symlink("l", "../../.."), file("l/canary", "x")}}, []string{"canary -rw-r--r-- x", "l Lrwxrwxrwx -> ../../.."}},
		"through a link to nowhere":    {[][]entry{{symlink("l", "/no/where"), file("l/f", "x")}}, []string{"l Lrwxrwxrwx -> /no/where", "no drwxr-xr-x", "no/where drwxr-xr-x", "no/where/f -rw-r--r-- x"}},
		"through a link of two":        {[][]entry{{symlink("a", "/b"), symlink("b", "../etc"), file("a/f", "x")}}, []string{"a Lrwxrwxrwx -> /b", "b Lrwxrwxrwx -> ../etc", "etc drwxr-xr-x", "etc/f -rw-r--r-- x"}},
		"hard link through a link":     {[][]entry{{file("etc/passwd", "mine"), symlink("l", "/"), link("h", "l/etc/passwd")}}, []string{"etc drwxr-xr-x", "etc/passwd -rw-r--r-- mine", "h -rw-r--r-- mine", "l Lrwxrwxrwx -> /"}},
		"a link is replaced, not read": {[][]entry{{symlink("f", "/canary")}, {file("f", "x")}}, []string{"f -rw-r--r-- x"}},
		"a link becomes a directory":   {[][]entry{{symlink("d", "/etc"), file("etc/a", "x")}, {dir("d"), file("d/b", "y")}}, []string{"d drwxr-xr-x", "d/b -rw-r--r-- y", "etc drwxr-xr-x", "etc/a -rw-r--r-- x"}},
		"a directory becomes a link":   {[][]entry{{dir("d"), file("d/a", "x"), dir("e")}, {symlink("d", "e"), file("d/b", "y")}}, []string{"d Lrwxrwxrwx -> e", "e drwxr-xr-x", "e/b -rw-r--r-- y"}},
		"the same in one layer":        {[][]entry{{dir("d"), dir("d/x").mode(0o700), symlink("d", "/e"), dir("e"), dir("e/x").mode(0o711)}}, []string{"d Lrwxrwxrwx -> /e", "e drwxr-xr-x", "e/x drwx--x--x"}},
		"a directory becomes a file":   {[][]entry{{dir("d"), file("d/a", "x")}, {file("d", "y")}}, []string{"d -rw-r--r-- y"}},
		"a hard link is cut":           {[][]entry{{file("a", "one"), link("b", "a")}, {file("a", "two")}}, []string{"a -rw-r--r-- two", "b -rw-r--r-- one"}},
		"a directory is merged":        {[][]entry{{dir("d").mode(0o700), file("d/a", "x")}, {dir("d").mode(0o711), file("d/b", "y")}}, []string{"d drwx--x--x", "d/a -rw-r--r-- x", "d/b -rw-r--r-- y"}},

		"whiteout":                         {[][]entry{{file("d/a", "x"), file("d/b", "y")}, {file("d/.wh.a", "")}}, []string{"d drwxr-xr-x", "d/b -rw-r--r-- y"}},
		"whiteout of a directory":          {[][]entry{{file("d/a/b", "x")}, {file("d/.wh.a", "")}}, []string{"d drwxr-xr-x"}},
		"whiteout of a link":               {[][]entry{{file("etc/a", "x"), symlink("l", "etc/a")}, {file(".wh.l", "")}}, []string{"etc drwxr-xr-x", "etc/a -rw-r--r-- x"}},
		"whiteout through a link":          {[][]entry{{file("etc/a", "x"), symlink("l", "../../etc")}, {file("l/.wh.a", "")}}, []string{"etc drwxr-xr-x", "l Lrwxrwxrwx -> ../../etc"}},
		"whiteout of nothing":              {[][]entry{{file("a", "x")}, {file(".wh.b", ""), file("no/where/.wh.c", "")}}, []string{"a -rw-r--r-- x"}},
		"whiteout of its own layer":        {[][]entry{{file("a", "x")}, {file("a", "y"), file(".wh.a", "")}}, []string{"a -rw-r--r-- y"}},
		"whiteout below its own layer":     {[][]entry{{file("d/low", "x")}, {dir("d"), file("d/up", "y"), file(".wh.d", "")}}, []string{"d drwxr-xr-x", "d/up -rw-r--r-- y"}},
		"whiteout before its own layer":    {[][]entry{{file("d/low", "x")}, {file(".wh.d", ""), dir("d"), file("d/up", "y")}}, []string{"d drwxr-xr-x", "d/up -rw-r--r-- y"}},
		"opaque":                           {[][]entry{{file("d/a", "x"), file("d/e/f", "x"), file("o", "x")}, {dir("d"), file("d/.wh..wh..opq", ""), file("d/b", "y")}}, []string{"d drwxr-xr-x", "d/b -rw-r--r-- y", "o -rw-r--r-- x"}},
		"opaque after its own layer":       {[][]entry{{file("d/a", "x"), file("d/e/f", "x")}, {file("d/e/g", "y"), file("d/.wh..wh..opq", "")}}, []string{"d drwxr-xr-x", "d/e drwxr-xr-x", "d/e/g -rw-r--r-- y"}},
		"opaque root":                      {[][]entry{{file("a", "x")}, {file(".wh..wh..opq", ""), file("b", "y")}}, []string{"b -rw-r--r-- y"}},
		"opaque nothing":                   {[][]entry{{file("d/.wh..wh..opq", "")}}, nil},
		"what aufs keeps":                  {[][]entry{{file(".wh..wh.aufs", ""), dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file("a", "x")}}, []string{"a -rw-r--r-- x"}},
		"whiteout, then a link in its way": {[][]entry{{file("d/a", "x")}, {file(".wh.d", ""), symlink("d", "/etc"), file("d/b", "y")}}, []string{"d Lrwxrwxrwx -> /etc", "etc drwxr-xr-x", "etc/b -rw-r--r-- y"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			parent, root := sandbox(t)
			var tars [][]byte
			for _, l := range tt.layers {
				tars = append(tars, tarOf(t, l...))
			}
			m := imageOf(tars...)
			if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
				t.Fatal(err)
			}
			sameAsScan(t, m, root)
			if os.Geteuid() != 0 && name == "a read-only dir" {
				tt.want[0] = "d drwxr-xr-x" // its owner has to get in
			}
			if diff := cmp.Diff(tt.want, tree(t, root)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			untouched(t, parent)
		})
	}
}

// raw is a layer's tar that archive/tar would not write.
func raw(t testing.TB, kind byte, name, to string) []byte {
	t.Helper()
	b := tarOf(t, file("x", ""))
	copy(b[:100], make([]byte, 100))
	copy(b, name)
	b[156] = kind
	copy(b[157:257], to)
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// Layers that are refused: an error that says why, and nothing left.
func TestUnpackRefuses(t *testing.T) {
	zip := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		if _, err := z.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	one := func(e ...entry) [][]byte { return [][]byte{tarOf(t, e...)} }
	good := tarOf(t, file("a", strings.Repeat("random?", 1000)))
	deep := strings.Repeat("d/", 400)
	tests := map[string]struct {
		tars [][]byte
		want string
	}{
		"..":                       {one(file("../canary", "x")), ".."},
		".. inside":                {one(file("a/../../canary", "x")), ".."},
		".. at the end":            {one(dir("a/..")), ".."},
		"hard link with ..":        {one(link("l", "../canary")), ".."},
		"hard link to outside":     {one(link("l", "/../canary")), ".."},
		"hard link to nothing":     {one(link("l", "canary")), "no such file"},
		"hard link through a link": {one(symlink("up", ".."), link("l", "up/canary")), "no such file"},
		"hard link to a directory": {one(dir("d"), link("l", "d")), "not permitted"},
		"hard link to the root":    {one(link("l", "/")), ""},
		"links in a circle":        {one(symlink("a", "b"), symlink("b", "a"), file("a/f", "x")), "too many symbolic links"},
		"through a file":           {one(file("f", "x"), file("f/g", "y")), "not a directory"},
		"a file for the root":      {one(file(".", "x")), "root is not a directory"},
		"a link for the root":      {one(symlink(".", "/etc")), "root is not a directory"},
		"whiteout of ..":           {one(file(".wh...", "")), "whiteout of nothing"},
		"whiteout of .":            {one(file("d/a", ""), file("d/.wh..", "")), "whiteout of nothing"},
		"whiteout of no name":      {one(file(".wh.", "")), "whiteout of nothing"},
		"unknown type":             {[][]byte{raw(t, 'V', "volume", "")}, "unknown type 'V'"},
		"a name too long":          {one(file(strings.Repeat("x", 256), "")), "too long"},
		"a path too long":          {one(file(strings.Repeat("x/", 3000)+"f", "")), "path of 6001 bytes"},
		"a path too deep":          {one(file(strings.Repeat("x/", 600)+"f", "")), "deeper than"},
		"a path too deep by links": {one(dir(deep), symlink("l", deep), file("l/"+deep+"f", "")), "deeper than"},
		"truncated content":        {[][]byte{good[:600]}, "unexpected EOF"},
		"truncated header":         {[][]byte{good[:300]}, "unexpected EOF"},
		"truncated gzip":           {[][]byte{zip(good)[:100]}, "unexpected EOF"},
		"no tar":                   {[][]byte{bytes.Repeat([]byte("nonsense"), 200)}, "invalid tar header"},
		"no gzip":                  {[][]byte{[]byte("\x1f\x8bnonsense")}, ""},
		"no zstd":                  {[][]byte{[]byte("\x28\xb5\x2f\xfdnonsense")}, ""},
		"a bad layer on good ones": {[][]byte{good, good, good[:600]}, "layer 3"},
		"bad file capabilities":    {one(file("f", "x").xattr("security.capability", "short")), "security.capability"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "bad file capabilities" {
				testenv.Need(t, testenv.Root)
			}
			parent, root := sandbox(t)
			m := imageOf(tt.tars...)
			for i := range m.Layers {
				m.Layers[i].DiffID = "" // that of the tar in a gzip is another
			}
			err := Unpack(t.Context(), m, root, Limits{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something is left: %v", err)
			}
			untouched(t, parent)
		})
	}
}

func TestUnpackVerifies(t *testing.T) {
	good := tarOf(t, file("a", "x"))
	for name, spoil := range map[string]func(*Layer){
		"stored bytes":         func(l *Layer) { l.Digest = sha([]byte("other")) },
		"tar":                  func(l *Layer) { l.DiffID = sha([]byte("other")) },
		"behind the archive":   func(l *Layer) { l.open = reader(append(slices.Clone(good), 0)) },
		"an unknown algorithm": func(l *Layer) { l.Digest = "md5:d41d8cd98f00b204e9800998ecf8427e" },
	} {
		parent, root := sandbox(t)
		m := imageOf(good)
		spoil(&m.Layers[0])
		if err := Unpack(t.Context(), m, root, Limits{}); err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(root); err == nil {
			t.Errorf("%s: something is left", name)
		}
		untouched(t, parent)
	}
}

func reader(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func TestUnpackLimits(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(header("bomb", 1<<27)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(z, zeroReader{}, 1<<27); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	m := imageOf(bomb.Bytes())
	m.Layers[0].DiffID = ""
	many := imageOf(tarOf(t, file("a", "x"), file("b", "x")), tarOf(t, file("c", "x")))
	for name, tt := range map[string]struct {
		m      *Image
		limits Limits
	}{
		"bytes":   {m, Limits{Bytes: 1 << 20}},
		"entries": {many, Limits{Entries: 2}},
		"in all":  {many, Limits{Bytes: 2}},
	} {
		_, root := sandbox(t)
		if err := Unpack(t.Context(), tt.m, root, tt.limits); err == nil || !strings.Contains(err.Error(), "limit") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(root); err == nil {
			t.Errorf("%s: something is left", name)
		}
	}

	// Zeros take no room.
	_, root := sandbox(t)
	if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(root, "bomb"), &st); err != nil || st.Size != 1<<27 || st.Blocks > 16 {
		t.Errorf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A sparse file, as GNU tar and bsdtar write it, with data between holes.
func TestUnpackSparse(t *testing.T) {
	testenv.Need(t, testenv.Command("tar"))
	src := t.TempDir()
	f, err := os.Create(filepath.Join(src, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	const far = 4 << 30
	if _, err := f.WriteAt([]byte("middle"), far); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(far+(1<<20)), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "posix"} {
		archive := filepath.Join(t.TempDir(), "a.tar")
		run(t, "tar", "-C", src, "--sparse", "--format="+format, "-cf", archive, "sparse")
		m, err := Open(t.Context(), "tar:"+archive, Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, root := sandbox(t)
		if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
			t.Fatal(err)
		}
		out, err := os.Open(filepath.Join(root, "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 6)
		_, err = out.ReadAt(buf, far)
		info, err2 := out.Stat()
		if err := errors.Join(err, err2, out.Close()); err != nil {
			t.Fatal(err)
		}
		blocks := info.Sys().(*syscall.Stat_t).Blocks
		if string(buf) != "middle" || info.Size() != far+(1<<20) || blocks*512 > 1<<20 {
			t.Errorf("%s: %q, %d bytes, %d blocks", format, buf, info.Size(), blocks)
		}

		// The whole hole is not waited for: it alone is 64 Ki questions long.
		ctx := &endsWhenAsked{Context: t.Context(), after: 1000}
		err = Unpack(ctx, m, root+"2", Limits{})
		if n := ctx.asked.Load(); !errors.Is(err, context.Canceled) || n > 2000 {
			t.Errorf("%s: cancelled at the 1000th question, ended after %d: %v", format, n, err)
		}
		if _, err := os.Lstat(root + "2"); err == nil {
			t.Error("something is left after the context ended")
		}
	}
}

// endsWhenAsked is a context that has ended when it was asked so many times whether it has.
type endsWhenAsked struct {
	context.Context
	after int64
	asked atomic.Int64
}

func (c *endsWhenAsked) Err() error {
	if c.asked.Add(1) < c.after {
		return nil
	}
	return context.Canceled
}

// What only root can make.
func TestUnpackOwnership(t *testing.T) {
	testenv.Need(t, testenv.Root)
	raw := caps.Of(caps.NetRaw)
	fileCaps, err := caps.FileCaps{Permitted: raw, Effective: true}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	ping := file("ping", "x").mode(0o4755).owner(33, 44)
	ping.PAXRecords = map[string]string{
		"SCHILY.xattr.security.capability":    string(fileCaps),
		"SCHILY.xattr.user.note":              "mine",
		"SCHILY.xattr.trusted.overlay.opaque": "y",
	}
	layer := tarOf(t, ping, dir("d").owner(1, 2).xattr("user.note", "dir"), symlink("s", "ping").owner(5, 6),
		special(tar.TypeChar, "null", 1, 3).owner(7, 8), special(tar.TypeBlock, "disk", 259, 65537), special(tar.TypeFifo, "p", 0, 0).owner(9, 9),
		file("huge", "x").owner(4_000_000_000, 4_294_967_294))
	_, root := sandbox(t)
	if err := Unpack(t.Context(), imageOf(layer), root, Limits{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"ping": "104755 33:44 0:0", "d": "40755 1:2 0:0", "s": "120777 5:6 0:0",
		"null": "20620 7:8 1:3", "disk": "60620 0:0 259:65537", "p": "10620 9:9 0:0", "huge": "100644 4000000000:4294967294 0:0",
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Error(err)
			continue
		}
		rdev := uint64(st.Rdev)
		if got := fmt.Sprintf("%o %d:%d %d:%d", st.Mode, st.Uid, st.Gid, unix.Major(rdev), unix.Minor(rdev)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if name != "s" && st.Mtim.Sec != then.Unix() {
			t.Errorf("%s: modified %d, want %d", name, st.Mtim.Sec, then.Unix())
		}
	}
	for name, want := range map[string]map[string]string{
		"ping": {"SCHILY.xattr.security.capability": string(fileCaps), "SCHILY.xattr.user.note": "mine"},
		"d":    {"SCHILY.xattr.user.note": "dir"},
	} {
		got, err := readXattrs(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
		if _, err := unix.Lgetxattr(filepath.Join(root, name), "trusted.overlay.opaque", nil); !errors.Is(err, unix.ENODATA) {
			t.Errorf("%s: trusted.overlay.opaque: %v", name, err)
		}
	}
}

// Compressed layers, with both digests.
func TestUnpackCompressed(t *testing.T) {
	plain := tarOf(t, file("a", strings.Repeat("x", 100_000)))
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zst.Bytes()} {
		m := imageOf(b)
		m.Layers[0].DiffID = sha(plain)
		_, root := sandbox(t)
		if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(filepath.Join(root, "a")); err != nil || info.Size() != 100_000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// A directory that is there already is not the caller's to give.
func TestUnpackNeedsANewDirectory(t *testing.T) {
	root := t.TempDir()
	if err := Unpack(t.Context(), imageOf(tarOf(t, file("a", "x"))), root, Limits{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(root); err != nil {
		t.Errorf("it was removed: %v", err)
	}
}

// A directory as an image keeps everything that Unpack makes.
func TestUnpackDirectory(t *testing.T) {
	_, root := sandbox(t)
	if err := Unpack(t.Context(), imageOf(tarOf(t,
		dir("d").mode(0o1777), file("d/f", "body").mode(0o4755), symlink("s", "/etc/passwd"), link("h", "d/f"),
		special(tar.TypeFifo, "p", 0, 0), file("d/g", "x").xattr("user.note", "mine"))), root, Limits{}); err != nil {
		t.Fatal(err)
	}
	to := root + "2"
	m, err := Open(t.Context(), "dir:"+root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Unpack(t.Context(), m, to, Limits{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, root), tree(t, to)); diff != "" {
		t.Error(diff)
	}
	a, errA := os.Stat(filepath.Join(to, "h"))
	b, errB := os.Stat(filepath.Join(to, "d/f"))
	if err := errors.Join(errA, errB); err != nil || !os.SameFile(a, b) {
		t.Errorf("the hard link: %v", err)
	}
	if x, err := readXattrs(filepath.Join(to, "d/g")); err != nil || x["SCHILY.xattr.user.note"] != "mine" {
		t.Errorf("xattrs: %q, %v", x, err)
	}
}
