package engine

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"github.com/leastcap/leastcap/caps"
)

// paxFileCaps is where the engines' archives keep an extended attribute.
const paxFileCaps = "SCHILY.xattr.security.capability"

// ArchivedFileCaps reads the file capabilities of the first file of an archive, as an
// engine copies it out of a container; nil if it has none. path is for errors.
func ArchivedFileCaps(archive io.Reader, path string) (*caps.FileCaps, error) {
	h, err := tar.NewReader(archive).Next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s is not in the container any more", path)
		}
		return nil, fmt.Errorf("copy %s out of the container: %w", path, err)
	}
	value, ok := h.PAXRecords[paxFileCaps]
	if !ok {
		return nil, nil
	}
	c, err := caps.ParseFileCaps([]byte(value))
	return &c, err
}
