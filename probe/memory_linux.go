package probe

import (
	"fmt"
	"os"

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
