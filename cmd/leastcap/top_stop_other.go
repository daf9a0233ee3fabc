//go:build !unix

package main

import tea "charm.land/bubbletea/v2"

func handleStops(*tea.Program) (end func()) { return func() {} }

func stopSelf() tea.Msg { return nil }
