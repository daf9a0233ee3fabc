//go:build cgo

package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// anyWriter hides files: the container gets pipes. A file of the user's that is given
// directly would be made the container's user's own (runc libcontainer/init_linux.go
// fixStdioPermissions).
type anyWriter struct{ io.Writer }

// stdio connects the process. end is to be called when it has been started.
func (c *Container) stdio(p *libcontainer.Process, o Options) (end func() error, err error) {
	if !c.want.TTY {
		if o.Stdin == nil {
			null, err := os.Open(os.DevNull)
			if err != nil {
				return nil, err
			}
			p.Stdin = null
			end = null.Close
		} else {
			r, w, err := os.Pipe()
			if err != nil {
				return nil, err
			}
			p.Stdin = r
			end = func() error {
				go func() {
					_, _ = io.Copy(w, o.Stdin) // the container may have ended
					_ = w.Close()
				}()
				return r.Close()
			}
		}
		if o.Stdout != nil {
			p.Stdout = anyWriter{o.Stdout}
		}
		if o.Stderr != nil {
			p.Stderr = anyWriter{o.Stderr}
		}
		return end, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("the terminal: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "console"), os.NewFile(uintptr(pair[1]), "console")
	p.ConsoleSocket = theirs
	return func() error {
		_ = theirs.Close()
		defer ours.Close()
		master, err := receiveFile(ours)
		if err != nil {
			return fmt.Errorf("the terminal: %w", err)
		}
		c.console = master
		if o.Stdin != nil {
			go func() { _, _ = io.Copy(master, o.Stdin) }() // ends with the terminal
		}
		if o.Stdout != nil {
			c.copies.Go(func() { _, _ = io.Copy(o.Stdout, master) }) // EIO when all have closed it
		}
		return nil
	}, nil
}

// receiveFile takes the file that came over a socket.
func receiveFile(socket *os.File) (*os.File, error) {
	name, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), name, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err == nil && len(fds) == 1 {
			return os.NewFile(uintptr(fds[0]), "terminal"), nil
		}
	}
	return nil, errors.New("the runtime sent none")
}

// Resize tells the terminal its size in characters.
func (c *Container) Resize(width, height uint16) error {
	if c.console == nil {
		return nil
	}
	return unix.IoctlSetWinsize(int(c.console.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
}
