//go:build cgo

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
)

// network is a pair of virtual interfaces, one on the host and one in the container.
// Both go when either goes, and so with the container.
type network struct {
	link            netlink.Link // the host's
	host, container netip.Addr
}

// connecting gives the container its network as soon as it has a namespace for it, while
// its first process is still being made ready, which takes longer. wait gives the outcome.
func (c *Container) connecting(config *configs.Config) (wait func() error) {
	var done chan error
	config.Hooks = configs.Hooks{configs.CreateRuntime: {configs.NewFunctionHook(func(s *specs.State) error {
		done = make(chan error, 1)
		go func() { done <- c.connect(s.Pid) }()
		return nil
	})}}
	return func() error {
		if done == nil {
			return nil // it did not come that far
		}
		return <-done
	}
}

// connect gives the container, whose first process is pid, its network, and publishes
// its ports.
func (c *Container) connect(pid int) error {
	if c.want.Network == "host" || c.want.Network == "none" {
		return nil
	}
	if rootless() {
		if len(c.want.Ports) > 0 {
			return &engine.Error{Problem: "without root the container has no network, and ports cannot be published",
				Hint: "run leastcap as root, use --network host, or an engine: docker, podman or nerdctl"}
		}
		return nil
	}
	n, err := newNetwork(c.dirs.run, "lc"+c.id[:12], pid)
	if err != nil {
		return fmt.Errorf("the container's network: %w", err)
	}
	c.net = n
	// The mount is of this file, so that it changes in the container as well.
	f, err := os.OpenFile(filepath.Join(c.runDir(), "hosts"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s\t%s\n", n.container, c.want.Hostname)
		err = errors.Join(err, f.Close())
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil // the user has mounted one
	}
	if err != nil {
		return err
	}
	for _, p := range c.want.Ports {
		proxy, err := publish(p, n.container)
		if err != nil {
			return &engine.Error{Problem: "a port cannot be published", Reason: err.Error(), Hint: "stop what uses it, or leave -p out: the host reaches the container by its address"}
		}
		c.proxies = append(c.proxies, proxy)
	}
	return nil
}

func newNetwork(run, name string, pid int) (*network, error) {
	unlock, err := lockAddresses(run)
	if err != nil {
		return nil, err
	}
	defer unlock()
	n := new(network)
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "eth0", PeerNamespace: netlink.NsPid(pid)}
	veth.Name = name
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("make a pair of interfaces: %w", err)
	}
	n.link = veth
	if err := n.configure(veth, pid); err != nil {
		n.remove()
		return nil, err
	}
	return n, nil
}

// lockAddresses keeps others from finding and taking addresses meanwhile. The lock is on the
// directory itself, which only its owner may open: no file stays, and no workload can hold it,
// as it could the network namespace's.
func lockAddresses(run string) (unlock func(), err error) {
	dir, err := os.Open(run)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		_ = dir.Close() // the first error says more
		return nil, fmt.Errorf("lock %s: %w", run, err)
	}
	return func() { _ = dir.Close() }, nil // nothing is written
}

func (n *network) configure(veth *netlink.Veth, pid int) error {
	if err := dontForward(veth.Name); err != nil {
		return err
	}
	block, err := takeBlock(veth)
	if err != nil {
		return err
	}
	n.host, n.container = hostIn(block), hostIn(block).Next()
	if err := netlink.LinkSetUp(veth); err != nil {
		return err
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE) // a kernel may lack the library's other families
	if err != nil {
		return err
	}
	defer inside.Close()
	eth, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := inside.AddrAdd(eth, addressOf(n.container)); err != nil {
		return fmt.Errorf("give the container %s: %w", n.container, err)
	}
	if err := inside.LinkSetUp(eth); err != nil {
		return err
	}
	return inside.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: n.host.AsSlice()})
}

// dontForward keeps the host, which may be a router (every one with Docker is), from
// passing on what comes from an interface: Linux asks the one that a packet came in by
// (net/ipv4/route.c ip_route_input_slow, IN_DEV_FORWARD).
func dontForward(name string) error {
	for _, family := range []string{"ipv4", "ipv6"} {
		file := filepath.Join("/proc/sys/net", family, "conf", name, "forwarding")
		now, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && strings.TrimSpace(string(now)) == "0" {
			continue // no such family, or no router
		}
		if err == nil {
			err = os.WriteFile(file, []byte("0"), 0)
		}
		if err != nil {
			return &engine.Error{Problem: "the container could not be kept from the networks behind the host", Reason: err.Error(),
				Hint: "give it --network none, or --network host, or mount /proc/sys writable"}
		}
	}
	return nil
}

func (n *network) remove() { _ = netlink.LinkDel(n.link) } // gone with the container as a rule

// publish carries what comes to a port of the host to the container.
func publish(p bundle.Port, to netip.Addr) (closer interface{ Close() error }, err error) {
	at := net.JoinHostPort(p.HostIP, fmt.Sprint(p.Host))
	target := netip.AddrPortFrom(to, p.Container).String()
	if p.Protocol == "udp" {
		conn, err := net.ListenPacket("udp", at)
		if err != nil {
			return nil, err
		}
		go forwardPackets(conn, target)
		return conn, nil
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	go forward(l, target)
	return l, nil
}
