package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// Memory says how many bytes of the kernel's memory the maps of a probe take. They are
// there from the beginning and never more, whatever workloads do: what does not fit is lost
// and counted. Nothing is loaded but the maps.
func Memory(o Options) (uint64, error) {
	spec, err := loadBpf()
	if err != nil {
		return 0, err
	}
	if err := resize(spec, o); err != nil {
		return 0, err
	}
	raiseMemlock()
	var sum uint64
	for _, s := range spec.Maps {
		m, err := ebpf.NewMap(s)
		if err != nil {
			return 0, unavailable(fmt.Errorf("make the map %s: %w", s.Name, err))
		}
		n, err := memoryOf(m)
		m.Close()
		if err != nil {
			return 0, unavailable(err)
		}
		sum += n
	}
	return sum, nil
}

// Memory is what this probe's maps take, in bytes.
func (p *Probe) Memory() (uint64, error) {
	var sum uint64
	for _, m := range p.coll.Maps {
		n, err := memoryOf(m)
		if err != nil {
			return 0, unavailable(err)
		}
		sum += n
	}
	return sum, nil
}

// What leastcap itself needs beside the maps, in bytes: to look at one workload, and at all.
const reserveOne, reserveAll = 32 << 20, 48 << 20

// ample is a memory limit that is more than enough.
const ample = 1 << 30

// room is an error if leastcap's cgroup has not enough memory left for the maps and for
// itself. A map that does not fit is refused, since what maps take is asked for with
// __GFP_RETRY_MAYFAIL (kernel/bpf/syscall.c __bpf_map_area_alloc()); a page of the program's
// own that does not ends it, without a word.
func room(spec *ebpf.CollectionSpec, all bool) error {
	bytes := estimate(spec) + reserveOne
	if all {
		bytes = estimate(spec) + reserveAll
	}
	var err error
	for range 5 {
		var m *ebpf.Map
		if m, err = ebpf.NewMap(&ebpf.MapSpec{Name: "room", Type: ebpf.Array, KeySize: 4, ValueSize: 4096, MaxEntries: uint32(bytes / 4096)}); err == nil {
			return m.Close()
		}
		time.Sleep(100 * time.Millisecond) // what another had, which has just ended, is freed a little later
	}
	return fmt.Errorf("ask for %d MiB: %w", bytes>>20, err)
}

// estimate is about what the maps of a probe take, before they are made.
func estimate(spec *ebpf.CollectionSpec) (bytes uint64) {
	for _, m := range spec.Maps {
		bytes += uint64(m.MaxEntries) * max(1, uint64(m.KeySize+m.ValueSize)) // a ring has neither
	}
	return bytes
}

func tight(limits []uint64) bool {
	return slices.ContainsFunc(limits, func(l uint64) bool { return l < ample })
}

// memoryLimits are those of this process's memory cgroup and of those above it, in bytes, as
// far as they can be seen: a container sees its own as the uppermost.
func memoryLimits(root string) (limits []uint64) {
	data, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		if slices.Contains(strings.Split(f[1], ","), "memory") {
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if f[1] != "" {
			continue
		}
		for dir := filepath.Clean("/" + f[2]); ; dir = filepath.Dir(dir) {
			text, err := os.ReadFile(filepath.Join(root, mount, dir, file))
			if n, nerr := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && nerr == nil { // "max" is none
				limits = append(limits, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	return limits
}

// memoryOf asks the kernel (kernel/bpf/syscall.c bpf_map_show_fdinfo()).
func memoryOf(m *ebpf.Map) (uint64, error) {
	info, err := m.Info()
	if err != nil {
		return 0, fmt.Errorf("ask for the size of %s: %w", m, err)
	}
	n, ok := info.Memlock()
	switch {
	case ok:
		return n, nil
	case info.Type == ebpf.RingBuf:
		// From 5.11 to 6.3 it says 0: bpf_map_memory_footprint() multiplies sizes of keys
		// and values. Beside the data there are three pages (kernel/bpf/ringbuf.c,
		// RINGBUF_NR_META_PAGES).
		return uint64(info.MaxEntries) + 3*uint64(os.Getpagesize()), nil
	}
	return 0, fmt.Errorf("the kernel does not say how large %s is", m)
}
