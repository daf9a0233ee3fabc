package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/cli/pkg/kvfile"
	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"

	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/line"
	"github.com/leastcap/leastcap/usage"
)

// ErrUnsupported is what a [*LineError] wraps when a flag is the engine's own and
// nothing else than that engine can do what it says.
var ErrUnsupported = errors.New("the flag needs its engine")

// Container is what the line asks for, for those who run it without the engine's
// command. Relative paths are the caller's. Capability flags are left to the caller:
// see [line.Line.CapAdd]. A flag that cannot be heeded is an error, never left out.
// own are the caller's own flags.
func Container(l *Line, own []FlagSpec) (*bundle.Container, error) {
	c := &bundle.Container{Image: l.Image, Args: l.Command, StopTimeout: -1}
	h := health{}
	for i := range l.Flags {
		f := &l.Flags[i]
		if f.Global {
			continue
		}
		if ignored()[f.Name] || h.set(f) || slices.ContainsFunc(own, func(o FlagSpec) bool { return o.Name == f.Name }) {
			continue
		}
		set, ok := containerFlags()[f.Name]
		if !ok {
			return nil, &LineError{Word: f.Typed, At: f.Word, Err: ErrUnsupported,
				Reason: fmt.Sprintf("%s cannot be heeded without the %s command", f.Typed, l.Engine),
				Hint:   fmt.Sprintf("leave it out, or use the %s engine", l.Engine)}
		}
		if err := set(c, f.Value); err != nil {
			return nil, &LineError{Word: f.Typed, At: f.Word, Err: err, Reason: fmt.Sprintf("%s %s: %v", f.Typed, f.Value, err),
				Hint: fmt.Sprintf("see '%s %s --help'", l.Engine, l.Verb)}
		}
	}
	var err error
	if c.Env, err = keyValues(l.Values("env-file"), l.Values("env"), os.LookupEnv); err != nil {
		return nil, &LineError{Reason: "--env-file: " + err.Error(), Err: err, Hint: "name a file with lines NAME=VALUE"}
	}
	labels, err := keyValues(l.Values("label-file"), l.Values("label"), nil)
	if err != nil {
		return nil, &LineError{Reason: "--label-file: " + err.Error(), Err: err, Hint: "name a file with lines NAME=VALUE"}
	}
	c.Labels = make(map[string]string, len(labels))
	for _, label := range labels {
		name, value, _ := strings.Cut(label, "=")
		c.Labels[name] = value
	}
	if c.Health, err = h.result(); err != nil {
		return nil, &LineError{Reason: err.Error(), Err: err, Hint: "give --health-cmd as well"}
	}
	return c, nil
}

// keyValues are the lines of files, and behind them what the line has itself. Where a file
// has a name only, the value is looked up.
func keyValues(files, own []string, lookup func(string) (string, bool)) (list []string, err error) {
	for _, file := range files {
		lines, err := kvfile.Parse(file, lookup)
		if err != nil {
			return nil, err
		}
		list = append(list, lines...)
	}
	return append(list, own...), nil
}

// ignored say nothing about the container itself, or are read elsewhere.
var ignored = sync.OnceValue(func() map[string]bool {
	return map[string]bool{
		"attach": true, "cap-add": true, "cap-drop": true, "cidfile": true, "detach": true, "detach-keys": true,
		"disable-content-trust": true, "entrypoint": true, "env": true, "env-file": true, "expose": true,
		"label": true, "label-file": true, "log-driver": true, "log-opt": true, "pull": true, "quiet": true,
		"rm": true, "rootfs": true, "sig-proxy": true, "annotation": true, "network-alias": true, "publish-all": true,
	}
})

type setter func(c *bundle.Container, value string) error

func word(to func(c *bundle.Container) *string) setter {
	return func(c *bundle.Container, v string) error { *to(c) = v; return nil }
}

func boolean(to func(c *bundle.Container) *bool) setter {
	return func(c *bundle.Container, v string) (err error) { *to(c), err = strconv.ParseBool(v); return err }
}

func size(to func(c *bundle.Container) *int64) setter {
	return func(c *bundle.Container, v string) (err error) { *to(c), err = units.RAMInBytes(v); return err }
}

func number(to func(c *bundle.Container) *int64) setter {
	return func(c *bundle.Container, v string) (err error) {
		*to(c), err = strconv.ParseInt(v, 10, 64)
		return err
	}
}

// oneOf refuses what would need other containers or an engine's own networks.
func oneOf(to func(c *bundle.Container) *string, words map[string]string) setter {
	return func(c *bundle.Container, v string) error {
		as, ok := words[v]
		if !ok {
			return errors.New("only the engine itself has that")
		}
		*to(c) = as
		return nil
	}
}

// restrictedName: moby daemon/names.RestrictedNamePattern.
var restrictedName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
})

var containerFlags = sync.OnceValue(func() map[string]setter {
	return map[string]setter{
		"name": func(c *bundle.Container, v string) error {
			if !restrictedName().MatchString(v) {
				return fmt.Errorf("only %s is allowed", strings.Trim(restrictedName().String(), "^$"))
			}
			c.Name = v
			return nil
		},
		"hostname":    word(func(c *bundle.Container) *string { return &c.Hostname }),
		"domainname":  word(func(c *bundle.Container) *string { return &c.Domainname }),
		"user":        word(func(c *bundle.Container) *string { return &c.User }),
		"workdir":     word(func(c *bundle.Container) *string { return &c.Dir }),
		"stop-signal": word(func(c *bundle.Container) *string { return &c.Stop }),
		"cpuset-cpus": word(func(c *bundle.Container) *string { return &c.Resources.CPUSet }),
		"cpuset-mems": word(func(c *bundle.Container) *string { return &c.Resources.MemSet }),

		"tty":         boolean(func(c *bundle.Container) *bool { return &c.TTY }),
		"interactive": boolean(func(c *bundle.Container) *bool { return &c.Stdin }),
		"read-only":   boolean(func(c *bundle.Container) *bool { return &c.NoWrite }),
		"privileged":  boolean(func(c *bundle.Container) *bool { return &c.Privileged }),

		"memory":             size(func(c *bundle.Container) *int64 { return &c.Resources.Memory }),
		"memory-reservation": size(func(c *bundle.Container) *int64 { return &c.Resources.MemoryReservation }),
		"shm-size":           size(func(c *bundle.Container) *int64 { return &c.ShmSize }),
		"pids-limit":         number(func(c *bundle.Container) *int64 { return &c.Resources.Pids }),
		"cpu-period":         number(func(c *bundle.Container) *int64 { return &c.Resources.CPUPeriod }),
		"cpu-quota":          number(func(c *bundle.Container) *int64 { return &c.Resources.CPUQuota }),

		"network": oneOf(func(c *bundle.Container) *string { return &c.Network },
			map[string]string{"": "", "bridge": "", "default": "", "host": "host", "none": "none"}),
		"pid": oneOf(func(c *bundle.Container) *string { return &c.PID },
			map[string]string{"": "", "host": "host", "private": ""}),
		"ipc": oneOf(func(c *bundle.Container) *string { return &c.IPC },
			map[string]string{"": "", "host": "host", "private": "", "shareable": "", "none": "none"}),
		"uts": oneOf(func(c *bundle.Container) *string { return &c.UTS },
			map[string]string{"": "", "host": "host", "private": ""}),
		"cgroupns": oneOf(func(c *bundle.Container) *string { return &c.Cgroupns },
			map[string]string{"": "", "host": "host", "private": "private"}),
		"userns":  oneOf(func(*bundle.Container) *string { return new(string) }, map[string]string{"": "", "host": ""}),
		"restart": oneOf(func(*bundle.Container) *string { return new(string) }, map[string]string{"": "", "no": ""}),

		"init": func(_ *bundle.Container, v string) error {
			if on, err := strconv.ParseBool(v); err != nil || on {
				return errors.New("only the engine itself has an init")
			}
			return nil
		},
		"oom-score-adj": func(c *bundle.Container, v string) error {
			n, err := strconv.Atoi(v)
			c.OOMScore = &n
			return err
		},
		"stop-timeout": func(c *bundle.Container, v string) error {
			n, err := strconv.Atoi(v)
			c.StopTimeout = time.Duration(n) * time.Second
			return err
		},
		"memory-swap": func(c *bundle.Container, v string) (err error) {
			if v == "-1" { // no limit
				c.Resources.MemorySwap = -1
				return nil
			}
			c.Resources.MemorySwap, err = units.RAMInBytes(v)
			return err
		},
		"cpus": func(c *bundle.Container, v string) error {
			cpus, ok := new(big.Rat).SetString(v)
			if !ok {
				return errors.New("not a number")
			}
			nano := cpus.Mul(cpus, big.NewRat(1e9, 1))
			if !nano.IsInt() {
				return errors.New("too precise")
			}
			c.Resources.NanoCPUs = nano.Num().Int64()
			return nil
		},
		"cpu-shares": func(c *bundle.Container, v string) (err error) {
			c.Resources.CPUShares, err = strconv.ParseUint(v, 10, 64)
			return err
		},
		"group-add": func(c *bundle.Container, v string) error { c.Groups = append(c.Groups, v); return nil },
		"dns": func(c *bundle.Container, v string) error {
			if net.ParseIP(v) == nil {
				return errors.New("not an address")
			}
			c.DNS.Servers = append(c.DNS.Servers, v)
			return nil
		},
		"dns-search": func(c *bundle.Container, v string) error { c.DNS.Search = append(c.DNS.Search, v); return nil },
		"dns-option": func(c *bundle.Container, v string) error { c.DNS.Options = append(c.DNS.Options, v); return nil },
		"add-host": func(c *bundle.Container, v string) error {
			name, ip, ok := strings.Cut(v, "=")
			if !ok {
				name, ip, ok = strings.Cut(v, ":") // of an IPv6 address only the first
			}
			if len(ip) > 2 && ip[0] == '[' && ip[len(ip)-1] == ']' {
				ip = ip[1 : len(ip)-1]
			}
			switch {
			case !ok || name == "" || strings.Contains(name, ":"):
				return errors.New("must be NAME:ADDRESS")
			case ip != "host-gateway" && net.ParseIP(strings.TrimSpace(ip)) == nil:
				return fmt.Errorf("%q is not an address", ip)
			}
			c.Hosts = append(c.Hosts, bundle.Host{Name: name, IP: ip})
			return nil
		},
		"sysctl": func(c *bundle.Container, v string) error {
			name, value, ok := strings.Cut(v, "=")
			if !ok || !namespacedSysctl(name) {
				return errors.New("not one that a container has for itself: kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*, net.*")
			}
			if c.Sysctls == nil {
				c.Sysctls = map[string]string{}
			}
			c.Sysctls[name] = value
			return nil
		},
		"ulimit": func(c *bundle.Container, v string) error {
			u, err := units.ParseUlimit(v)
			if err != nil {
				return err
			}
			c.Rlimits = append(c.Rlimits, bundle.Rlimit{Name: u.Name, Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
			return nil
		},
		"device":       setDevice,
		"mount":        setMount,
		"publish":      setPort,
		"security-opt": setSecurity,
		"tmpfs":        setTmpfs,
		"volume":       setVolume,
	}
})

// namespacedSysctl: docker/cli opts/opts.go:ValidateSysctl.
func namespacedSysctl(name string) bool {
	return strings.HasPrefix(name, "net.") || strings.HasPrefix(name, "fs.mqueue.") || slices.Contains([]string{
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
		"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
	}, name)
}

func setPort(c *bundle.Container, v string) error {
	list, err := nat.ParsePortSpec(v)
	if err != nil {
		return err
	}
	for _, p := range list {
		port := bundle.Port{HostIP: p.Binding.HostIP, Container: uint16(p.Port.Int()), Protocol: p.Port.Proto()}
		if port.Protocol != "tcp" && port.Protocol != "udp" {
			return fmt.Errorf("%s is not published, only tcp and udp are", port.Protocol)
		}
		if p.Binding.HostPort != "" {
			first, _, err := nat.ParsePortRangeToInt(p.Binding.HostPort)
			if err != nil {
				return err
			}
			port.Host = uint16(first)
		}
		c.Ports = append(c.Ports, port)
	}
	return nil
}

// setVolume reads [SOURCE:]TARGET[:OPTIONS] (docker/cli, internal/volumespec).
func setVolume(c *bundle.Container, value string) error {
	v := line.ShortVolume(value)
	m := bundle.Mount{Type: v.Kind, Source: v.Source, Target: v.Target}
	words := strings.Split(value, ":")
	if len(words) > 3 || m.Target == "" || len(words) > 1 && words[0] == "" {
		return errors.New("must be TARGET, SOURCE:TARGET or SOURCE:TARGET:OPTIONS")
	}
	if len(words) == 3 {
		for o := range strings.SplitSeq(words[2], ",") {
			switch o {
			case "ro", "readonly":
				m.ReadOnly = true
			case "rw", "", "z", "Z", "consistent", "cached", "delegated": // SELinux labels and what macOS needs
			case "nocopy":
				m.NoCopy = true
			case "private", "rprivate", "shared", "rshared", "slave", "rslave", "nosuid", "nodev", "noexec":
				m.Options = append(m.Options, o)
			default:
				return fmt.Errorf("option %q is not known", o)
			}
		}
	}
	if m.Type == bundle.Bind {
		if strings.HasPrefix(m.Source, "~") {
			home, err := os.UserHomeDir()
			if err != nil {
				return err
			}
			m.Source = home + m.Source[1:]
		}
		var err error
		if m.Source, err = filepath.Abs(m.Source); err != nil {
			return err
		}
	}
	c.Mounts = append(c.Mounts, m)
	return nil
}

func setTmpfs(c *bundle.Container, v string) error {
	target, options, _ := strings.Cut(v, ":")
	m := bundle.Mount{Type: bundle.Tmpfs, Target: target}
	if options != "" {
		m.Options = strings.Split(options, ",")
	}
	c.Mounts = append(c.Mounts, m)
	return nil
}

// setDevice reads HOST[:CONTAINER][:ACCESS] (docker/cli, container/opts.go).
func setDevice(c *bundle.Container, v string) error {
	words := strings.Split(v, ":")
	isAccess := func(s string) bool { return s != "" && strings.Trim(s, "rwm") == "" }
	d := bundle.Device{Host: words[0], Container: words[0], Access: "rwm"}
	switch {
	case len(words) == 2 && isAccess(words[1]):
		d.Access = words[1]
	case len(words) == 2:
		d.Container = words[1]
	case len(words) == 3 && isAccess(words[2]):
		d.Container, d.Access = words[1], words[2]
	case len(words) != 1:
		return errors.New("must be HOST, HOST:CONTAINER or HOST:CONTAINER:rwm")
	}
	if !filepath.IsAbs(d.Host) || !filepath.IsAbs(d.Container) {
		return errors.New("only absolute paths; the engine itself may know device names")
	}
	c.Devices = append(c.Devices, d)
	return nil
}

func setSecurity(c *bundle.Container, v string) error {
	name, value, ok := strings.Cut(v, "=")
	if !ok {
		name, value, ok = strings.Cut(v, ":") // as before Docker 1.11
	}
	switch name {
	case "no-new-privileges":
		on := true
		if ok {
			var err error
			if on, err = strconv.ParseBool(value); err != nil {
				return err
			}
		}
		c.NoNewPrivileges = on
	case "seccomp":
		switch value {
		case "builtin":
			c.Seccomp = ""
		case "unconfined":
			c.Seccomp = value
		default:
			data, err := os.ReadFile(value)
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := usage.UnmarshalJSON(data, &raw); err != nil {
				return fmt.Errorf("%s is no JSON: %w", usage.At(value, err), err)
			}
			c.Seccomp = string(data)
		}
	case "systempaths":
		if value != "unconfined" {
			return errors.New("must be unconfined")
		}
		c.Unmasked = true
	case "label", "apparmor":
		// Nothing else confines these containers than what is here.
		if value != "disable" && value != "unconfined" {
			return errors.New("only the engine itself gives such a label or profile")
		}
	default:
		return errors.New("not known")
	}
	return nil
}

// health collects the --health flags (docker/cli, container/opts.go).
type health struct {
	bundle.Health
	given, none bool
	err         error
}

func (h *health) set(f *Flag) bool {
	duration := func(to *time.Duration) {
		var err error
		if *to, err = time.ParseDuration(f.Value); err != nil {
			h.err = fmt.Errorf("%s: %w", f.Typed, err)
		}
		h.given = true
	}
	switch f.Name {
	case "health-cmd":
		if f.Value == "none" {
			h.none = true
			break
		}
		h.given, h.Test = true, []string{"/bin/sh", "-c", f.Value}
	case "no-healthcheck":
		h.none = f.Value != "false"
	case "health-interval":
		duration(&h.Interval)
	case "health-timeout":
		duration(&h.Timeout)
	case "health-start-period":
		duration(&h.Start)
	case "health-start-interval":
		duration(&h.StartEvery)
	case "health-retries":
		h.given = true
		var err error
		if h.Retries, err = strconv.Atoi(f.Value); err != nil {
			h.err = fmt.Errorf("%s: %w", f.Typed, err)
		}
	default:
		return false
	}
	return true
}

// result is nil for the image's own, and one without a test for none.
func (h *health) result() (*bundle.Health, error) {
	switch {
	case h.err != nil:
		return nil, h.err
	case h.none:
		return &bundle.Health{}, nil
	case !h.given:
		return nil, nil
	}
	return &h.Health, nil
}
