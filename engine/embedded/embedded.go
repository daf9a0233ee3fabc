// Package embedded runs containers without an engine: opencontainers/runc's
// libcontainer in this process, a root file system as the lower layer of an
// overlay, Docker's defaults. There is no daemon: a container lives no longer than
// the process that started it, and what only SIGKILL can leave behind the next start
// removes.
//
// It is built with cgo for Linux, and confines with seccomp if it is built with the
// tag seccomp. Other builds say so when a container is to be made.
package embedded

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/usage"
)

// Options is one container to be run.
type Options struct {
	Container *bundle.Container // complete: with what the image says
	// RootFS is the directory with the root file system. It is only read.
	RootFS string
	// Stdin, Stdout and Stderr are the container's; nil is empty and discarded. With
	// a terminal (bundle.Container.TTY) Stdin and Stdout are its two ends.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// volumes are of another container, which this one takes over.
	volumes *volumes
}

// Request is a workload: the same container again and again.
type Request struct {
	Container *bundle.Container
	RootFS    string
	Baseline  caps.State // what it has today
	Subject   usage.Subject
	// Use spells a result in the words that the user gave.
	Use func(set caps.Set, unconfined bool) usage.Use
}

// dirs are where containers live.
type dirs struct {
	run  string // states of the runtime, gone after a reboot
	data string // writable layers and volumes that go with a container
	vols string // named volumes
}

// findDirs gives the system's for root, and the user's for others. $LEASTCAP_ROOT
// replaces all.
func findDirs() (dirs, error) {
	if root := os.Getenv("LEASTCAP_ROOT"); root != "" {
		root, err := filepath.Abs(root)
		return dirs{filepath.Join(root, "run"), filepath.Join(root, "containers"), filepath.Join(root, "volumes")}, err
	}
	if os.Geteuid() == 0 && os.Getenv(rootlessVariable) == "" {
		return dirs{"/run/leastcap", "/var/lib/leastcap/containers", "/var/lib/leastcap/volumes"}, nil
	}
	data := os.Getenv("XDG_DATA_HOME")
	if data == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return dirs{}, fmt.Errorf("%w, nor is $LEASTCAP_ROOT", err)
		}
		data = filepath.Join(home, ".local", "share")
	}
	data = filepath.Join(data, "leastcap")
	run := os.Getenv("XDG_RUNTIME_DIR")
	if run == "" {
		run = data
	}
	return dirs{filepath.Join(run, "leastcap-run"), filepath.Join(data, "containers"), filepath.Join(data, "volumes")}, nil
}

// rootlessVariable is set in a process that is root in a user namespace of its own
// alone; its value is the user's id outside.
const rootlessVariable = "_LEASTCAP_ROOTLESS"
