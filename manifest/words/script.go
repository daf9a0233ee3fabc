package words

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A Command is a simple command: its words, without assignments before them and
// without redirections.
type Command struct {
	Words      []Word
	Start, End int    // offsets in the file, of the first word's begin and the last one's end
	Function   string // the function that it is in, "" if none
}

// An Error is what is wrong with a text, and the offset in the file.
type Error struct {
	At  int
	Err error
	// Bound: a shell could read it; it is longer or deeper than what is read here.
	Bound bool
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// MaxSize is how long a text may be, in bytes; nobody writes longer scripts.
const MaxSize = 1 << 20

// maxNesting is how deep parentheses, braces and keywords may be nested. mvdan.cc/sh
// recurses without a limit, at most about 4 KiB of stack a level, and a stack that is
// full (1 GiB) cannot be recovered from.
const maxNesting = 10_000

// maxWords bounds what variables that hold variables can grow to, in bytes.
const maxWords = 64 << 10

// maxWritten bounds the text of what is not known, in bytes: of substitutions in one another
// each has the text of those in it, too.
const maxWritten = 8 * MaxSize

// Env looks a variable up that the text does not set.
type Env func(name string) (string, bool)

// Parse finds the commands of a text, in order, also those in functions, substitutions
// and strings that sh -c and eval run. With an error, which is an [*Error], those before
// it are returned.
func Parse(t Text, env Env) ([]Command, error) {
	return parse(t, env, nil, 0)
}

// ParseIn is Parse of a text in a file that sets variables for it.
func ParseIn(t Text, env Env, host Host) ([]Command, error) {
	return parse(t, env, host, 0)
}

func parse(t Text, env Env, host Host, depth int) ([]Command, error) {
	switch {
	case len(t.Bytes) > MaxSize:
		return nil, &Error{t.Place(0), fmt.Errorf("a script of %d bytes: at most %d are read", len(t.Bytes), MaxSize), true}
	case bytes.IndexByte(t.Bytes, 0) >= 0:
		return nil, &Error{t.Place(bytes.IndexByte(t.Bytes, 0)), errors.New("a NUL byte: this is no text"), false}
	}
	if at := tooDeep(t.Bytes); at >= 0 {
		return nil, &Error{t.Place(at), fmt.Errorf("nested deeper than the %d levels that are read", maxNesting), true}
	}
	stmts, err := statements(t.Bytes)
	var failed error
	if err != nil {
		at := 0
		var pe syntax.ParseError
		var le syntax.LangError
		switch {
		case errors.As(err, &pe):
			at, err = int(pe.Pos.Offset()), errors.New(pe.Text)
		case errors.As(err, &le):
			at = int(le.Pos.Offset())
		}
		failed = &Error{t.Place(min(at, len(t.Bytes))), err, false}
	}
	r := &reader{text: t, env: env, host: host, vars: map[string]*variable{}, depth: depth}
	for _, s := range stmts {
		r.collect(s, false)
	}
	for _, s := range stmts {
		r.commands(s, "")
	}
	if r.written > maxWritten {
		return nil, &Error{t.Place(0), fmt.Errorf("substitutions nested so deep that their text, which each level repeats, is more than %d MiB", maxWritten>>20), true}
	}
	return r.found, failed
}

// statements are those before the first error. mvdan.cc/sh 3.14.1 yields some errors
// twice, for which its own Stmts panics; a panic of the parser is an error here, since
// one file must not stop the others.
func statements(text []byte) (stmts []*syntax.Stmt, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser failed: %v", r)
		}
	}()
	p := syntax.NewParser(syntax.Variant(syntax.LangBash))
	p.StmtsSeq(bytes.NewReader(text))(func(s *syntax.Stmt, e error) bool {
		switch {
		case err != nil:
			return false
		case e != nil:
			err = e
			return false
		}
		stmts = append(stmts, s)
		return true
	})
	return stmts, err
}

// tooDeep returns where the nesting exceeds maxNesting, -1 if nowhere. It counts what
// opens and closes without regard to quotes, which is enough for a limit.
func tooDeep(b []byte) int {
	depth, word := 0, 0 // word: where the last word began
	for i, c := range b {
		switch c {
		case '(', '{', '[', '`':
			depth++
		case ')', '}', ']':
			depth = max(depth-1, 0)
		case '\n', ' ', '\t', ';', '&', '|':
			switch string(b[word:i]) {
			case "if", "while", "until", "for", "case", "select", "function", "coproc", "time":
				depth++
			case "fi", "done", "esac":
				depth = max(depth-1, 0)
			}
			word = i + 1
		}
		if depth > maxNesting {
			return i
		}
	}
	return -1
}

// reader goes through one text.
type reader struct {
	text  Text
	env   Env
	host  Host
	vars  map[string]*variable
	depth int // of sh -c in sh -c
	found []Command
	grown int // bytes that variables brought

	written   int            // bytes of what is not known
	mentioned map[string]int // see mentions
	// elsewhere: variables may be used where the text does not name them: in a file that it
	// sources, by the name of a name, by all that it starts.
	elsewhere bool
}

// commands collects the simple commands below a node.
func (r *reader) commands(n syntax.Node, function string) {
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			if n.Name != nil && n.Body != nil {
				r.commands(n.Body, n.Name.Value)
				return false
			}
		case *syntax.CallExpr:
			if len(n.Args) > 0 {
				r.call(n, function)
			}
		}
		return true
	})
}

func (r *reader) call(n *syntax.CallExpr, function string) {
	var list []Word
	for _, w := range n.Args {
		list = append(list, r.word(w, 0)...)
	}
	if len(list) == 0 {
		return
	}
	c := Command{Words: list, Function: function, Start: r.text.Place(int(n.Args[0].Pos().Offset())), End: list[len(list)-1].End}
	r.found = append(r.found, c)
	if s := nested(list); s != nil && r.depth < 4 {
		if t, ok := s.Script(); ok {
			inner, _ := parse(t, r.env, r.host, r.depth+1)
			for i := range inner {
				if inner[i].Function == "" {
					inner[i].Function = function
				}
			}
			r.found = append(r.found, inner...)
		}
	}
}

// shells are those whose -c runs a string.
var shells = []string{"sh", "bash", "dash", "ash", "ksh", "zsh"}

// nested returns the word that a command runs as a script, nil if it runs none.
func nested(list []Word) *Word {
	list = list[skipPrefixes(list, anyPrefix):]
	if len(list) < 2 {
		return nil
	}
	name := path.Base(list[0].Text)
	switch {
	case name == "eval" && len(list) == 2:
		return &list[1]
	case slices.Contains(shells, name):
		for i := 1; i < len(list)-1; i++ {
			if o := list[i].Text; strings.HasPrefix(o, "-") && !strings.HasPrefix(o, "--") {
				if strings.HasSuffix(o, "c") {
					return &list[i+1]
				}
				continue
			}
			break
		}
	}
	return nil
}

// A prefix runs the command that follows it, in the foreground.
type prefix struct {
	valued string // its one-letter flags that take the next word
	words  int    // how many words without a dash stand before the command
}

// prefixes: their manual pages of coreutils 9 and util-linux 2.38. sudo and doas are
// here for those who only want what runs; package engine/line knows all their flags.
var prefixes = map[string]prefix{
	"exec": {valued: "a"}, "command": {}, "nohup": {}, "winpty": {}, "builtin": {}, "setsid": {},
	"stdbuf": {valued: "ioe"}, "ionice": {valued: "cnpPu"}, "timeout": {valued: "ks", words: 1}, "nice": {valued: "n"},
	"sudo": {valued: "aCcDghpRrTtUu"}, "doas": {valued: "aCu"},
}

// skipPrefixes counts the words before the program that a command is about.
func skipPrefixes(list []Word, known func(name string) bool) int {
	i := 0
	for i < len(list) {
		name := path.Base(list[i].Text)
		p, ok := prefixes[name]
		if !ok || !known(name) {
			break
		}
		i++
		for i < len(list) && strings.HasPrefix(list[i].Text, "-") {
			if o := list[i].Text; len(o) == 2 && strings.Contains(p.valued, o[1:]) {
				i++
			}
			i++
		}
		i += p.words
	}
	return min(i, len(list))
}

// Program cuts away what only runs the rest of a command (exec, timeout 10, nohup), but
// for sudo and doas.
func (c *Command) Program() []Word {
	return c.Words[skipPrefixes(c.Words, func(name string) bool { return name != "sudo" && name != "doas" }):]
}

// Bare is a command without what runs it, also without sudo: for those who look at
// chmod or setcap.
func (c *Command) Bare() []Word { return c.Words[skipPrefixes(c.Words, anyPrefix):] }

func anyPrefix(string) bool { return true }
