package manifest

import "fmt"

// A Pos is a place in a file. The zero value is no place.
type Pos struct {
	File string
	// Start and End are byte offsets in the file, as it is on the disk; End is the first
	// byte behind.
	Start, End int
	// Line and Column are Start's, from 1. Columns count characters (code points); a byte
	// order mark is none, a tab is one.
	Line, Column int
}

// IsZero says that it is no place.
func (p Pos) IsZero() bool { return p.Line == 0 }

// String is "file:line:column", as compilers write it.
func (p Pos) String() string {
	if p.IsZero() {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Less orders by file, then by offset.
func (p Pos) Less(q Pos) bool {
	if p.File != q.File {
		return p.File < q.File
	}
	if p.Start != q.Start {
		return p.Start < q.Start
	}
	return p.End < q.End
}

// State says what is known of a value.
type State uint8

const (
	Unset   State = iota // nothing is written; what holds then is the format's and the engine's to say
	Known                // written, and V is it
	Unknown              // written, and cannot be known from the file: Why says why
)

// A Value is one fact: what it is, and where it is written.
type Value[T any] struct {
	V     T
	State State
	// Raw is the fact as written, without quotes and with the file's escapes resolved,
	// but before variables: "${TAG:-1.0}".
	Raw string
	// Why says of an unknown value why it is ("the variable USER_ID has no value").
	Why string
	// At is where the value is written. A value that is inherited (a pod's, an extended
	// service's) is where it is inherited from.
	At Pos
}

// Text and Bool are the usual facts.
type (
	Text = Value[string]
	Bool = Value[bool]
)

// Args are the words of a command line, each with its own place; not known if even their
// number is not.
type Args = Value[[]Text]

// Line returns the words, if all of them are known.
func Line(a Args) ([]string, bool) {
	list, ok := a.Get()
	if !ok {
		return nil, false
	}
	words := make([]string, len(list))
	for i, w := range list {
		if words[i], ok = w.Get(); !ok {
			return nil, false
		}
	}
	return words, true
}

// Shell is a line that a shell runs, as Args: /bin/sh -c LINE.
func Shell(line Text) Args {
	word := func(s string) Text { return Of(s, s, line.At) }
	return Of([]Text{word("/bin/sh"), word("-c"), line}, line.Raw, line.At)
}

// Get returns the value, and whether it is known. What is not written is not known.
func (v Value[T]) Get() (T, bool) { return v.V, v.State == Known }

// Is says that it is known and has this value.
func Is[T comparable](v Value[T], want T) bool { return v.State == Known && v.V == want }

// Of makes a known value.
func Of[T any](v T, raw string, at Pos) Value[T] {
	return Value[T]{V: v, State: Known, Raw: raw, At: at}
}

// NotKnown makes a value that is written and cannot be known.
func NotKnown[T any](raw, why string, at Pos) Value[T] {
	return Value[T]{State: Unknown, Raw: raw, Why: why, At: at}
}
