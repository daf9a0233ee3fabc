//go:build !linux

package bundle

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/caps"
)

func seccompProfile(string, *specs.Spec) (*specs.LinuxSeccomp, error) {
	return nil, errors.New("making a seccomp profile needs Linux")
}

// Opens needs Linux.
func Opens(string) (caps.Set, bool) { return 0, false }
