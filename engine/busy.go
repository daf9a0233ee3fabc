package engine

import (
	"context"
	"time"
)

// WhileBusy does what an engine refuses as long as something else is at work on the same
// container: again, some 13 seconds long at most: on a busy machine a removal takes some.
func WhileBusy(ctx context.Context, do func() (busy bool, err error)) error {
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		busy, err := do()
		if !busy || wait > 10*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
