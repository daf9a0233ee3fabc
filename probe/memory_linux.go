package probe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
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
const reserveOne, reserveAll = 32 << 20, 64 << 20

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
		if !errors.Is(err, unix.ENOMEM) {
			return nil // it is not memory that is missing: load says what
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

// memoryOf asks the kernel (kernel/bpf/syscall.c bpf_map_show_fdinfo()).
func memoryOf(m *ebpf.Map) (uint64, error) {
	info, err := m.Info()
	if err != nil {
		return 0, fmt.Errorf("ask for the size of %s: %w", m, err)
	}
	if n, ok := info.Memlock(); ok {
		return n, nil
	}
	if info.Type == ebpf.RingBuf {
		return ringMemory(uint64(info.MaxEntries), uint64(os.Getpagesize())), nil
	}
	return 0, fmt.Errorf("the kernel does not say how large %s is", m)
}

// ringMemory is what a ring of size bytes takes. Linux 5.11 to 6.3 multiply the number of
// entries by the size of keys and values, which a ring has none of, and say 0 (since
// 80ee81e0403c "bpf: Eliminate rlimit-based memory accounting infra for bpf maps", until
// 2f7e4ab2caa9 "bpf: ringbuf memory usage"). It is what bpf_ringbuf_area_alloc() in
// kernel/bpf/ringbuf.c takes: the ring, three pages before it, and pointers to all of them,
// to those of the ring twice.
func ringMemory(size, page uint64) uint64 {
	const before = 3
	return size + before*page + 8*(before+2*size/page)
}
