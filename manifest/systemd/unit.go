package systemd

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

// A unit is a unit file, in the order of its lines: systemd.syntax(7). Of one that its
// drop-ins are merged into the settings are those of all, and the rest is the file's own.
type unit struct {
	name     string
	data     []byte
	lines    *manifest.Lines
	settings []setting
	sections []section
}

type section struct {
	name       string
	start, end int // of the header; of what belongs to it, with the last assignment's line
}

// A setting is one assignment: KEY=VALUE.
type setting struct {
	in         *unit // the file that it stands in
	section    string
	key        string
	value      words.Text // continuations taken away; a line break is a space
	start, end int        // of its lines, with the end of the last one
	keyEnd     int        // offset behind the key
	open       bool       // its last line says that it goes on
}

func (s *setting) text() string { return string(s.value.Bytes) }

// parseUnit reads a unit file. Lines that are none are errors, as systemd warns of them.
func parseUnit(name string, data []byte) (*unit, []error) {
	u := &unit{name: name, data: data, lines: manifest.NewLines(name, data)}
	var errs []error
	current := ""
	bom := len(data) - len(bytes.TrimPrefix(data, []byte("\ufeff")))
	for at := bom; at < len(data); {
		end := lineEnd(data, at)
		line := trimEnd(data[at:end])
		start := at + len(line) - len(bytes.TrimLeft(line, " \t"))
		line = data[start : at+len(line)]
		switch {
		case len(line) == 0, line[0] == '#', line[0] == ';':
			at = end
		case line[0] == '[':
			if line[len(line)-1] != ']' {
				errs = append(errs, u.fail(start, end, "a section's name is not closed with ]"))
			}
			current = strings.Trim(string(line), "[]")
			u.sections = append(u.sections, section{current, at, end})
			at = end
		default:
			s, next := u.assignment(at, start)
			s.section = current
			eq := bytes.IndexByte(data[start:next], '=')
			switch {
			case s.open:
				errs = append(errs, u.fail(start, next, "a line that goes on where the file ends"))
			case eq < 0:
				errs = append(errs, u.fail(start, next, "a line that is no assignment"))
			case current == "":
				errs = append(errs, u.fail(start, next, "an assignment outside any section"))
			default:
				u.settings = append(u.settings, s)
				u.sections[len(u.sections)-1].end = next
			}
			at = next
		}
	}
	return u, errs
}

func (u *unit) fail(start, end int, reason string) error {
	return &manifest.Error{At: u.lines.Pos(start, end), Reason: reason, Hint: "systemd ignores it: see systemd.syntax(7)"}
}

func lineEnd(data []byte, at int) int {
	if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(data)
}

func trimEnd(line []byte) []byte { return bytes.TrimRight(line, " \t\r\n") }

// assignment reads one with its continuations: a backslash at the end of a line joins
// the next one with a space, and comments between are passed over.
func (u *unit) assignment(at, start int) (setting, int) {
	s := setting{in: u, start: at}
	var b words.Builder
	end := lineEnd(u.data, at)
	from := start
	if eq := bytes.IndexByte(u.data[start:end], '='); eq >= 0 {
		s.key = string(bytes.TrimRight(u.data[start:start+eq], " \t"))
		s.keyEnd = start + len(s.key)
		from = start + eq + 1
	}
	for {
		line := bytes.TrimRight(u.data[from:end], "\r\n")
		more := bytes.HasSuffix(line, []byte(`\`))
		if more {
			line = line[:len(line)-1]
		}
		if b.Len() == 0 {
			trimmed := bytes.TrimLeft(line, " \t")
			from += len(line) - len(trimmed)
			line = trimmed
		}
		b.Add(line, from)
		if !more {
			break
		}
		if end == len(u.data) {
			s.open = true
			break
		}
		b.Put(' ', from+len(line), 1)
		from, end = end, lineEnd(u.data, end)
		for from < len(u.data) {
			next := bytes.TrimLeft(u.data[from:end], " \t")
			if len(next) == 0 || next[0] != '#' && next[0] != ';' {
				break
			}
			from, end = end, lineEnd(u.data, end)
		}
		if from == len(u.data) {
			s.open = true
			break
		}
	}
	s.end = end
	s.value = b.Text()
	s.value.Bytes = bytes.TrimRight(s.value.Bytes, " \t")
	return s, end
}

// all are the assignments of a key in a section.
func (u *unit) all(section, key string) []*setting {
	var list []*setting
	for i := range u.settings {
		if s := &u.settings[i]; s.section == section && s.key == key {
			list = append(list, s)
		}
	}
	return list
}

// written are those of them that are not taken back: an empty one takes back all before it.
func (u *unit) written(section, key string) []*setting {
	list := u.all(section, key)
	for i, a := range slices.Backward(list) {
		if len(a.value.Bytes) == 0 {
			return list[i+1:]
		}
	}
	return list
}

func (u *unit) has(section string) bool {
	for _, s := range u.sections {
		if s.name == section {
			return true
		}
	}
	return false
}

// at is where a value stands.
func (s *setting) at() manifest.Pos {
	if len(s.value.Bytes) == 0 {
		return s.in.lines.Pos(s.keyEnd, s.keyEnd)
	}
	return s.in.lines.Pos(s.value.Place(0), s.value.Place(len(s.value.Bytes)-1)+1)
}

// known makes a fact of a value. A specifier is not known before the unit is loaded.
func (s *setting) known() manifest.Text {
	t := s.text()
	if i := strings.IndexByte(t, '%'); i >= 0 && !strings.HasPrefix(t[i:], "%%") {
		return manifest.NotKnown[string](t, fmt.Sprintf("the specifier %s is systemd's to fill in", t[i:min(i+2, len(t))]), s.at())
	}
	return manifest.Of(t, t, s.at())
}

// last is the last assignment of a key as a fact; an empty one takes it back.
func (u *unit) last(section, key string) manifest.Text {
	list := u.all(section, key)
	if len(list) == 0 || len(list[len(list)-1].value.Bytes) == 0 {
		return manifest.Text{}
	}
	return list[len(list)-1].known()
}

// boolean is systemd's parse_boolean (basic/parse-util.c).
func (u *unit) boolean(section, key string) manifest.Bool {
	t := u.last(section, key)
	switch v, ok := t.Get(); {
	case t.State == manifest.Unset:
		return manifest.Bool{}
	case !ok:
		return manifest.NotKnown[bool](t.Raw, t.Why, t.At)
	default:
		if b, ok := parseBoolean(v); ok {
			return manifest.Of(b, t.Raw, t.At)
		}
		return manifest.NotKnown[bool](t.Raw, "not a boolean", t.At)
	}
}

func parseBoolean(v string) (value, ok bool) {
	switch strings.ToLower(v) {
	case "1", "yes", "y", "true", "t", "on":
		return true, true
	case "0", "no", "n", "false", "f", "off":
		return false, true
	}
	return false, false
}
