package main

import (
	"context"
	"io"
	"time"
)

const (
	// slow is how long is waited without a word for an engine, which may hang.
	slow = 10 * time.Second
	// slowEnd is that for the end, after a signal.
	slowEnd = 2 * time.Second
)

// waiting says, after a while, what is waited for. The function that it returns ends that.
func waiting(stderr io.Writer, after time.Duration, what string) (done func()) {
	t := time.AfterFunc(after, func() {
		say(stderr, "%s has not answered for %v; Ctrl-C ends this", what, after)
	})
	return func() { t.Stop() }
}

// ending says, a while after ctx has ended, that there is something to be removed yet; first
// is called before. The function that it returns ends that.
func ending(ctx context.Context, stderr io.Writer, after time.Duration, first func()) (done func()) {
	over, done := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		select {
		case <-over.Done():
		case <-time.After(after):
			first()
			say(stderr, "what was started is being removed; a second signal ends leastcap at once, and its next start removes the rest")
		}
	})
	return done
}
