// Package proc reads what /proc and the cgroup file systems say of processes:
// their start times, cgroups, and which cgroup hierarchy tells containers apart.
package proc
