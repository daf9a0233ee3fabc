//go:build cgo

package embedded

import (
	"os"
	"runtime"
	"runtime/debug"

	_ "github.com/opencontainers/cgroups/devices" // device rules
	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // joins namespaces before Go starts
)

// libcontainer starts this program again as "init": inside the container's
// namespaces, before anything of it is there. Nothing else may run then.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "" {
		// It executes the command in a moment, or ends: collecting garbage would only
		// make that moment longer.
		debug.SetGCPercent(-1)
		libcontainer.Init()
	}
	// libcontainer opens the sources of mounts in a thread that it puts into the
	// container's mount namespace, and gives that thread up; Go ends it, unless it is the
	// process's first, which would then stay there for good, keep the container's mounts
	// alive and be what /proc/self shows. So the first thread is main's alone.
	runtime.LockOSThread()
}
