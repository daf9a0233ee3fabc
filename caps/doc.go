// Package caps names, holds, parses and formats Linux capabilities.
//
// Three small values carry everything: [Cap] is one capability, [Set] is 64 of
// them as the kernel stores them, [State] is the five sets of a process. Two
// more read what others write: [Text] is libcap's notation
// (cap_from_text(3)), and [FileCaps] is the security.capability attribute of a
// file.
//
// The zero value of each is the empty one. A capability that this package has
// no name for (from a newer kernel) is not lost: it keeps its bit, prints as
// its number, and that number parses again. An unknown name, on the other
// hand, is always an error, never a warning.
//
// Spellings: [Cap.Name] is the kernel's ("CAP_NET_RAW", also in JSON),
// [Cap.String] is for people ("net_raw"), [Cap.Docker] is what container
// engines and Kubernetes write ("NET_RAW"). Every parser takes all of them.
//
// The package is pure: no I/O, no clock, every platform.
package caps
