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
func recipes(src manifest.Source) ([]snippet, words.Host) {
	var list []snippet
	vars := makeVariables(src)
	for at := 0; at < len(src.Data); {
		end := logicalEnd(src.Data, at)
		if src.Data[at] == '\t' {
			list = append(list, snippet{text: recipe(src.Data, at, end)})
		}
		at = end
	}
	return list, vars.host
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

// A makefile is what is known of a file's variables.
type makefile struct {
	src  manifest.Source
	vars map[string]*makeVariable
	// kept says why no variable is changed where it is set, "" if they can.
	kept string
	// exports says that all of them may be in a recipe's environment.
	exports bool
}

type makeVariable struct {
	value words.Text
	sets  int
	why   string // why it has no one value
	kept  string
	// exported: it is in a recipe's environment.
	exported bool
}

// The directives that matter: GNU make manual, 3.3 "Including Other Makefiles", 6.8
// "Defining Multi-Line Variables", 6.11 "Target-specific Variable Values", 7.2 "Syntax of
// Conditionals".
var (
	assignment = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^ *((?:(?:export|override|private) +)*)([A-Za-z_][A-Za-z0-9_]*)[ \t]*(\?=|:::?=|:=|\+=|!=|=)[ \t]*`)
	})
	ofTarget = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[^\t#:=][^#:=]*::?[ \t]*(?:(?:export|override|private)[ \t]+)*([A-Za-z_][A-Za-z0-9_]*)[ \t]*(?:\?|:{1,3}|\+|!)?=`)
	})
	directive = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^ *(-?include|sinclude|(?:override +)?define|endef|ifeq|ifneq|ifdef|ifndef|else|endif|export|unexport|undefine)\b[ \t]*([A-Za-z_][A-Za-z0-9_]*)?`)
	})
	// computed is a reference whose name is made by another one.
	computed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$[({][A-Za-z0-9_.-]*\$[({A-Za-z]`) })
)

// makeVariables are those that are set once, whatever happens, to text without references.
func makeVariables(src manifest.Source) *makefile {
	m := &makefile{src: src, vars: map[string]*makeVariable{}}
	variable := func(name string) *makeVariable {
		if m.vars[name] == nil {
			m.vars[name] = &makeVariable{}
		}
		return m.vars[name]
	}
	keep := func(why string) {
		if m.kept == "" {
			m.kept = why
		}
	}
	inside, depth := false, 0 // of define, of conditionals
	for at := 0; at < len(src.Data); {
		end := logicalEnd(src.Data, at)
		line := src.Data[at:end]
		start := at
		at = end
		if len(line) == 0 || line[0] == '\t' {
			continue
		}
		if d := directive().FindSubmatch(line); d != nil && !assignment().Match(line) {
			switch word := string(d[1]); {
			case word == "endef":
				inside = false
				continue
			case inside:
			case strings.HasSuffix(word, "define") && word != "undefine":
				inside = true
				if len(d[2]) > 0 {
					v := variable(string(d[2]))
					v.sets, v.why = v.sets+1, "is set with define"
				}
			case strings.HasPrefix(word, "if"):
				depth++
			case word == "endif":
				depth = max(depth-1, 0)
			case strings.HasSuffix(word, "include"):
				keep("other files that are included may use, too")
			case word == "undefine" && len(d[2]) > 0:
				variable(string(d[2])).sets += 2
			case strings.HasSuffix(word, "export"):
				m.exports = true
				keep("may be exported")
			}
			continue
		}
		if inside {
			continue
		}
		if t := ofTarget().FindSubmatch(line); t != nil {
			variable(string(t[1])).sets += 2
			continue
		}
		a := assignment().FindSubmatchIndex(line)
		if a == nil {
			if bytes.HasPrefix(line, []byte(".EXPORT_ALL_VARIABLES")) {
				m.exports = true
				keep("is exported")
			}
			continue
		}
		name := string(line[a[4]:a[5]])
		v := variable(name)
		v.sets++
		if prefix := string(line[a[2]:a[3]]); strings.Contains(prefix, "export") {
			v.kept, v.exported = "is exported", true
		}
		if depth > 0 {
			v.why = "is set in a conditional"
		}
		v.value = makeValue(src.Data, start+a[1], end)
		inherited, isInherited := "", false
		if src.Env != nil {
			inherited, isInherited = src.Env(name)
		}
		v.exported = v.exported || isInherited
		switch op := string(line[a[6]:a[7]]); {
		case op == "+=" || op == "!=":
			v.sets++
		case op == "?=" && isInherited: // which make takes
			v.value, v.kept = words.Opaque(inherited, start, start), "is in the environment"
		}
		if bytes.IndexByte(v.value.Bytes, '$') >= 0 {
			v.why = "is set from other variables"
		}
	}
	if computed().Match(src.Data) {
		keep("may be used by a computed name")
	}
	return m
}

// makeValue is the text of an assignment from an offset on: its continuations are a blank
// each, and a comment ends it (GNU make manual, 3.1 "What Makefiles Contain").
func makeValue(data []byte, at, end int) words.Text {
	var b words.Builder
	for at < end {
		line := at
		for line < end && data[line] != '\n' {
			line++
		}
		text := bytes.TrimRight(data[at:line], "\r")
		more := bytes.HasSuffix(text, []byte(`\`))
		if more {
			text = bytes.TrimRight(text[:len(text)-1], " \t")
		}
		if i := bytes.IndexByte(text, '#'); i >= 0 && (i == 0 || text[i-1] != '\\') {
			b.Add(bytes.TrimRight(text[:i], " \t"), at)
			break
		}
		if !more {
			text = bytes.TrimRight(text, " \t")
		}
		b.Add(text, at)
		if !more {
			break
		}
		next := min(line+1, end)
		for next < end && (data[next] == ' ' || data[next] == '\t') {
			next++
		}
		b.Put(' ', at+len(text), next-at-len(text))
		at = next
	}
	return b.Text()
}

// host is the variable as a recipe has it: $(NAME) is make's, $$NAME the shell's, to which only
// those of make's variables come that are exported, or were in the environment (5.7.2
// "Communicating Variables to a Sub-make").
func (m *makefile) host(name string, at int) (words.Variable, bool) {
	v := m.vars[name]
	ofShell := bytes.HasPrefix(m.src.Data[min(at, len(m.src.Data)):], []byte("$$"))
	if ofShell && v != nil && !m.exports && !v.exported {
		return words.Variable{Why: "the variable " + name + " of the shell is none of make's, which is not exported"}, true
	}
	switch {
	case v == nil:
		if m.src.Env != nil { // make takes the environment's (6.10)
			if value, ok := m.src.Env(name); ok {
				return words.Variable{Value: words.Opaque(value, 0, 0), Spliced: !ofShell, Kept: "is in the environment"}, true
			}
		}
		return words.Variable{}, false
	case v.sets > 1:
		return words.Variable{Why: "the variable " + name + " is set in more than one way"}, true
	case v.why != "":
		return words.Variable{Why: "the variable " + name + " " + v.why}, true
	}
	kept := v.kept
	if kept == "" {
		kept = m.kept
	}
	if kept == "" && manifest.Mentions(m.src.Data, name) != 2 { // where it is set, and where it is used
		kept = "is used elsewhere, too"
	}
	return words.Variable{Value: v.value, Spliced: !ofShell, Kept: kept}, true
}
