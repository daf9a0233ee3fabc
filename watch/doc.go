// Package watch turns what the probe sees of running workloads into events and profiles:
// who is who among the cgroups, what is new since the last look, and what it adds up to.
//
// It decides and does not look: the probe's surveys, and what engines say of containers,
// are handed in.
package watch
