package flags

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// SameWords reads a line before and after a change with a lexer that has nothing in
// common with the parser that the change was made with, and compares all words but the
// flags that the want is about.
func SameWords(before, after string, want manifest.Want) error {
	a, b := others(lex(before), want), others(lex(after), want)
	if !slices.Equal(a, b) {
		return fmt.Errorf("other words would change: %q becomes %q", a, b)
	}
	return nil
}

// lex splits at blanks outside quotes, as POSIX's sh does without expanding anything
// (XCU 2.2, 2.3), and takes quotes away.
func lex(s string) []string {
	var list []string
	var word strings.Builder
	in := false
	quote := byte(0)
	flush := func() {
		if in {
			list = append(list, word.String())
		}
		word.Reset()
		in = false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			if rest := strings.TrimPrefix(s[i+1:], "\r"); strings.HasPrefix(rest, "\n") {
				i += len(s[i+1:]) - len(rest) + 1
				continue
			}
			if quote == '"' && !strings.ContainsRune("$`\"\\", rune(s[i+1])) {
				word.WriteByte(c)
			}
			word.WriteByte(s[i+1])
			in = true
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			flush()
		case strings.IndexByte("<>|&;()", c) >= 0: // an operator ends a word
			flush()
			list = append(list, string(c))
		default:
			in = true
			word.WriteByte(c)
		}
	}
	flush()
	return list
}

// others are the words without the flags that a want is about.
func others(list []string, want manifest.Want) []string {
	var out []string
	for i := 0; i < len(list); i++ {
		name, value, joined := strings.Cut(list[i], "=")
		var next string
		if i+1 < len(list) {
			next = list[i+1]
		}
		switch {
		case name == "--cap-add" || name == "--cap-drop":
			if !joined {
				i++
			}
		case want.NoNewPrivs && name == "--security-opt" && joined && strings.HasPrefix(value, noNewPrivs):
		case want.NoNewPrivs && name == "--security-opt" && !joined && strings.HasPrefix(next, noNewPrivs):
			i++
		case want.Unprivileged && name == "--privileged":
		default:
			out = append(out, list[i])
		}
	}
	return out
}
