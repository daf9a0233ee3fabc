package probe

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// entry is one of a map.
type entry[K, V any] struct {
	key   K
	value V
}

// contents are the maps as they were read once, by scope: many workloads' records are
// made of one reading.
type contents struct {
	sums       map[uint64][]entry[bpfTotalsKey, bpfTotals]
	evidences  map[uint64][]entry[bpfEvidenceKey, bpfEvidence]
	exes       map[uint64][]entry[bpfExeKey, bpfExe]
	identities map[uint64][]entry[bpfIdentityKey, bpfIdentity]
	ports      map[uint64][]entry[bpfPortKey, bpfPort]
	pending    pending
}

// pending are checks that were counted, and not added to their evidence yet: memos of
// bpf/check.h.
type pending map[bpfEvidenceKey]uint64

func (p *Probe) pending() (pending, error) {
	defer unpreempted()()
	of := pending{}
	m := p.coll.Maps[bpfMapMemos]
	var memos []bpfMemo // by CPU
	for slot := range m.MaxEntries() {
		if err := m.Lookup(slot, &memos); err != nil {
			return nil, fmt.Errorf("read map %s: %w", m, err)
		}
		for _, memo := range memos {
			if memo.Pending > 0 {
				of[memo.Key] += memo.Pending
			}
		}
	}
	return of, nil
}

// forgetMemos says to the programs that something changed that a memo rests on.
func (p *Probe) forgetMemos() error {
	v := p.coll.Variables[bpfVarEpoch]
	var epoch uint32
	if err := v.Get(&epoch); err != nil {
		return err
	}
	// Far enough that what the programs add meanwhile cannot make up for it.
	return v.Set(epoch + 1<<20)
}

// contents reads the maps.
func (p *Probe) contents() (*contents, error) {
	var c contents
	var err error
	if c.pending, err = p.pending(); err != nil {
		return nil, err
	}
	if c.sums, err = byScope(p.coll.Maps[bpfMapSums], func(k bpfTotalsKey) uint64 { return k.Scope }, bpfTotals{}); err != nil {
		return nil, err
	}
	if c.evidences, err = byScope(p.coll.Maps[bpfMapEvidences], func(k bpfEvidenceKey) uint64 { return k.Scope }, bpfEvidence{}); err != nil {
		return nil, err
	}
	if c.exes, err = byScope(p.coll.Maps[bpfMapExes], func(k bpfExeKey) uint64 { return k.Scope }, bpfExe{}); err != nil {
		return nil, err
	}
	if c.identities, err = byScope(p.coll.Maps[bpfMapIdentities], func(k bpfIdentityKey) uint64 { return k.Scope }, bpfIdentity{}); err != nil {
		return nil, err
	}
	c.ports, err = byScope(p.coll.Maps[bpfMapPorts], func(k bpfPortKey) uint64 { return k.Scope }, bpfPort{})
	return &c, err
}

func byScope[K, V any](m *ebpf.Map, scope func(K) uint64, _ V) (map[uint64][]entry[K, V], error) {
	out := map[uint64][]entry[K, V]{}
	err := each(m, func(k K, v V) { out[scope(k)] = append(out[scope(k)], entry[K, V]{k, v}) })
	return out, err
}

// eachOf calls f for what a map has of the watch's cgroups: from one reading of all maps,
// if there is one, else from the map itself.
func eachOf[K, V any](w *Watch, name string, scope func(K) uint64, read func(*contents) map[uint64][]entry[K, V], f func(K, V)) error {
	if w.read == nil {
		return each(w.p.coll.Maps[name], func(k K, v V) {
			if w.has(scope(k)) {
				f(k, v)
			}
		})
	}
	of := read(w.read)
	for _, id := range w.scopes {
		for _, e := range of[id] {
			f(e.key, e.value)
		}
	}
	return nil
}

func (w *Watch) eachSum(f func(bpfTotalsKey, bpfTotals)) error {
	return eachOf(w, bpfMapSums, func(k bpfTotalsKey) uint64 { return k.Scope },
		func(c *contents) map[uint64][]entry[bpfTotalsKey, bpfTotals] { return c.sums }, f)
}

func (w *Watch) eachEvidence(f func(bpfEvidenceKey, bpfEvidence)) error {
	return eachOf(w, bpfMapEvidences, func(k bpfEvidenceKey) uint64 { return k.Scope },
		func(c *contents) map[uint64][]entry[bpfEvidenceKey, bpfEvidence] { return c.evidences }, f)
}

func (w *Watch) eachExe(f func(bpfExeKey, bpfExe)) error {
	return eachOf(w, bpfMapExes, func(k bpfExeKey) uint64 { return k.Scope },
		func(c *contents) map[uint64][]entry[bpfExeKey, bpfExe] { return c.exes }, f)
}

func (w *Watch) eachIdentity(f func(bpfIdentityKey, bpfIdentity)) error {
	return eachOf(w, bpfMapIdentities, func(k bpfIdentityKey) uint64 { return k.Scope },
		func(c *contents) map[uint64][]entry[bpfIdentityKey, bpfIdentity] { return c.identities }, f)
}

func (w *Watch) eachPort(f func(bpfPortKey, bpfPort)) error {
	return eachOf(w, bpfMapPorts, func(k bpfPortKey) uint64 { return k.Scope },
		func(c *contents) map[uint64][]entry[bpfPortKey, bpfPort] { return c.ports }, f)
}
