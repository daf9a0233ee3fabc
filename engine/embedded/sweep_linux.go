//go:build cgo

package embedded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/proc"
)

// halfVolume is what fill has not given its name yet.
var halfVolume = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\.(` + proc.OwnerPattern + `)\.[0-9a-f]{64}$`)
})

var containerDir = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(` + proc.OwnerPattern + `)\.([0-9a-f]{64})(\.volumes)?$`)
})

// Sweep removes what processes that are dead left behind: containers, mounts,
// cgroups, volumes that went with them.
func Sweep() error {
	d, err := findDirs()
	if err != nil {
		return err
	}
	return d.sweep(func(o proc.Owner) bool { return !o.Alive() })
}

func (d dirs) sweep(dead func(proc.Owner) bool) error {
	entries, err := listDir(d.data)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		m := containerDir().FindStringSubmatch(e.Name())
		if m == nil || !dead(proc.Owner(m[1])) {
			continue
		}
		dir := filepath.Join(d.data, e.Name())
		if m[3] != "" {
			errs = append(errs, os.RemoveAll(dir))
			continue
		}
		if err := d.destroy(m[2]); err != nil { // the next start tries again
			errs = append(errs, err, emptyDir(dir))
			continue
		}
		errs = append(errs, removeDir(dir))
	}
	entries, err = listDir(d.vols)
	errs = append(errs, err)
	for _, e := range entries {
		if m := halfVolume().FindStringSubmatch(e.Name()); m != nil && dead(proc.Owner(m[1])) {
			errs = append(errs, os.RemoveAll(filepath.Join(d.vols, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// listDir is empty for a directory that is not there.
func listDir(dir string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return entries, err
}

// destroy ends what runs of a container and removes its state and cgroups. A state that
// was not written yet, or only half, says nothing: then the cgroups tell what runs.
func (d dirs) destroy(id string) error {
	c, err := libcontainer.Load(d.run, id)
	if err != nil {
		return errors.Join(removeCgroups(id), os.RemoveAll(filepath.Join(d.run, id)))
	}
	for end := time.Now().Add(proc.KillTimeout); ; time.Sleep(10 * time.Millisecond) {
		_ = c.Signal(unix.SIGKILL) // ended: that is what is wanted
		if err = destroyed(c); !errors.Is(err, libcontainer.ErrRunning) || time.Now().After(end) {
			return errors.Join(err, removeCgroups(id))
		}
	}
}

// destroyed removes a container whose first process has ended. Where others are slow to end
// the library has waited a second for their cgroups (opencontainers/cgroups rmdir()).
func destroyed(c *libcontainer.Container) error {
	err := c.Destroy()
	if err != nil && !errors.Is(err, libcontainer.ErrRunning) && removeCgroups(c.ID()) == nil {
		err = c.Destroy()
	}
	return err
}

// removeCgroups finds the container's cgroup in every hierarchy.
func removeCgroups(id string) error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/" + cgroupPrefix + id, "/sys/fs/cgroup/*/" + cgroupPrefix + id} {
		dirs, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, dir := range dirs {
			errs = append(errs, proc.RemoveCgroup(dir))
		}
	}
	return errors.Join(errs...)
}
