// Package binary says what an executable file shows of itself without being run: which
// functions it takes from libraries, or has in itself, and what it is linked with.
package binary

import (
	"bytes"
	"debug/elf"
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

// Read reads an ELF file. It costs little more than the file, whatever the file says of
// itself; what is damaged is an error.
func Read(content []byte) (*File, error) {
	if !bytes.HasPrefix(content, []byte(elf.ELFMAG)) {
		return nil, ErrNotBinary
	}
	o, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	f := &File{Interpreter: string(bytes.TrimRight(o.interpreter, "\x00"))}
	data, names, err := o.table(elf.SHT_DYNAMIC)
	if err != nil {
		return nil, fmt.Errorf("damaged: what it is linked with: %w", err)
	}
	f.Libraries = o.dynamic(data, names, elf.DT_NEEDED)
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		for _, dirs := range o.dynamic(data, names, tag) {
			for dir := range strings.SplitSeq(dirs, ":") {
				if len(f.RunPath) < maxLinked {
					f.RunPath = append(f.RunPath, dir)
				}
			}
		}
	}
	if data, names, err = o.table(elf.SHT_DYNSYM); err != nil {
		return nil, fmt.Errorf("damaged: dynamic symbols: %w", err)
	}
	for s := range o.symbols(data, names) {
		if !s.defined && len(s.name) > 0 {
			f.Functions = append(f.Functions, strings.ToLower(string(s.name)))
		}
	}
	calls, isGo := o.goCalls()
	f.Functions = append(f.Functions, calls...)
	if len(f.Libraries) == 0 && !isGo {
		if data, names, err = o.table(elf.SHT_SYMTAB); err != nil {
			return nil, fmt.Errorf("damaged: symbols: %w", err)
		}
		// A static program of C has the library's functions in itself, those that it uses.
		f.Mute = true
		for s := range o.symbols(data, names) {
			f.Mute = false
			if s.typ == elf.STT_FUNC {
				f.Functions = append(f.Functions, strings.ToLower(string(bytes.TrimPrefix(s.name, []byte("__")))))
			}
		}
	}
	slices.Sort(f.Functions)
	f.Functions = slices.Compact(f.Functions)
	return f, nil
}

// maxLine is how much of a script's first line counts, in bytes: include/uapi/linux/binfmts.h,
// BINPRM_BUF_SIZE.
const maxLine = 256

// Script gives the interpreter's line of a script, split into words, nil if the file is none.
func Script(content []byte) []string {
	line, ok := bytes.CutPrefix(content[:min(len(content), maxLine)], []byte("#!"))
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
