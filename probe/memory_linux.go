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
