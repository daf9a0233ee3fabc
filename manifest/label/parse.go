package label

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Command is a label, read.
type Command struct {
	Words []string
	// Used are the variables whose values went into it, sorted.
	Used []string
	// Lost is what was deleted, since its variable is not set.
	Lost []Lost
}

// Lost is a piece of a label that was deleted: from the $ of an unset variable up to
// the next space.
type Lost struct {
	Text string // as it stood there
	// At is the index of the word that lost its end, or, with Whole, of the word that
	// now stands in the place of one of which nothing is left.
	At    int
	Whole bool
}

// Variable is the name of the variable, "" if what follows the $ is none.
func (l Lost) Variable() string {
	m := variable().FindStringSubmatch(l.Text)
	if m == nil {
		return ""
	}
	name := strings.Trim(m[1], "{}")
	if i := strings.IndexFunc(name, func(r rune) bool { return !isName(r) }); i >= 0 {
		name = name[:i] // ${NAME:-value}
	}
	return name
}

func isName(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// Error is a label that makes no command.
type Error struct {
	Reason string
	Hint   string
}

func (e *Error) Error() string { return e.Reason }

// Parse makes words of a label's text, as atomic does and in its order: the bare words
// IMAGE, NAME, IMAGE=IMAGE and NAME=NAME are replaced; $VAR and ${VAR} are; what stands
// from an unset one to the next space is deleted; runs of spaces become one; quotes and
// backslashes are read as Python's shlex.split reads them.
//
// args follow as they are. (atomic joins them to the text and splits them again, so
// that a space in one of them makes two.) Errors are [*Error].
func Parse(text string, env map[string]string, args []string) (*Command, error) {
	if strings.ContainsRune(text, 0) {
		return nil, &Error{"the label has a NUL byte in it", "build the image again with a label that is text"}
	}
	words := strings.Fields(text)
	for i, w := range words {
		switch w {
		case "IMAGE", "NAME":
			words[i] = env[w]
		case "IMAGE=IMAGE", "NAME=NAME":
			name, _, _ := strings.Cut(w, "=")
			words[i] = name + "=" + env[name]
		}
	}
	used := map[string]bool{}
	full := expand(strings.Join(words, " "), env, used)
	kept, lost := remove(full)
	list, spans, err := split(kept)
	if err != nil {
		e := &Error{Reason: err.Error(), Hint: "build the image again with a label whose quotes are closed"}
		if len(lost) > 0 {
			e.Reason = fmt.Sprintf("%s, after %s was deleted, whose variable is not set", err, quoted(lost))
			e.Hint = "set it: " + assignments(lost) + "; a default, as in ${NAME:-VALUE}, is not understood"
		}
		return nil, e
	}
	c := &Command{Words: append(list, args...)}
	for _, l := range lost {
		at := slices.IndexFunc(spans, func(s span) bool { return s.start < l.at && l.at <= s.end })
		// A gap of its own stands between two words, unless it is between quotes.
		whole := l.alone && (at < 0 || spans[at].end == l.at)
		if whole {
			at = 0
			for at < len(spans) && spans[at].end <= l.at {
				at++
			}
		}
		c.Lost = append(c.Lost, Lost{Text: l.text, At: at, Whole: whole})
	}
	for name := range used {
		c.Used = append(c.Used, name)
	}
	slices.Sort(c.Used)
	if len(list) == 0 {
		return nil, &Error{"the label is empty", "build the image again with a command in it"}
	}
	return c, nil
}

func quoted(lost []gap) string {
	var list []string
	for _, l := range lost {
		list = append(list, fmt.Sprintf("%q", l.text))
	}
	return strings.Join(list, ", ")
}

func assignments(lost []gap) string {
	var list []string
	for _, l := range lost {
		if name := (Lost{Text: l.text}).Variable(); name != "" {
			list = append(list, name+"=…")
		}
	}
	return strings.Join(list, " ")
}

// variable is the form that Python's posixpath.expandvars knows; there is no default
// value and no escape.
var variable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$(\w+|\{[^}]*\})`)
})

// expand replaces the variables that are set. Values are not expanded again. used, if
// not nil, collects their names.
func expand(text string, env map[string]string, used map[string]bool) string {
	return variable().ReplaceAllStringFunc(text, func(m string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(m[1:], "{"), "}")
		value, ok := env[name]
		if !ok {
			return m
		}
		if used != nil {
			used[name] = true
		}
		return value
	})
}

// unset is what sub_env_strings deletes.
var unset = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$\S*`)
})

// gap is where something was deleted.
type gap struct {
	text  string
	at    int  // offset in what is kept
	alone bool // with spaces around it
}

// remove deletes what is unset, and makes one space of many.
func remove(text string) (string, []gap) {
	var b strings.Builder
	var gaps []gap
	for field := range strings.FieldsSeq(text) {
		m := unset().FindString(field)
		rest := strings.TrimSuffix(field, m)
		if b.Len() > 0 && rest != "" {
			b.WriteByte(' ')
		}
		b.WriteString(rest)
		if m != "" {
			gaps = append(gaps, gap{text: m, at: b.Len(), alone: rest == ""})
		}
	}
	return b.String(), gaps
}

// span is where a word stood in the text.
type span struct{ start, end int }

var (
	errQuote  = errors.New("a quotation mark is not closed")
	errEscape = errors.New("a backslash stands at the end")
)

// split is Python's shlex.split: POSIX rules, no comments.
func split(text string) (words []string, spans []span, err error) {
	var word strings.Builder
	start, quote := -1, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		space := c == ' ' || c == '\t' || c == '\r' || c == '\n'
		if start < 0 && !space {
			start = i
		}
		switch {
		case quote == '\'':
			if c == quote {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\\':
			if i++; i == len(text) {
				return nil, nil, errEscape
			}
			// Between double quotes it is only taken from a quote and from itself.
			if quote != 0 && text[i] != '"' && text[i] != '\\' {
				word.WriteByte(c)
			}
			word.WriteByte(text[i])
		case quote == '"':
			if c == quote {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\'' || c == '"':
			quote = c
		case space:
			if start >= 0 {
				words, spans = append(words, word.String()), append(spans, span{start, i})
				word.Reset()
				start = -1
			}
		default:
			word.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, nil, errQuote
	}
	if start >= 0 {
		words, spans = append(words, word.String()), append(spans, span{start, len(text)})
	}
	return words, spans, nil
}
