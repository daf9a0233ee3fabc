//go:build !linux

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

var errLinux = fmt.Errorf("running commands with chosen capabilities needs Linux: %w", errors.ErrUnsupported)

type instance struct {
	self   string
	spec   LaunchSpec
	dir    string
	id     uint64
	cmd    *exec.Cmd
	out    *engine.Tail
	v2     bool
	exited chan struct{}
}

func ownSession() *syscall.SysProcAttr                                       { return nil }
func inode(string) (uint64, error)                                           { return 0, errLinux }
func (i *instance) Scope() proc.ScopeRef                                     { return proc.ScopeRef{ID: i.id} }
func (i *instance) Start(context.Context) error                              { return errLinux }
func (i *instance) Exited() <-chan struct{}                                  { return i.exited }
func (i *instance) Exit() engine.Exit                                        { return engine.Exit{} }
func (i *instance) Env(context.Context) ([]string, error)                    { return nil, errLinux }
func (i *instance) Health(context.Context) (engine.Health, error)            { return engine.NoHealth, errLinux }
func (i *instance) Stop(context.Context, time.Duration) error                { return errLinux }
func (i *instance) Exec(context.Context, string) (string, int, error)        { return "", 0, errLinux }
func (i *instance) Logs(context.Context, int) string                         { return "" }
func (i *instance) FileCaps(context.Context, string) (*caps.FileCaps, error) { return nil, errLinux }
func (i *instance) Describe(context.Context, *usage.Subject)                 {}
func (i *instance) Remove(context.Context) error                             { return errLinux }

// Launch needs Linux.
func Launch(_ string, stderr io.Writer) int {
	fmt.Fprintf(stderr, "leastcap: error: %v\n", errLinux)
	return launchFailed
}
