// Package report renders results for people and for programs.
//
// It is pure: everything goes to an io.Writer, in one Write. What a workload
// said or was called (names, paths, log lines) is hostile input; no text
// leaves this package for a person without passing through [Clean] or a
// shell's quoting, so none of it can move a cursor or fake a line.
//
// The text for people is ASCII but for what it cites, and never tells by
// colour alone.
package report
