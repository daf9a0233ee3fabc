package binary_test

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	stdbinary "encoding/binary"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/binary"
)

// inflating is a section's content that says that it becomes size bytes, and does.
func inflating(t *testing.T, size int) []byte {
	t.Helper()
	b := bytes.NewBuffer(slices.Concat(
		stdbinary.LittleEndian.AppendUint64(nil, uint64(elf.COMPRESS_ZLIB)),
		stdbinary.LittleEndian.AppendUint64(nil, uint64(size)),
		stdbinary.LittleEndian.AppendUint64(nil, 1)))
	z := zlib.NewWriter(b)
	block := make([]byte, 1<<20)
	for ; size > 0; size -= len(block) {
		if _, err := z.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostile: what a file says of itself costs no more memory than a few times the file.
// With debug/elf each of most of these took hundreds of MiB, the directories 15 GiB.
func TestHostile(t *testing.T) {
	const n = 1 << 15
	l := layouts[0]
	bomb := inflating(t, 48<<20)
	long := append([]byte{0}, bytes.Repeat([]byte("X"), n)...)
	ended := append(slices.Clone(long), 0)
	dirs := append([]byte{0}, strings.Repeat("a:", n)+"\x00"...)
	near := append([]byte{0}, strings.Repeat("X:", 500)+"\x00"...)
	var places []uint32
	for i := range uint32(n) {
		places = append(places, i+1)
	}
	calls := make([]uint32, n)
	for _, c := range []struct {
		name  string
		parts []part
	}{
		{"a compressed table of strings", []part{
			{".dynsym", elf.SHT_DYNSYM, elf.SHF_ALLOC, 2, l.symbols(1)},
			{".dynstr", elf.SHT_STRTAB, elf.SHF_COMPRESSED, 0, bomb}}},
		{"compressed symbols", []part{
			{".symtab", elf.SHT_SYMTAB, elf.SHF_COMPRESSED, 2, bomb},
			{".strtab", elf.SHT_STRTAB, 0, 0, ended}}},
		{"a compressed dynamic section", []part{
			{".dynamic", elf.SHT_DYNAMIC, elf.SHF_COMPRESSED, 2, bomb},
			{".dynstr", elf.SHT_STRTAB, 0, 0, ended}}},
		{"compressed names of sections", []part{
			{".shstrtab", elf.SHT_STRTAB, elf.SHF_COMPRESSED, 0, bomb}}},
		{"a compressed table of Go", []part{
			{".text", elf.SHT_PROGBITS, elf.SHF_ALLOC, 0, []byte{0}},
			{".gopclntab", elf.SHT_PROGBITS, elf.SHF_COMPRESSED, 0, bomb}}},
		// debug/elf inflates what has such a name, whatever its type.
		{".zdebug", []part{
			{".zdebug_dynsym", elf.SHT_DYNSYM, 0, 2, slices.Concat([]byte("ZLIB"), stdbinary.BigEndian.AppendUint64(nil, 48<<20), bomb[24:])},
			{".dynstr", elf.SHT_STRTAB, 0, 0, ended}}},
		{"names in names", []part{
			{".dynsym", elf.SHT_DYNSYM, elf.SHF_ALLOC, 2, l.symbols(places...)},
			{".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 0, ended}}},
		{"names without an end", []part{
			{".dynsym", elf.SHT_DYNSYM, elf.SHF_ALLOC, 2, l.symbols(places...)},
			{".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 0, long}}},
		{"libraries", []part{
			{".dynamic", elf.SHT_DYNAMIC, elf.SHF_ALLOC, 2, l.dynamic(1, slices.Repeat([]elf.DynTag{elf.DT_NEEDED}, n)...)},
			{".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 0, near}}},
		{"directories", []part{
			{".dynamic", elf.SHT_DYNAMIC, elf.SHF_ALLOC, 2, l.dynamic(1, slices.Repeat([]elf.DynTag{elf.DT_RUNPATH}, n)...)},
			{".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 0, near}}},
		{"a path of directories", []part{
			{".dynamic", elf.SHT_DYNAMIC, elf.SHF_ALLOC, 2, l.dynamic(1, slices.Repeat([]elf.DynTag{elf.DT_RUNPATH}, n)...)},
			{".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 0, dirs}}},
		{"functions of Go", []part{
			{".text", elf.SHT_PROGBITS, elf.SHF_ALLOC, 0, []byte{0}},
			{".gopclntab", elf.SHT_PROGBITS, elf.SHF_ALLOC, 0, l.table("syscall."+string(ended), calls...)}}},
		{"names in names of Go", []part{
			{".text", elf.SHT_PROGBITS, elf.SHF_ALLOC, 0, []byte{0}},
			{".gopclntab", elf.SHT_PROGBITS, elf.SHF_ALLOC, 0, l.table(strings.Repeat("syscall.", 1<<12)+"\x00", places...)}}},
		{"versions of symbols", []part{
			{".dynsym", elf.SHT_DYNSYM, elf.SHF_ALLOC, 2, l.symbols(1)},
			{".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 0, ended},
			{".gnu.version", elf.SHT_GNU_VERSYM, elf.SHF_ALLOC, 0, make([]byte, 4)},
			{".gnu.version_r", elf.SHT_GNU_VERNEED, elf.SHF_ALLOC, 2, bytes.Repeat([]byte{1, 0}, n)}}},
	} {
		t.Run(c.name, func(t *testing.T) { cost(t, l.file(t, "", c.parts...), 64) })
	}
	t.Run("sections", func(t *testing.T) {
		parts := make([]part, 0xfe00)
		for i := range parts {
			parts[i].name = "x"
		}
		cost(t, l.file(t, "", parts...), 16)
		// One section, 65,535 times over.
		content := l.file(t, "", part{typ: elf.SHT_NULL})
		copy(content[0x3a:], []byte{0, 0, 0xff, 0xff, 0, 0}) // e_shentsize, e_shnum, e_shstrndx
		cost(t, content, 64)
		if _, err := binary.Read(content); err == nil {
			t.Error("a file with sections of no size was read")
		}
		// What does not fit is counted in the first section.
		content = l.file(t, "", part{typ: elf.SHT_NULL})
		for i := 0x3c; i < 0x40; i++ { // e_shnum, e_shstrndx
			content[i] = 0
		}
		cost(t, content, 64)
		if _, err := binary.Read(content); err == nil {
			t.Error("a file without a number of sections was read")
		}
	})
}

// TestHostileScript: the kernel, too, looks at the beginning of a line alone.
func TestHostileScript(t *testing.T) {
	content := append([]byte("#!/bin/sh"), bytes.Repeat([]byte(" a"), 1<<20)...)
	before := allocated()
	line := binary.Script(content)
	if got := allocated() - before; got > 1<<20 {
		t.Errorf("%d bytes allocated for a file of %d", got, len(content))
	}
	if len(line) == 0 || line[0] != "/bin/sh" {
		t.Errorf("%q", line)
	}
}

// cost reads a file, and holds what is allocated meanwhile against its size.
func cost(t *testing.T, content []byte, times uint64) {
	t.Helper()
	before := allocated()
	f, err := binary.Read(content)
	if got := allocated() - before; got > times*uint64(len(content))+1<<20 {
		t.Errorf("%d bytes allocated for a file of %d", got, len(content))
	}
	if err == nil {
		for _, name := range f.Functions {
			if len(name) > 255 {
				t.Fatalf("a name of %d bytes", len(name))
			}
		}
	}
}

// allocated is what was ever allocated, in bytes.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
