package probe

// TaskOptions say what [Tasks] lists.
type TaskOptions struct {
	// Kernel: the kernel's own processes, too.
	Kernel bool
	// All: with securebits, which /proc does not show, and with all namespaces, of
	// processes that may not be looked at there, too.
	All bool
}
