package caps

import (
	"fmt"
	"strconv"
	"strings"
)

// Text is the three sets that libcap's notation expresses: what setcap and
// getcap write for a file, what capsh --caps and getpcaps write for a process.
type Text struct {
	Effective, Permitted, Inheritable Set
}

// TextError says where a text is not libcap's notation.
type TextError struct {
	Text   string
	Offset int    // in bytes, where reading stopped
	Reason string // "want one of e, i, p"
	Err    error  // the [*UnknownError], if a name is the reason; else nil
}

func (e *TextError) Error() string {
	return fmt.Sprintf("capability text %q: at byte %d: %s", e.Text, e.Offset, e.Reason)
}

func (e *TextError) Unwrap() error { return e.Err }

// ParseText reads libcap's notation as cap_from_text(3) does (libcap 2.66,
// libcap/cap_text.c, and held against it in testdata): clauses with white
// space between them, each working on what the clauses before it left.
//
//	cap_net_raw,cap_setuid=ep   a list, an operator, flags
//	all=p, =p                   every known capability, [All]
//	cap_chown=p+e-i             further operators: + or -, on the same list
//	47+e, 0x2f+e, 057+e         numbers 0 to 63, in C's three bases
//	=                           everything lowered
//
// "=" lowers all three flags of the list first, "+" raises and "-" lowers the
// flags given. Without a list only "=" is allowed. Names need the cap_ prefix
// and may be in any case; flags are in lower case. The empty text is empty.
//
// The error is a [*TextError].
func ParseText(s string) (Text, error) {
	p := textParser{text: s}
	for p.skipSpace(); p.pos < len(s); p.skipSpace() {
		if err := p.clause(); err != nil {
			return Text{}, err
		}
	}
	return p.out, nil
}

type textParser struct {
	text string
	pos  int
	out  Text
}

// peek returns the byte at the position, or 0 at the end (where libcap has the
// string's own NUL).
func (p *textParser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *textParser) skipSpace() {
	for isSpace(p.peek()) {
		p.pos++
	}
}

// atEnd reports whether the clause is over.
func (p *textParser) atEnd() bool { return p.pos == len(p.text) || isSpace(p.peek()) }

func (p *textParser) fail(reason string, err error) error {
	return &TextError{Text: p.text, Offset: p.pos, Reason: reason, Err: err}
}

// clause reads [list] op flags {op flags} and applies it.
func (p *textParser) clause() error {
	list, listed := All(), isWord(p.peek())
	if listed {
		var err error
		if list, err = p.list(); err != nil {
			return err
		}
	}

	op := p.peek()
	switch {
	case op == '=':
		p.pos++
		p.out = p.out.minus(Text{list, list, list})
		// "=+e" and "=-e" are "=" and then "+e" or "-e".
		if next := p.peek(); next != '+' && next != '-' {
			flags, err := p.flags(list)
			if err != nil {
				return err
			}
			p.out = p.out.union(flags)
		}
	case op == '+', op == '-':
	default:
		return p.fail("want one of =, +, -", nil)
	}

	for !p.atEnd() {
		op := p.peek()
		if op != '+' && op != '-' {
			return p.fail("want one of e, i, p, or + or - and more of them", nil)
		}
		if !listed {
			return p.fail(fmt.Sprintf("%q needs a list of capabilities before it", string(op)), nil)
		}
		p.pos++
		if p.atEnd() {
			return p.fail("want one of e, i, p", nil)
		}
		flags, err := p.flags(list)
		if err != nil {
			return err
		}
		if op == '+' {
			p.out = p.out.union(flags)
		} else {
			p.out = p.out.minus(flags)
		}
	}
	return nil
}

// flags reads the letters that follow an operator and returns the list in the
// sets that they name.
func (p *textParser) flags(list Set) (Text, error) {
	var t Text
	start := p.pos
	for ; !p.atEnd(); p.pos++ {
		switch p.peek() {
		case 'e':
			t.Effective = list
		case 'i':
			t.Inheritable = list
		case 'p':
			t.Permitted = list
		case '+', '-':
			if p.pos > start {
				return t, nil
			}
			fallthrough
		default:
			return Text{}, p.fail("want one of e, i, p", nil)
		}
	}
	return t, nil
}

// list reads names and numbers with commas between them.
func (p *textParser) list() (Set, error) {
	var set Set
	for {
		part, err := p.element()
		if err != nil {
			return 0, err
		}
		set = set.Union(part)
		if p.peek() != ',' {
			return set, nil
		}
		p.pos++
	}
}

// element reads one word of a list.
func (p *textParser) element() (Set, error) {
	start := p.pos
	for isWord(p.peek()) {
		p.pos++
	}
	word := p.text[start:p.pos]
	if strings.EqualFold(word, all) {
		return All(), nil
	}
	if word != "" && isDigits(word[:1]) {
		if n, ok := parseCNumber(word); ok && n <= uint64(maxCap) {
			return Of(Cap(n)), nil
		}
		p.pos = start
		return 0, p.fail(fmt.Sprintf("%q is no number from 0 to %d, as C writes it", word, maxCap), &UnknownError{Name: word})
	}
	if bare := bareName(word); len(bare) < len(word) {
		if c, ok := byName()[bare]; ok {
			return Of(c), nil
		}
	}
	p.pos = start
	unknown := &UnknownError{Name: word, Suggestion: suggest(word)}
	if unknown.Suggestion != "" {
		// Here only the name with its prefix would do.
		unknown.Suggestion = "cap_" + unknown.Suggestion
	}
	return 0, p.fail(unknown.Error(), unknown)
}

// parseCNumber reads a number as strtoul(3) does in base 0: decimal, octal
// after "0", hexadecimal after "0x". strconv's base 0 also takes "0b1", "0o1"
// and "1_0", which libcap refuses.
func parseCNumber(word string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(word, "0x"), strings.HasPrefix(word, "0X"):
		word, base = word[2:], 16
	case word[0] == '0':
		base = 8
	}
	n, err := strconv.ParseUint(word, base, 64)
	return n, err == nil
}

func isSpace(b byte) bool { return b == ' ' || (b >= '\t' && b <= '\r') }

func isWord(b byte) bool {
	return b == '_' || (b >= '0' && b <= '9') || (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z')
}

func (t Text) union(u Text) Text {
	return Text{t.Effective | u.Effective, t.Permitted | u.Permitted, t.Inheritable | u.Inheritable}
}

func (t Text) minus(u Text) Text {
	return Text{t.Effective &^ u.Effective, t.Permitted &^ u.Permitted, t.Inheritable &^ u.Inheritable}
}
