package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/leastcap/leastcap/caps"
)

// PscapLayout is the layout of a version of libcap-ng's pscap.
type PscapLayout struct {
	row     string // ppid, pid, user, command, capabilities
	user    string // the third column's name
	hideOne bool   // process 1 is not shown without -a
}

// The layouts that differ: libcap-ng utils/pscap.c. The third column is called "uid" in
// some versions between them.
var (
	Pscap08 = PscapLayout{"%-5s %-5s %-10s  %-18s  %s\n", "name", true}
	Pscap09 = PscapLayout{"%-7s %-7s %-16s %-15s %s\n", "uid", false} // since 0.9.1
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
			fmt.Fprintf(b, layout.row, "ppid", "pid", layout.user, "command", "capabilities")
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
		fmt.Fprintf(b, layout.row, fmt.Sprint(r.PPID), fmt.Sprint(r.PID), pscapEscaped(r.User), command, text)
	}
	return b.Flush()
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
