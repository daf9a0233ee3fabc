// Package engines compares the catalog's default sets with those of the engines' own
// modules: containerd, Moby, runc, runtime-tools and Kubernetes' Pod Security.
//
// It is a module of its own, so that these do not burden the main one; "make test" runs
// it. To compare with newer versions: go get -u ./... && go mod tidy, here.
package engines
