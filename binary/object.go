package binary

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// What bounds the cost of a file, whatever it says of itself. debug/elf is for files that one
// trusts: it inflates sections without a limit, and copies names that lie in each other.
const (
	// maxName is the longest name of a function that is looked at, in bytes, and maxPath
	// the longest of a library or a list of directories. What is longer is passed over.
	maxName, maxPath = 255, 64 << 10
	// maxSymbols is how many functions of a file are looked at.
	maxSymbols = 1 << 18
	// maxLinked is how many libraries, and how many directories for them, are.
	maxLinked = 256
)

var errShort = errors.New("it is cut off")

// object is an ELF file's headers (elf(5)). Its tables are parts of the file, never copies.
type object struct {
	content     []byte
	order       binary.ByteOrder
	wide        bool   // of 64 bits
	interpreter []byte // what PT_INTERP names
	sections    []section
	names       []byte // of the sections
}

type section struct {
	name      uint32
	typ       elf.SectionType
	flags     elf.SectionFlag
	addr      uint64
	off, size uint64
	link      uint32
}

// fields reads numbers that follow each other; those behind the end are 0, and short is set.
type fields struct {
	data  []byte
	order binary.ByteOrder
	wide  bool
	short bool
}

func (f *fields) next(n int) []byte {
	if n > len(f.data) {
		f.data, f.short = nil, true
		return make([]byte, n)
	}
	b := f.data[:n]
	f.data = f.data[n:]
	return b
}

func (f *fields) byte() byte   { return f.next(1)[0] }
func (f *fields) half() uint16 { return f.order.Uint16(f.next(2)) }
func (f *fields) u32() uint32  { return f.order.Uint32(f.next(4)) }

// word reads a number that is as wide as the file's addresses.
func (f *fields) word() uint64 {
	if f.wide {
		return f.order.Uint64(f.next(8))
	}
	return uint64(f.u32())
}

// parse reads the headers of a file that begins with ELF's magic number.
func parse(content []byte) (*object, error) {
	if len(content) < elf.EI_NIDENT {
		return nil, errShort
	}
	o := &object{content: content}
	switch class := elf.Class(content[elf.EI_CLASS]); class {
	case elf.ELFCLASS64:
		o.wide = true
	case elf.ELFCLASS32:
	default:
		return nil, fmt.Errorf("unknown class %d", class)
	}
	switch data := elf.Data(content[elf.EI_DATA]); data {
	case elf.ELFDATA2LSB:
		o.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		o.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("unknown byte order %d", data)
	}
	h := o.at(elf.EI_NIDENT)
	h.next(2 + 2 + 4) // type, machine, version
	_, phoff, shoff := h.word(), h.word(), h.word()
	h.next(4 + 2) // flags, ehsize
	phentsize, phnum, shentsize, shnum, shstrndx := h.half(), h.half(), h.half(), h.half(), h.half()
	if h.short {
		return nil, errShort
	}
	segment, entry := binary.Size(elf.Prog32{}), binary.Size(elf.Section32{})
	if o.wide {
		segment, entry = binary.Size(elf.Prog64{}), binary.Size(elf.Section64{})
	}
	if phnum > 0 && int(phentsize) < segment || shnum > 0 && int(shentsize) < entry {
		return nil, errors.New("headers that are too small")
	}
	// 0xff00 sections and more are counted elsewhere. No program has them.
	if shnum == 0 && shoff != 0 {
		return nil, errors.New("too many sections")
	}
	for i := range uint64(phnum) {
		p := o.at(phoff + i*uint64(phentsize))
		typ := elf.ProgType(p.u32())
		if o.wide {
			p.u32() // flags
		}
		off, _, _, size := p.word(), p.word(), p.word(), p.word()
		if p.short {
			return nil, fmt.Errorf("program header %d: %w", i, errShort)
		}
		if typ == elf.PT_INTERP && size <= maxPath {
			var err error
			if o.interpreter, err = o.part(off, size); err != nil {
				return nil, fmt.Errorf("interpreter: %w", err)
			}
			break
		}
	}
	for i := range uint64(shnum) {
		f := o.at(shoff + i*uint64(shentsize))
		s := section{name: f.u32(), typ: elf.SectionType(f.u32()), flags: elf.SectionFlag(f.word())}
		s.addr, s.off, s.size, s.link = f.word(), f.word(), f.word(), f.u32()
		if f.short {
			return nil, fmt.Errorf("section %d: %w", i, errShort)
		}
		o.sections = append(o.sections, s)
	}
	if shstrndx == 0 {
		return o, nil
	}
	var err error
	o.names, err = o.linked(uint32(shstrndx))
	return o, err
}

// at gives what stands at that place of the file.
func (o *object) at(off uint64) *fields {
	f := &fields{order: o.order, wide: o.wide}
	if off < uint64(len(o.content)) {
		f.data = o.content[off:]
	}
	return f
}

func (o *object) part(off, size uint64) ([]byte, error) {
	if n := uint64(len(o.content)); off > n || size > n-off {
		return nil, errShort
	}
	return o.content[off : off+size : off+size], nil
}

// data gives a section's content. What is compressed has none: no section that is loaded may
// be, and nothing compresses .symtab and .strtab.
func (o *object) data(s *section) ([]byte, error) {
	if s.typ == elf.SHT_NOBITS {
		return nil, errors.New("a section without content")
	}
	if s.flags&elf.SHF_COMPRESSED != 0 {
		return nil, errors.New("a compressed section")
	}
	return o.part(s.off, s.size)
}

// linked gives the content of the section with that number.
func (o *object) linked(n uint32) ([]byte, error) {
	if uint64(n) >= uint64(len(o.sections)) {
		return nil, fmt.Errorf("no section has the number %d", n)
	}
	data, err := o.data(&o.sections[n])
	if err != nil {
		return nil, fmt.Errorf("section %d: %w", n, err)
	}
	return data, nil
}

// named gives the section of that name, nil if there is none.
func (o *object) named(name string) *section {
	for i := range o.sections {
		if got, ok := text(o.names, uint64(o.sections[i].name), maxName); ok && string(got) == name {
			return &o.sections[i]
		}
	}
	return nil
}

// table gives the first section of a type and the strings that belong to it, nil if there
// is none.
func (o *object) table(typ elf.SectionType) (data, names []byte, err error) {
	for i := range o.sections {
		s := &o.sections[i]
		if s.typ != typ {
			continue
		}
		if data, err = o.data(s); err != nil {
			return nil, nil, fmt.Errorf("section %d: %w", i, err)
		}
		names, err = o.linked(s.link)
		return data, names, err
	}
	return nil, nil, nil
}

// symbol is an entry of a table of symbols.
type symbol struct {
	name    []byte
	typ     elf.SymType
	defined bool
}

// symbols gives the entries of such a table but the first, which is none.
func (o *object) symbols(data, names []byte) iter.Seq[symbol] {
	size := elf.Sym32Size
	if o.wide {
		size = elf.Sym64Size
	}
	return func(yield func(symbol) bool) {
		f := fields{order: o.order, wide: o.wide}
		for n := 1; n <= maxSymbols && (n+1)*size <= len(data); n++ {
			f.data = data[n*size : (n+1)*size]
			var s symbol
			name := f.u32()
			if !o.wide {
				f.next(4 + 4) // value, size
			}
			s.typ = elf.ST_TYPE(f.byte())
			f.byte() // visibility
			s.defined = elf.SectionIndex(f.half()) != elf.SHN_UNDEF
			var ok bool
			if s.name, ok = text(names, uint64(name), maxName); ok && !yield(s) {
				return
			}
		}
	}
}

// dynamic gives the strings of that tag in the dynamic section, as many as may be.
func (o *object) dynamic(data, names []byte, tag elf.DynTag) (all []string) {
	f := fields{data: data, order: o.order, wide: o.wide}
	for len(all) < maxLinked {
		t, at := f.word(), f.word()
		if f.short {
			break
		}
		if elf.DynTag(t) != tag {
			continue
		}
		if s, ok := text(names, at, maxPath); ok {
			all = append(all, string(s))
		}
	}
	return all
}

// text gives the string at that place of a table, without its end; false if it has none
// within as many bytes.
func text(table []byte, at uint64, longest int) ([]byte, bool) {
	if at >= uint64(len(table)) {
		return nil, false
	}
	table = table[at:]
	end := bytes.IndexByte(table[:min(len(table), longest+1)], 0)
	if end < 0 {
		return nil, false
	}
	return table[:end], true
}
