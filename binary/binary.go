// Package binary says what an executable file shows of itself without being run: which
// functions it takes from libraries, or has in itself, and what it is linked with.
package binary

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// File is what an executable or a shared library shows.
type File struct {
	// Functions are the names that it takes from shared libraries, in lower case. Of
	// a Go program they are those of its own that stand for system calls.
	Functions []string
	// Libraries are the names of those that it is linked with, RunPath the directories
	// in which they are looked for first.
	Libraries []string
	RunPath   []string
	// Interpreter is the dynamic linker, empty for a static program.
	Interpreter string
	// Mute says that its functions cannot be told: a static program without symbols.
	Mute bool
}

// ErrNotBinary says that a file is no ELF file.
var ErrNotBinary = errors.New("not an ELF file")

// Read reads an ELF file. What is damaged is an error, never a panic.
func Read(content []byte) (_ *File, err error) {
	if !bytes.HasPrefix(content, []byte(elf.ELFMAG)) {
		return nil, ErrNotBinary
	}
	// debug/gosym trusts its tables.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	e, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	f := &File{}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			data := make([]byte, p.Filesz)
			if _, err := p.ReadAt(data, 0); err != nil {
				return nil, err
			}
			f.Interpreter = string(bytes.TrimRight(data, "\x00"))
		}
	}
	// Without a dynamic section each of these is empty.
	if f.Libraries, err = e.DynString(elf.DT_NEEDED); err != nil {
		return nil, err
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		dirs, err := e.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, d := range dirs {
			f.RunPath = append(f.RunPath, strings.Split(d, ":")...)
		}
	}
	imports, err := e.DynamicSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, err
	}
	for _, s := range imports {
		if s.Section == elf.SHN_UNDEF && s.Name != "" {
			f.Functions = append(f.Functions, strings.ToLower(s.Name))
		}
	}
	calls, isGo := goCalls(e)
	f.Functions = append(f.Functions, calls...)
	if len(f.Libraries) == 0 && !isGo {
		own, err := e.Symbols()
		if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
			return nil, err
		}
		// A static program of C has the library's functions in itself, those that it uses.
		for _, s := range own {
			if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
				f.Functions = append(f.Functions, strings.ToLower(strings.TrimPrefix(s.Name, "__")))
			}
		}
		f.Mute = len(own) == 0
	}
	slices.Sort(f.Functions)
	f.Functions = slices.Compact(f.Functions)
	return f, nil
}

// goCalls gives the functions of Go's system call packages that are linked in, which are
// those that may be called; a stripped program has this table too.
func goCalls(e *elf.File) (calls []string, isGo bool) {
	table := e.Section(".gopclntab")
	if table == nil {
		if table = e.Section(".data.rel.ro.gopclntab"); table == nil { // position independent
			return nil, false
		}
	}
	data, err := table.Data()
	text := e.Section(".text")
	if err != nil || text == nil || !plausible(data) {
		return nil, true
	}
	symbols, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, true
	}
	for i := range symbols.Funcs {
		name := symbols.Funcs[i].Name
		for _, pkg := range []string{"syscall", "golang.org/x/sys/unix"} {
			if rest, ok := strings.CutPrefix(name, pkg+"."); ok && !strings.ContainsAny(rest, ".(") {
				calls = append(calls, strings.ToLower(rest))
			}
		}
	}
	return calls, true
}

// plausible says whether a .gopclntab has room for as many functions as it says that it
// has: debug/gosym asks for memory for all of them, and to get none ends the program.
func plausible(table []byte) bool {
	// debug/gosym/pclntab.go: after a header of eight bytes stands their number, a word of
	// table[7] bytes; each takes eight bytes or more. The magic number tells the byte order.
	if len(table) < 16 {
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if table[0] == 0xff {
		order = binary.BigEndian
	}
	n := uint64(order.Uint32(table[8:]))
	if table[7] == 8 {
		n = order.Uint64(table[8:])
	}
	return n <= uint64(len(table))/8
}

// Script gives the interpreter's line of a script, split into words, nil if the file is none.
func Script(content []byte) []string {
	line, ok := bytes.CutPrefix(content, []byte("#!"))
	if !ok {
		return nil
	}
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	return strings.Fields(string(line))
}

// Words are those of a text that can name a function, a command or a file, in lower case
// only as they stand, each once.
func Words(text string) []string {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./+-", r))
	})
	var out []string
	seen := map[string]bool{}
	for _, w := range words {
		// os.setuid() is setuid()
		for _, v := range []string{w, path.Ext(w)} {
			if v = strings.TrimPrefix(v, "."); v != "" && !seen[v] {
				seen[v] = true
				out = append(out, v)
			}
		}
	}
	return out
}
