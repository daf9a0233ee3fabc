//go:build !linux

package proc

import (
	"errors"

	"github.com/leastcap/leastcap/usage"
)

// Look needs Linux.
func Look(int, string, uint32, uint32, bool) (*usage.File, error) { return nil, errors.ErrUnsupported }

// LookIn needs Linux.
func LookIn(string, string, uint32, uint32, bool) (*usage.File, error) {
	return nil, errors.ErrUnsupported
}

// Device names no device on other systems than Linux.
func Device(block bool, major, minor uint32) (number, name string) { return "", "" }
