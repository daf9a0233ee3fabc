package binary

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
)

// Go's linker writes a table of all functions into every program, also a stripped one:
// debug/gosym/pclntab.go, runtime/symtab.go (pcHeader, _func). It is read here and not by
// debug/gosym, which trusts it: it makes as many descriptions of a hundred bytes and more as
// the table says that it has functions, and copies of names as long as the table.

// The table's versions, by its first four bytes (internal/abi/symtab.go).
const (
	go12  = 0xfffffffb
	go116 = 0xfffffffa
	go118 = 0xfffffff0
	go120 = 0xfffffff1
)

// callPackages are those with a function for each system call.
var callPackages = [][]byte{[]byte("syscall."), []byte("golang.org/x/sys/unix.")}

// maxCalls is how many functions of those packages are kept; they have some 700.
const maxCalls = 4096

// goCalls gives the functions of Go's system call packages that are linked in, which are
// those that may be called, in lower case.
func (o *object) goCalls() (calls []string, isGo bool) {
	s := o.named(".gopclntab")
	if s == nil {
		if s = o.named(".data.rel.ro.gopclntab"); s == nil { // position independent
			return nil, false
		}
	}
	table, err := o.data(s)
	if err != nil {
		return nil, true
	}
	seen := map[string]bool{}
	functions(table, func(name []byte) bool {
		for _, pkg := range callPackages {
			if rest, ok := bytes.CutPrefix(name, pkg); ok && !bytes.ContainsAny(rest, ".(") {
				seen[strings.ToLower(string(rest))] = true
			}
		}
		return len(seen) < maxCalls
	})
	return slices.Collect(maps.Keys(seen)), true
}

// functions gives the names of a table's functions. A damaged table has none, or less.
func functions(table []byte, yield func(name []byte) bool) {
	if len(table) < 16 {
		return
	}
	f := fields{data: table, order: binary.LittleEndian}
	if table[0] == 0xff { // each magic number ends so
		f.order = binary.BigEndian
	}
	magic := f.u32()
	f.next(3) // zero, zero, the instructions' smallest size
	switch f.byte() {
	case 4:
	case 8:
		f.wide = true
	default:
		return
	}
	from := func(off uint64) []byte { return table[min(off, uint64(len(table))):] }
	count := f.word()
	// names holds the names, descriptions the functions, and the pairs of a function's
	// address and its description's place lie at pairs.
	var names, descriptions, pairs []byte
	field := 4 // how wide each of a pair is, and a description's first, which is an address
	if f.wide && (magic == go12 || magic == go116) {
		field = 8
	}
	switch magic {
	case go12:
		names, descriptions, pairs = table, table, f.data
	case go116, go118, go120:
		f.word() // of files
		if magic != go116 {
			f.word() // where the text starts
		}
		names = from(f.word())
		f.word() // compilation units
		f.word() // file names
		f.word() // lines by address
		descriptions = from(f.word())
		pairs = descriptions
	default:
		return
	}
	if f.short {
		return
	}
	pair := fields{data: pairs, order: f.order, wide: field == 8}
	for range count {
		pair.word()
		at := pair.word()
		if pair.short {
			return
		}
		if at >= uint64(len(descriptions)) {
			continue
		}
		d := fields{data: descriptions[at:], order: f.order}
		d.next(field)
		if name, ok := text(names, uint64(d.u32()), maxName); ok && !yield(name) {
			return
		}
	}
}
