//go:build linux

package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/internal/testenv"
)

// BenchmarkUnpack unpacks the test image from an OCI layout with gzip layers,
// leastcap beside umoci, which reads the same one; both verify the layer.
func BenchmarkUnpack(b *testing.B) {
	testenv.Need(b, testenv.Root, testenv.Docker, testenv.Image("leastcap-test/services"))
	for _, c := range []string{"skopeo", "umoci"} {
		if _, err := exec.LookPath(c); err != nil {
			b.Skipf("the comparison needs %s: apt-get install skopeo umoci", c)
		}
	}
	dir := b.TempDir()
	lay := filepath.Join(dir, "layout")
	run(b, "docker", "save", "-o", filepath.Join(dir, "image.tar"), "leastcap-test/services")
	run(b, "skopeo", "--insecure-policy", "copy", "-q", "docker-archive:"+filepath.Join(dir, "image.tar"), "oci:"+lay+":v1")
	to := filepath.Join(dir, "to")
	gone := func(b *testing.B) {
		b.Helper()
		if err := removeAll(to); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("leastcap", func(b *testing.B) {
		for b.Loop() {
			m, err := Open(b.Context(), "oci:"+lay+":v1", Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := Unpack(b.Context(), m, to, Limits{}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			gone(b)
			b.StartTimer()
		}
	})
	b.Run("leastcap,docker-archive", func(b *testing.B) {
		for b.Loop() {
			m, err := Open(b.Context(), "docker-archive:"+filepath.Join(dir, "image.tar"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := Unpack(b.Context(), m, to, Limits{}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			gone(b)
			b.StartTimer()
		}
	})
	for _, umoci := range [][]string{{"umoci", "unpack"}, {"umoci", "raw", "unpack"}} {
		b.Run(strings.Join(umoci, " "), func(b *testing.B) {
			for b.Loop() {
				run(b, umoci[0], append(umoci[1:], "--image", lay+":v1", to)...)
				b.StopTimer()
				gone(b)
				b.StartTimer()
			}
		})
	}
	b.Run("cache,first", func(b *testing.B) {
		for b.Loop() {
			cached(b, to, lay)
			b.StopTimer()
			gone(b)
			b.StartTimer()
		}
	})
	b.Run("cache,again", func(b *testing.B) {
		cached(b, to, lay)
		for b.Loop() {
			cached(b, to, lay)
		}
		gone(b)
	})
	b.Run("scan", func(b *testing.B) {
		m, err := Open(b.Context(), "oci:"+lay+":v1", Options{})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := Scan(b.Context(), m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func cached(b *testing.B, dir, lay string) {
	b.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	c, err := OpenCache(dir, 0)
	if err != nil {
		b.Fatal(err)
	}
	m, err := Open(b.Context(), "oci:"+lay+":v1", Options{})
	if err != nil {
		b.Fatal(err)
	}
	tree, err := c.RootFS(b.Context(), m)
	if err != nil {
		b.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		b.Fatal(err)
	}
}
