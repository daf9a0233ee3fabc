package report

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// colours are the sequences with which programs colour their logs. Other
// sequences have no business in a log and are shown, not hidden.
var colours = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\x1b\[[0-9;:]*m`)
})

// cut stands where a text was too long.
const cut = "..."

// Clean makes text from a workload fit to be shown on one line: control
// characters, invalid UTF-8 and everything else that is not printed (such as
// marks that change the direction of writing) are escaped as in Go, a tab is a
// space, colours are taken out. What is longer than limit characters is cut
// off, with "..." in place of the rest.
func Clean(s string, limit int) string {
	if len(s) <= limit && printable(s) {
		return strings.TrimSpace(s)
	}
	// Long before the loop below, so that a gigabyte costs nothing: no
	// character takes more than utf8.UTFMax bytes, colours excepted.
	if most := (limit + 1) * utf8.UTFMax * 4; len(s) > most {
		s = s[:most]
	}
	s = strings.TrimSpace(colours().ReplaceAllString(s, ""))

	var b strings.Builder
	n := 0
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(s[i:])
		shown := escape(r, s[i:i+size])
		n += utf8.RuneCountInString(shown)
		if n > limit {
			return strings.TrimRight(shorten(b.String(), limit-len(cut)), " ") + cut
		}
		b.WriteString(shown)
	}
	return b.String()
}

// printable says that there is nothing to be done.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// escape shows one character, whose bytes are raw.
func escape(r rune, raw string) string {
	switch {
	case r == '\t':
		return " "
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == utf8.RuneError && len(raw) == 1, r < utf8.RuneSelf && !unicode.IsPrint(r):
		return fmt.Sprintf(`\x%02x`, raw[0])
	case unicode.IsPrint(r):
		return raw
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// shorten returns the first n characters of s.
func shorten(s string, n int) string {
	for i := range s {
		if n <= 0 {
			return s[:i]
		}
		n--
	}
	return s
}
