package probe

import "slices"

// systemCalls are the names of Linux' system calls by number, for the architectures that
// the programs are built for, and then those that only others have.
//
// The tables are elastic/go-seccomp-bpf's. That package makes maps of all architectures at
// every start of the program; a test holds that these here are the same.
type systemCalls struct {
	arch  string // as Go names it, "" for all others
	names []string
}

// SystemCall reports whether Linux has a system call of that name, on any architecture
// that is known.
func SystemCall(name string) bool {
	return name != "" && slices.ContainsFunc(allCalls, func(c systemCalls) bool { return slices.Contains(c.names, name) })
}
