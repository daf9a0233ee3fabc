package yaml

import (
	"bytes"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// Empty makes an empty list of a list, tags and all that is before it left as it is.
func (e *Editor) Empty(entry Entry) error {
	n := entry.Value
	if !n.IsSequence() || n.IsAlias() {
		return errShared
	}
	start, end := n.span()
	if n.IsFlow() {
		if bytes.IndexByte(e.data()[start:end], '#') >= 0 {
			return errLayout
		}
		e.add(start, end, "[]", 0)
		return nil
	}
	at := entry.colon()
	_, key := entry.Key.span()
	between := bytes.TrimSpace(e.data()[at:start])
	if at == key || e.explicit(entry) {
		return errLayout
	}
	if len(between) > 0 && between[0] != '#' {
		_, at = n.properties()
	}
	if bytes.IndexByte(between, '#') >= 0 {
		if _, first := e.indentation(start); !first {
			return errLayout
		}
		e.add(at, at, " []", inline)
		return e.removeLines(start, end)
	}
	e.add(at, end, " []", 0)
	return nil
}

// SetList takes items out of the list that m has by key, by index, and puts words at its
// end. A list that is not there is put in, behind one of the keys named; one that keeps
// nothing stays as an empty one.
func (e *Editor) SetList(m Node, key string, after []string, remove []int, add []string) error {
	if len(remove)+len(add) == 0 {
		return nil
	}
	entry := m.Get(key)
	switch {
	case !entry.Exists():
		return e.Insert(m, after, Pair{Key: key, Value: List(add...)})
	case entry.Value.Len() == 0:
		return e.SetNothing(entry, List(add...))
	case len(add) == 0 && len(remove) == entry.Value.Len():
		return e.Empty(entry)
	}
	return e.SetItems(entry.Value, remove, add)
}

// removeFlow takes the i-th of n things in brackets away, with one comma.
func (e *Editor) removeFlow(n, i int, span func(int) (int, int)) error {
	start, end := span(i)
	switch {
	case i+1 < n:
		next, _ := span(i + 1)
		if bytes.IndexByte(e.data()[end:next], '#') >= 0 {
			comma := skipBlank(e.data(), end)
			if comma >= next || e.data()[comma] != ',' {
				return errLayout
			}
			e.add(start, end, "", 0)
			e.add(comma, comma+1, "", 0)
			return nil
		}
		e.add(start, next, "", 0)
	case i > 0:
		_, prev := span(i - 1)
		if bytes.IndexByte(e.data()[prev:start], '#') >= 0 {
			e.add(start, end, "", 0) // the comma before it may stay
			return nil
		}
		e.add(prev, end, e.colonSpace(prev), 0)
	default:
		e.add(start, end, "", 0)
	}
	return nil
}

// colonSpace has to come behind an entry without a value whose colon is just before at:
// Kubernetes' YAML 1.1 takes a colon before a comma or a bracket for a part of the key
// (go.yaml.in/yaml/v2 scannerc.go yaml_parser_scan_plain_scalar).
func (e *Editor) colonSpace(at int) string {
	if e.data()[at-1] == ':' {
		return " "
	}
	return ""
}

// SetItems takes items out of a sequence, by index, and puts words at its end. Something
// has to be left.
func (e *Editor) SetItems(list Node, remove []int, add []string) error {
	if list.IsAlias() {
		return errShared
	}
	if !list.IsSequence() || list.Len() == 0 || len(remove) >= list.Len() && len(add) == 0 {
		return errLayout
	}
	for _, i := range remove {
		if list.Item(i).isReferred() {
			return errRefer
		}
	}
	if list.IsFlow() {
		return e.setFlowItems(list, remove, add)
	}
	mark := len(e.ops)
	fail := func(err error) error {
		e.ops = e.ops[:mark]
		return err
	}
	ends := func(i int) int {
		dash := list.dash(i)
		_, end := list.Item(i).span()
		return max(end, dash+1)
	}
	for k := 0; k < len(remove); k++ {
		i := remove[k]
		dash := list.dash(i)
		if _, first := e.indentation(dash); !first || endsInBlockScalar(list.Item(i)) {
			return fail(errLayout)
		}
		last := i
		for k+1 < len(remove) && remove[k+1] == last+1 && e.adjacent(ends(last), list.dash(last+1)) {
			k++
			last++
		}
		if err := e.removeLines(dash, ends(last)); err != nil {
			return fail(err)
		}
	}
	if len(add) == 0 {
		return nil
	}
	at := ends(list.Len() - 1)
	next, ended, ok := e.nextLine(at)
	if !ok || endsInBlockScalar(list.Item(list.Len()-1)) {
		return fail(errLayout)
	}
	newline := manifest.Newline(e.data(), list.doc.offset(list.n))
	indent := list.column() - 1
	q := quoteOf(list.Item(0))
	var b strings.Builder
	for _, w := range add {
		b.WriteString(strings.Repeat(" ", indent) + "- " + q + w + q + newline)
	}
	text := b.String()
	if !ended {
		text = newline + strings.TrimSuffix(text, newline)
	}
	e.add(next, next, text, indent+1)
	return nil
}

// adjacent says that a dash is in the line right behind.
func (e *Editor) adjacent(end, dash int) bool {
	next, _, ok := e.nextLine(end)
	return ok && e.lineStart(dash) == next
}

func (e *Editor) setFlowItems(list Node, remove []int, add []string) error {
	data := e.data()
	start, end := list.span()
	span := func(i int) (int, int) {
		item := list.Item(i)
		_, to := item.span()
		return e.doc.offset(item.n), to
	}
	q := quoteOf(list.Item(0))
	words := make([]string, len(add))
	for i, w := range add {
		words[i] = q + w + q
	}
	if len(remove) == list.Len() {
		first, _ := span(0)
		_, last := span(list.Len() - 1)
		if bytes.IndexByte(data[first:last], '#') >= 0 {
			return errLayout
		}
		e.add(first, last, strings.Join(words, ", "), 0)
		return nil
	}
	// New words go behind the last that stays; what is removed behind it goes with them.
	keep := list.Len() - 1
	for slices.Contains(remove, keep) {
		keep--
	}
	for _, i := range remove {
		if i < keep {
			if err := e.removeFlow(list.Len(), i, span); err != nil {
				return err
			}
		}
	}
	from, at := span(keep)
	_, to := span(list.Len() - 1)
	if bytes.IndexByte(data[at:to], '#') >= 0 {
		return errLayout
	}
	separator := " "
	if space, ok := e.indentation(from); ok && e.lineStart(from) > start {
		separator = manifest.Newline(data, from) + space
	}
	comma := ","
	if next := skipBlank(data[:end], to); next < end && data[next] == ',' && len(add) > 0 && to == at {
		at, to, comma = next+1, next+1, ""
	}
	var b strings.Builder
	for _, w := range words {
		b.WriteString(comma + separator + w)
		comma = ","
	}
	if at == to && b.Len() == 0 {
		return nil
	}
	e.add(at, to, b.String(), 0)
	return nil
}
