package main

import (
	"context"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

// iteratorFrom is how many threads a machine must have for the BPF iterator, which takes
// about 4 ms to load, to be faster than /proc, at 20 µs a process and 10 µs a thread and
// processor: with 367 threads it took 4.6 ms and /proc 4.1, with 467 4.9 and 5.5 (BenchmarkList
// of probe, two processors).
const iteratorFrom = 400

// listProcesses lists all processes but the kernel's, by the faster way; where all that is
// known of each is asked for, by the one that knows more, which knows more than o asks for.
func listProcesses(all bool, o proc.ListOptions) (list []proc.Process, unreadable int, err error) {
	if all || proc.Tasks() >= iteratorFrom {
		list, err = probe.Tasks(probe.TaskOptions{All: all})
	}
	if list == nil || err != nil {
		if list, unreadable, err = proc.List("/proc", o); err != nil {
			return nil, unreadable, err
		}
	}
	if o.Containers != nil {
		engine.Place("/", list)
	}
	return list, unreadable, nil
}

// capable says that a process has capabilities, or a thread of it.
func capable(p *proc.Process) bool { return !held(p).Empty() }

func held(p *proc.Process) caps.Set {
	has := p.State.Effective.Union(p.State.Permitted)
	for i := range p.Threads {
		has = has.Union(p.Threads[i].State.Effective).Union(p.Threads[i].State.Permitted)
	}
	return has
}

// readProcess reads one process; all that is known of it with securebits, if that can be.
func readProcess(pid int, all bool) (*proc.Process, error) {
	p, err := proc.Read("/proc", pid)
	if err != nil {
		return nil, err
	}
	if all {
		if list, err := probe.Tasks(probe.TaskOptions{Kernel: true, All: true}); err == nil {
			if i := slices.IndexFunc(list, func(p proc.Process) bool { return p.PID == pid }); i >= 0 {
				p = &list[i]
			}
		}
	}
	// Its container may be known by the processes above it.
	above := []proc.Process{*p}
	for parent := p.PPID; parent > 1; parent = above[len(above)-1].PPID {
		next, err := proc.Read("/proc", parent)
		if err != nil {
			break // ended meanwhile
		}
		above = append(above, *next)
	}
	engine.Place("/", above)
	return &above[0], nil
}

func processRow(p *proc.Process) report.Process {
	row := report.Process{
		PID: p.PID, PPID: p.PPID, User: userName(p.UID), UID: p.UID, Command: p.Comm,
		Effective: p.State.Effective, Permitted: p.State.Permitted, Inheritable: p.State.Inheritable, Bounding: p.State.Bounding, Ambient: p.State.Ambient,
		NoNewPrivs: p.NoNewPrivs, Seccomp: p.Seccomp, Zombie: p.Zombie,
	}
	for _, t := range p.Threads {
		row.Threads = append(row.Threads, report.ProcThread{
			TID: t.TID, Command: t.Comm, Effective: t.State.Effective, Permitted: t.State.Permitted,
			Inheritable: t.State.Inheritable, Bounding: t.State.Bounding, Ambient: t.State.Ambient,
		})
	}
	return row
}

// processRows make rows of processes; all reads also what confines each.
func processRows(list []proc.Process, containers map[string]*report.ProcContainer, all bool) []report.Process {
	rows := make([]report.Process, len(list))
	var host proc.Namespaces
	if all {
		host = proc.Host("/proc")
	} else {
		host[proc.NSUser] = proc.HostUserNamespace("/proc")
	}
	hostIDs := sync.OnceValue(func() string {
		ids, err := proc.UserMap("/proc", "1")
		if err != nil {
			ids, _ = proc.UserMap("/proc", "self") // hidepid, say
		}
		return ids
	})
	for i := range list {
		p := &list[i]
		rows[i] = processRow(p)
		if p.Container != "" {
			rows[i].Container = containers[p.Container]
		}
		if p.State.Effective.Union(p.State.Permitted).Empty() && !all {
			continue
		}
		ns := p.Namespaces[proc.NSUser]
		if rows[i].OwnUser = ns != host[proc.NSUser]; ns == 0 {
			ids, err := proc.UserMap("/proc", strconv.Itoa(p.PID))
			rows[i].OwnUser = err == nil && ids != hostIDs()
		}
	}
	if !all {
		return rows
	}
	var wg sync.WaitGroup
	const chunk = 64
	for from := 0; from < len(list); from += chunk {
		wg.Go(func() {
			for i := from; i < min(from+chunk, len(list)); i++ {
				confine(&rows[i], &list[i], &host)
			}
		})
	}
	wg.Wait()
	return rows
}

func confine(row *report.Process, p *proc.Process, host *proc.Namespaces) {
	c := proc.Confined("/proc", p)
	row.Args, row.Executable, row.SetUID, row.SetGID, row.LSM, row.Unreadable = c.Args, c.Exe, c.SetUID, c.SetGID, c.LSM, c.Unreadable
	for i, kind := range proc.NamespaceKinds {
		if c.Namespaces[i] == 0 {
			continue
		}
		if row.NamespaceIDs == nil {
			row.NamespaceIDs = make(map[string]uint32)
		}
		row.NamespaceIDs[kind] = c.Namespaces[i]
	}
	row.Namespaces = c.Namespaces.Own(host)
	if p.Securebits >= 0 {
		bits := uint32(p.Securebits)
		row.Securebits = &bits
	}
}

// engineTimeout is how long the engines may take to name their containers.
const engineTimeout = time.Second

// describeContainers says by id what is known of the containers of processes.
// monitors are engine.Records'.
func describeContainers(ctx context.Context, list []proc.Process, monitors []int) (map[string]*report.ProcContainer, error) {
	found := make(map[string]*report.ProcContainer)
	var ids []string
	var dockerd *caps.Set
	for i := range list {
		p := &list[i]
		if p.Container == "" {
			if p.Comm == "dockerd" {
				dockerd = &p.State.Permitted
			}
			continue
		}
		if found[p.Container] == nil {
			found[p.Container] = &report.ProcContainer{ID: p.Container, Engine: p.Engine, Pod: p.Pod}
			if p.Engine != "leastcap" { // which no engine knows
				ids = append(ids, p.Container)
			}
		}
	}
	running, err := askEngines(ctx, ids, monitors)
	for id, r := range running {
		if c := found[id]; c != nil {
			describe(c, &r, dockerd)
		}
	}
	return found, err
}

// askEngines looks on disk, and asks the engines for what is not there, both for
// engineTimeout at most.
func askEngines(ctx context.Context, ids []string, monitors []int) (map[string]engine.Running, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	recorded := make(chan map[string]engine.Running, 1)
	go func() {
		records := engine.Records{Monitors: monitors}
		recorded <- records.Find(ctx, ids)
	}()
	var found map[string]engine.Running
	select {
	case found = <-recorded:
	case <-ctx.Done(): // a file system that does not answer
		found = make(map[string]engine.Running)
	}
	var rest []string
	for _, id := range ids {
		if r := found[id]; (r.Name == "" || r.Engine == "podman") && !strings.Contains(id, "/") {
			rest = append(rest, id)
		}
	}
	images := make(chan struct{})
	pictured := maps.Clone(found)
	go func() {
		defer close(images)
		cli.NameImages(ctx, pictured)
	}()
	told, err := cli.Describe(ctx, rest)
	<-images
	maps.Copy(found, pictured)
	for id, r := range told {
		r.Spec = found[id].Spec
		found[id] = r
	}
	rest = slices.DeleteFunc(rest, func(id string) bool { return found[id].Name != "" })
	if len(rest) == 0 {
		err = nil // it was asked for nothing else
	}
	return found, err
}

// describe puts what an engine says of a container, and what its rules make of it, in
// words. dockerd is what that has to give, if it is known.
func describe(c *report.ProcContainer, r *engine.Running, dockerd *caps.Set) {
	c.Engine, c.Name, c.Image = r.Engine, r.Name, r.Image
	if !r.Told {
		if r.Spec != nil {
			c.Asked = &report.ProcAsked{CapAdd: []string{}, CapDrop: []string{}, Spec: true, Set: *r.Spec}
		}
		return
	}
	name := r.Engine
	available := dockerd
	switch name {
	case "nerdctl":
		name = "docker" // pkg/cmd/container/run_security_linux.go: the same rules
		available = nil
	case "podman":
		available = podmanHas(os.Geteuid())
	}
	engineRules, err := rules.For(name)
	if err != nil {
		return
	}
	result, err := engineRules.Apply(rules.Request{Add: r.CapAdd, Drop: r.CapDrop, Privileged: r.Privileged, User: r.User, Available: available})
	if err != nil {
		return
	}
	c.Asked = &report.ProcAsked{CapAdd: notNil(r.CapAdd), CapDrop: notNil(r.CapDrop), Privileged: r.Privileged, Set: result.Set}
}

// podmanHas is what Podman, which is no daemon, has to give for a user: without root it makes
// a user namespace, in which it has all (kernel/user_namespace.c:set_cred_user_ns).
func podmanHas(euid int) *caps.Set {
	if euid == 0 {
		return proc.Available()
	}
	all := proc.Known()
	return &all
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

var userNames sync.Map // uint32 to string

// userName is the host's name of a user, or the number.
func userName(uid uint32) string {
	if uid == 0 {
		return "root"
	}
	if name, ok := userNames.Load(uid); ok {
		return name.(string)
	}
	name := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	userNames.Store(uid, name)
	return name
}
