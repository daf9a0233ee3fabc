//go:build !linux || !cgo

package embedded

import (
	"context"
	"errors"
	"os"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/manifest/reading"
)

// Container is one container.
type Container struct{}

var errBuild = &engine.Error{
	Problem: "this build of leastcap has no embedded runtime",
	Reason:  "it needs Linux and cgo",
	Hint:    "build it there with a C compiler (make build), or use an engine: docker, podman or nerdctl",
}

// Rootless runs nothing: the embedded runtime is not in this build.
func Rootless(...string) (bool, int, error) { return false, 0, nil }

// MayRootless fails: the embedded runtime is not in this build.
func MayRootless() error { return errBuild }

// Run fails: the embedded runtime is not in this build.
func Run(context.Context, Options) (*Container, error) { return nil, errBuild }

// New fails: the embedded runtime is not in this build.
func New(Request) (engine.Workload, error) { return nil, errBuild }

// ReadConfig reads nothing: what runc reads is not in this build.
func ReadConfig([]byte, []byte) (*reading.Answer, error) { return nil, errBuild }

// Sweep has nothing to remove.
func Sweep() error { return nil }

// Available says why containers cannot be run.
func Available() error { return errBuild }

var errNone = errors.ErrUnsupported

// ID is empty.
func (c *Container) ID() string { return "" }

// Address is empty.
func (c *Container) Address() string { return "" }

// Pid is 0.
func (c *Container) Pid() int { return 0 }

// Wait fails.
func (c *Container) Wait() engine.Exit { return engine.Exit{Err: errNone} }

// Signal fails.
func (c *Container) Signal(os.Signal) error { return errNone }

// Resize fails.
func (c *Container) Resize(uint16, uint16) error { return errNone }

// Exec fails.
func (c *Container) Exec(context.Context, []string) (string, int, error) { return "", 0, errNone }

// Remove does nothing.
func (c *Container) Remove() error { return nil }

type volumes struct{}
