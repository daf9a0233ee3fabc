package probe

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// each calls f for every entry. Entries that come or go meanwhile may be seen
// or not; those that stay are seen, unless the map changes so fast that the
// kernel restarts the walk, which is an error and not a short list.
func each[K, V any](m *ebpf.Map, f func(K, V)) error {
	defer unpreempted()()
	var k K
	var v V
	it := m.Iterate()
	for it.Next(&k, &v) {
		f(k, v)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read map %s: %w", m, err)
	}
	return nil
}

// deleteIf deletes entries by their key.
func deleteIf[K any](m *ebpf.Map, match func(K) bool) {
	defer unpreempted()()
	var k K
	var keys []K
	var v []byte
	it := m.Iterate()
	for it.Next(&k, &v) {
		if match(k) {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		_ = m.Delete(k) // gone already: that is what is wanted
	}
}
