package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// A kernel describes some hundred thousand types, and reading them all takes longer than
// anything else that leastcap ps does. kernelTypes goes over them once and keeps what a
// program's relocations can ask for: the types of the names that the program uses, of
// these the fields that it names, and instead of what pointers point to nothing.
//
// The format is Documentation/bpf/btf.rst's.

var errTypes = errors.New("the kernel's type information has an unexpected form")

// kernelTypes also gives the id of a function, which iterators attach to.
func kernelTypes(program *btf.Spec, function string) (*btf.Spec, btf.TypeID, error) {
	f, err := os.Open("/sys/kernel/btf/vmlinux")
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	// Mapping it needs Linux 6.16 (commit a539e2a6d51d).
	raw, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err == nil {
		defer func() { _ = unix.Munmap(raw) }()
	} else if raw, err = os.ReadFile(f.Name()); err != nil {
		return nil, 0, err
	}
	return reduceTypes(raw, program, function)
}

func reduceTypes(raw []byte, program *btf.Spec, function string) (*btf.Spec, btf.TypeID, error) {
	r, err := openTypes(raw)
	if err != nil {
		return nil, 0, err
	}
	names := map[string]bool{}
	r.fields = map[string]bool{}
	for t, err := range program.All() {
		if err != nil {
			return nil, 0, err
		}
		switch t := t.(type) {
		case *btf.Struct:
			names[essential(t.Name)] = true
			for _, m := range t.Members {
				r.fields[m.Name] = true
			}
		case *btf.Enum:
			names[essential(t.Name)] = true
		}
	}
	delete(names, "")

	ids, target, err := r.scan(names, function)
	if err != nil {
		return nil, 0, err
	}
	types := make([]btf.Type, len(ids))
	for i, id := range ids {
		if types[i], err = r.build(id, 0); err != nil {
			return nil, 0, err
		}
	}
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		return nil, 0, err
	}
	spec, err := b.Spec()
	return spec, target, err
}

// essential is a type's name without its flavour: "task_struct" of "task_struct___ps".
func essential(name string) string {
	name, _, _ = strings.Cut(name, "___")
	return name
}

// types are the kernel's, undecoded.
type types struct {
	types, strings []byte
	at             []uint32 // by id: where it is in types
	fields         map[string]bool
	built          map[btf.TypeID]btf.Type
}

const (
	btfMagic     = 0xeb9f
	btfTypeLen   = 12
	btfMemberLen = 12
	btfArrayLen  = 12
	btfEnumLen   = 8
)

// The kinds: include/uapi/linux/btf.h.
const (
	kindInt = iota + 1
	kindPtr
	kindArray
	kindStruct
	kindUnion
	kindEnum
	kindFwd
	kindTypedef
	kindVolatile
	kindConst
	kindRestrict
	kindFunc
	kindFuncProto
	kindVar
	kindDatasec
	kindFloat
	kindDeclTag
	kindTypeTag
	kindEnum64
)

func openTypes(raw []byte) (*types, error) {
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(raw[at:])) }
	const header = 24
	if len(raw) < header || binary.LittleEndian.Uint16(raw) != btfMagic {
		return nil, errTypes
	}
	start := u32(4)
	typeAt, typeLen, strAt, strLen := start+u32(8), u32(12), start+u32(16), u32(20)
	if typeAt+typeLen > len(raw) || strAt+strLen > len(raw) {
		return nil, errTypes
	}
	return &types{types: raw[typeAt : typeAt+typeLen], strings: raw[strAt : strAt+strLen], built: map[btf.TypeID]btf.Type{}}, nil
}

// name reads a string; "" if there is none.
func (r *types) name(offset uint32) string { return string(r.bytes(offset)) }

func (r *types) bytes(offset uint32) []byte {
	if int64(offset) >= int64(len(r.strings)) {
		return nil
	}
	s := r.strings[offset:]
	return s[:max(0, bytes.IndexByte(s, 0))]
}

// scan finds the structures and enumerations of these names, and the function.
func (r *types) scan(names map[string]bool, function string) (ids []btf.TypeID, target btf.TypeID, err error) {
	r.at = make([]uint32, 1, len(r.types)/20) // id 0 is void
	for at := 0; at < len(r.types); {
		if at+btfTypeLen > len(r.types) {
			return nil, 0, errTypes
		}
		name, info := binary.LittleEndian.Uint32(r.types[at:]), binary.LittleEndian.Uint32(r.types[at+4:])
		kind, n := info>>24&0x1f, int(info&0xffff)
		switch kind {
		case kindStruct, kindUnion, kindEnum:
			if names[string(r.bytes(name))] { // which allocates nothing
				ids = append(ids, btf.TypeID(len(r.at)))
			}
		case kindFunc:
			if string(r.bytes(name)) == function {
				target = btf.TypeID(len(r.at))
			}
		}
		r.at = append(r.at, uint32(at))
		at += btfTypeLen
		switch kind {
		case kindInt, kindVar, kindDeclTag:
			at += 4
		case kindArray:
			at += btfArrayLen
		case kindStruct, kindUnion:
			at += n * btfMemberLen
		case kindEnum, kindFuncProto:
			at += n * btfEnumLen
		case kindDatasec, kindEnum64:
			at += n * 12
		case kindPtr, kindFwd, kindTypedef, kindVolatile, kindConst, kindRestrict, kindFunc, kindFloat, kindTypeTag:
		default:
			return nil, 0, errTypes // one that this does not know, and so not its length
		}
	}
	if target == 0 {
		return nil, 0, fmt.Errorf("%s: %w", function, btf.ErrNotFound)
	}
	return ids, target, nil
}

// typesDepth is more than any type is nested.
const typesDepth = 32

// build makes one type, without the fields that nobody names.
func (r *types) build(id btf.TypeID, depth int) (btf.Type, error) {
	if id == 0 {
		return &btf.Void{}, nil
	}
	if t := r.built[id]; t != nil {
		return t, nil
	}
	if int(id) >= len(r.at) || depth > typesDepth {
		return nil, errTypes
	}
	raw := r.types[r.at[id]:]
	u32 := func(at int) uint32 {
		if at+4 > len(raw) {
			return 0
		}
		return binary.LittleEndian.Uint32(raw[at:])
	}
	info, size := u32(4), u32(8)
	n, flag := int(info&0xffff), info>>31 != 0
	var t btf.Type
	switch info >> 24 & 0x1f {
	case kindInt:
		t = &btf.Int{Name: r.name(u32(0)), Size: size}
	case kindPtr:
		t = &btf.Pointer{Target: &btf.Void{}}
	case kindArray:
		element, err := r.build(btf.TypeID(u32(btfTypeLen)), depth+1)
		if err != nil {
			return nil, err
		}
		index, err := r.build(btf.TypeID(u32(btfTypeLen+4)), depth+1)
		if err != nil {
			return nil, err
		}
		t = &btf.Array{Type: element, Index: index, Nelems: u32(btfTypeLen + 8)}
	case kindStruct, kindUnion:
		var members []btf.Member
		for i := range n {
			at := btfTypeLen + i*btfMemberLen
			name := r.name(u32(at))
			if name != "" && !r.fields[name] {
				continue
			}
			member, err := r.build(btf.TypeID(u32(at+4)), depth+1)
			if err != nil {
				return nil, err
			}
			m := btf.Member{Name: name, Type: member, Offset: btf.Bits(u32(at + 8))}
			if flag {
				m.Offset, m.BitfieldSize = m.Offset&0xffffff, m.Offset>>24
			}
			members = append(members, m)
		}
		if info>>24&0x1f == kindUnion {
			t = &btf.Union{Name: r.name(u32(0)), Size: size, Members: members}
		} else {
			t = &btf.Struct{Name: r.name(u32(0)), Size: size, Members: members}
		}
	case kindEnum:
		e := &btf.Enum{Name: r.name(u32(0)), Size: size, Signed: flag}
		for i := range n {
			at := btfTypeLen + i*btfEnumLen
			e.Values = append(e.Values, btf.EnumValue{Name: r.name(u32(at)), Value: uint64(u32(at + 4))})
		}
		t = e
	case kindTypedef, kindVolatile, kindConst, kindRestrict, kindTypeTag:
		return r.build(btf.TypeID(size), depth+1) // the field is what it names
	case kindFloat:
		t = &btf.Float{Name: r.name(u32(0)), Size: size}
	case kindEnum64:
		t = &btf.Int{Size: size}
	default:
		return nil, errTypes
	}
	r.built[id] = t
	return t, nil
}
