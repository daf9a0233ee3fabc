package docker

import "strings"

// hub is the registry of names without one.
const hub = "docker.io"

// imageName takes the name of an image apart as docker does (distribution/reference:
// normalize.go): its registry, the repository there, and the tag or the digest, "latest"
// for neither. What is no name is left to the engine to refuse.
func imageName(name string) (registry, repository, version string) {
	name, digest, digested := strings.Cut(name, "@")
	version = "latest"
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, version = name[:i], name[i+1:]
	}
	if digested {
		version = digest
	}
	registry, repository, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(registry, ".:") && registry != "localhost" && strings.ToLower(registry) == registry {
		registry, repository = hub, name
	}
	if registry == "index.docker.io" { // its old name
		registry = hub
	}
	if registry == hub && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return registry, repository, version
}
