package audit

import (
	"slices"
	"sync"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// catalog.Get copies an entry for its caller. The rules only read, and ask some hundred
// times a container, so that they share one copy.
var entries = sync.OnceValue(func() map[caps.Cap]*catalog.Entry {
	m := map[caps.Cap]*catalog.Entry{}
	for _, e := range catalog.All() {
		m[e.Cap] = &e
	}
	return m
})

// knowledge is what the catalog has about a capability; it must not be changed.
func knowledge(c caps.Cap) *catalog.Entry {
	if e := entries()[c]; e != nil {
		return e
	}
	e := catalog.Get(c) // of a newer kernel
	return &e
}

// byDanger is [catalog.ByDanger] on the shared copy: the most dangerous first.
func byDanger(set caps.Set) []caps.Cap {
	list := set.Caps()
	slices.SortStableFunc(list, func(a, b caps.Cap) int { return rank(a) - rank(b) })
	return list
}

// rank puts what nobody knows first.
func rank(c caps.Cap) int {
	e := entries()[c]
	if e == nil {
		return 0
	}
	return e.Rank
}
