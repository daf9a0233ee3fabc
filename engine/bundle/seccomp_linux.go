package bundle

import (
	"slices"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/caps"
)

// seccompProfile is Docker's default profile, or the one given as JSON, for the
// capabilities that the specification gives.
func seccompProfile(profile string, s *specs.Spec) (*specs.LinuxSeccomp, error) {
	if profile == "" {
		return seccomp.GetDefaultProfile(s)
	}
	return seccomp.LoadProfile(profile, s)
}

// Opens gives the capabilities each of which makes Docker's default profile let a system
// call through; false if no capability changes what becomes of it.
func Opens(syscall string) (caps.Set, bool) {
	var with caps.Set
	for _, group := range seccomp.DefaultProfile().Syscalls {
		if group.Action != specs.ActAllow || group.Includes == nil || !slices.Contains(group.Names, syscall) {
			continue
		}
		for _, name := range group.Includes.Caps {
			if c, err := caps.ParseCap(name); err == nil {
				with = with.With(c)
			}
		}
	}
	return with, !with.Empty()
}
