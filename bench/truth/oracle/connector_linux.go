package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The kernel's process connector (Documentation/driver-api/connector.rst,
// include/uapi/linux/cn_proc.h) tells of every fork, exec, change of ids and
// exit, also of processes that live for a millisecond.
const (
	cnIdxProc, cnValProc = 1, 1
	procMcastListen      = 1

	eventFork = 0x1
	eventExec = 0x2
	eventUID  = 0x4
	eventGID  = 0x40
	eventComm = 0x200
	eventExit = 0x80000000
)

// event is one message of the connector.
type event struct {
	what             uint32
	pid, tgid        int // whom it is about
	child, childTgid int // fork
	real, effective  uint32
}

// parseEvents reads a netlink datagram.
func parseEvents(data []byte) []event {
	var out []event
	ne := binary.NativeEndian
	for len(data) >= 16 {
		size := int(ne.Uint32(data))
		if size < 16 || size > len(data) {
			break
		}
		// nlmsghdr, then cn_msg (20 bytes), then proc_event: what, cpu, timestamp, data.
		if m := data[16:size]; len(m) >= 20+16+8 {
			p := m[20:]
			e := event{what: ne.Uint32(p)}
			d := p[16:]
			e.pid, e.tgid = int(int32(ne.Uint32(d))), int(int32(ne.Uint32(d[4:])))
			if len(d) >= 16 {
				switch e.what {
				case eventFork:
					e.child, e.childTgid = int(int32(ne.Uint32(d[8:]))), int(int32(ne.Uint32(d[12:])))
				case eventUID, eventGID:
					e.real, e.effective = ne.Uint32(d[8:]), ne.Uint32(d[12:])
				}
			}
			out = append(out, e)
		}
		data = data[min(len(data), (size+3)&^3):]
	}
	return out
}

// process is what is known of one in a container.
type process struct {
	container string
	executed  bool      // something of the container's own, and not the runtime's
	uid, gid  [2]uint32 // real, effective
}

// fact names no program: who lives for a millisecond is gone when its name is
// asked for, and so a name would be there in one run and not in the next. Those
// that stay are told by name in living.
func (p process) fact() string {
	return fmt.Sprintf("some process with uid %d/%d gid %d/%d", p.uid[0], p.uid[1], p.gid[0], p.gid[1])
}

// connector follows the processes of the containers that it is told of.
type connector struct {
	fd   int
	done chan struct{}

	mu    sync.Mutex
	facts map[string]map[string]bool // by container
	lost  int                        // datagrams that did not fit
	procs map[int]*process
}

func newConnector() (*connector, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("process connector: %w (CONFIG_PROC_EVENTS is needed, and root)", err)
	}
	c := &connector{fd: fd, done: make(chan struct{}), facts: map[string]map[string]bool{}, procs: map[int]*process{}}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) // or less: losses are counted
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200000})
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("process connector: %w", err)
	}
	ne := binary.NativeEndian
	m := make([]byte, 16+20+4)
	ne.PutUint32(m, uint32(len(m)))
	ne.PutUint16(m[4:], unix.NLMSG_DONE)
	ne.PutUint32(m[16:], cnIdxProc)
	ne.PutUint32(m[20:], cnValProc)
	ne.PutUint16(m[32:], 4)
	ne.PutUint32(m[36:], procMcastListen)
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("process connector: %w", err)
	}
	go c.read()
	return c, nil
}

func (c *connector) close() {
	close(c.done)
}

func (c *connector) read() {
	defer unix.Close(c.fd)
	buf := make([]byte, 64<<10)
	for {
		select {
		case <-c.done:
			return
		default:
		}
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			c.mu.Lock()
			c.lost++
			c.mu.Unlock()
		case err == nil:
			c.mu.Lock()
			for _, e := range parseEvents(buf[:n]) {
				c.take(e)
			}
			c.mu.Unlock()
		}
	}
}

// follow begins to gather facts of a container.
func (c *connector) follow(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.facts[id] = map[string]bool{}
}

// forget gives the facts of a container, and how many messages were lost so far.
func (c *connector) forget(id string) (map[string]bool, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	facts := c.facts[id]
	delete(c.facts, id)
	return facts, c.lost
}

func (c *connector) take(e event) {
	p := c.procs[e.tgid]
	switch e.what {
	case eventFork:
		if parent := p; parent != nil && e.child == e.childTgid {
			child := *parent
			c.procs[e.child] = &child
		}
	case eventExec:
		if p == nil {
			if p = c.find(e.tgid); p == nil {
				return
			}
			c.procs[e.tgid] = p
		}
		p.executed = true
		c.add(p)
	case eventComm:
		// The runtime names itself when it is in the container's cgroup, long before it
		// executes what may live for a millisecond.
		if p == nil && e.pid == e.tgid {
			if p = c.find(e.tgid); p != nil {
				c.procs[e.tgid] = p
			}
		}
	case eventUID, eventGID:
		if p == nil || e.pid != e.tgid {
			return
		}
		if e.what == eventUID {
			p.uid = [2]uint32{e.real, e.effective}
		} else {
			p.gid = [2]uint32{e.real, e.effective}
		}
	case eventExit:
		if e.pid != e.tgid || p == nil {
			return
		}
		if p.executed {
			c.add(p)
		}
		delete(c.procs, e.tgid)
	}
}

func (c *connector) add(p *process) {
	if facts := c.facts[p.container]; facts != nil {
		facts[p.fact()] = true
	}
}

// find looks whether a process that has just executed something is in one of
// the containers.
func (c *connector) find(pid int) *process {
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil
	}
	for id := range c.facts {
		if strings.Contains(string(cgroup), id) {
			p := &process{container: id}
			p.uid, p.gid = ids(pid, "Uid:"), ids(pid, "Gid:")
			return p
		}
	}
	return nil
}

func ids(pid int, field string) (out [2]uint32) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			_, _ = fmt.Sscan(rest, &out[0], &out[1])
		}
	}
	return out
}

// living gives more of processes that live now.
func living(pids []int) map[string]bool {
	facts := map[string]bool{}
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // gone meanwhile
		}
		var words []string
		for line := range strings.Lines(string(status)) {
			for _, field := range []string{"Name:", "Uid:", "Gid:", "Groups:", "NoNewPrivs:", "Seccomp:"} {
				if strings.HasPrefix(line, field) {
					words = append(words, strings.Fields(line)...)
				}
			}
		}
		if root, err := os.Readlink(fmt.Sprintf("/proc/%d/root", pid)); err == nil {
			words = append(words, "root", root)
		}
		facts[strings.Join(words, " ")] = true
	}
	return facts
}
