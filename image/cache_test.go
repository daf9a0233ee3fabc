//go:build linux

package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func cacheIn(t *testing.T, limit int64) *Cache {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := OpenCache(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func rootFS(t *testing.T, c *Cache, m *Image) *Tree {
	t.Helper()
	tree, err := c.RootFS(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func closeTree(t *testing.T, tree *Tree) {
	t.Helper()
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
}

func TestCache(t *testing.T) {
	c := cacheIn(t, 0)
	m := imageOf(tarOf(t, file("a", "one")))
	if _, ok := c.Lookup(m.ID); ok {
		t.Error("found before it was there")
	}
	tree := rootFS(t, c, m)
	defer closeTree(t, tree)
	if got, err := os.ReadFile(filepath.Join(tree.Path, "a")); err != nil || string(got) != "one" {
		t.Errorf("a = %q, %v", got, err)
	}

	// The second time nothing is read.
	m.Layers[0].open = func() (io.ReadCloser, error) { return nil, errors.New("read again") }
	again := rootFS(t, c, m)
	if again.Path != tree.Path {
		t.Errorf("another tree: %s, %s", again.Path, tree.Path)
	}
	closeTree(t, again)
	found, ok := c.Lookup(m.ID)
	if !ok || found.Path != tree.Path {
		t.Errorf("Lookup = %+v, %t", found, ok)
	}
	closeTree(t, found)

	entries, err := c.Entries()
	if err != nil || len(entries) != 1 || entries[0].ID != m.ID || entries[0].Ref != "test" || entries[0].Bytes <= 0 || time.Since(entries[0].LastUsed) > time.Minute {
		t.Errorf("Entries = %+v, %v", entries, err)
	}

	// What is in use stays.
	if removed, _, err := c.Prune(t.Context(), true); err != nil || len(removed) != 0 {
		t.Errorf("Prune of what is in use: %+v, %v", removed, err)
	}
	closeTree(t, tree)
	removed, freed, err := c.Prune(t.Context(), true)
	if err != nil || len(removed) != 1 || freed != entries[0].Bytes {
		t.Errorf("Prune = %+v, %d, %v", removed, freed, err)
	}
	if left := names(t, c.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	tree.lock = nil // closed above
}

func TestCacheOfDirectory(t *testing.T) {
	c := cacheIn(t, 0)
	dir := t.TempDir()
	m, err := Open(t.Context(), "dir:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tree := rootFS(t, c, m)
	if tree.Path != dir {
		t.Errorf("Path = %s, want the directory", tree.Path)
	}
	closeTree(t, tree)
	if left := names(t, c.dir); len(left) > 0 {
		t.Errorf("cached: %v", left)
	}
}

func TestCacheLimit(t *testing.T) {
	const size = 1 << 20
	c := cacheIn(t, 5*size/2) // room for two
	var images []*Image
	for i := range 3 {
		images = append(images, imageOf(tarOf(t, file("big", strings.Repeat(fmt.Sprint(i), size)))))
	}
	use := func(i int) { closeTree(t, rootFS(t, c, images[i])) }
	use(0)
	time.Sleep(10 * time.Millisecond) // the file system's clock is coarse
	use(1)
	time.Sleep(10 * time.Millisecond)
	use(0)
	time.Sleep(10 * time.Millisecond)
	use(2) // 1 is now the longest unused
	for i, want := range []bool{true, false, true} {
		tree, ok := c.Lookup(images[i].ID)
		if ok != want {
			t.Errorf("image %d is there: %t, want %t", i, ok, want)
		}
		if ok {
			closeTree(t, tree)
		}
	}
	removed, freed, err := c.Prune(t.Context(), false)
	if err != nil || len(removed) != 0 || freed != 0 {
		t.Errorf("Prune within the limit = %+v, %d, %v", removed, freed, err)
	}
	// One that alone is larger is kept while it is used, and then is the first to go.
	c.limit = size / 2
	tree := rootFS(t, c, images[1])
	if left := names(t, c.dir); len(left) != 2 { // KEY, KEY.lock
		t.Errorf("left: %v", left)
	}
	closeTree(t, tree)
	if removed, _, err := c.Prune(t.Context(), false); err != nil || len(removed) != 1 {
		t.Errorf("Prune = %+v, %v", removed, err)
	}
}

// Many who want the same image at once unpack it once.
func TestCacheUnpacksOnce(t *testing.T) {
	c := cacheIn(t, 0)
	layer := tarOf(t, file("a", strings.Repeat("x", 1<<20)))
	var opened atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			other, err := OpenCache(c.dir, 0) // sweeps meanwhile, as other processes do
			if err != nil {
				t.Error(err)
				return
			}
			m := imageOf(layer)
			open := m.Layers[0].open
			m.Layers[0].open = func() (io.ReadCloser, error) {
				opened.Add(1)
				time.Sleep(20 * time.Millisecond)
				return open()
			}
			tree, err := other.RootFS(t.Context(), m)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(tree.Path, "a")); err != nil {
				t.Error(err)
			}
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("unpacked %d times", n)
	}
}

// Users and removers at once: a tree is there as long as it is open.
func TestCachePruneRace(t *testing.T) {
	c := cacheIn(t, 0)
	layer := tarOf(t, file("a", "one"))
	// Until it has been shown, and not for a time: each filling waits for the disk.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var uses, prunes atomic.Int32
	done := func() bool { return ctx.Err() != nil || uses.Load() >= 100 && prunes.Load() >= 20 }
	for range 2 {
		wg.Go(func() {
			for ; !done(); time.Sleep(2 * time.Millisecond) {
				tree, err := c.RootFS(t.Context(), imageOf(layer))
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					if got, err := os.ReadFile(filepath.Join(tree.Path, "a")); err != nil || string(got) != "one" {
						t.Errorf("%q, %v", got, err)
					}
				}
				uses.Add(1)
				if err := tree.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for !done() {
			removed, _, err := c.Prune(t.Context(), true)
			if err != nil {
				t.Error(err)
			}
			prunes.Add(int32(len(removed)))
			if err := c.sweep(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
	if uses.Load() == 0 || prunes.Load() == 0 {
		t.Errorf("%d uses, %d removals in a minute: nothing was shown", uses.Load(), prunes.Load())
	}
}

func TestCacheErrors(t *testing.T) {
	c := cacheIn(t, 0)
	good := tarOf(t, file("a", "one"))
	bad := imageOf(good, good[:514])
	if _, err := c.RootFS(t.Context(), bad); err == nil {
		t.Error("a truncated layer: no error")
	}
	if left := names(t, c.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	m := imageOf(good)
	for _, id := range []string{"", "sha256:../../x", "sha256:" + strings.Repeat("g", 64)} {
		m.ID = id
		if _, err := c.RootFS(t.Context(), m); err == nil {
			t.Errorf("ID %q: no error", id)
		}
		if _, ok := c.Lookup(id); ok {
			t.Errorf("ID %q found", id)
		}
	}

	// An image that another process unpacks is waited for, until the context ends.
	m = imageOf(good)
	key, _ := cacheKey(m.ID)
	lock, err := c.tryLock(key, lockExclusive)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.RootFS(ctx, m); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while locked: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}

	// An entry of another version is replaced.
	closeTree(t, rootFS(t, c, m))
	entry := filepath.Join(c.path(key), entryFile)
	data, err := os.ReadFile(entry)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(entry, bytes.Replace(data, []byte(`"version":1`), []byte(`"version":0`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Lookup(m.ID); ok {
		t.Error("an entry of another version was taken")
	}
	if entries, err := c.Entries(); err != nil || len(entries) != 1 || entries[0].ID != m.ID || entries[0].Bytes == 0 {
		t.Errorf("Entries = %+v, %v", entries, err)
	}
	closeTree(t, rootFS(t, c, m))
	if tree, ok := c.Lookup(m.ID); !ok {
		t.Error("not replaced")
	} else {
		closeTree(t, tree)
	}

	// Others must not reach it.
	if err := os.Chmod(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCache(c.dir, 0); err == nil || !strings.Contains(err.Error(), "open to others") {
		t.Errorf("a directory that others can read: %v", err)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("LEASTCAP_IMAGES", "/some/where")
	if got, err := CacheDir(); got != "/some/where" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	t.Setenv("LEASTCAP_IMAGES", "")
	got, err := CacheDir()
	if os.Geteuid() == 0 && got != "/var/lib/leastcap/images" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

// fillForever unpacks an image whose layer never ends.
func fillForever(dir string) int {
	c, err := OpenCache(dir, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, err = c.RootFS(context.Background(), endless())
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// endless is an image whose file has a gigabyte, of which some is there at once.
func endless() *Image {
	m := imageOf(nil)
	m.Layers[0].DiffID, m.Layers[0].Digest = "", ""
	m.Layers[0].open = func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			_, _ = w.Write(endlessTar())
			// Not a select without cases: where all goroutines wait for each other, Go ends the program.
			_, _ = io.Copy(io.Discard, os.Stdin)
			_ = w.CloseWithError(errors.New("nobody wants it any more"))
		}()
		return r, nil
	}
	return m
}

func endlessTar() []byte {
	var b bytes.Buffer
	b.Write(header("etc/first", 5))
	b.WriteString("first" + strings.Repeat("\x00", 507))
	b.Write(header("big", 1<<30))
	b.WriteString(strings.Repeat("x", 1<<20))
	return b.Bytes()
}

// kill -9 in the middle of unpacking leaves nothing that anyone would use, and
// the next who opens the cache removes it.
func TestCacheKilled(t *testing.T) {
	c := cacheIn(t, 0)
	key, err := cacheKey(endless().ID)
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LEASTCAP_TEST_FILL="+c.dir)
		cmd.Stderr = os.Stderr
		if _, err := cmd.StdinPipe(); err != nil { // which ends with this test at the latest
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	half := filepath.Join(c.dir, key+tempExt, rootfsDir, "etc", "first")
	wait := func(cmd *exec.Cmd) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(half); err == nil {
				return
			}
			if time.Now().After(end) {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatal("the child unpacked nothing")
			}
		}
	}
	cmd := start()
	wait(cmd)

	// While it lives, nobody takes it away.
	if _, err := OpenCache(c.dir, 0); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("removed under the process that makes it: %v", err)
	}
	if _, ok := c.Lookup(endless().ID); ok {
		t.Error("half an image was found")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := os.Stat(half); err != nil {
		t.Fatalf("nothing was left, so the sweep cannot be seen: %v", err)
	}
	if _, ok := c.Lookup(endless().ID); ok {
		t.Error("half an image was found")
	}
	if _, err := OpenCache(c.dir, 0); err != nil {
		t.Fatal(err)
	}
	if left := names(t, c.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// Also when the image is wanted by a cache that was open all the time.
	cmd = start()
	wait(cmd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	m := imageOf(tarOf(t, file("a", "one")))
	m.ID = endless().ID
	tree := rootFS(t, c, m)
	if got := names(t, tree.Path); len(got) != 1 || got[0] != "a" {
		t.Errorf("the tree has %v", got)
	}
	closeTree(t, tree)
}

// An engine's image that is cached is not saved again.
func TestCacheOfEngine(t *testing.T) {
	img := sample(t)
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
case "$2" in
inspect) cat <<'END'
[{"Id":"%s","Architecture":"x","Os":"linux","RootFS":{"Layers":["%s"]}}]
END
;;
save) echo saved >>%s/log; cp %s "$4" ;;
esac
`, id, strings.Join(diffIDs(t, cfg), `","`), bin, dockerArchive(t, img))
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	c := cacheIn(t, 0)
	for range 3 {
		m, err := Open(t.Context(), "docker-daemon:x", Options{})
		if err != nil {
			t.Fatal(err)
		}
		closeTree(t, rootFS(t, c, m))
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if log, err := os.ReadFile(filepath.Join(bin, "log")); err != nil || string(log) != "saved\n" {
		t.Errorf("%q, %v; want one save", log, err)
	}
}

func diffIDs(t *testing.T, config []byte) []string {
	t.Helper()
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	return c.RootFS.DiffIDs
}
