package main

import (
	"slices"
	"testing"
)

func TestChoices(t *testing.T) {
	for usage, want := range map[string][]string{
		"text or json":                                   {"text", "json"},
		"text, json (the profile) or flags":              {"text", "json", "flags"},
		"pid or risk: the most dangerous first":          {"pid", "risk"},
		"pscap or pscap-0.9: as libcap-ng prints it":     {"pscap", "pscap-0.9"},
		"docker, podman or nerdctl (default: the first)": {"docker", "podman", "nerdctl"},
		"remove a container of that name first":          nil,
		"all that was used, or what is required":         nil,
		"":                                               nil,
	} {
		if got := choices(usage); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", usage, got, want)
		}
	}
}
