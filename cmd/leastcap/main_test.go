package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/leastcap/leastcap/image"
)

// What the machine refuses has a next step, whoever met it.
func TestMachineHint(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("volume: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}),
		&image.Error{Ref: "x", Err: fmt.Errorf("layer 1: %w", syscall.EDQUOT)},
	} {
		if _, hint, code := explain(err); !strings.Contains(hint, "make room") || code != exitBlind {
			t.Errorf("%v: hint %q, status %d", err, hint, code)
		}
	}
	if _, hint, _ := explain(&image.Error{Ref: "x", Err: syscall.ENOSPC, Hint: "its own"}); hint != "its own" {
		t.Errorf("%q", hint)
	}
}
