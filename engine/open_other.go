//go:build !linux

package engine

import (
	"fmt"
	"io/fs"
	"os"
)

// openRegular opens a regular file, and nothing else: it is [fs.ErrNotExist].
func openRegular(name string) (*os.File, error) {
	if fi, err := os.Stat(name); err == nil && !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file: %w", name, fs.ErrNotExist)
	}
	return os.Open(name)
}
