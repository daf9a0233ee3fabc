// Package cli runs containers through the commands of container engines: docker,
// podman and nerdctl. What a line says is package engine/line's; its names are here
// too, for those who run what they parse.
package cli

import (
	"errors"

	"github.com/leastcap/leastcap/engine/line"
)

type (
	Line      = line.Line
	Flag      = line.Flag
	FlagSpec  = line.FlagSpec
	Table     = line.Table
	Request   = line.Request
	Rewrite   = line.Rewrite
	Ask       = line.Ask
	Other     = line.Other
	LineError = line.Error
)

// ErrUnknownFlag is [line.ErrUnknownFlag].
var ErrUnknownFlag = line.ErrUnknownFlag

// Parse is [line.Parse].
func Parse(argv []string) (*Line, error) { return line.Parse(argv) }

// ParseWith is [line.ParseWith].
func ParseWith(argv []string, t *Table) (*Line, error) { return line.ParseWith(argv, t) }

// ParseOther is [line.ParseOther].
func ParseOther(argv []string) (*Other, error) { return line.ParseOther(argv) }

// Recognise is [line.Recognise].
func Recognise(argv []string) (engine string, ok bool) { return line.Recognise(argv) }

// TableFor is [line.TableFor].
func TableFor(engine string) (*Table, error) { return line.TableFor(engine) }

// UnderstandAs is [line.UnderstandAs].
func UnderstandAs(engine string, argv []string, own []FlagSpec) (*Line, error) {
	return line.UnderstandAs(engine, argv, own)
}

// Engines is [line.Engines].
func Engines() []string { return line.Engines() }

// Quote is [line.Quote].
func Quote(argv []string) string { return line.Quote(argv) }

// Understand parses a line whose verb may also have the caller's own flags. Flags
// newer than leastcap's tables are looked up in the installed command's own help.
func Understand(argv []string, own []FlagSpec) (*Line, error) {
	name, ok := Recognise(argv)
	if !ok {
		return Parse(argv) // says what is wrong
	}
	t, err := TableFor(name)
	if err != nil {
		return nil, err
	}
	line, err := ParseWith(argv, t.With(nil, own, own))
	if errors.Is(err, ErrUnknownFlag) {
		if newer, ok := installedTable(argv); ok {
			return ParseWith(argv, newer.With(nil, own, own))
		}
	}
	return line, err
}
