package line

import (
	"regexp"
	"strconv"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/syntax"
)

// Quote writes words as a line for a POSIX shell. What POSIX cannot write
// (control characters) is written for Bash. A NUL byte, which no argument can
// hold, is left out.
func Quote(argv []string) string {
	return strings.Join(QuoteWords(argv, true), " ")
}

// QuoteWords writes words for a shell to read back the same; command says that they
// begin with a command's name.
func QuoteWords(words []string, command bool) []string {
	out := make([]string, len(words))
	for i, word := range words {
		out[i] = quote(word, command && i == 0)
	}
	return out
}

// plainFlag is a word with "=" in it that no shell touches, unless it is the
// first of a line. syntax.Quote, which sees one word only, would quote it.
var plainFlag = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-]+=[A-Za-z0-9_@%+:,./=-]*$`) })

// quote writes a word for a shell, without any control character: Bash's $'…'
// stands where POSIX has no way to write one. First says that it begins a
// command line, where "a=b" would be an assignment.
func quote(word string, first bool) string {
	if !first && plainFlag().MatchString(word) {
		return word
	}
	word = strings.ReplaceAll(word, "\x00", "") // no argument can hold it
	q, err := syntax.Quote(word, syntax.LangPOSIX)
	if err != nil {
		q, err = syntax.Quote(word, syntax.LangBash)
	}
	if err != nil { // none is known that Bash cannot write
		q = "'" + strings.ReplaceAll(strconv.Quote(word), "'", `'\''`) + "'"
	}
	return q
}
