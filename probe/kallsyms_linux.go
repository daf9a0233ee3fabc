package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// symbols is what /proc/kallsyms has: text symbols by address, and the few variables
// that the programs need. Empty where the kernel tells no addresses.
type symbols struct {
	text []symbol
	data map[string]uint64
}

type symbol struct {
	addr uint64
	name string
}

// wantedData are x86's names for where the preemption count lives.
var wantedData = []string{"__per_cpu_offset", "__preempt_count", "pcpu_hot"}

func loadSymbols() (*symbols, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read kernel symbols: %w", err)
	}
	s := &symbols{}
	if err == nil {
		defer f.Close()
		if s, err = parseSymbols(f); err != nil {
			return nil, err
		}
	}
	if len(s.text) > 0 {
		return s, nil
	}
	if listed, err := listSymbols(); err == nil {
		return listed, nil
	}
	return s, nil // before 6.0 the kernel has no other list of them
}

// listSymbols reads them where /proc/kallsyms hides addresses; a test takes it away.
var listSymbols = iterateSymbols

// iterateSymbols uses bpf/symbols.bpf.c.
func iterateSymbols() (*symbols, error) {
	spec, err := loadKsyms()
	if err != nil {
		return nil, err
	}
	it, err := attachIterator(spec, ksymsProgListSymbols)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return parseSymbols(r)
}

// NamesFunctions says whether evidence has the kernel function that asked: this machine
// tells this process the kernel's addresses.
func NamesFunctions() bool {
	s, err := loadSymbols()
	return err == nil && len(s.text) > 0
}

func parseSymbols(r io.Reader) (*symbols, error) {
	s := &symbols{data: map[string]uint64{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 1<<16), 1<<20)
	for sc.Scan() {
		line := sc.Text()
		addr, rest, ok := strings.Cut(line, " ")
		if !ok || len(rest) < 3 {
			continue
		}
		kind, name := rest[0], rest[2:]
		if i := strings.IndexByte(name, '\t'); i >= 0 {
			name = name[:i] // "name\t[module]"
		}
		isText := kind == 't' || kind == 'T' || kind == 'w' || kind == 'W'
		if !isText && !slices.Contains(wantedData, name) {
			continue
		}
		a, err := strconv.ParseUint(addr, 16, 64)
		if err != nil || a == 0 {
			continue
		}
		if isText {
			s.text = append(s.text, symbol{a, name})
		} else {
			s.data[name] = a
		}
	}
	slices.SortStableFunc(s.text, func(a, b symbol) int {
		switch {
		case a.addr < b.addr:
			return -1
		case a.addr > b.addr:
			return 1
		}
		return 0
	})
	return s, sc.Err()
}

// at names the function that holds an address, "" if unknown.
func (s *symbols) at(addr uint64) string {
	i := sort.Search(len(s.text), func(i int) bool { return s.text[i].addr > addr })
	if i == 0 {
		return ""
	}
	return s.text[i-1].name
}

// span is a function's first address and the first behind it.
func (s *symbols) span(name string) (from, to uint64, ok bool) {
	i := slices.IndexFunc(s.text, func(y symbol) bool { return y.name == name })
	if i < 0 {
		return 0, 0, false
	}
	from = s.text[i].addr
	for _, y := range s.text[i:] {
		if y.addr > from {
			return from, y.addr, true
		}
	}
	return 0, 0, false
}

// wrappers stand between the place that asks and cap_capable(): they say
// nothing of why (kernel/capability.c, security/security.c, fs/inode.c).
var wrappers = []string{
	"cap_capable", "security_capable", "ns_capable_common", "ns_capable", "ns_capable_noaudit",
	"ns_capable_setid", "capable", "has_ns_capability", "has_ns_capability_noaudit", "has_capability_noaudit",
	"capable_wrt_inode_uidgid", "file_ns_capable", "sk_ns_capable", "sk_capable", "sk_net_capable",
	"netlink_ns_capable", "netlink_capable", "netlink_net_capable", "__netlink_ns_capable",
	"sockopt_capable", "sockopt_ns_capable", "bpf_token_capable",
}

// own are commoncap's functions that ask for themselves. A program at one's entry,
// or at the end of what one calls, has no wrapper in its stack.
var own = []string{"cap_capset", "cap_task_prctl"}

// asker names the kernel function that asked, from return addresses with the
// innermost first; "" if unknown.
func (s *symbols) asker(stack []uint64) string {
	inside := false
	for i, addr := range stack {
		if addr == 0 {
			break
		}
		name := s.at(addr - 1) // the call's own address: a return address may be the next function's
		entry := s.at(addr)
		if i == 0 && (slices.Contains(wrappers, entry) || slices.Contains(own, entry)) {
			name = entry // a kprobe's own address is no return address
		}
		base, _, _ := strings.Cut(name, ".") // compilers append .constprop.0 and the like
		if slices.Contains(wrappers, base) {
			inside = true
			continue
		}
		if inside || slices.Contains(own, base) {
			return base
		}
	}
	return ""
}
