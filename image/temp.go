package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const tempPrefix = "leastcap-image-"

// tempDir makes a directory for the time that m is open, and removes those that
// killed processes left: they are not locked any more.
func (m *Image) tempDir(o Options) (string, error) {
	parent := o.TempDir
	if parent == "" {
		parent = os.TempDir()
	}
	sweepTemp(parent)
	for {
		dir, err := os.MkdirTemp(parent, tempPrefix)
		if err != nil {
			return "", err
		}
		lock, err := lockDir(dir)
		if errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist) {
			// Another process takes it for an old one.
			if err := os.RemoveAll(dir); err != nil {
				return "", err
			}
			continue
		}
		if err != nil { // no locks here, and so no sweeping either
			m.cleanup = append(m.cleanup, func() error { return os.RemoveAll(dir) })
			return dir, nil
		}
		m.cleanup = append(m.cleanup, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) })
		return dir, nil
	}
}

// sweepTemp does what it can: what it leaves is no reason to fail.
func sweepTemp(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*")) // the pattern is well-formed but for odd parents
	for _, dir := range dirs {
		if lock, err := lockDir(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}
