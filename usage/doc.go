// Package usage holds what was seen of a workload's use of capabilities and
// what was concluded from it: a [Record] is one run as the kernel showed it, a
// [Profile] the learned result as a file.
//
// Everything here is plain data and pure functions; the words are those of
// ARCHITECTURE.md's vocabulary.
package usage
