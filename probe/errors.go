package probe

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnavailable is wrapped by every error that says that this machine, or
// this user, cannot be looked at.
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
