package bundle

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/caps"
)

// Process is who runs what, found out in the container's root file system and on
// the host.
type Process struct {
	UID, GID uint32
	Groups   []uint32
	// HostDevices are those that a privileged container and --device get.
	HostDevices []specs.LinuxDevice
}

// ociVersion is the oldest that has all that is used here: runtimes refuse newer ones
// than they know (crun 1.8, of Debian 12).
const ociVersion = "1.0.2"

// Spec is the runtime specification's config.json. root is the path of the root
// file system. Volumes must have been made paths of the host: their sources are
// mounted.
func Spec(c *Container, p Process, root string) (*specs.Spec, error) {
	if len(c.Args) == 0 {
		return nil, fmt.Errorf("container %q: no command: neither the image nor the user named one", c.Image)
	}
	s := &specs.Spec{
		Version:  ociVersion,
		Root:     &specs.Root{Path: root, Readonly: c.NoWrite},
		Hostname: c.Hostname, Domainname: c.Domainname,
		Process: &specs.Process{
			Terminal: c.TTY,
			User:     specs.User{UID: p.UID, GID: p.GID, AdditionalGids: p.Groups},
			Args:     c.Args, Cwd: "/",
			Capabilities:    capabilities(c.State),
			NoNewPrivileges: c.NoNewPrivileges,
			OOMScoreAdj:     c.OOMScore,
		},
		Linux: &specs.Linux{Sysctl: map[string]string{}},
	}
	if c.Dir != "" {
		s.Process.Cwd = path.Join("/", c.Dir)
	}
	env := []string{defaultPath, "HOSTNAME=" + c.Hostname}
	if c.TTY {
		env = append(env, "TERM=xterm")
	}
	s.Process.Env = mergeEnv(env, c.Env)
	for _, r := range c.Rlimits {
		s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(r.Name), Soft: r.Soft, Hard: r.Hard})
	}
	if len(c.Labels) > 0 {
		s.Annotations = c.Labels
	}
	namespaces(s, c)
	if err := mounts(s, c); err != nil {
		return nil, err
	}
	sysctls(s, c)
	resources(s, c)
	devices(s, c, p.HostDevices)
	if !c.Privileged && !c.Unmasked {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = slices.Clone(masked), slices.Clone(readonly)
	}
	// The profile looks at the capabilities that the container has.
	if c.Seccomp != "unconfined" && (!c.Privileged || c.Seccomp != "") {
		profile, err := seccompProfile(c.Seccomp, s)
		if err != nil {
			return nil, fmt.Errorf("seccomp profile: %w", err)
		}
		s.Linux.Seccomp = profile
	}
	return s, nil
}

func capabilities(s caps.State) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{
		Effective: s.Effective.Names(), Permitted: s.Permitted.Names(), Inheritable: s.Inheritable.Names(),
		Bounding: s.Bounding.Names(), Ambient: s.Ambient.Names(),
	}
}

// moby daemon/pkg/oci/defaults.go.
var (
	masked = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
		"/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	readonly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func namespaces(s *specs.Spec, c *Container) {
	add := func(t specs.LinuxNamespaceType, mode string) {
		if mode != "host" {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t})
		}
	}
	add(specs.MountNamespace, "")
	add(specs.PIDNamespace, c.PID)
	add(specs.IPCNamespace, c.IPC)
	add(specs.UTSNamespace, c.UTS)
	add(specs.NetworkNamespace, c.Network)
	if c.Cgroupns == "private" {
		add(specs.CgroupNamespace, "")
	}
	if c.UTS == "host" {
		s.Hostname, s.Domainname = "", ""
	}
}

func mounts(s *specs.Spec, c *Container) error {
	ro := []string{"ro"}
	if c.Privileged {
		ro = []string{"rw"}
	}
	shm := c.ShmSize
	if shm == 0 {
		shm = 64 << 20
	}
	// moby daemon/pkg/oci/defaults.go.
	s.Mounts = []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: slices.Concat([]string{"nosuid", "noexec", "nodev"}, ro)},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: slices.Concat(ro, []string{"nosuid", "noexec", "nodev"})},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", shm)}},
	}
	switch c.IPC {
	case "host":
		replace(s, "/dev/shm", specs.Mount{Destination: "/dev/shm", Type: "bind", Source: "/dev/shm", Options: []string{"rbind", "rprivate"}})
	case "none":
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/shm" })
	}
	if c.Network == "host" {
		// A sysfs shows the network namespace of who mounts it, and may be mounted in
		// that namespace's own user namespace only: the host's is fine as it is.
		for i := range s.Mounts {
			if s.Mounts[i].Destination == "/sys" && c.Privileged {
				s.Mounts[i] = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rw"}}
			}
		}
	}
	user := slices.Clone(c.Mounts)
	// What is mounted below another mount comes after it.
	slices.SortStableFunc(user, func(a, b Mount) int {
		return strings.Count(path.Clean(a.Target), "/") - strings.Count(path.Clean(b.Target), "/")
	})
	for _, m := range user {
		if !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" {
			return fmt.Errorf("mount target %q: must be an absolute path, and not the root", m.Target)
		}
		out := specs.Mount{Destination: path.Clean(m.Target), Source: m.Source}
		switch m.Type {
		case Tmpfs:
			// moby daemon/oci_linux.go: noexec,nosuid,nodev unless said otherwise.
			out.Type, out.Source, out.Options = "tmpfs", "tmpfs", slices.Concat([]string{"noexec", "nosuid", "nodev"}, m.Options)
			replaceOrAdd(s, out)
			continue
		case Bind, Volume:
			if m.Source == "" {
				return fmt.Errorf("mount %q: no source", m.Target)
			}
			out.Type, out.Options = "bind", slices.Concat([]string{"rbind"}, m.Options)
			if !slices.ContainsFunc(m.Options, func(o string) bool { return propagation[o] }) {
				out.Options = append(out.Options, "rprivate")
			}
		default:
			return fmt.Errorf("mount %q: unknown type %q", m.Target, m.Type)
		}
		if m.ReadOnly && c.ReadOnlyBelow { // moby daemon/oci_linux.go, since 25
			out.Options = append(out.Options, "rro")
		} else if m.ReadOnly {
			out.Options = append(out.Options, "ro")
		}
		replaceOrAdd(s, out)
	}
	return nil
}

var propagation = map[string]bool{"private": true, "rprivate": true, "shared": true, "rshared": true, "slave": true, "rslave": true}

func replace(s *specs.Spec, target string, m specs.Mount) {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == target {
			s.Mounts[i] = m
		}
	}
}

// replaceOrAdd: the user's mount takes the place of a default one.
func replaceOrAdd(s *specs.Spec, m specs.Mount) {
	s.Mounts = slices.DeleteFunc(s.Mounts, func(d specs.Mount) bool { return d.Destination == m.Destination })
	s.Mounts = append(s.Mounts, m)
}

// sysctls are Docker's since 20.10 (moby daemon/oci_linux.go): everybody may bind
// to every port and make ping sockets, in a network namespace of its own.
func sysctls(s *specs.Spec, c *Container) {
	if c.Network != "host" {
		s.Linux.Sysctl["net.ipv4.ip_unprivileged_port_start"] = "0"
		s.Linux.Sysctl["net.ipv4.ping_group_range"] = "0 2147483647"
	}
	for k, v := range c.Sysctls {
		s.Linux.Sysctl[k] = v
	}
}

func resources(s *specs.Spec, c *Container) {
	r := c.Resources
	out := &specs.LinuxResources{}
	if r.Memory != 0 || r.MemorySwap != 0 || r.MemoryReservation != 0 {
		out.Memory = &specs.LinuxMemory{}
		set := func(to **int64, v int64) {
			if v > 0 { // a swap of -1 is no limit
				*to = &v
			}
		}
		if r.MemorySwap == 0 && r.Memory > 0 {
			r.MemorySwap = 2 * r.Memory // docker run --memory-swap's default
		}
		set(&out.Memory.Limit, r.Memory)
		set(&out.Memory.Swap, r.MemorySwap)
		set(&out.Memory.Reservation, r.MemoryReservation)
	}
	if r.NanoCPUs > 0 {
		r.CPUPeriod = 100_000
		r.CPUQuota = r.NanoCPUs * r.CPUPeriod / 1_000_000_000
	}
	if r.CPUShares != 0 || r.CPUPeriod != 0 || r.CPUQuota != 0 || r.CPUSet != "" || r.MemSet != "" {
		out.CPU = &specs.LinuxCPU{Cpus: r.CPUSet, Mems: r.MemSet}
		if r.CPUShares != 0 {
			out.CPU.Shares = &r.CPUShares
		}
		if r.CPUQuota != 0 {
			out.CPU.Quota = &r.CPUQuota
		}
		if period := uint64(r.CPUPeriod); period != 0 {
			out.CPU.Period = &period
		}
	}
	if r.Pids > 0 {
		out.Pids = &specs.LinuxPids{Limit: &r.Pids}
	}
	s.Linux.Resources = out
}

// devices are the rules of moby daemon/pkg/oci/defaults.go; the runtime adds what
// every container has (null, zero, full, random, urandom, tty, ptmx, pts).
func devices(s *specs.Spec, c *Container, host []specs.LinuxDevice) {
	if c.Privileged {
		s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		s.Linux.Devices = host
		return
	}
	rules := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	for i := range host {
		d := &host[i]
		access := "rwm"
		for _, asked := range c.Devices {
			if asked.Container == d.Path && asked.Access != "" {
				access = asked.Access
			}
		}
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &d.Major, Minor: &d.Minor, Access: access})
	}
	s.Linux.Resources.Devices = rules
	s.Linux.Devices = host
}
