package systemd

import (
	"strings"

	"github.com/leastcap/leastcap/manifest/words"
)

// splitWords cuts a value into words as systemd does (basic/extract-word.c with
// EXTRACT_UNQUOTE|EXTRACT_CUNESCAPE): quotes are taken away, C escapes are read. A
// variable or specifier makes a word unknown; $NAME alone can be several words
// (systemd.service(5), "Command lines").
func splitWords(t words.Text) []words.Word {
	var list []words.Word
	var text []byte
	var places []int
	start, quote := -1, byte(0)
	data := t.Bytes
	flush := func(end int) {
		if start < 0 {
			return
		}
		raw := string(data[start:end])
		w := words.New(string(text), raw, t.Place(start), t.Place(end-1)+1, places)
		if why := unknown(w.Text); why != "" {
			w.Why = why
			w.Many = strings.HasPrefix(raw, "$") && !strings.HasPrefix(raw, "${")
		}
		list = append(list, w)
		text, places, start = nil, nil, -1
	}
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t'):
			flush(i)
			continue
		case start < 0:
			start = i
		}
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == '\\' && i+1 < len(data):
			i++
			escaped := data[i]
			if j := strings.IndexByte(`abfnrtv s`, escaped); j >= 0 && escaped != ' ' {
				escaped = "\a\b\f\n\r\t\v  "[j]
			}
			text, places = append(text, escaped), append(places, t.Place(i))
		default:
			text, places = append(text, c), append(places, t.Place(i))
		}
	}
	flush(len(data))
	return list
}

// unknown says why a word cannot be known, "" if it can.
func unknown(s string) string {
	for i := 0; i+1 < len(s); i++ {
		switch {
		case s[i] == '$' && s[i+1] == '$', s[i] == '%' && s[i+1] == '%':
			i++
		case s[i] == '$' && (s[i+1] == '{' || s[i+1] == '_' || s[i+1]|0x20 >= 'a' && s[i+1]|0x20 <= 'z'):
			return "the variable " + s[i:] + " is of the unit's environment"
		case s[i] == '%' && (s[i+1]|0x20 >= 'a' && s[i+1]|0x20 <= 'z'):
			return "the specifier " + s[i:i+2] + " is systemd's to fill in"
		}
	}
	return ""
}
