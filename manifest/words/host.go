package words

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A Variable is one that the file around a text sets: a Makefile, the env: of a workflow.
type Variable struct {
	Value Text // where it stands
	// Spliced: it is put into the text before a shell reads that, so that its quotes count, as
	// make does. Else it is in the environment of the shell.
	Spliced bool
	Why     string // why it is not known, "" if it is
	Kept    string // why it cannot be changed where it is set, "" if it can
}

// A Host looks a variable up that the text does not set and the file around it does. at is where
// in the file the reference begins.
type Host func(name string, at int) (Variable, bool)

// hosted puts the value of such a variable in.
func (b *builder) hosted(v Variable, name string, quoted, plain bool, fail func(string, bool)) {
	if v.Why != "" {
		fail(v.Why, !quoted)
		return
	}
	text := string(v.Value.Bytes)
	list, ok := v.words(b.r)
	switch {
	case !ok:
		fail("the variable "+name+" holds more than words", !quoted)
	case quoted && v.Spliced && strings.ContainsAny(text, `"'\`+"`$"):
		fail("the variable "+name+" has quotes of its own", false)
	case quoted || !plain:
		b.add(joinTexts(list, text, v.Spliced && !quoted), quoted, name)
	default:
		for i := range list {
			w := &list[i]
			if !b.grow(w.Text) {
				return
			}
			b.text, b.has, b.from, b.kept = []byte(w.Text), true, name, v.Kept
			if v.Kept == "" && w.Written() && w.Why == "" {
				b.set = &Setting{Start: w.Start, End: w.End, places: w.places}
			}
			if w.Why != "" {
				b.unknown(w.Why, w.Many)
			}
			b.flush()
		}
	}
}

// joinTexts is a value that stands beside other text: as the words that it becomes, if its
// quotes count.
func joinTexts(list []Word, text string, read bool) string {
	if !read {
		return text
	}
	var out []string
	for i := range list {
		out = append(out, list[i].Text)
	}
	joined := strings.Join(out, " ")
	if text != "" && isBlank(rune(text[0])) {
		joined = " " + joined
	}
	return joined
}

// words are what a value becomes where it is not quoted. ok is false of one that is more
// than words: a redirection, a pipe, what is to be run.
func (v *Variable) words(r *reader) (list []Word, ok bool) {
	if !v.Spliced {
		data := v.Value.Bytes
		for i := 0; i < len(data); {
			if isBlank(rune(data[i])) {
				i++
				continue
			}
			end := i
			w := Word{}
			for end < len(data) && !isBlank(rune(data[end])) {
				w.places = append(w.places, v.Value.Place(end))
				end++
			}
			w.Text, w.Start, w.End = string(v.Value.show(i, end)), v.Value.Place(i), v.Value.Place(end-1)+1
			w.Raw = w.Text
			list, i = append(list, w), end
		}
		return list, true
	}
	if len(strings.TrimSpace(string(v.Value.Bytes))) == 0 {
		return nil, true
	}
	// Behind a word, what begins like an assignment or a keyword is a word, too.
	before := []byte(": ")
	text := slices.Concat(before, v.Value.Bytes)
	stmts, err := statements(text)
	if err != nil || len(stmts) != 1 || len(stmts[0].Redirs) > 0 || stmts[0].Background || stmts[0].Negated {
		return nil, false
	}
	call, ok := stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(call.Assigns) > 0 || int(call.End().Offset()) < len(strings.TrimRight(string(text), " \t")) {
		return nil, false
	}
	places := []int{v.Value.Place(0), v.Value.Place(0)}
	for i := range len(v.Value.Bytes) + 1 {
		places = append(places, v.Value.Place(i))
	}
	own := &reader{text: Text{Bytes: text, places: places}, vars: r.vars, env: r.env, depth: r.depth}
	for _, w := range call.Args[1:] {
		list = append(list, own.word(w, 21)...) // its own variables are make's, and unknown
	}
	return list, true
}
