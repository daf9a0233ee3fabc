//go:build !unix

package main

import (
	"context"

	tea "charm.land/bubbletea/v2"
)

func handleStops(*tea.Program) (end func()) { return func() {} }

func stopSelf() tea.Msg { return nil }

func quittable(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
