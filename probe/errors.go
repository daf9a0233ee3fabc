package probe

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnavailable is wrapped by every error that says that one could not look:
// this machine or this user never can, or a read of the maps failed.
var ErrUnavailable = errors.New("the kernel cannot be watched")

// FeatureError says what is missing, and what to do about it.
type FeatureError struct {
	Missing string // "CAP_BPF and CAP_PERFMON", "kernel type information (BTF)"
	Detail  string
	Hint    string
	Err     error
}

func (e *FeatureError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: missing: %s", ErrUnavailable, e.Missing)
	if e.Detail != "" {
		fmt.Fprintf(&b, " (%s)", e.Detail)
	}
	return b.String()
}

func (e *FeatureError) Unwrap() []error { return []error{ErrUnavailable, e.Err} }

// unavailable wraps [ErrUnavailable] around an error that does not yet.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// HookError is a way in that is none.
type HookError struct{ Name string }

func (e *HookError) Error() string { return fmt.Sprintf("no way in is named %q", e.Name) }
