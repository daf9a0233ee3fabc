package advise

import (
	"cmp"
	"slices"

	"github.com/leastcap/leastcap/caps"
)

// What is tried where nothing of the kernel's checks can be seen: capabilities
// that are likely not to be needed are taken away many at a time.

// frequency is how many of a hundred workloads need a capability: of those in
// bench/truth/oracle.json (62, from Debian, in Docker), which a test compares.
var frequency = map[caps.Cap]float64{
	caps.Setgid: 61, caps.Setuid: 61, caps.Chown: 24, caps.DacOverride: 15, caps.NetRaw: 11, caps.Fowner: 10, caps.SysChroot: 10,
	caps.Kill: 6, caps.Fsetid: 5, caps.NetAdmin: 3, caps.SysNice: 3, caps.NetBindService: 2, caps.IpcLock: 2, caps.SysAdmin: 2,
	caps.Setfcap: 2, caps.Setpcap: 2, caps.SysPtrace: 2,
}

// rare is the frequency of all others, and of every capability where the
// workload is not root from the start: it has none then, unless an executable
// gives it some.
const rare = 1

// Likelihood is how likely a workload needs a capability, before anything is
// known of it but whether it starts as root.
func Likelihood(c caps.Cap, root bool) float64 {
	f, ok := frequency[c]
	if !ok || !root {
		f = rare
	}
	return f / 100
}

// Unlikely puts the capability that is least likely needed first; of equals the
// most dangerous.
func Unlikely(set caps.Set, root bool) []caps.Cap {
	list := Order(set)
	slices.SortStableFunc(list, func(a, b caps.Cap) int {
		return cmp.Compare(Likelihood(a, root), Likelihood(b, root))
	})
	return list
}

// Group gives the first of a list by [Unlikely] that are tried away at once: as
// many as make it about as likely that all can go as that not all can, which is
// when a trial tells most.
func Group(list []caps.Cap, root bool) []caps.Cap {
	all := 1.0
	for i, c := range list {
		all *= 1 - Likelihood(c, root)
		if all < 0.5 && i > 0 {
			return list[:i]
		}
	}
	return list
}
