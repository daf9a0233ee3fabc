// Package bundle says what a container is to be, whoever asked for it, and what an
// OCI runtime is to be told: the runtime specification's config.json, with the
// defaults that Docker gives.
package bundle

import (
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
)

// Container is one container as its user asked for it. Zero values are Docker's
// defaults.
type Container struct {
	Image   string // as named
	Name    string // "" for none
	Args    []string
	Env     []string // NAME=VALUE, the image's first; later ones win
	Dir     string   // working directory, "" for /
	User    string   // USER[:GROUP], names or numbers, "" for root
	Groups  []string // supplementary groups beside those of the user
	Labels  map[string]string
	TTY     bool
	Stdin   bool // standard input stays open
	NoWrite bool // the root file system is read-only
	// ReadOnlyBelow: what is mounted below a read-only mount is read-only, too. Linux before
	// 5.12 cannot do that.
	ReadOnlyBelow bool
	// Privileged gives all devices and takes the masks, seccomp and read-only mounts
	// away; capabilities are State's alone.
	Privileged bool
	State      caps.State

	Hostname   string // "" for one made of the id
	Domainname string
	Network    string // bridge, host or none; "" is bridge
	PID        string // host, or "" for a namespace of its own
	IPC        string // host or none (no /dev/shm), or "" for a namespace of its own
	UTS        string // host, or "" for a namespace of its own
	Cgroupns   string // host or private, "" for what Docker does
	Hosts      []Host // more lines of /etc/hosts
	DNS        DNS
	Ports      []Port

	Mounts    []Mount
	Devices   []Device
	Sysctls   map[string]string
	Rlimits   []Rlimit
	Resources Resources
	ShmSize   int64  // bytes of /dev/shm, 0 for 64 MiB
	OOMScore  *int   // oom_score_adj
	Stop      string // the signal that asks it to end, "" for SIGTERM
	// StopTimeout is how long it may take to, negative for ten seconds.
	StopTimeout time.Duration
	Health      *Health

	NoNewPrivileges bool
	// Seccomp is "" for Docker's default profile, "unconfined", or a profile's JSON.
	Seccomp string
	// Unmasked leaves the masked and read-only paths of /proc and /sys as they are
	// (--security-opt systempaths=unconfined).
	Unmasked bool
}

// Host is a line of /etc/hosts.
type Host struct{ Name, IP string }

// DNS is what /etc/resolv.conf is made of; empty fields are the host's.
type DNS struct{ Servers, Search, Options []string }

// Port publishes a port of the container on the host.
type Port struct {
	HostIP    string // "" for all
	Host      uint16 // 0 for any that is free
	Container uint16
	Protocol  string // tcp or udp
}

// The kinds of mounts.
const (
	Bind   = "bind"
	Volume = "volume"
	Tmpfs  = "tmpfs"
)

// Mount is a volume, a directory or file of the host, or a tmpfs.
type Mount struct {
	Type string
	// Source is the host's path, the volume's name, or "" for a volume that goes with
	// the container.
	Source   string
	Target   string
	ReadOnly bool
	NoCopy   bool     // a new volume does not begin with what the image has there
	Options  []string // more, as mount(8) has them: rshared, size=64m
	// MustExist: a bind mount's source is not made if it is missing (--mount).
	MustExist bool
}

// Device is one of the host's devices for the container.
type Device struct{ Host, Container, Access string }

// Rlimit is a resource limit, by its name without RLIMIT_, in lower case: nofile.
type Rlimit struct {
	Name       string
	Soft, Hard uint64
}

// Resources are limits of the cgroup; zero is none.
type Resources struct {
	Memory, MemorySwap, MemoryReservation int64 // bytes; a swap of -1 is unlimited
	NanoCPUs                              int64 // billionths of a processor
	CPUShares                             uint64
	CPUPeriod, CPUQuota                   int64 // microseconds
	CPUSet, MemSet                        string
	Pids                                  int64
}

// Health is the image's or the user's health check.
type Health struct {
	Test                                 []string // what is executed; CMD-SHELL is sh -c already
	Interval, Timeout, Start, StartEvery time.Duration
	Retries                              int
}

// Image is what a container takes over from its image.
type Image struct {
	Entrypoint, Cmd, Env []string
	Dir, User, Stop      string
	Volumes              []string
	Labels               map[string]string
	Ports                []string // 80/tcp
	Health               *Health
}

// Apply fills in what the user left to the image. entrypoint is the user's, nil for
// the image's; a user's entry point takes the image's command away, as in
// `docker run` (moby daemon/commit.go merge).
func (c *Container) Apply(img *Image, entrypoint []string) {
	command := c.Args
	if entrypoint == nil {
		entrypoint = img.Entrypoint
		if len(command) == 0 {
			command = img.Cmd
		}
	}
	c.Args = slices.Concat(entrypoint, command)
	c.Env = mergeEnv(img.Env, c.Env)
	if c.Dir == "" {
		c.Dir = img.Dir
	}
	if c.User == "" {
		c.User = img.User
	}
	if c.Stop == "" {
		c.Stop = img.Stop
	}
	if c.Health == nil {
		c.Health = img.Health
	}
	for _, v := range img.Volumes {
		if !slices.ContainsFunc(c.Mounts, func(m Mount) bool { return clean(m.Target) == clean(v) }) {
			c.Mounts = append(c.Mounts, Mount{Type: Volume, Target: v})
		}
	}
	for k, v := range img.Labels {
		if _, ok := c.Labels[k]; !ok {
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[k] = v
		}
	}
}

func clean(path string) string { return "/" + strings.Trim(path, "/") }

// defaultPath is moby daemon/pkg/oci/defaults.go's.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// mergeEnv keeps the last of each name, in the place of the first. A name without =
// takes the variable away.
func mergeEnv(lists ...[]string) []string {
	at := map[string]int{}
	var out []string
	for _, list := range lists {
		for _, e := range list {
			name, _, set := strings.Cut(e, "=")
			i, ok := at[name]
			switch {
			case ok && set:
				out[i] = e
			case ok:
				out[i] = ""
				delete(at, name)
			case set:
				at[name] = len(out)
				out = append(out, e)
			}
		}
	}
	return slices.DeleteFunc(out, func(e string) bool { return e == "" })
}

// Persistent says that runs of the container share state: files of the host, and
// named volumes unless they are fresh.
func (c *Container) Persistent(fresh bool) bool {
	return slices.ContainsFunc(c.Mounts, func(m Mount) bool {
		return m.Type == Bind || m.Type == Volume && m.Source != "" && !fresh
	})
}

// HasVolumes says that something of a run can outlive it.
func (c *Container) HasVolumes() bool {
	return slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Type != Tmpfs })
}

// Exclusive says why two of it cannot run side by side, "" if they can.
func (c *Container) Exclusive() string {
	switch {
	case slices.ContainsFunc(c.Ports, func(p Port) bool { return p.Host != 0 }):
		return "the line gives it a port of the host"
	case c.Network == "host":
		return "it shares a network with others"
	}
	return ""
}

// Remarks say how a run that nobody attends differs.
func (c *Container) Remarks() []string {
	if c.Stdin || c.TTY {
		return []string{"-i and -t were left out: nobody types, and standard input is at its end"}
	}
	return nil
}
