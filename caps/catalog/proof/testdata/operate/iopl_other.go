//go:build !amd64

package main

// ioPrivilege: iopl(2) is of x86.
func ioPrivilege(scene) (string, error) { return "ENOSYS", nil }
