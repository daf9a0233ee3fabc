//go:build !linux

package proc

import "errors"

// RemoveCgroup needs Linux.
func RemoveCgroup(string) error { return errors.ErrUnsupported }
