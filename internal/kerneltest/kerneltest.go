//go:build linux

// Package kerneltest runs test programs under other kernels: Debian's, in QEMU.
//
// A guest is a kernel, a way to mount cgroups, and an initramfs with a few
// static programs. Its results come over a serial line, as go test prints them,
// and a test of this package turns them into its own subtests. QEMU emulates the
// processor (TCG): that works on every machine, also on a virtual one.
package kerneltest

// Kernel is one of Debian's, for virtual machines.
type Kernel struct {
	Name  string // its version, as people say it
	Suite string // of Debian, where it is
}

// Kernels are those that are tested, the oldest first. A suite has one kernel;
// its package depends on the newest build of it.
var Kernels = []Kernel{
	{"5.10", "bullseye"},
	{"6.1", "bookworm"},
	{"6.12", "bookworm-backports"},
	{"7", "trixie-backports"},
}

// metaPackage depends on the suite's newest kernel for virtual machines.
const metaPackage = "linux-image-cloud-amd64"
