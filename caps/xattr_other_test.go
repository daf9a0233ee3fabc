//go:build !linux

package caps_test

import "testing"

// securityCapability is for Linux; its callers skip elsewhere.
func securityCapability(t *testing.T, path string) []byte {
	t.Helper()
	t.Fatalf("%s: no security.capability here", path)
	return nil
}
