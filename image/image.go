// Package image opens OCI images wherever they are, unpacks them safely, and
// reads from their layers what they say about privilege.
package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Image is an opened image. Close removes what opening it put on disk.
type Image struct {
	// Ref is the reference as it was given, Source where it was found: docker,
	// podman, registry, oci, docker-archive, oci-archive, tar or dir.
	Ref, Source string
	// ID is the digest of the configuration (Docker's image id); for a tar that of
	// the file; empty for a directory, which can change.
	ID string
	// Digest is the manifest's, empty where there is no manifest.
	Digest string
	Config v1.ConfigFile
	Layers []Layer

	dir     string                      // of a plain directory
	load    func(context.Context) error // opens the layers of an engine's image
	cleanup []func() error
}

// Layer is one layer, lowest first.
type Layer struct {
	// Digest is that of the stored (compressed) bytes, DiffID that of the tar;
	// either is empty where nothing names it. Both are verified when read.
	Digest, DiffID string
	// History is the command that created the layer. Of an engine's image it is
	// known once a layer has been read.
	History string

	open func() (io.ReadCloser, error)
}

// Close removes temporary files.
func (m *Image) Close() error {
	var errs []error
	for _, f := range m.cleanup {
		errs = append(errs, f())
	}
	m.cleanup = nil
	return errors.Join(errs...)
}

// Error is a reference that could not be opened: the reference, the reason and
// the next step.
type Error struct {
	Ref  string
	Err  error
	Hint string
}

func (e *Error) Error() string { return fmt.Sprintf("image %q: %v", e.Ref, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// layer reads the layer with the index i.
func (m *Image) layer(ctx context.Context, i int, f func(io.Reader) error) error {
	if m.load != nil {
		if err := m.load(ctx); err != nil {
			return err
		}
	}
	if err := m.Layers[i].read(ctx, f); err != nil {
		return fmt.Errorf("layer %d: %w", i+1, err)
	}
	return nil
}

// read gives f the layer's tar, and then verifies both digests. A layer whose
// digest is wrong is an error even if f was content with it.
func (l *Layer) read(ctx context.Context, f func(io.Reader) error) error {
	rc, err := l.open()
	if err != nil {
		return err
	}
	defer rc.Close()
	blob, tarHash := sha256.New(), sha256.New()
	in := bufio.NewReaderSize(hashing(&ctxReader{ctx, rc}, l.Digest, blob), 1<<18)
	plain, done, err := decompress(in)
	if err != nil {
		return err
	}
	defer done()
	if err := func() error {
		tee := readAhead(hashing(plain, l.DiffID, tarHash))
		defer tee.stop()
		if err := f(tee); err != nil {
			return err
		}
		// What follows the archive's end belongs to the digest.
		_, err := io.Copy(io.Discard, tee)
		return err
	}(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if err := verify("layer", l.Digest, blob); err != nil {
		return err
	}
	return verify("layer's tar", l.DiffID, tarHash)
}

// hashing spares what nobody will verify, which takes as long as decompressing.
func hashing(r io.Reader, want string, h hash.Hash) io.Reader {
	if want == "" {
		return r
	}
	return io.TeeReader(r, h)
}

func verify(what, want string, h hash.Hash) error {
	got := "sha256:" + hex.EncodeToString(h.Sum(nil))
	if want != "" && got != want {
		return fmt.Errorf("the digest of the %s is %s, want %s", what, got, want)
	}
	return nil
}

// decompress recognises gzip and zstd by their first bytes.
func decompress(in *bufio.Reader) (io.Reader, func(), error) {
	magic, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		z, err := gzip.NewReader(in)
		return z, func() {}, err
	case string(magic) == "\x28\xb5\x2f\xfd":
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return in, func() {}, nil
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// paxXattr begins the names of extended attributes in a tar.
const paxXattr = "SCHILY.xattr."

func openFile(path string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}
