package learn

import (
	"context"
	"sync"
	"time"
)

// pauses counts how often this process did not run for a while: it was stopped (SIGSTOP, a
// debugger, docker pause), or the machine gave it no time. The workload went on meanwhile,
// and what should have been looked at in time was not.
type pauses struct {
	mu   sync.Mutex
	last time.Time
	n    int
}

const (
	pauseTick = 250 * time.Millisecond
	// longPause is more than a busy machine makes of a tick.
	longPause = 2 * time.Second
)

// notice watches until ctx ends.
func (p *pauses) notice(ctx context.Context) {
	p.count()
	tick := time.NewTicker(pauseTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.count()
		}
	}
}

// count is how many there were, one that has only just ended included.
func (p *pauses) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.last.IsZero() && now.Sub(p.last) > longPause {
		p.n++
	}
	p.last = now
	return p.n
}
