package probe

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
)

// What the tests of package probe_test see of the inside.

// MapNames are the maps that fill up with what workloads do.
var MapNames = []string{bpfMapScopes, bpfMapPhases, bpfMapSums, bpfMapEvidences, bpfMapTasks, bpfMapInflight,
	bpfMapExes, bpfMapIdentities, bpfMapPorts}

// HideSymbols leaves /proc/kallsyms as the only list of the kernel's symbols, as before 6.0.
func HideSymbols() {
	listSymbols = func() (*symbols, error) { return nil, errors.ErrUnsupported }
}

// Entries counts a map's entries.
func (p *Probe) Entries(name string) (int, error) {
	m := p.coll.Maps[name]
	key, value := make([]byte, m.KeySize()), []byte(nil)
	n := 0
	it := m.Iterate()
	for it.Next(&key, &value) {
		n++
	}
	return n, it.Err()
}

// Keys are a map's.
func (p *Probe) Keys(name string) ([]string, error) {
	var keys []string
	var key, value []byte
	it := p.coll.Maps[name].Iterate()
	for it.Next(&key, &value) {
		keys = append(keys, string(key))
	}
	return keys, it.Err()
}

// Has says whether a map has a key, and at once: nothing is allocated for it.
func (p *Probe) Has(name string, key, value []byte) bool {
	return p.coll.Maps[name].Lookup(key, value) == nil
}

// ValueSize is that of a map's values, in bytes.
func (p *Probe) ValueSize(name string) int { return int(p.coll.Maps[name].ValueSize()) }

// Delete takes a key out of a map.
func (p *Probe) Delete(name string, key []byte) error {
	defer unpreempted()()
	return p.coll.Maps[name].Delete(key)
}

// Missed counts how often a program did not run because it was running on that
// CPU already (kernel/trace/bpf_trace.c __bpf_trace_run()).
func (p *Probe) Missed() (n uint64, err error) {
	for _, prog := range p.coll.Programs {
		stats, err := prog.Stats()
		if err != nil {
			return 0, err
		}
		n += stats.RecursionMisses
	}
	return n, nil
}

// Objects gives functions that tell whether a program or map of the probe is
// still loaded. Ids are not used again soon (kernel/bpf/syscall.c:
// idr_alloc_cyclic()).
func (p *Probe) Objects() (map[string]func() (bool, error), error) {
	there := func(err error) (bool, error) {
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	alive := map[string]func() (bool, error){}
	for name, prog := range p.coll.Programs {
		info, err := prog.Info()
		if err != nil {
			return nil, err
		}
		id, ok := info.ID()
		if !ok {
			return nil, fmt.Errorf("program %s has no id", name)
		}
		alive["program "+name] = func() (bool, error) {
			prog, err := ebpf.NewProgramFromID(id)
			prog.Close()
			return there(err)
		}
	}
	for name, m := range p.coll.Maps {
		info, err := m.Info()
		if err != nil {
			return nil, err
		}
		id, ok := info.ID()
		if !ok {
			return nil, fmt.Errorf("map %s has no id", name)
		}
		alive["map "+name] = func() (bool, error) {
			m, err := ebpf.NewMapFromID(id)
			m.Close()
			return there(err)
		}
	}
	return alive, nil
}

// RefusalMaps are those that exist for [Probe.Refusals] only.
var RefusalMaps = []string{bpfMapRefusals, bpfMapEntered}

// Marked lists the threads that have a mark.
func (p *Probe) Marked() (tids []int, err error) {
	err = each(p.coll.Maps[bpfMapTasks], func(tid uint32, _ bpfTask) { tids = append(tids, int(tid)) })
	return tids, err
}
