//go:build cgo && linux

package embedded

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/internal/testenv"
)

// ownNet gives the caller's thread a network namespace of its own, with nothing but a loopback
// interface. The thread ends with the test.
func ownNet(t *testing.T) netns.NsHandle {
	t.Helper()
	testenv.Need(t, testenv.Root)
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// TestAddressesApart: leastcaps that know nothing of each other, which have other directories
// and so other locks, take different addresses.
func TestAddressesApart(t *testing.T) {
	ns := ownNet(t)
	const n, rounds = 8, 3
	for round := range rounds {
		var wg sync.WaitGroup
		networks, errs := make([]*network, n), make([]error, n)
		begin := make(chan struct{})
		for i := range n {
			run := t.TempDir()
			wg.Go(func() {
				runtime.LockOSThread() // and it ends with the goroutine
				cmd := exec.Command("sleep", "60")
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
				if errs[i] = errors.Join(netns.Set(ns), cmd.Start()); errs[i] != nil {
					return
				}
				t.Cleanup(func() { // its network goes with it, and another may take the addresses
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				})
				<-begin
				networks[i], errs[i] = newNetwork(run, fmt.Sprintf("lc%d-%d", round, i), cmd.Process.Pid)
			})
		}
		close(begin)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		seen := map[netip.Addr]bool{}
		for _, net := range networks {
			if seen[net.host] || net.container != net.host.Next() || !pools[0].Contains(net.host) {
				t.Errorf("%v and %v, others %v", net.host, net.container, seen)
			}
			seen[net.host] = true
		}
	}
}

// TestFreeBlock: what the host has is left alone: networks behind a route of any table, and
// addresses of an interface that is down.
func TestFreeBlock(t *testing.T) {
	ownNet(t)
	pair := func(name string) *netlink.Veth {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-peer"}
		if err := netlink.LinkAdd(v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	down, up, ours := pair("down"), pair("up"), pair("lc")
	if err := netlink.LinkSetUp(up); err != nil {
		t.Fatal(err)
	}
	parse := func(s string) *net.IPNet {
		p := netip.MustParsePrefix(s)
		return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
	}
	for _, c := range []struct {
		has  string
		do   func() error
		want string
	}{
		{"nothing", func() error { return nil }, "10.213.0.0/30"},
		{"an address of an interface that is down", func() error {
			return netlink.AddrAdd(down, &netlink.Addr{IPNet: parse("10.213.0.1/30")})
		}, "10.213.0.4/30"},
		{"a network behind a route of another table", func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: up.Index, Dst: parse("10.213.0.4/32"), Table: 52})
		}, "10.213.0.8/30"},
		{"a default route", func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: up.Index, Dst: parse("0.0.0.0/0")})
		}, "10.213.0.8/30"},
		{"all of 10.0.0.0/8", func() error {
			return netlink.RouteAdd(&netlink.Route{LinkIndex: up.Index, Dst: parse("10.0.0.0/8")})
		}, "192.168.213.0/30"},
		{"all of them", func() error {
			return errors.Join(netlink.RouteAdd(&netlink.Route{LinkIndex: up.Index, Dst: parse("192.168.213.0/25")}),
				netlink.RouteAdd(&netlink.Route{LinkIndex: up.Index, Dst: parse("192.168.213.128/25")}),
				netlink.RouteAdd(&netlink.Route{LinkIndex: up.Index, Dst: parse("198.18.0.0/15")}))
		}, ""},
	} {
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.has, err)
		}
		block, err := takeBlock(ours)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: %v", c.has, block)
			}
			continue
		}
		if err != nil || block.String() != c.want {
			t.Errorf("%s: %v, %v, want %s", c.has, block, err, c.want)
		}
		if err := netlink.AddrDel(ours, addressOf(hostIn(block))); err != nil {
			t.Errorf("%s: %v", c.has, err)
		}
	}
}
