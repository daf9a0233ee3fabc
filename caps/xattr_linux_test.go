package caps_test

import (
	"syscall"
	"testing"
)

// securityCapability returns the raw security.capability attribute of a file.
func securityCapability(t *testing.T, path string) []byte {
	t.Helper()
	xattr := make([]byte, 64)
	n, err := syscall.Getxattr(path, "security.capability", xattr)
	if err != nil {
		t.Fatalf("getxattr %s: %v", path, err)
	}
	return xattr[:n]
}
