//go:build linux

package image

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
)

// sameAsScan holds that Scan finds what is there once the image is unpacked.
func sameAsScan(t testing.TB, m *Image, root string) {
	t.Helper()
	p, err := Scan(t.Context(), m)
	if err != nil {
		t.Errorf("Scan: %v", err)
		return
	}
	describe := func(mode uint32, uid, gid uint32, c *caps.FileCaps) string {
		if os.Geteuid() != 0 {
			return fmt.Sprintf("%o", mode)
		}
		return fmt.Sprintf("%o %d:%d %v", mode, uid, gid, c)
	}
	got := map[string]string{}
	for _, f := range p.Files {
		for _, n := range append(f.Links, f.Path) {
			got[n] = describe(f.Mode, f.UID, f.GID, f.Caps)
		}
	}
	want := map[string]string{}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		x, err := readXattrs(p)
		if err != nil {
			return err
		}
		var c *caps.FileCaps
		if v, ok := x["SCHILY.xattr.security.capability"]; ok {
			parsed, err := caps.ParseFileCaps([]byte(v))
			if err != nil {
				return err
			}
			c = &parsed
		}
		if c != nil || st.Mode&0o6000 != 0 {
			want[strings.TrimPrefix(p, root)] = describe(st.Mode&0o7777, st.Uid, st.Gid, c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-unpacked +scanned:\n%s", diff)
	}
}

func netRaw(t testing.TB) string {
	t.Helper()
	b, err := caps.FileCaps{Permitted: caps.Of(caps.NetRaw), Effective: true}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestScan(t *testing.T) {
	su := func(name string) entry { return file(name, "x").mode(0o4755) }
	ping := func(name string) entry {
		return file(name, "x").mode(0o755).xattr("security.capability", netRaw(t))
	}
	tests := map[string]struct {
		layers [][]entry
		want   []string // path=layer
	}{
		"nothing":             {[][]entry{{file("a", "x"), dir("d").mode(0o2755), special(tar.TypeFifo, "p", 0, 0).mode(0o4755)}}, nil},
		"set-uid":             {[][]entry{{su("su")}}, []string{"/su=1"}},
		"set-gid":             {[][]entry{{file("wall", "x").mode(0o2755)}}, []string{"/wall=1"}},
		"capabilities":        {[][]entry{{ping("ping")}}, []string{"/ping=1"}},
		"the later layer":     {[][]entry{{su("su")}, {su("su")}}, []string{"/su=2"}},
		"replaced":            {[][]entry{{su("su")}, {file("su", "x")}}, nil},
		"replaced, same":      {[][]entry{{su("su"), file("su", "x")}}, nil},
		"by a directory":      {[][]entry{{su("su")}, {dir("su")}}, nil},
		"by a link":           {[][]entry{{su("su"), file("a", "x")}, {symlink("su", "a")}}, nil},
		"its directory":       {[][]entry{{su("bin/su")}, {file("bin", "x")}}, nil},
		"whiteout":            {[][]entry{{su("bin/su"), su("bin/x")}, {file("bin/.wh.su", "")}}, []string{"/bin/x=1"}},
		"its whiteout":        {[][]entry{{su("bin/su")}, {file(".wh.bin", "")}}, nil},
		"opaque":              {[][]entry{{su("bin/su")}, {file("bin/.wh..wh..opq", ""), su("bin/x")}}, []string{"/bin/x=2"}},
		"opaque root":         {[][]entry{{su("bin/su")}, {file(".wh..wh..opq", "")}}, nil},
		"opaque above":        {[][]entry{{su("a/b/su")}, {su("a/c/x"), file("a/.wh..wh..opq", "")}}, []string{"/a/c/x=2"}},
		"hard link":           {[][]entry{{su("su"), link("ln", "su")}}, []string{"/ln=1 /su"}},
		"hard link stays":     {[][]entry{{su("su"), link("ln", "su")}, {file(".wh.su", "")}}, []string{"/ln=1"}},
		"hard link later":     {[][]entry{{su("su")}, {link("ln", "su"), file(".wh.su", "")}}, []string{"/ln=1"}},
		"hard link cut":       {[][]entry{{su("su"), link("ln", "su")}, {file("su", "x")}}, []string{"/ln=1"}},
		"hard link to link":   {[][]entry{{su("su"), symlink("s", "su"), link("h", "s")}}, []string{"/su=1"}},
		"hard link by link":   {[][]entry{{su("bin/su"), symlink("b", "/bin"), link("h", "b/su")}}, []string{"/bin/su=1 /h"}},
		"merged usr":          {[][]entry{{dir("usr/bin"), symlink("bin", "usr/bin")}, {su("bin/su")}}, []string{"/usr/bin/su=2"}},
		"whiteout by a link":  {[][]entry{{su("usr/bin/su"), symlink("bin", "usr/bin")}, {file("bin/.wh.su", "")}}, nil},
		"a link out":          {[][]entry{{symlink("l", "../.."), su("l/su")}}, []string{"/su=1"}},
		"own layer's survive": {[][]entry{{su("d/low")}, {su("d/e/up"), file(".wh.d", "")}}, []string{"/d/e/up=2"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var tars [][]byte
			for _, l := range tt.layers {
				tars = append(tars, tarOf(t, l...))
			}
			m := imageOf(tars...)
			p, err := Scan(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range p.Files {
				got = append(got, strings.Join(append([]string{fmt.Sprintf("%s=%d", f.Path, f.Layer+1)}, f.Links...), " "))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			_, root := sandbox(t)
			if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 { // others leave file capabilities out
				sameAsScan(t, m, root)
			}
		})
	}
}

func TestScanErrors(t *testing.T) {
	good := tarOf(t, file("a", "x"))
	for name, b := range map[string][]byte{
		"..":                    tarOf(t, file("../su", "x")),
		"truncated":             good[:300],
		"a bad attribute":       tarOf(t, file("f", "x").xattr("security.capability", "short")),
		"a link to nothing":     tarOf(t, link("l", "none")),
		"a link to a directory": tarOf(t, dir("d"), link("l", "d")),
		"links in a circle":     tarOf(t, symlink("a", "b"), symlink("b", "a"), file("a/f", "x")),
		"through a file":        tarOf(t, file("f", "x"), file("f/g", "y")),
		"too deep":              tarOf(t, dir(strings.Repeat("d/", 400)), symlink("l", strings.Repeat("d/", 400)), dir("l/"+strings.Repeat("e/", 400))),
	} {
		if _, err := Scan(t.Context(), imageOf(b)); err == nil || !strings.Contains(err.Error(), `image "test": layer 1`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := imageOf(good)
	m.Layers[0].DiffID = sha(nil)
	if _, err := Scan(t.Context(), m); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Errorf("a wrong digest: %v", err)
	}
}

// Scan agrees with find and getcap on a real image.
func TestScanServices(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image("leastcap-test/services"), testenv.Command("getcap"))
	m, err := Open(t.Context(), "docker-daemon:leastcap-test/services", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := Scan(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range p.Files {
		line := fmt.Sprintf("%s %o %d %d", f.Path, f.Mode, f.UID, f.GID)
		if f.Caps != nil {
			line += " " + f.Caps.String()
		}
		got = append(got, line)
	}
	_, root := sandbox(t)
	if err := Unpack(t.Context(), m, root, Limits{}); err != nil {
		t.Fatal(err)
	}
	withCaps := map[string]string{}
	for line := range strings.Lines(run(t, "getcap", "-r", root)) {
		p, c, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			t.Fatalf("getcap: %q", line)
		}
		withCaps[strings.TrimPrefix(p, root)] = " " + c
	}
	if len(withCaps) == 0 {
		t.Error("the image has no file capabilities")
	}
	var want []string
	seen := map[string]bool{}
	for line := range strings.Lines(run(t, "find", root, "-type", "f", "-perm", "/6000", "-printf", "/%P %#m %U %G\n")) {
		f := strings.Fields(line)
		want = append(want, fmt.Sprintf("%s %s %s %s%s", f[0], strings.TrimPrefix(f[1], "0"), f[2], f[3], withCaps[f[0]]))
		seen[f[0]] = true
	}
	for p, c := range withCaps {
		if !seen[p] {
			want = append(want, strings.TrimSpace(run(t, "find", root+p, "-printf", p+" %m %U %G"))+c)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("-find and getcap +Scan:\n%s", diff)
	}
}
