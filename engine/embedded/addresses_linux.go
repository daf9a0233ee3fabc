//go:build cgo

package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pools are where containers' addresses come from, four for each. Docker and Podman take
// others by default (172.16/12, 192.168/16 from its beginning, 10.88/16). The later ones are
// for hosts whose own networks have the first; the last is not routed anywhere (RFC 2544).
var pools = []netip.Prefix{
	netip.MustParsePrefix("10.213.0.0/16"),
	netip.MustParsePrefix("192.168.213.0/24"),
	netip.MustParsePrefix("198.18.213.0/24"),
}

// blockBits is the length of a container's prefix.
const blockBits = 30

// hostIn is the host's address in a block; the container's is the next.
func hostIn(block netip.Prefix) netip.Addr { return block.Addr().Next() }

func addressOf(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(blockBits, 32)}}
}

// takeBlock gives an interface of the host's an address in a block that nobody else has. A
// leastcap with another LEASTCAP_ROOT knows nothing of this one's lock, and may take the same
// block: each takes first and looks then, so that at least one of two sees the other, and
// goes elsewhere.
func takeBlock(link netlink.Link) (netip.Prefix, error) {
	const tries = 20
	for try := range tries {
		taken, err := takenBlocks()
		if err != nil {
			return netip.Prefix{}, err
		}
		var from uint32 // the first that is free, so that runs are alike; two that have met part
		if try > 0 {
			from = rand.Uint32()
		}
		block, ok := freeBlock(taken, from)
		if !ok {
			return netip.Prefix{}, fmt.Errorf("the host's own networks leave no addresses free in %v", pools)
		}
		address := addressOf(hostIn(block))
		if err := netlink.AddrAdd(link, address); err != nil {
			return netip.Prefix{}, fmt.Errorf("give the host %s: %w", hostIn(block), err)
		}
		others, err := addresses(link.Attrs().Index)
		if err != nil || !overlapsAny(block, others) {
			return block, err
		}
		if err := netlink.AddrDel(link, address); err != nil {
			return netip.Prefix{}, fmt.Errorf("take %s from the host again: %w", hostIn(block), err)
		}
	}
	return netip.Prefix{}, fmt.Errorf("others took the same addresses as this one, %d times", tries)
}

// freeBlock finds a block that nothing overlaps, from one on and around.
func freeBlock(taken []netip.Prefix, from uint32) (netip.Prefix, bool) {
	for _, pool := range pools {
		base, n := binary.BigEndian.Uint32(pool.Addr().AsSlice()), uint32(1)<<(blockBits-pool.Bits())
		if slices.ContainsFunc(taken, func(p netip.Prefix) bool { return p.Bits() <= pool.Bits() && p.Overlaps(pool) }) {
			continue // all of it
		}
		for i := range n {
			at := base + (from+i)%n<<(32-blockBits)
			block := netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at))), blockBits)
			if !overlapsAny(block, taken) {
				return block, true
			}
		}
	}
	return netip.Prefix{}, false
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, p.Overlaps)
}

// takenBlocks are the host's: what its routes lead to, in any table, and what its interfaces
// have, which is no route while they are down.
func takenBlocks() ([]netip.Prefix, error) {
	routes, err := whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("the host's routes: %w", err)
	}
	taken, err := addresses(0)
	for _, r := range routes {
		if p, ok := prefix(r.Dst); ok {
			taken = append(taken, p)
		}
	}
	return taken, err
}

// addresses are those of all interfaces but one.
func addresses(except int) (list []netip.Prefix, err error) {
	all, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("the host's addresses: %w", err)
	}
	for _, a := range all {
		if p, ok := prefix(a.IPNet); ok && a.LinkIndex != except {
			list = append(list, p)
		}
	}
	return list, nil
}

// prefix is that of a network; false for none, and for all, which a default route has.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP.To4())
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones), ok && ones > 0
}

// whole asks again where what is listed changed meanwhile, so that something may be missing
// (include/uapi/linux/netlink.h NLM_F_DUMP_INTR). On a host that never rests the last list has
// to do.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	const tries = 10
	for range tries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, nil
}
