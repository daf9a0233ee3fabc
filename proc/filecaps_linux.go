package proc

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
)

// FileCaps reads a file's capabilities, following links; nil if it has none.
func FileCaps(file string) (*caps.FileCaps, error) {
	buf := make([]byte, 64) // XATTR_CAPS_SZ_3 is 24 (include/uapi/linux/capability.h)
	n, err := unix.Getxattr(file, "security.capability", buf)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil:
		return nil, &os.PathError{Op: "getxattr", Path: file, Err: err}
	}
	c, err := caps.ParseFileCaps(buf[:n])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &c, nil
}
