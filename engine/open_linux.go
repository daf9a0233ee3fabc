package engine

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// openRegular opens a regular file, and nothing else: it is [fs.ErrNotExist]. Names come
// from strangers, and to open a FIFO may last for ever, to open a device may have effects
// (a watchdog begins to count). open(2): with O_PATH nothing is opened.
func openRegular(name string) (*os.File, error) {
	at, err := os.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	fi, err := at.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file: %w", name, fs.ErrNotExist)
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", at.Fd()))
}
