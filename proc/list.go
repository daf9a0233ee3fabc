package proc

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
)

// Process is one process as /proc shows it: proc_pid_status(5).
type Process struct {
	PID, PPID  int
	UID        uint32 // effective
	Comm       string // its name, at most 15 bytes
	State      caps.State
	NoNewPrivs bool
	Seccomp    int    // 0 none, 1 strict, 2 filter; -1 if the kernel does not say
	Container  string // the container's id of 64 digits, "" for none
	// Engine is whose container it is by the name of its cgroup: "docker", "podman",
	// "containerd", "crio", "leastcap"; "" if that says nothing.
	Engine string
	// Threads are those whose sets differ from the process's own, which are its first
	// thread's.
	Threads []Thread
}

// Thread is one thread of a process.
type Thread struct {
	TID   int
	Comm  string
	State caps.State
}

// Kthread says that it is the kernel's: a child of kthreadd, or that itself.
func (p *Process) Kthread() bool { return p.PID == 2 || p.PPID == 2 }

// Known are the capabilities that this kernel has: capabilities(7), cap_last_cap.
func Known() caps.Set {
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return caps.All()
	}
	last, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 6)
	if err != nil {
		return caps.All()
	}
	return caps.UpTo(caps.Cap(last))
}

// List reads all processes below root, "/proc" as a rule. Those that end meanwhile are
// left out; unreadable counts those that may not be read (hidepid).
func List(root string) (list []Process, unreadable int, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := Read(root, pid)
		switch {
		case err == nil:
			list = append(list, *p)
		case errors.Is(err, fs.ErrPermission):
			unreadable++
		}
	}
	slices.SortFunc(list, func(a, b Process) int { return a.PID - b.PID })
	return list, unreadable, nil
}

// Available is what this process has and so can give to one that it starts; nil if that
// cannot be read, as on other systems than Linux.
func Available() *caps.Set {
	// Its other threads, which [Read] looks at too, have the same.
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	p, err := parseStatus(data)
	if err != nil {
		return nil
	}
	set := p.State.Permitted.Intersect(p.State.Bounding)
	return &set
}

// Read reads one process.
func Read(root string, pid int) (*Process, error) {
	dir := filepath.Join(root, strconv.Itoa(pid))
	data, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return nil, err
	}
	p, err := parseStatus(data)
	if err != nil {
		return nil, err
	}
	p.PID = pid
	if cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil {
		p.Container, p.Engine = containerOf(cgroup)
	}
	if p.threads > 1 {
		p.Threads = p.others(dir)
	}
	return &p.Process, nil
}

// others are the threads with other sets. One that ends meanwhile is left out.
func (p *status) others(dir string) []Thread {
	entries, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return nil
	}
	var list []Thread
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil || tid == p.PID {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, "task", e.Name(), "status"))
		if err != nil {
			continue
		}
		if t, err := parseStatus(data); err == nil && t.State != p.State {
			list = append(list, Thread{tid, t.Comm, t.State})
		}
	}
	return list
}

// status is a process's file of that name.
type status struct {
	Process
	threads int
}

// The kernel escapes the name there as lib/string_helpers.c:string_escape_mem does
// with ESCAPE_SPACE|ESCAPE_SPECIAL, limited to these two (fs/proc/array.c:proc_task_name).
var commNames = strings.NewReplacer(`\\`, `\`, `\n`, "\n")

func parseStatus(data []byte) (*status, error) {
	p := &status{Process: Process{Seccomp: -1}}
	sets := map[string]*caps.Set{
		"CapInh": &p.State.Inheritable, "CapPrm": &p.State.Permitted, "CapEff": &p.State.Effective,
		"CapBnd": &p.State.Bounding, "CapAmb": &p.State.Ambient,
	}
	found := 0
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		key, value, ok := strings.Cut(sc.Text(), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if set := sets[key]; set != nil {
			n, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				return nil, err
			}
			*set = caps.Set(n)
			found++
			continue
		}
		var err error
		switch key {
		case "Name":
			p.Comm = commNames.Replace(value)
		case "PPid":
			p.PPID, err = strconv.Atoi(value)
		case "Uid": // real, effective, saved, file system
			if f := strings.Fields(value); len(f) == 4 {
				var n uint64
				n, err = strconv.ParseUint(f[1], 10, 32)
				p.UID = uint32(n)
			}
		case "Threads":
			p.threads, err = strconv.Atoi(value)
		case "NoNewPrivs":
			p.NoNewPrivs = value == "1"
		case "Seccomp":
			p.Seccomp, err = strconv.Atoi(value)
		}
		if err != nil {
			return nil, err
		}
	}
	if found < 4 { // CapAmb since Linux 4.3
		return nil, errors.New("no capabilities in it")
	}
	return p, nil
}

var idInPath = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[0-9a-f]{64}`) })

// containerOf finds the id that every engine puts into the name of the container's
// cgroup, and what it puts before it; of nested ones the innermost. Podman also makes
// libpod-ID.scope/container.
func containerOf(cgroup []byte) (id, engine string) {
	for line := range strings.Lines(string(cgroup)) {
		ids := idInPath().FindAllStringIndex(line, -1)
		if len(ids) == 0 {
			continue
		}
		last := ids[len(ids)-1]
		id = line[last[0]:last[1]]
		for _, e := range enginePrefixes {
			if strings.HasSuffix(line[:last[0]], e.prefix) {
				return id, e.engine
			}
		}
		return id, ""
	}
	return "", ""
}

// enginePrefixes: moby daemon/oci_linux.go withCgroups ("docker" as the default parent,
// systemd's "docker-ID.scope"), podman libpod/oci_conmon_common.go ("libpod-"),
// containerd internal/cri/server/helpers.go getCgroupsPath ("cri-containerd"), cri-o
// internal/config/cgmgr ("crio-"), leastcap engine/embedded.
var enginePrefixes = []struct{ prefix, engine string }{
	{"/docker/", "docker"}, {"/docker-", "docker"}, {"/libpod-", "podman"},
	{"/cri-containerd-", "containerd"}, {"/crio-", "crio"}, {"/leastcap-", "leastcap"},
}
