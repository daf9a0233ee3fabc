package bundle

import (
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// seccompProfile is Docker's default profile, or the one given as JSON, for the
// capabilities that the specification gives.
func seccompProfile(profile string, s *specs.Spec) (*specs.LinuxSeccomp, error) {
	if profile == "" {
		return seccomp.GetDefaultProfile(s)
	}
	return seccomp.LoadProfile(profile, s)
}
