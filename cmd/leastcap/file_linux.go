package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// copyXattrs gives a file the extended attributes of another, access control lists and
// labels too.
func copyXattrs(to *os.File, from string) error {
	names, err := xattr(func(b []byte) (int, error) { return unix.Listxattr(from, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the extended attributes of %s: %w", from, err)
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(names, "\x00"), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		value, err := xattr(func(b []byte) (int, error) { return unix.Getxattr(from, string(name), b) })
		if err == nil {
			have, herr := xattr(func(b []byte) (int, error) { return unix.Fgetxattr(int(to.Fd()), string(name), b) })
			if herr == nil && bytes.Equal(have, value) {
				continue // a label that the directory gave it already
			}
			err = unix.Fsetxattr(int(to.Fd()), string(name), value, 0)
		}
		if err != nil {
			return fmt.Errorf("keep the extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// xattr calls one of the calls that say how long their result is.
func xattr(call func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := call(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = call(b)
		if errors.Is(err, unix.ERANGE) {
			continue // it grew meanwhile
		}
		return b[:max(n, 0)], err
	}
}
