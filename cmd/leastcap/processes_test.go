package main

import (
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
)

// TestPodmanHas: a user who has nothing gives his containers what he is asked for.
func TestPodmanHas(t *testing.T) {
	if set := podmanHas(1000); set == nil || *set != proc.Known() || !set.Has(caps.SysAdmin) {
		t.Errorf("without root: %v", set)
	}
	own := proc.Available()
	if set := podmanHas(0); (set == nil) != (own == nil) || set != nil && *set != *own {
		t.Errorf("as root: %v, want %v", set, own)
	}
}
