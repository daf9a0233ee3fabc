package binary_test

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	stdbinary "encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/binary"
)

// layout is how an ELF file and Go's table in it are written.
type layout struct {
	name  string
	wide  bool
	order interface {
		stdbinary.ByteOrder
		stdbinary.AppendByteOrder
	}
	magic uint32 // of Go's table: internal/abi/symtab.go
}

var layouts = []layout{
	{"64 little, Go 1.20", true, stdbinary.LittleEndian, 0xfffffff1},
	{"64 big, Go 1.18", true, stdbinary.BigEndian, 0xfffffff0},
	{"64 little, Go 1.16", true, stdbinary.LittleEndian, 0xfffffffa},
	{"64 big, Go 1.2", true, stdbinary.BigEndian, 0xfffffffb},
	{"32 little, Go 1.20", false, stdbinary.LittleEndian, 0xfffffff1},
	{"32 big, Go 1.16", false, stdbinary.BigEndian, 0xfffffffa},
	{"32 little, Go 1.2", false, stdbinary.LittleEndian, 0xfffffffb},
}

// part is a section of a file.
type part struct {
	name  string
	typ   elf.SectionType
	flags elf.SectionFlag
	link  uint32
	data  []byte
}

// word appends a number as wide as the layout's addresses.
func (l layout) word(b []byte, v uint64) []byte {
	if l.wide {
		return l.order.AppendUint64(b, v)
	}
	return l.order.AppendUint32(b, uint32(v))
}

// file writes an ELF file with these sections after the null one, and after them the table
// of their names unless the parts have one.
func (l layout) file(t testing.TB, interpreter string, parts ...part) []byte {
	t.Helper()
	if !slices.ContainsFunc(parts, func(p part) bool { return p.name == ".shstrtab" }) {
		parts = append(parts, part{name: ".shstrtab", typ: elf.SHT_STRTAB})
	}
	head, size := 52, 32
	ident := []byte("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	if l.wide {
		head, size = 64, 56
		ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	}
	if l.order.String() == stdbinary.BigEndian.String() {
		ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	names, at := []byte{0}, []uint32{0}
	for _, p := range parts {
		at = append(at, uint32(len(names)))
		names = append(names, p.name+"\x00"...)
	}
	parts = append([]part{{}}, parts...)
	var body, sections []byte
	body = append(body, interpreter+"\x00"...)
	shstrndx := 0
	for i, p := range parts {
		if p.name == ".shstrtab" {
			shstrndx = i
			if p.data == nil {
				p.data = names
			}
		}
		sections = l.order.AppendUint32(sections, at[i])
		sections = l.order.AppendUint32(sections, uint32(p.typ))
		for _, v := range []int{int(p.flags), 0, head + size + len(body), len(p.data)} { // 0: its address
			sections = l.word(sections, uint64(v))
		}
		sections = l.order.AppendUint32(sections, p.link)
		sections = l.order.AppendUint32(sections, 0)
		sections = l.word(l.word(sections, 1), 0)
		body = append(body, p.data...)
	}
	out := slices.Clone(ident)
	out = l.order.AppendUint16(out, uint16(elf.ET_DYN))
	out = l.order.AppendUint16(out, uint16(elf.EM_X86_64))
	out = l.order.AppendUint32(out, 1)
	for _, v := range []int{0, head, head + size + len(body)} { // entry, segments, sections
		out = l.word(out, uint64(v))
	}
	out = l.order.AppendUint32(out, 0)
	for _, v := range []int{head, size, 1, len(sections) / len(parts), len(parts), shstrndx} {
		out = l.order.AppendUint16(out, uint16(v))
	}
	out = l.order.AppendUint32(out, uint32(elf.PT_INTERP))
	if l.wide {
		out = l.order.AppendUint32(out, 0)
	}
	for _, v := range []int{head + size, 0, 0, len(interpreter) + 1, 0} {
		out = l.word(out, uint64(v))
	}
	out = append(out, make([]byte, head+size-len(out))...)
	return slices.Concat(out, body, sections)
}

// symbols are undefined functions whose names begin at these places.
func (l layout) symbols(names ...uint32) []byte {
	var out []byte
	info := elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC)
	for _, name := range append([]uint32{0}, names...) {
		out = l.order.AppendUint32(out, name)
		if l.wide {
			out = append(out, info, 0, 0, 0)
		}
		out = l.word(l.word(out, 0), 0)
		if !l.wide {
			out = append(out, info, 0, 0, 0)
		}
	}
	return out
}

// dynamic are entries of a dynamic section, each with that value.
func (l layout) dynamic(value uint64, tags ...elf.DynTag) []byte {
	var out []byte
	for _, tag := range tags {
		out = l.word(l.word(out, uint64(tag)), value)
	}
	return out
}

// table is Go's of the functions whose names begin at these places of names, each with a
// description of its own: debug/gosym/pclntab.go, runtime/symtab.go.
func (l layout) table(names string, at ...uint32) []byte {
	word := 4
	if l.wide {
		word = 8
	}
	out := l.order.AppendUint32(nil, l.magic)
	out = append(out, 0, 0, 1, byte(word))
	out = l.word(out, uint64(len(at)))
	field := 4 // how wide an address of a function and its description's place are
	if l.magic == 0xfffffffa || l.magic == 0xfffffffb {
		field = word
	}
	address := func(b []byte, v int) []byte {
		if field == 8 {
			return l.order.AppendUint64(b, uint64(v))
		}
		return l.order.AppendUint32(b, uint32(v))
	}
	// A description: its address, its name's place, and what else debug/gosym reads of it.
	const rest = 10 * 4
	pairs := (2*len(at) + 1) * field
	if l.magic == 0xfffffffb { // all places are the table's
		start := len(out) + pairs + 4
		for i := range at {
			out = address(address(out, i), start+i*(field+rest))
		}
		out = address(out, len(at))
		end := start + len(at)*(field+rest)
		out = l.order.AppendUint32(out, uint32(end)) // the files' table
		for i, a := range at {
			out = address(out, i)
			out = l.order.AppendUint32(out, uint32(end+4)+a)
			out = append(out, make([]byte, rest-4)...)
		}
		return append(l.order.AppendUint32(out, 1), names...)
	}
	places := 5
	if l.magic != 0xfffffffa {
		places = 6 // the text's start
	}
	start := len(out) + (1+places)*word
	out = l.word(out, 0) // files
	if places == 6 {
		out = l.word(out, 0)
	}
	for range 4 {
		out = l.word(out, uint64(start)) // names; units, files, lines: not looked at
	}
	out = l.word(out, uint64(start+len(names)))
	out = append(out, names...)
	for i := range at {
		out = address(address(out, i), pairs+i*(field+rest))
	}
	out = address(out, len(at))
	for i, a := range at {
		out = address(out, i)
		out = l.order.AppendUint32(out, a)
		out = append(out, make([]byte, rest-4)...)
	}
	return out
}

const layoutNames = "\x00libc.so.6\x00/opt/lib:/opt/x\x00setGID\x00main.main\x00syscall.Chroot\x00syscall.(*x).Mount\x00"

func (l layout) parts(t testing.TB) []part {
	t.Helper()
	place := func(name string) uint32 {
		i := strings.Index(layoutNames, "\x00"+name+"\x00")
		if i < 0 {
			t.Fatalf("no name %s", name)
		}
		return uint32(i + 1)
	}
	return []part{
		{".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 0, []byte(layoutNames)},
		{".dynsym", elf.SHT_DYNSYM, elf.SHF_ALLOC, 1, l.symbols(place("setGID"))},
		{".dynamic", elf.SHT_DYNAMIC, elf.SHF_ALLOC, 1, slices.Concat(
			l.dynamic(uint64(place("libc.so.6")), elf.DT_NEEDED), l.dynamic(uint64(place("/opt/lib:/opt/x")), elf.DT_RUNPATH))},
		{".text", elf.SHT_PROGBITS, elf.SHF_ALLOC, 0, []byte{0}},
		{".gopclntab", elf.SHT_PROGBITS, elf.SHF_ALLOC, 0, l.table(layoutNames, place("main.main"), place("syscall.Chroot"), place("syscall.(*x).Mount"))},
	}
}

// TestLayouts: files of both widths and byte orders, with Go's tables of all versions, which
// debug/elf and debug/gosym read in the same way.
func TestLayouts(t *testing.T) {
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			content := l.file(t, "/lib/ld.so", l.parts(t)...)
			f, err := binary.Read(content)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.Functions, []string{"chroot", "setgid"}) || !slices.Equal(f.Libraries, []string{"libc.so.6"}) ||
				!slices.Equal(f.RunPath, []string{"/opt/lib", "/opt/x"}) || f.Interpreter != "/lib/ld.so" || f.Mute {
				t.Errorf("%+v", f)
			}
			compare(t, l.name, content)
			for n := range content { // wherever it is cut off
				cost(t, content[:n], 64)
			}
		})
	}
}

// TestSystem: of this machine's own programs debug/elf and debug/gosym say the same.
func TestSystem(t *testing.T) {
	read := 0
	tools, err := exec.Command("go", "env", "GOTOOLDIR").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", strings.TrimSpace(string(tools))} {
		entries, _ := os.ReadDir(dir)
		for i, e := range entries {
			if fi, err := os.Stat(filepath.Join(dir, e.Name())); i%8 != 0 || err != nil || !fi.Mode().IsRegular() || fi.Size() > 8<<20 {
				continue
			}
			content, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil || !bytes.HasPrefix(content, []byte(elf.ELFMAG)) {
				continue
			}
			compare(t, e.Name(), content)
			read++
		}
	}
	if read == 0 {
		t.Skip("this machine has no ELF programs")
	}
	t.Logf("%d programs", read)
}

// compare holds what is read of a file against what debug/elf and debug/gosym read.
func compare(t *testing.T, name string, content []byte) {
	t.Helper()
	f, err := binary.Read(content)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	e, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Errorf("%s: debug/elf: %v", name, err)
		return
	}
	libraries, err := e.ImportedLibraries()
	if err != nil || !slices.Equal(f.Libraries, libraries) {
		t.Errorf("%s: libraries %q, want %q (%v)", name, f.Libraries, libraries, err)
	}
	var want []string
	imports, _ := e.DynamicSymbols()
	for _, s := range imports {
		if s.Section == elf.SHN_UNDEF && s.Name != "" && len(s.Name) < 256 {
			want = append(want, strings.ToLower(s.Name))
		}
	}
	table := e.Section(".gopclntab")
	if table == nil {
		table = e.Section(".data.rel.ro.gopclntab")
	}
	switch {
	case table != nil:
		data, err := table.Data()
		if err != nil {
			t.Fatal(err)
		}
		symbols, err := gosym.NewTable(nil, gosym.NewLineTable(data, e.Section(".text").Addr))
		if err != nil {
			t.Fatal(err)
		}
		if len(symbols.Funcs) == 0 {
			t.Errorf("%s: debug/gosym finds no function", name)
		}
		for _, fn := range symbols.Funcs {
			for _, pkg := range []string{"syscall.", "golang.org/x/sys/unix."} {
				if rest, ok := strings.CutPrefix(fn.Name, pkg); ok && !strings.ContainsAny(rest, ".(") {
					want = append(want, strings.ToLower(rest))
				}
			}
		}
	case len(libraries) == 0:
		own, _ := e.Symbols()
		for _, s := range own {
			if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
				want = append(want, strings.ToLower(strings.TrimPrefix(s.Name, "__")))
			}
		}
		if f.Mute != (len(own) == 0) {
			t.Errorf("%s: mute %t, and it has %d symbols", name, f.Mute, len(own))
		}
	}
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(f.Functions, want) {
		t.Errorf("%s: functions %q, want %q", name, f.Functions, want)
	}
}
