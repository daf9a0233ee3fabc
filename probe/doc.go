// Package probe sees, from inside the kernel, what a workload needs
// capabilities for.
//
// [Open] loads the eBPF programs of bpf/ and attaches them; from then on every
// cgroup that is created is a scope of its own, so that nothing of a workload's
// start is missed. A [Watch] picks one workload's scopes out and turns the
// kernel's aggregates into a [usage.Record].
//
// The invariants:
//
//   - Sets come from counters per scope, phase and capability. Load cannot lose
//     one; a map that is full makes the record incomplete and is never silent.
//   - Evidence is the first of each kind. Losing it is counted too, and changes
//     no set.
//   - Every way in to the kernel's checks ends in the same function (on_check
//     in bpf/leastcap.bpf.c) and so in the same rules.
package probe
