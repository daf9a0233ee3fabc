package manifest

import (
	"errors"
	"fmt"
)

// A Source is a file to read, and the way to what it refers to.
type Source struct {
	// Name is how the user named it; it is every Pos's File.
	Name string
	Data []byte
	// Open returns another file that this one names (include, extends, .env), by the name
	// that [Pos.File] will have: relative ones are relative to this file's directory and
	// already joined to it. Nil means that there are no others: what is in them is unknown.
	Open func(name string) ([]byte, error)
	// List are the names in a directory, for files that are found by where they lie
	// (drop-ins of a unit). Nil means that there are none.
	List func(dir string) ([]string, error)
	// Over are the names of files that are put over this one, the strongest last, as with
	// several --file of docker compose. Nil means those that lie beside it by custom
	// (compose.override.yaml); an empty list means none. Formats without such a notion
	// look at neither.
	Over []string
	// Env is the environment that variables are looked up in. Nil means an empty one.
	Env func(name string) (string, bool)
}

// An Error is what is wrong with a file, and where. It never stops other files, and
// seldom the rest of the same one.
type Error struct {
	At     Pos // File alone, if it is about all of it
	Reason string
	Hint   string // the next step, "" if there is none
	Err    error  // what is behind it, or nil
}

func (e *Error) Error() string {
	text := e.Reason
	if e.Err != nil {
		if text != "" {
			text += ": "
		}
		text += e.Err.Error()
	}
	if at := e.At.String(); at != "" {
		return at + ": " + text
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Errors takes apart what a Parse returned: every [*Error] in it.
func Errors(err error) []*Error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var list []*Error
		for _, e := range many.Unwrap() {
			list = append(list, Errors(e)...)
		}
		return list
	}
	var one *Error
	if errors.As(err, &one) {
		return []*Error{one}
	}
	return []*Error{{Err: err}}
}

// MaxSize is how big a file may be, in bytes, before it is refused unread. Definitions
// are small; what is bigger than this is something else, or an attack on the parser.
const MaxSize = 16 << 20

// MaxDepth is how deep collections may be nested.
const MaxDepth = 200

// CheckSize is the [*Error] for a source that is too big.
func CheckSize(src Source) error {
	if len(src.Data) > MaxSize {
		return &Error{At: Pos{File: src.Name}, Reason: fmt.Sprintf("%d MiB: a file of container definitions has at most %d MiB", len(src.Data)>>20, MaxSize>>20)}
	}
	return nil
}

// Likelihood says how sure a format is that a file is its own.
type Likelihood uint8

const (
	No     Likelihood = iota
	Maybe             // by name or by a weak sign: only when no other format is surer
	Likely            // by content
	Sure              // by content that nothing else has
)

// A Format is one kind of file. Packages below this one have a variable of it; the
// command lists them.
type Format struct {
	Name string // "compose"
	// Title is for people: "Compose file".
	Title string
	// Recognise looks at the content first and at the name second. It is cheap, and does
	// not parse.
	Recognise func(name string, data []byte) Likelihood
	// Certain says by the name or the first line, if the format is a language that quotes others
	// (a manual shows manifests, a script writes them), that a file is of it whatever it has in
	// it. It may be nil.
	Certain func(name string, data []byte) bool
	// Parse returns every container, in the order of the file, and what is wrong: an error
	// that [Errors] takes apart. Both may be there.
	Parse func(src Source) ([]*Container, error)
	// Edit turns changes, each of a container that Parse returned for the same source, into
	// edits, which may be in other files that src.Open gives. A change that is refused
	// makes no edit. A container that is already as wanted needs none. Nil for formats that
	// cannot be edited.
	Edit func(src Source, changes []Change) ([]Edit, []*Refusal)
	// Verify reads the source as it was and as it would be with a second parser, and says
	// what differs in meaning beyond the changes, or of them is not there.
	Verify func(before, after Source, changes []Change) error
}

// Recognise returns the format that is surest of a file, nil if none is. Of two that are
// equally sure the first wins.
func Recognise(formats []*Format, name string, data []byte) *Format {
	for _, f := range formats {
		if f.Certain != nil && f.Certain(name, data) {
			return f
		}
	}
	var best *Format
	level := No
	for _, f := range formats {
		if l := f.Recognise(name, data); l > level {
			best, level = f, l
		}
		if level == Sure {
			break
		}
	}
	return best
}
