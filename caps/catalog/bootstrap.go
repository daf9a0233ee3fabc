//go:build bootstrap

package catalog

// With this tag the package has its types and no data: scripts/catalog is built
// so, in order that it can make data.go whatever is there.
var (
	entries    []Entry
	defaults   []Default
	levelMeans [Host + 1]string
	families   [][]string
	errnos     []Errno
)
