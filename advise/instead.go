package advise

import "github.com/leastcap/leastcap/caps"

// Alternative is what to do instead of granting a capability.
type Alternative struct {
	Do  string `json:"do"`            // an imperative clause
	How string `json:"how,omitempty"` // what to write: a flag, a line of a Dockerfile
}

// Instead gives the ways to do without a capability, the best first. That is the
// catalog's knowledge, and this the one place that asks for it: its entries' field
// Instead, where the catalog has one. What [Explain] adds of its own are the facts of the
// case, such as who owns the file.
func Instead(caps.Cap) []Alternative { return nil }
