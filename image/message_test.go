package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// What an engine complains of is its error, and not what it warns of before.
func TestComplaint(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"Error response from daemon: No such image: x\n":                                           "Error response from daemon: No such image: x",
		"time=\"…\" level=warning msg=\"no shared mount\"\nError: inspecting object: x: not known": "Error: inspecting object: x: not known",
		"something\nelse": "else",
		"Error: one\nSee 'podman image inspect --help'": "Error: one",
	} {
		if got := complaint(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Only what is wrong with the image is said to be.
func TestLayerError(t *testing.T) {
	for _, tt := range []struct {
		err  error
		hint bool
	}{
		{errors.New("the name has a .. in it"), true},
		{fmt.Errorf("write: %w", syscall.ENOSPC), false},
		{fmt.Errorf("write: %w", syscall.EACCES), false},
		{context.Canceled, false},
	} {
		err := layerError(&Image{Ref: "x"}, tt.err)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, tt.err) || (e.Hint != "") != tt.hint {
			t.Errorf("%v: %#v, want a hint: %v", tt.err, err, tt.hint)
		}
	}
}

func TestQuote(t *testing.T) {
	if got := quote("a\x1b"); got != `"a\x1b"` {
		t.Error(got)
	}
	if got := quote(strings.Repeat("x", 4000)); len(got) > 110 || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
