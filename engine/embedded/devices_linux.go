package embedded

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/sys/devices"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/bundle"
)

// hostDevices are all of the host's for a privileged container, and else those asked
// for; a directory stands for what is in it.
func hostDevices(want *bundle.Container) ([]specs.LinuxDevice, error) {
	var list []specs.LinuxDevice
	add := func(host, container string) error {
		d, err := devices.DeviceFromPath(host, "rwm")
		if err != nil {
			return err
		}
		mode := d.FileMode
		list = append(list, specs.LinuxDevice{Path: container, Type: string(d.Type), Major: d.Major, Minor: d.Minor, FileMode: &mode, UID: &d.Uid, GID: &d.Gid})
		return nil
	}
	if want.Privileged {
		found, err := devices.HostDevices()
		if err != nil {
			return nil, fmt.Errorf("the host's devices: %w", err)
		}
		for _, d := range found {
			mode := d.FileMode
			list = append(list, specs.LinuxDevice{Path: d.Path, Type: string(d.Type), Major: d.Major, Minor: d.Minor, FileMode: &mode, UID: &d.Uid, GID: &d.Gid})
		}
	}
	for _, d := range want.Devices {
		info, err := os.Stat(d.Host)
		if err == nil && info.IsDir() {
			err = filepath.WalkDir(d.Host, func(p string, e fs.DirEntry, err error) error {
				if err != nil || e.Type()&fs.ModeDevice == 0 {
					return err
				}
				rel, err := filepath.Rel(d.Host, p)
				if err != nil {
					return err
				}
				return add(p, filepath.Join(d.Container, rel))
			})
		} else if err == nil {
			err = add(d.Host, d.Container)
		}
		if err != nil {
			return nil, &engine.Error{Problem: fmt.Sprintf("device %q cannot be given", d.Host), Reason: err.Error(), Hint: "name a device of the host"}
		}
	}
	return list, nil
}
