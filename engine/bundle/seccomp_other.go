//go:build !linux

package bundle

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func seccompProfile(string, *specs.Spec) (*specs.LinuxSeccomp, error) {
	return nil, errors.New("making a seccomp profile needs Linux")
}
