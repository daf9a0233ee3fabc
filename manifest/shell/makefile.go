package shell

import (
	"bytes"
	"regexp"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

// recipes are the lines of a Makefile that begin with a tab, each with its
// continuations, as make gives them to the shell (GNU make manual, 5.1.1 "Splitting
// Recipe Lines", 5.1.2 "Using Variables in Recipes").
func recipes(src manifest.Source) ([]snippet, words.Env) {
	var list []snippet
	vars := makeVariables(src)
	for at := 0; at < len(src.Data); {
		end := logicalEnd(src.Data, at)
		if src.Data[at] == '\t' {
			list = append(list, snippet{text: recipe(src.Data, at, end)})
		}
		at = end
	}
	return list, func(name string) (string, bool) {
		if v, ok := vars[name]; ok {
			return v, v != unknowable
		}
		if src.Env != nil {
			return src.Env(name)
		}
		return "", false
	}
}

// logicalEnd is the offset behind a line and its continuations.
func logicalEnd(data []byte, at int) int {
	for {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			return len(data)
		}
		line := bytes.TrimSuffix(data[at:at+i], []byte("\r"))
		at += i + 1
		if (len(line)-len(bytes.TrimRight(line, `\`)))%2 == 0 {
			return at
		}
	}
}

// reference is a plain $(NAME); what is more (functions, patterns) stays, and reads to
// the shell as the output of a command, which is as unknown.
var reference = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\$\(([A-Za-z_][A-Za-z0-9_]*)\)`) })

// recipe makes shell text of a logical line.
func recipe(data []byte, at, end int) words.Text {
	var b words.Builder
	at++ // the tab
	for at < end && strings.IndexByte(" \t@-+", data[at]) >= 0 {
		at++
	}
	for at < end {
		rest := data[at:end]
		switch {
		case bytes.HasPrefix(rest, []byte("$$")):
			b.Put('$', at, 2)
			at += 2
		case reference().Match(rest):
			m := reference().FindSubmatch(rest)
			b.Add([]byte("${"), at)
			b.Add(m[1], at+2)
			b.Add([]byte("}"), at+2+len(m[1]))
			at += len(m[0])
		case bytes.HasPrefix(rest, []byte("\\\n\t")):
			b.Add(rest[:2], at)
			at += 3
		case bytes.HasPrefix(rest, []byte("\\\r\n\t")):
			b.Add(rest[:3], at)
			at += 4
		default:
			b.Add(rest[:1], at)
			at++
		}
	}
	return b.Text()
}

// unknowable stands for a variable of which the file does not say one value.
const unknowable = "\x00"

var assignment = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:export +|override +)*([A-Za-z_][A-Za-z0-9_]*)[ \t]*(\?=|:::?=|:=|\+=|!=|=)[ \t]*(.*)$`)
})

// makeVariables are those that are set once, to text without references. ?= counts: make
// takes the environment's value, and so does [recipes] where there is one.
func makeVariables(src manifest.Source) map[string]string {
	vars := map[string]string{}
	for at := 0; at < len(src.Data); {
		end := logicalEnd(src.Data, at)
		line := string(bytes.TrimRight(src.Data[at:end], "\r\n"))
		if m := assignment().FindStringSubmatch(line); m != nil && src.Data[at] != '\t' {
			value, _, _ := strings.Cut(m[3], " #")
			value = strings.TrimRight(value, " \t")
			_, again := vars[m[1]]
			if again || m[2] == "+=" || m[2] == "!=" || strings.ContainsAny(value, "$\\\n") {
				value = unknowable
			}
			if m[2] == "?=" && src.Env != nil {
				if v, ok := src.Env(m[1]); ok {
					value = v
				}
			}
			vars[m[1]] = value
		}
		at = end
	}
	return vars
}
