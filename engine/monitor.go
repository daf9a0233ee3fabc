package engine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/leastcap/leastcap/proc"
)

// monitor is a process that an engine leaves beside its containers, and that knows where
// what the engine keeps of them is: also where that is no usual place, and a rootless
// user's.
type monitor struct {
	root bool // it is root's

	// tasks is a directory with the bundles of all containers of a containerd's namespace.
	tasks              string
	namespace, address string

	// id, name and bundle are of a conmon's one container; storage is the engine's.
	id, name, bundle, storage string
}

// The names of the processes, of which the kernel keeps 15 bytes.
const (
	shimComm   = "containerd-shim"
	conmonComm = "conmon"
)

// readMonitor reads what a process below root says of its containers, if it is a monitor.
func readMonitor(root string, pid int, comm string) (monitor, bool) {
	if comm != shimComm && comm != conmonComm {
		return monitor{}, false
	}
	dir := filepath.Join(root, "proc", strconv.Itoa(pid))
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return monitor{}, false
	}
	args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	flag := func(name string) string {
		for i := 1; i+1 < len(args); i++ {
			if args[i] == name {
				return args[i+1]
			}
		}
		return ""
	}
	if comm == shimComm {
		// containerd pkg/shim/util.go:Command: a shim works in the bundle of its first
		// container, beside which are those of the others.
		bundle, err := os.Readlink(filepath.Join(dir, "cwd"))
		m := monitor{tasks: filepath.Dir(bundle), namespace: flag("-namespace"), address: flag("-address")}
		return m, err == nil && m.namespace != ""
	}
	// conmon(8); podman libpod/oci_conmon_common.go, cri-o internal/oci/runtime_oci.go
	m := monitor{id: flag("-c"), name: flag("-n"), bundle: flag("-b")}
	for i, arg := range args {
		if arg == "--root" && i > 0 && args[i-1] == "--exit-command-arg" && i+2 < len(args) && args[i+1] == "--exit-command-arg" {
			m.storage = args[i+2]
		}
	}
	return m, m.id != "" && m.bundle != ""
}

// Monitors are the numbers of the processes that may be monitors by their names.
func Monitors(list []proc.Process) []int {
	pids := []int{}
	for i := range list {
		if list[i].Comm == shimComm || list[i].Comm == conmonComm {
			pids = append(pids, list[i].PID)
		}
	}
	return pids
}

// monitors finds those among all processes, or among those that may be some.
func (r *Records) monitors() (list []monitor) {
	pids := r.Monitors
	if pids == nil {
		entries, _ := os.ReadDir(filepath.Join("/", r.Root, "proc")) // without /proc there are none
		for _, e := range entries {
			if pid, err := strconv.Atoi(e.Name()); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	for _, pid := range pids {
		dir := filepath.Join("/", r.Root, "proc", strconv.Itoa(pid))
		comm, _ := os.ReadFile(filepath.Join(dir, "comm")) // ended meanwhile
		if m, ok := readMonitor(filepath.Join("/", r.Root), pid, strings.TrimSuffix(string(comm), "\n")); ok {
			status, _ := os.ReadFile(filepath.Join(dir, "status")) // ended meanwhile
			m.root = strings.Contains(string(status), "\nUid:\t0\t")
			list = append(list, m)
		}
	}
	return list
}

// Place finds the containers of processes that no cgroup's name tells: those that ctr runs
// by names of their own, and those of a rootless engine that has no cgroups. They are the
// descendants of monitors. So are the runtime, and what conmon starts when the container
// has ended (podman container cleanup): those are in the monitor's own mount namespace.
func Place(root string, list []proc.Process) {
	found := make(map[int]monitor)
	for i := range list {
		if m, ok := readMonitor(root, list[i].PID, list[i].Comm); ok {
			found[list[i].PID] = m
		}
	}
	if len(found) == 0 {
		return
	}
	at := make(map[int]int, len(list))
	for i := range list {
		at[list[i].PID] = i
	}
	// The monitor above each, once it was looked for: most have the same ancestors.
	const none = -1
	above := make([]int, len(list)) // 0: not looked for
	var look func(i, left int) int
	look = func(i, left int) int {
		if above[i] != 0 {
			return above[i]
		}
		parent := list[i].PPID
		above[i] = none // also where a list of several moments has a circle
		if _, ok := found[parent]; ok {
			above[i] = parent
		} else if j, ok := at[parent]; ok && left > 0 {
			above[i] = look(j, left-1)
		}
		return above[i]
	}
	named := make(map[string]map[string]string) // by the bundles' directories
	for i := range list {
		p := &list[i]
		if p.Container != "" {
			continue
		}
		const deepest = 1000
		monitor := look(i, deepest)
		if monitor == none {
			continue
		}
		m := found[monitor]
		if m.id != "" {
			// Of a stranger's, where it may not be looked, it cannot be told.
			if own := mounts(root, monitor); own != "" && own != mounts(root, p.PID) {
				p.Container, p.Engine = m.id, "podman"
			}
			continue
		}
		if named[m.tasks] == nil {
			named[m.tasks] = m.cgroups()
		}
		if cgroup, err := os.ReadFile(filepath.Join(root, "proc", strconv.Itoa(p.PID), "cgroup")); err == nil {
			if id := containerOf(string(cgroup), named[m.tasks]); id != "" {
				p.Container, p.Engine = id, "containerd"
			}
		}
	}
}

// mounts names a process's mount namespace: namespaces(7). "" if it may not be looked at.
func mounts(root string, pid int) string {
	link, err := os.Readlink(filepath.Join(root, "proc", strconv.Itoa(pid), "ns", "mnt"))
	if err != nil {
		return ""
	}
	return link
}

// cgroups are the ids of a containerd's containers whose names are no ids, by the paths of
// their cgroups: runtime-spec config-linux.md, cgroupsPath.
func (m *monitor) cgroups() map[string]string {
	found := make(map[string]string)
	entries, _ := os.ReadDir(m.tasks) // gone with its last container
	for _, e := range entries {
		if proc.IsContainerID(e.Name()) {
			continue // which their cgroups tell
		}
		var s spec
		if !readJSON(filepath.Join(m.tasks, e.Name(), "config.json"), &s) || s.Linux.CgroupsPath == "" {
			continue
		}
		path := s.Linux.CgroupsPath
		if slice := strings.Split(path, ":"); len(slice) == 3 { // systemd's: slice, prefix, name
			path = "/" + strings.TrimPrefix(slice[1]+"-"+slice[2], "-") + ".scope"
		}
		found[path] = m.namespace + "/" + e.Name()
	}
	return found
}

// containerOf finds a process's container by its cgroups, and those of containers.
func containerOf(cgroups string, named map[string]string) string {
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if id, _ := CgroupIn(f[2], named); id != "" {
			return id
		}
	}
	return ""
}

// CgroupIn finds a cgroup's path, or one above it, among those of containers; at is which.
func CgroupIn(path string, named map[string]string) (id, at string) {
	for at = path; len(at) > 1; at = filepath.Dir(at) {
		if id := named[at]; id != "" {
			return id, at
		}
		if strings.HasSuffix(at, ".scope") {
			if id := named["/"+filepath.Base(at)]; id != "" {
				return id, at
			}
		}
	}
	return "", ""
}

// Bundles finds the containers of containerds whose cgroups have no id in their names.
type Bundles struct {
	Root string // "/" if empty

	states  map[string]bool // the directories of containerds' namespaces
	scanned time.Time
}

// scanEvery is how often all processes are gone through for containerds that were not
// there before.
const scanEvery = 5 * time.Second

// Cgroups are the ids of such containers ("NAMESPACE/NAME") by the paths of their cgroups,
// and "" by those above, which containerd makes for a namespace.
func (b *Bundles) Cgroups() map[string]string {
	if b.states == nil {
		b.states = make(map[string]bool)
		for _, state := range containerdStates {
			b.states[filepath.Join("/", b.Root, state, "io.containerd.runtime.v2.task")] = true
		}
	}
	if time.Since(b.scanned) > scanEvery {
		for _, m := range (&Records{Root: b.Root}).monitors() {
			if m.tasks != "" && m.root { // anybody else could call the host's cgroups a container's
				b.states[filepath.Dir(m.tasks)] = true
			}
		}
		b.scanned = time.Now()
	}
	found := make(map[string]string)
	for state := range b.states {
		namespaces, _ := os.ReadDir(state) // a containerd that does not run
		for _, e := range namespaces {
			m := monitor{tasks: filepath.Join(state, e.Name()), namespace: e.Name()}
			for path, id := range m.cgroups() {
				found[path] = id
			}
			if e.Name() != mobyNamespace {
				found["/"+e.Name()] = ""
			}
		}
	}
	return found
}

// mobyNamespace is Docker's, whose containers have cgroups elsewhere.
const mobyNamespace = "moby"
