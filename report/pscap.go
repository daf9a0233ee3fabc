package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/leastcap/leastcap/caps"
)

// PscapLayout is the layout of a version of libcap-ng's pscap.
type PscapLayout struct {
	// widths are those of ppid, pid, user and command with the spaces behind them, of
	// which there are at least as many as gaps says.
	widths, gaps [4]int

	user    string // the third column's name
	hideOne bool   // process 1 is not shown without -a
}

// The layouts that differ: libcap-ng utils/pscap.c. The third column is called "uid" in
// some versions between them.
var (
	Pscap08 = PscapLayout{[4]int{6, 6, 12, 20}, [4]int{1, 1, 2, 2}, "name", true}
	Pscap09 = PscapLayout{[4]int{8, 8, 17, 16}, [4]int{1, 1, 1, 1}, "uid", false} // since 0.9.1
)

// PscapRow is what pscap looks at besides a [Process].
type PscapRow struct {
	*Process
	OtherUser bool // its user namespace is not the caller's
}

// Pscap writes what pscap would: processes with an effective set; of these the
// permitted set; "@" for an ambient one, "+" for a bounding one. full is all that the
// kernel has. Control characters are escaped, as pscap's newest versions do, and so is
// whatever else is not printed.
func Pscap(w io.Writer, layout PscapLayout, rows []PscapRow, full caps.Set, all bool) error {
	b := bufio.NewWriter(w)
	header := true
	names := make(map[caps.Set]string)
	for _, r := range rows {
		if r.Effective.Empty() || layout.hideOne && r.PID == 1 && !all {
			continue
		}
		if header {
			layout.row(b, "ppid", "pid", layout.user, "command", "capabilities")
			header = false
		}
		command := pscapEscaped(r.Command)
		if r.OtherUser {
			command += " *"
		}
		text, ok := names[r.Permitted]
		if !ok {
			text = joined(r.Permitted)
			names[r.Permitted] = text
		}
		if full.SubsetOf(r.Effective) {
			text = "full"
		}
		if !r.Ambient.Empty() {
			text += " @"
		}
		if !r.Bounding.Empty() {
			text += " +"
		}
		layout.row(b, strconv.Itoa(r.PPID), strconv.Itoa(r.PID), pscapEscaped(r.User), command, text)
	}
	return b.Flush()
}

// row pads to bytes, as printf(3) does, and not to characters. What is too long pushes
// the rest aside.
func (l *PscapLayout) row(b *bufio.Writer, columns ...string) {
	for i, c := range columns {
		b.WriteString(c)
		if i < len(l.widths) {
			b.WriteString(strings.Repeat(" ", max(l.gaps[i], l.widths[i]-len(c))))
		}
	}
	b.WriteByte('\n')
}

func pscapEscaped(s string) string {
	if printable(s) {
		return s
	}
	var b strings.Builder
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(s[i:])
		raw := s[i : i+size]
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(raw)
			continue
		}
		for _, c := range []byte(raw) {
			fmt.Fprintf(&b, `\x%02X`, c)
		}
	}
	return b.String()
}
