package probe

// Way is one way in to the kernel's checks, and whether this machine has it.
type Way struct {
	Name   string `json:"name"`
	Usable bool   `json:"usable"`
	Reason string `json:"reason,omitempty"` // why not
	Sees   string `json:"sees,omitempty"`   // whose verdict
	// NotSeen is what it does not show.
	NotSeen []string `json:"not_seen,omitempty"`
}
