package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cache keeps root file systems of images, unpacked, by image ID. In its
// directory there is for each
//
//	KEY       entry.json and rootfs, complete and never changed again
//	KEY.lock  locked shared by those who use KEY, exclusively by who makes or removes it;
//	          its modification time is the last use
//	KEY.tmp   what is being made or removed; garbage if nobody has the exclusive lock
//
// The locks are flock(2)'s and end with their process, however it ends.
type Cache struct {
	dir   string
	limit int64
}

// DefaultCacheLimit is in bytes on disk.
const DefaultCacheLimit = 10 << 30

// cacheVersion changes with what Unpack makes of an image.
const cacheVersion = 1

const (
	entryFile = "entry.json"
	rootfsDir = "rootfs"
	lockExt   = ".lock"
	tempExt   = ".tmp"
)

// Entry is one image in the cache.
type Entry struct {
	ID string `json:"id"`
	// Ref is the reference by which it was opened when it was unpacked.
	Ref string `json:"ref"`
	// Bytes on disk.
	Bytes    int64     `json:"bytes"`
	LastUsed time.Time `json:"last_used,omitzero"`
}

type storedEntry struct {
	Version int `json:"version"`
	Entry
}

// Tree is a root file system that stays as long as it is open. It must not be
// written to: it is the lower layer of an overlay.
type Tree struct {
	Path string
	lock *os.File
}

// Close lets the cache remove the tree.
func (t *Tree) Close() error {
	if t.lock == nil {
		return nil
	}
	return t.lock.Close()
}

// CacheDir is where the cache is by default: $LEASTCAP_IMAGES, as root
// /var/lib/leastcap/images, and otherwise in the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("LEASTCAP_IMAGES"); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/leastcap/images", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for images: %w; LEASTCAP_IMAGES names one", err)
	}
	return filepath.Join(dir, "leastcap", "images"), nil
}

// OpenCache opens the cache in dir, "" for [CacheDir], makes it if need be and
// removes what a killed process left in it. limit is in bytes on disk, 0 for
// the default; what is in use may exceed it.
//
// The directory has to be the caller's alone: in it are set-uid programs of
// strangers.
func OpenCache(dir string, limit int64) (*Cache, error) {
	if dir == "" {
		var err error
		if dir, err = CacheDir(); err != nil {
			return nil, err
		}
	}
	if limit == 0 {
		limit = DefaultCacheLimit
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	if err := private(dir); err != nil {
		return nil, fmt.Errorf("image cache: %w; chmod it, or name another directory in LEASTCAP_IMAGES", err)
	}
	c := &Cache{dir, limit}
	sweepTemp(os.TempDir()) // of who was killed before it could fill the cache
	if err := c.sweep(); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	return c, nil
}

// RootFS gives the image's root file system, unpacked once for all processes
// of this user. A plain directory is given as it is.
func (c *Cache) RootFS(ctx context.Context, m *Image) (*Tree, error) {
	if m.ID == "" && m.dir != "" {
		return &Tree{Path: m.dir}, nil
	}
	key, err := cacheKey(m.ID)
	if err != nil {
		return nil, err
	}
	for {
		lock, err := c.lock(ctx, key, lockShared)
		if err != nil {
			return nil, fmt.Errorf("image cache: %w", err)
		}
		if t := c.open(key, lock); t != nil {
			return t, nil
		}
		if err := lock.Close(); err != nil {
			return nil, err
		}
		if err := c.fill(ctx, key, m); err != nil {
			return nil, err
		}
	}
}

// Lookup gives the root file system if it is there, without waiting for one
// that is being unpacked.
func (c *Cache) Lookup(id string) (*Tree, bool) {
	key, err := cacheKey(id)
	if err != nil {
		return nil, false
	}
	if _, err := os.Lstat(c.path(key)); err != nil {
		return nil, false // before there is a lock for nothing
	}
	lock, err := c.tryLock(key, lockShared)
	if err != nil {
		return nil, false
	}
	if t := c.open(key, lock); t != nil {
		return t, true
	}
	_ = lock.Close() // only read
	return nil, false
}

// Entries lists the cache, the longest unused first.
func (c *Cache) Entries() ([]Entry, error) {
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	var out []Entry
	for _, n := range names {
		if !isKey(n.Name()) {
			continue
		}
		e, err := c.read(n.Name())
		if err != nil {
			e = Entry{ID: strings.Replace(n.Name(), "-", ":", 1)} // of another version
			e.Bytes, _ = diskUsage(c.path(n.Name()))              // as far as it can be read
		}
		if info, err := os.Stat(c.path(n.Name() + lockExt)); err == nil {
			e.LastUsed = info.ModTime()
		}
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return a.LastUsed.Compare(b.LastUsed) })
	return out, nil
}

// Prune removes the longest unused images until the cache is within its limit,
// or all of them. Those in use stay.
func (c *Cache) Prune(ctx context.Context, all bool) (removed []Entry, freed int64, err error) {
	entries, err := c.Entries()
	if err != nil {
		return nil, 0, err
	}
	var total int64
	for _, e := range entries {
		total += e.Bytes
	}
	for _, e := range entries {
		if !all && total <= c.limit {
			break
		}
		if err := ctx.Err(); err != nil {
			return removed, freed, err
		}
		key, err := cacheKey(e.ID)
		if err != nil {
			return removed, freed, err
		}
		lock, err := c.tryLock(key, lockExclusive)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return removed, freed, fmt.Errorf("image cache: %w", err)
		}
		if err := errors.Join(c.remove(key), lock.Close()); err != nil {
			return removed, freed, fmt.Errorf("image cache: %w", err)
		}
		removed = append(removed, e)
		freed += e.Bytes
		total -= e.Bytes
	}
	return removed, freed, nil
}

var idPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`) })

func cacheKey(id string) (string, error) {
	if !idPattern().MatchString(id) {
		return "", fmt.Errorf("image cache: %q is no image ID", id)
	}
	return strings.Replace(id, ":", "-", 1), nil
}

func isKey(name string) bool { return idPattern().MatchString(strings.Replace(name, "-", ":", 1)) }

func (c *Cache) path(name string) string { return filepath.Join(c.dir, name) }

// read is for what this version unpacked completely.
func (c *Cache) read(key string) (Entry, error) {
	data, err := os.ReadFile(filepath.Join(c.path(key), entryFile))
	if err != nil {
		return Entry{}, err
	}
	var e storedEntry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, err
	}
	if k, err := cacheKey(e.ID); err != nil || k != key || e.Version != cacheVersion {
		return Entry{}, fmt.Errorf("%s: not of this version", key)
	}
	return e.Entry, nil
}

// open gives the tree that the shared lock protects, nil if there is none.
func (c *Cache) open(key string, lock *os.File) *Tree {
	if _, err := c.read(key); err != nil {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(lock.Name(), now, now) // the order of removal only
	return &Tree{filepath.Join(c.path(key), rootfsDir), lock}
}

// fill unpacks the image unless another process did meanwhile.
func (c *Cache) fill(ctx context.Context, key string, m *Image) (err error) {
	lock, err := c.lock(ctx, key, lockExclusive)
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := c.read(key); err == nil {
		return nil
	}
	tmp := c.path(key + tempExt)
	if err := errors.Join(removeAll(tmp), removeAll(c.path(key)), os.Mkdir(tmp, 0o700)); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove(key))
		}
	}()
	rootfs := filepath.Join(tmp, rootfsDir)
	if err := Unpack(ctx, m, rootfs, Limits{}); err != nil {
		return err
	}
	bytes, err := diskUsage(rootfs)
	if err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	data, err := json.Marshal(storedEntry{cacheVersion, Entry{ID: m.ID, Ref: m.Ref, Bytes: bytes}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, entryFile), data, 0o600); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	// A name that survives a power failure, of files that did not, would be trusted.
	if err := syncFS(tmp); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	if err := os.Rename(tmp, c.path(key)); err != nil {
		return fmt.Errorf("image cache: %w", err)
	}
	now := time.Now()
	_ = os.Chtimes(lock.Name(), now, now)
	// Room is made here, where it was taken; what cannot be removed is no reason to
	// refuse an image, and prune will say.
	_, _, _ = c.Prune(ctx, false)
	return nil
}

// remove takes an entry away, and its lock, which the caller holds exclusively.
func (c *Cache) remove(key string) error {
	tmp := c.path(key + tempExt)
	if err := removeAll(tmp); err != nil {
		return err
	}
	if err := os.Rename(c.path(key), tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(removeAll(tmp), os.Remove(c.path(key+lockExt)))
}

// sweep removes what a killed process left.
func (c *Cache) sweep() error {
	names, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		key, temp := strings.CutSuffix(n.Name(), tempExt)
		key, locked := strings.CutSuffix(key, lockExt)
		if !temp && !locked || !isKey(key) {
			continue
		}
		if err := c.sweepKey(key, temp); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) sweepKey(key string, temp bool) error {
	if _, err := os.Lstat(c.path(key)); err == nil && !temp {
		return nil
	}
	lock, err := c.tryLock(key, lockExclusive)
	if errors.Is(err, errLocked) {
		return nil // somebody is at it
	}
	if err != nil {
		return err
	}
	defer lock.Close() // only a lock
	if _, err := os.Lstat(c.path(key)); err == nil {
		return removeAll(c.path(key + tempExt))
	}
	return c.remove(key)
}

type lockKind int

const (
	lockShared lockKind = iota
	lockExclusive
)

var errLocked = errors.New("locked by another process")

// lock waits for a lock.
func (c *Cache) lock(ctx context.Context, key string, kind lockKind) (*os.File, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		f, err := c.tryLock(key, kind)
		if !errors.Is(err, errLocked) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// tryLock is errLocked if another has it.
func (c *Cache) tryLock(key string, kind lockKind) (*os.File, error) {
	name := c.path(key + lockExt)
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f, kind); err != nil {
			_ = f.Close() // only a lock
			return nil, err
		}
		// Who removed the entry removed this file, and a lock on it says nothing.
		opened, err := f.Stat()
		named, err2 := os.Stat(name)
		if err == nil && err2 == nil && os.SameFile(opened, named) {
			return f, nil
		}
		_ = f.Close()
		if err := errors.Join(err, err2); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}
