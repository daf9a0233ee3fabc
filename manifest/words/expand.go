package words

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// builder puts the words together that one written word becomes.
type builder struct {
	r     *reader
	raw   string
	start int
	end   int

	done []Word
	text []byte
	at   []int
	has  bool // something is there, if only quotes
	why  string
	many bool
	from string
	set  *Setting
	kept string
	// alone: the expansion is all of the written word.
	alone bool
}

// word expands a written word: one word, or several, or none.
func (r *reader) word(w *syntax.Word, level int) []Word {
	start, end := int(w.Pos().Offset()), int(w.End().Offset())
	end = min(end, len(r.text.Bytes))
	start = min(start, end)
	b := &builder{r: r, raw: string(r.text.show(start, end)), start: r.text.Place(start), end: r.text.Place(end)}
	if end > 0 && !r.text.opaque {
		b.end = r.text.Place(end-1) + 1
	}
	if r.text.opaque {
		b.start, b.end = r.text.Place(0), r.text.Place(len(r.text.Bytes))
	}
	b.alone = len(w.Parts) == 1
	for _, p := range w.Parts {
		if lit, ok := p.(*syntax.Lit); ok && braces(lit.Value) {
			b.unknown("a brace expansion", true)
		}
		b.part(p, false, level)
	}
	b.flush()
	return b.done
}

// braces says whether a literal is a{b,c} or {1..3}.
func braces(s string) bool {
	open := strings.IndexByte(s, '{')
	if open < 0 {
		return false
	}
	inner, _, closed := strings.Cut(s[open:], "}")
	return closed && (strings.Contains(inner, ",") || strings.Contains(inner, ".."))
}

// flush ends a word.
func (b *builder) flush() {
	if !b.has {
		return
	}
	w := Word{Text: string(b.text), Raw: b.raw, Why: b.why, Many: b.many, From: b.from, Start: b.start, End: b.end, Set: b.set, Kept: b.kept}
	if b.from == "" && len(b.at) == len(b.text) && !b.r.text.opaque {
		w.places = b.at // also of what is not known: parts of it may be
	}
	b.done = append(b.done, w)
	b.text, b.at, b.has, b.why, b.many, b.from, b.set, b.kept = nil, nil, false, "", false, "", nil, ""
}

func (b *builder) unknown(why string, many bool) {
	b.has = true
	if b.why == "" {
		b.why = why
	}
	b.many = b.many || many
}

// literal appends what stands at an offset of the reader's text.
func (b *builder) literal(c byte, offset int) {
	b.text = append(b.text, c)
	b.at = append(b.at, b.r.text.Place(offset))
	b.has = true
}

// written appends a node as it is written: it is not known.
func (b *builder) written(n syntax.Node) {
	if b.r.written += int(n.End().Offset() - n.Pos().Offset()); b.r.written > maxWritten {
		return // parse says so
	}
	for i := int(n.Pos().Offset()); i < int(n.End().Offset()) && i < len(b.r.text.Bytes); i++ {
		b.literal(b.r.text.Bytes[i], i)
	}
}

func (b *builder) part(p syntax.WordPart, quoted bool, level int) {
	src := b.r.text.Bytes
	switch p := p.(type) {
	case *syntax.Lit:
		for i := int(p.ValuePos.Offset()); i < int(p.ValueEnd.Offset()) && i < len(src); i++ {
			c := src[i]
			if c == '\r' && i+1 < len(src) && src[i+1] == '\n' {
				continue
			}
			if c == Placeholder {
				b.unknown("something else is to be filled in here", false)
				b.literal(b.r.text.show(i, i+1)[0], i)
				continue
			}
			if c != '\\' || i+1 >= len(src) {
				b.literal(c, i)
				continue
			}
			next := src[i+1]
			switch {
			case next == '\n':
				i++
			case next == '\r' && i+2 < len(src) && src[i+2] == '\n':
				i += 2
			case quoted && !strings.ContainsRune("$`\"\\", rune(next)):
				b.literal(c, i)
			default:
				i++
				b.literal(next, i)
			}
		}
	case *syntax.SglQuoted:
		b.has = true
		from := int(p.Left.Offset()) + 1
		if p.Dollar {
			from++
			if strings.Contains(p.Value, `\`) {
				b.unknown("an escape in $'…'", false)
			}
		}
		for i := from; i < int(p.Right.Offset()) && i < len(src); i++ {
			b.literal(src[i], i)
		}
	case *syntax.DblQuoted:
		// "${A[@]}" of an empty array is no word.
		if one, ok := onlyAll(p); !ok {
			b.has = true
		} else {
			b.parameter(one, true, level)
			return
		}
		for _, q := range p.Parts {
			b.part(q, true, level)
		}
	case *syntax.ParamExp:
		b.parameter(p, quoted, level)
	case *syntax.CmdSubst:
		b.unknown("the output of a command", !quoted)
		b.written(p)
	case *syntax.ArithmExp:
		b.unknown("an arithmetic expression", false)
		b.written(p)
	default:
		b.unknown("a pattern or process substitution", !quoted)
		b.written(p)
	}
}

// onlyAll: the word part is "${A[@]}" or "$@" and nothing else.
func onlyAll(p *syntax.DblQuoted) (*syntax.ParamExp, bool) {
	if len(p.Parts) != 1 {
		return nil, false
	}
	one, ok := p.Parts[0].(*syntax.ParamExp)
	return one, ok && (one.Param != nil && one.Param.Value == "@" || all(one))
}

// all: the index is @ or *.
func all(p *syntax.ParamExp) bool {
	w, ok := p.Index.(*syntax.Word)
	return ok && (w.Lit() == "@" || w.Lit() == "*")
}

// parameter expands $x. What is not known is kept as written.
func (b *builder) parameter(p *syntax.ParamExp, quoted bool, level int) {
	fail := func(why string, many bool) {
		b.unknown(why, many)
		b.written(p)
	}
	if p.Param == nil {
		fail("an expansion", !quoted)
		return
	}
	name := p.Param.Value
	if !b.grow("") {
		b.written(p)
		return
	}
	if p.Excl || p.Length || p.Width || p.IsSet || p.Flags != nil || p.Slice != nil || p.Repl != nil || p.Names != 0 ||
		len(p.Modifiers) > 0 || p.Index != nil && !all(p) || p.Exp != nil && !defaulted(p.Exp.Op) {
		fail("an expansion of "+name+" that depends on the run", !quoted && !p.Length)
		return
	}
	if name == "@" || name == "*" {
		fail("the script's arguments", true)
		return
	}
	v := b.r.vars[name]
	switch {
	case level > 20 || v != nil && v.busy:
		fail("the variable "+name+" is set by way of itself", !quoted)
		return
	case v == nil || v.sets == 0:
		b.environment(p, name, quoted, level, fail)
		return
	case v.maybe || v.sets > 1:
		if p.Exp != nil && v.sets == 1 && v.value == p.Exp.Word { // ${x:=y} is where it is set
			b.environment(p, name, quoted, level, fail)
			return
		}
		fail("the variable "+name+" is set in more than one way", !quoted || v.array != nil)
		return
	}
	v.busy = true
	defer func() { v.busy = false }()
	if v.array != nil {
		b.array(v, name, quoted, level, p, fail)
		return
	}
	if v.value == nil { // X=
		b.add("", quoted, name)
		return
	}
	if !v.known {
		v.text, v.why = join(b.r.word(v.value, level+1))
		v.known = true
	}
	if v.why != "" {
		fail("the variable "+name+" is set from "+v.why, !quoted)
		return
	}
	if b.alone && !quoted && p.Exp == nil && b.r.plain(name, v) {
		if list := b.r.word(v.value, level+1); len(list) == 1 && list[0].Written() {
			b.fields(&list[0], name)
			return
		}
	}
	b.add(v.text, quoted, name)
}

// fields are the words of a variable that is not quoted, with their places in its value.
func (b *builder) fields(value *Word, name string) {
	if !b.grow(value.Text) {
		return
	}
	for i := 0; i < len(value.Text); {
		if isBlank(rune(value.Text[i])) {
			i++
			continue
		}
		end := i
		for end < len(value.Text) && !isBlank(rune(value.Text[end])) {
			end++
		}
		start, stop := value.Range(i, end)
		b.text, b.has, b.from = []byte(value.Text[i:end]), true, name
		b.set = &Setting{Start: start, End: stop, places: value.places[i:end]}
		b.flush()
		i = end
	}
}

// defaulted are the operators whose word counts if the variable is not set.
func defaulted(op syntax.ParExpOperator) bool {
	switch op {
	case syntax.DefaultUnset, syntax.DefaultUnsetOrNull, syntax.AssignUnset, syntax.AssignUnsetOrNull:
		return true
	}
	return false
}

func (b *builder) environment(p *syntax.ParamExp, name string, quoted bool, level int, fail func(string, bool)) {
	if b.r.host != nil {
		if v, ok := b.r.host(name, b.r.text.Place(int(p.Pos().Offset()))); ok {
			b.hosted(v, name, quoted, b.alone && p.Exp == nil, fail)
			return
		}
	}
	if b.r.env != nil {
		if value, ok := b.r.env(name); ok {
			b.add(value, quoted, name)
			return
		}
	}
	if p.Exp == nil {
		fail("the variable "+name+" has no value here", !quoted)
		return
	}
	if p.Exp.Word == nil {
		b.add("", quoted, name)
		return
	}
	text, why := join(b.r.word(p.Exp.Word, level+1))
	if why != "" {
		fail("the variable "+name+" is set from "+why, !quoted)
		return
	}
	b.add(text, quoted, name)
}

func join(list []Word) (text, why string) {
	var texts []string
	for _, w := range list {
		if w.Why != "" {
			return "", w.Why
		}
		texts = append(texts, w.Text)
	}
	return strings.Join(texts, " "), ""
}

// array puts the elements in: one word each where the expansion is "${A[@]}", and where
// it is not quoted.
func (b *builder) array(v *variable, name string, quoted bool, level int, p *syntax.ParamExp, fail func(string, bool)) {
	if !all(p) {
		fail("only the first element of "+name, !quoted)
		return
	}
	first := true
	for _, a := range v.array {
		for _, e := range a.Elems {
			if e.Index != nil || e.Value == nil {
				fail("an array with indexes", true)
				return
			}
			for _, w := range b.r.word(e.Value, level+1) {
				if !first {
					b.flush()
				}
				first = false
				b.grow(w.Text)
				b.text, b.at, b.has, b.from = append(b.text, w.Text...), nil, true, name
				if b.set = nil; b.alone && p.Exp == nil && b.r.plain(name, v) && w.Written() && w.Why == "" {
					b.set = &Setting{Start: w.Start, End: w.End, Array: true, places: w.places}
				}
				if w.Why != "" {
					b.unknown(w.Why, w.Many)
				}
			}
		}
	}
}

// add appends the value of a variable: where it is not quoted its spaces end words.
func (b *builder) add(value string, quoted bool, name string) {
	if !b.grow(value) {
		return
	}
	if quoted {
		b.text, b.has, b.from = append(b.text, value...), true, name
		return
	}
	for i, field := range strings.FieldsFunc(value, isBlank) {
		if i > 0 || i == 0 && value != "" && isBlank(rune(value[0])) {
			b.flush()
		}
		b.text, b.has, b.from = append(b.text, field...), true, name
	}
	if value != "" && isBlank(rune(value[len(value)-1])) {
		b.flush()
	}
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }

// grow says whether variables may still bring this much.
func (b *builder) grow(value string) bool {
	if b.r.grown += len(value) + 1; b.r.grown > maxWords {
		b.unknown("variables that grow too long", true)
		return false
	}
	return true
}
