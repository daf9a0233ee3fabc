//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	tea "charm.land/bubbletea/v2"
)

// handleStops gives the terminal back before the program is stopped, by ctrl-z or by a
// SIGTSTP from elsewhere, and draws anew when it goes on, also after a SIGSTOP, of which
// nobody is told.
func handleStops(p *tea.Program) (end func()) {
	signals, done := make(chan os.Signal, 4), make(chan struct{})
	signal.Notify(signals, syscall.SIGTSTP, syscall.SIGCONT)
	go func() {
		stopping, again := false, false
		for {
			var s os.Signal
			select {
			case <-done:
				return
			case s = <-signals:
			}
			switch {
			case stopping && s == syscall.SIGCONT: // tea takes the terminal again
				stopping = false
			case !stopping:
				// tea gives the terminal back, and then sends the group a SIGTSTP. After a
				// SIGSTOP that is the way to have it taken again.
				stopping, again = true, s == syscall.SIGCONT
				p.Send(tea.SuspendMsg{})
			case again:
				_ = syscall.Kill(0, syscall.SIGCONT) // its own group
			default:
				// Go's runtime does not give SIGTSTP its default back.
				_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // its own process
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// quittable ends at a SIGQUIT, too, of which Go would make a dump on a terminal that is not
// given back.
func quittable(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGQUIT)
}

// stopSelf asks for what a terminal does at ctrl-z: it stops the process group.
func stopSelf() tea.Msg {
	_ = syscall.Kill(0, syscall.SIGTSTP) // its own group
	return nil
}
