//go:build cgo

package embedded

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/proc"
)

// runDir is the container's directory of the runtime's state, which libcontainer makes
// and removes. It is gone after a reboot, and as a rule not on a disk.
func (c *Container) runDir() string { return filepath.Join(c.dirs.run, c.id) }

// planFiles plans /etc/hosts, /etc/hostname and /etc/resolv.conf, as Docker has them. The
// container's own address is put into hosts once it has one.
func (c *Container) planFiles() error {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
	for _, h := range c.want.Hosts {
		hosts += h.IP + "\t" + h.Name + "\n"
	}
	resolv, err := resolvConf(c.want)
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{
		{"hosts", hosts}, {"hostname", c.want.Hostname + "\n"}, {"resolv.conf", resolv},
	} {
		target := "/etc/" + f.name
		if slices.ContainsFunc(c.want.Mounts, func(m bundle.Mount) bool { return m.Target == target || m.Target == "/etc" }) {
			continue // the user's own
		}
		path := filepath.Join(c.runDir(), f.name)
		c.files = append(c.files, file{path, f.text})
		c.want.Mounts = append(slices.Clone(c.want.Mounts), bundle.Mount{Type: bundle.Bind, Source: path, Target: target, Options: []string{"rprivate"}})
	}
	return nil
}

// file is one that is made for the container.
type file struct{ path, text string }

// makeFiles makes those that are planned, once there is a directory for them.
func (c *Container) makeFiles() error {
	for _, f := range c.files {
		if err := os.WriteFile(f.path, []byte(f.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// resolvConf is the host's without name servers of its loopback, which the container
// cannot reach, unless it shares the network.
func resolvConf(want *bundle.Container) (string, error) {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	given := map[string][]string{"nameserver": want.DNS.Servers, "search": want.DNS.Search, "options": want.DNS.Options}
	var out strings.Builder
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		words := strings.Fields(sc.Text())
		if len(words) < 2 || len(given[words[0]]) > 0 || strings.ContainsAny(words[0][:1], "#;") {
			continue
		}
		if ip, err := netip.ParseAddr(words[1]); words[0] == "nameserver" && want.Network != "host" && (err != nil || ip.IsLoopback()) {
			continue
		}
		out.WriteString(sc.Text() + "\n")
	}
	for _, s := range want.DNS.Servers {
		out.WriteString("nameserver " + s + "\n")
	}
	for _, key := range []string{"search", "options"} {
		if len(given[key]) > 0 {
			out.WriteString(key + " " + strings.Join(given[key], " ") + "\n")
		}
	}
	return out.String(), nil
}

// parseSignal reads SIGTERM, TERM or 15.
func parseSignal(text string) (unix.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 65 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	// signal(7): RTMIN is 34 to programs, RTMAX 64.
	for prefix, base := range map[string]int{"SIGRTMIN": 34, "SIGRTMAX": 64} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "+")); err == nil && base == 34 && n <= 30 {
				return unix.Signal(base + n), nil
			}
			if n, err := strconv.Atoi("0" + strings.TrimPrefix(rest, "-")); err == nil && base == 64 && n <= 30 {
				return unix.Signal(base - n), nil
			}
		}
	}
	return 0, &engine.Error{Problem: fmt.Sprintf("signal %q is not known", text), Hint: "give a name such as SIGTERM, or a number"}
}

// volumes are the directories that stand behind a container's volumes.
type volumes struct {
	dir   string            // those that go with the container
	named string            // those that stay
	paths map[string]string // of those that go, by target
}

func newVolumes(dir, named string) *volumes {
	return &volumes{dir: dir, named: named, paths: map[string]string{}}
}

// prepare gives every volume its directory and every bind mount its source. What
// the image has at the place of a new volume is copied into it, as Docker does.
func (v *volumes) prepare(want *bundle.Container, rootfs string) error {
	want.Mounts = slices.Clone(want.Mounts)
	for i := range want.Mounts {
		m := &want.Mounts[i]
		switch m.Type {
		case bundle.Bind:
			if _, err := os.Stat(m.Source); errors.Is(err, fs.ErrNotExist) {
				if m.MustExist {
					return &engine.Error{Problem: fmt.Sprintf("mount source %q is not there", m.Source), Hint: "make it first, or use -v, which does"}
				}
				if err := os.MkdirAll(m.Source, 0o755); err != nil {
					return err
				}
			}
		case bundle.Volume:
			dir, err := v.directory(m, rootfs)
			if err != nil {
				return fmt.Errorf("volume for %s: %w", m.Target, err)
			}
			m.Source = dir
		}
	}
	return nil
}

func (v *volumes) directory(m *bundle.Mount, rootfs string) (string, error) {
	dir := v.paths[m.Target] // the container's before this one
	if dir == "" && m.Source != "" {
		if !volumeName(m.Source) {
			return "", &engine.Error{Problem: fmt.Sprintf("%q is no name of a volume", m.Source), Hint: "use letters, digits, _, . and -; a path begins with / or ."}
		}
		dir = filepath.Join(v.named, m.Source)
	}
	if dir != "" {
		if _, err := os.Stat(dir); err == nil {
			return dir, nil
		}
	}
	parent := v.dir
	if m.Source != "" {
		parent = v.named
	} else {
		dir = filepath.Join(v.dir, strconv.Itoa(len(v.paths)))
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	from, err := securejoin.SecureJoin(rootfs, m.Target)
	if err != nil {
		return "", err
	}
	if err := v.fill(dir, from, m); err != nil {
		return "", err
	}
	if m.Source == "" {
		v.paths[m.Target] = dir
	}
	return dir, nil
}

// fill makes a volume's directory in one step, so that none is ever there with half of
// what the image has: a named one would stay so.
func (v *volumes) fill(dir, from string, m *bundle.Mount) error {
	tmp := filepath.Join(filepath.Dir(dir), fmt.Sprintf(".%s.%s", proc.Self(), newID()))
	if info, err := os.Stat(from); err == nil && info.IsDir() && !m.NoCopy {
		if err := image.Copy(from, tmp); err != nil {
			return err
		}
	} else if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	err := os.Rename(tmp, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		err = nil // another start made it
	}
	return errors.Join(err, os.RemoveAll(tmp))
}

// volumeName: Docker's names of volumes and containers (moby daemon/names).
func volumeName(s string) bool {
	return s != "" && !strings.ContainsAny(s[:1], "_.-") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == ""
}

func (v *volumes) remove() error { return os.RemoveAll(v.dir) }
