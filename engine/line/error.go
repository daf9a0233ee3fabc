package line

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// ErrUnknownFlag is what a [*Error] wraps when the table does not have the
// flag. The installed engine may be newer than the table: see [ParseHelp].
var ErrUnknownFlag = errors.New("unknown flag")

// ErrOtherVerb is what a [*Error] wraps when the line is an engine's and neither run
// nor create.
var ErrOtherVerb = errors.New("neither run nor create")

// ErrOnlyPrints says that a line prints its engine's help or version and does nothing else.
var ErrOnlyPrints = errors.New("only prints")

// Error says what is wrong with a command line.
type Error struct {
	Word   string // the word that is wrong, as typed; "" if one is missing
	At     int    // its index in the command line
	Reason string // what is wrong with it, complete in itself
	Hint   string // what to do instead; "" if there is nothing to say
	Err    error  // ErrUnknownFlag, caps.UnknownError, …; may be nil
}

func (e *Error) Error() string { return e.Reason }

func (e *Error) Unwrap() error { return e.Err }

// flagError puts pflag's error about the word at index at into words.
func flagError(err error, command string, fs *pflag.FlagSet, words []string, at int) *Error {
	e := &Error{Word: words[at], At: at, Err: err}
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
	)
	switch {
	case errors.As(err, &unknown):
		flag := "--" + unknown.GetSpecifiedName()
		near := nearestFlag(fs, unknown.GetSpecifiedName())
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			flag, near = "-"+short[:1], ""
			if short != words[at][1:] || len(short) > 1 {
				flag = fmt.Sprintf("-%s (in %s)", short[:1], words[at])
			}
			if long := words[at][1:]; fs.Lookup(long) != nil {
				near = long
			}
		}
		e.Err = ErrUnknownFlag
		e.Reason = fmt.Sprintf("%s has no flag %s", command, flag)
		e.Hint = fmt.Sprintf("see '%s --help'", command)
		if near != "" {
			e.Hint = fmt.Sprintf("did you mean --%s? (%s)", near, e.Hint)
		}
	case errors.As(err, &missing):
		e.Reason = fmt.Sprintf("%s: %s needs a value", command, words[at])
		e.Hint = fmt.Sprintf("write --%s=VALUE", missing.GetFlag().Name)
	case errors.Is(err, pflag.ErrHelp):
		return helpError(command, words[at], at)
	default:
		e.Reason = fmt.Sprintf("%s: %v", command, err)
	}
	return e
}

func helpError(command, typed string, at int) *Error {
	return &Error{
		Word: typed, At: at, Err: ErrOnlyPrints,
		Reason: fmt.Sprintf("%s %s only prints; it starts no container", command, typed),
		Hint:   fmt.Sprintf("leave %s out", typed),
	}
}

// nearestFlag returns the flag whose name is nearest to the one typed, or "" if
// none is near: at most one slip in three letters, and never more than three.
func nearestFlag(fs *pflag.FlagSet, typed string) string {
	if len(typed) > 64 {
		return ""
	}
	best, bestDistance := "", 4
	fs.VisitAll(func(f *pflag.Flag) {
		if d := editDistance(typed, f.Name); d < bestDistance && 3*d <= max(len(typed), len(f.Name)) {
			best, bestDistance = f.Name, d
		}
	})
	return best
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
