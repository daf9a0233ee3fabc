//go:build !linux

package oracle

import (
	"context"
	"errors"

	"github.com/leastcap/leastcap/bench/truth"
)

// Oracle finds truths, on Linux.
type Oracle struct{}

// New fails here.
func New(context.Context) (*Oracle, error) {
	return nil, errors.New("the oracle needs Linux, and root")
}

// Close does nothing here.
func (*Oracle) Close() error { return nil }

// Find is never called here.
func (*Oracle) Find(context.Context, *truth.Workload) (*truth.Truth, []string, error) {
	return nil, nil, errors.New("the oracle needs Linux")
}
