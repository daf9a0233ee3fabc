//go:build !linux

package embedded

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/engine/bundle"
)

func hostDevices(c *bundle.Container) ([]specs.LinuxDevice, error) {
	if c.Privileged || len(c.Devices) > 0 {
		return nil, errBuild
	}
	return nil, nil
}
