//go:build bootstrap

package proof

// With this tag the package has its types and no data: scripts/catalog is built so, in
// order that it can make data.go whatever is there.
var (
	experiments []Experiment
	features    []Feature
	kernels     []string
)
