package probe

import (
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/proc"
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
// itself. Maps are refused then, but a page of the program's own that does not fit ends it,
// without a word: so there is no trying. Before 5.11 maps are charged to no cgroup.
func room(spec *ebpf.CollectionSpec, all bool) error {
	if !chargesMaps() {
		return nil
	}
	bytes := estimate(spec) + reserveOne
	if all {
		bytes = estimate(spec) + reserveAll
	}
	var err error
	for range 5 {
		if err = short(proc.MemoryBounds(ample), bytes); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond) // what another had, which has just ended, is freed a little later
	}
	return err
}

func short(bounds []proc.MemoryBound, bytes uint64) error {
	for _, b := range bounds {
		if b.Left() < bytes {
			return fmt.Errorf("%d MiB are needed, and of a limit of %d MiB %d are left: %w", bytes>>20, b.Limit>>20, b.Left()>>20, unix.ENOMEM)
		}
	}
	return nil
}

// estimate is about what the maps of a probe take, before they are made.
func estimate(spec *ebpf.CollectionSpec) (bytes uint64) {
	for _, m := range spec.Maps {
		bytes += uint64(m.MaxEntries) * max(1, uint64(m.KeySize+m.ValueSize)) // a ring has neither
	}
	return bytes
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
