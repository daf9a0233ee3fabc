package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
)

// Tasks lists all processes as [proc.List] does, from the kernel's own list: in a tenth
// of the time where there are thousands, with the user namespace. It needs Linux 5.8,
// the right to load BPF programs, and that this process is in the first pid namespace.
func Tasks(o TaskOptions) ([]proc.Process, error) {
	if !proc.MountedForUs() {
		return nil, unavailable(errors.New("this process is not in the machine's first pid and user namespaces"))
	}
	it, err := openTasks(o.All)
	if err != nil {
		return nil, unavailable(err)
	}
	defer it.Close()
	entries, err := it.read()
	if err != nil {
		return nil, unavailable(err)
	}
	list := processes(entries, o)
	if len(list) == 0 || list[0].PID != 1 {
		// Some sandboxes' kernels keep their process 1 from BPF; that there is one is sure.
		if init, err := proc.Read("/proc", 1); err == nil {
			list = slices.Insert(list, 0, *init)
		}
	}
	return list, nil
}

// taskIterator is a loaded program.
type taskIterator struct{ it *link.Iter }

func openTasks(all bool) (*taskIterator, error) {
	raiseMemlock() // no map, but what a probe elsewhere holds counts for its user, who is ours
	spec, err := loadTasks()
	if err != nil {
		return nil, err
	}
	name := tasksProgListTasks
	if all {
		name = tasksProgListTasksAll
	}
	it, err := attachIterator(spec, name)
	if err != nil {
		return nil, err
	}
	return &taskIterator{it}, nil
}

func (t *taskIterator) Close() { t.it.Close() }

// attachIterator makes an iterator of a program without maps.
func attachIterator(spec *ebpf.CollectionSpec, name string) (*link.Iter, error) {
	prog, err := loadIterator(spec, name)
	if err != nil {
		return nil, err
	}
	defer prog.Close() // the link holds it
	it, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return nil, fmt.Errorf("attach the iterator %s: %w", name, err)
	}
	return it, nil
}

// loadIterator loads a program without maps, as ebpf.NewProgram does, but against
// [kernelTypes]: that takes 3 ms in place of 20.
func loadIterator(spec *ebpf.CollectionSpec, name string) (*ebpf.Program, error) {
	p := spec.Programs[name]
	kernel, target, err := kernelTypes(spec.Types, "bpf_iter_"+p.AttachTo)
	if err != nil {
		return nil, fmt.Errorf("the kernel's types: %w", err)
	}
	p = p.Copy()
	if err := relocate(p, kernel); err != nil {
		return nil, fmt.Errorf("relocate %s: %w", name, err)
	}
	var code bytes.Buffer
	if err := p.Instructions.Marshal(&code, p.ByteOrder); err != nil {
		return nil, err
	}
	fd, log, err := loadTracing(code.Bytes(), p.License, unix.BPF_TRACE_ITER, target)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w%s", name, err, log)
	}
	return ebpf.NewProgramFromFD(fd)
}

// relocate makes a program's offsets the kernel's.
func relocate(p *ebpf.ProgramSpec, kernel *btf.Spec) error {
	var relos []*btf.CORERelocation
	var places []*asm.Instruction
	for it := p.Instructions.Iterate(); it.Next(); {
		if r := btf.CORERelocationMetadata(it.Ins); r != nil {
			relos, places = append(relos, r), append(places, it.Ins)
		}
	}
	fixups, err := btf.CORERelocate(relos, []*btf.Spec{kernel}, p.ByteOrder, func(btf.Type) (btf.TypeID, error) {
		return 0, errors.New("the program asks for its own types")
	})
	if err != nil {
		return err
	}
	for i := range fixups {
		if err := fixups[i].Apply(places[i]); err != nil {
			return fmt.Errorf("%s: %w", relos[i], err)
		}
	}
	return nil
}

// progLoadAttr is the head of union bpf_attr for BPF_PROG_LOAD: include/uapi/linux/bpf.h.
type progLoadAttr struct {
	progType, insnCount                              uint32
	insns, license                                   uint64
	logLevel, logSize                                uint32
	logBuf                                           uint64
	kernVersion, progFlags                           uint32
	name                                             [16]byte
	ifindex, expectedAttachType, btfFd, funcInfoSize uint32
	funcInfo                                         uint64
	funcInfoCount, lineInfoSize                      uint32
	lineInfo                                         uint64
	lineInfoCount, attachBTFID, attachFd, coreRelos  uint32
}

// loadTracing gives the verifier's last words with the error.
func loadTracing(code []byte, license string, attach uint32, target btf.TypeID) (fd int, log string, err error) {
	text := append([]byte(license), 0)
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&code[0])
	pin.Pin(&text[0])
	attr := progLoadAttr{
		progType: unix.BPF_PROG_TYPE_TRACING, insnCount: uint32(len(code) / asm.InstructionSize),
		insns: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&text[0]))),
		expectedAttachType: attach, attachBTFID: uint32(target),
	}
	copy(attr.name[:15], "leastcap_tasks")
	load := func() (int, error) {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		if errno != 0 {
			return -1, errno
		}
		return int(fd), nil
	}
	for range 5 { // a signal may interrupt the verifier: EAGAIN
		if fd, err = load(); !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if err == nil || errors.Is(err, unix.EPERM) {
		return fd, "", err
	}
	buf := make([]byte, 64<<10)
	pin.Pin(&buf[0])
	attr.logLevel, attr.logSize, attr.logBuf = 1, uint32(len(buf)), uint64(uintptr(unsafe.Pointer(&buf[0])))
	if fd, err2 := load(); err2 == nil {
		return fd, "", nil
	}
	log = unix.ByteSliceToString(buf)
	if len(log) > 1000 {
		log = "…" + log[len(log)-1000:]
	}
	return -1, "\n" + log, err
}

// read reads all entries.
func (t *taskIterator) read() ([]tasksTaskEntry, error) {
	r, err := t.it.Open()
	if err != nil {
		return nil, fmt.Errorf("open the task iterator: %w", err)
	}
	defer r.Close()
	const size = int(unsafe.Sizeof(tasksTaskEntry{}))
	entries := make([]tasksTaskEntry, 0, proc.Tasks()+64) // threads without an entry are rare enough
	buf := make([]byte, 256*size)                         // the kernel gives at most eight pages: kernel/bpf/bpf_iter.c
	held := 0
	for {
		n, err := r.Read(buf[held:])
		held += n
		done := 0
		for ; held-done >= size; done += size {
			entries = append(entries, decodeEntry(buf[done:done+size]))
		}
		held = copy(buf, buf[done:held])
		switch {
		case errors.Is(err, io.EOF) && held == 0:
			return entries, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("the task iterator stopped within an entry")
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, fmt.Errorf("read the task iterator: %w", err)
		}
	}
}

func decodeEntry(b []byte) (e tasksTaskEntry) {
	// The kernel wrote the structure itself: its layout is the generated type's.
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e)), b)
	return e
}

// cgroups is which cgroups a process is in: all of one css_set (kernel/cgroup/cgroup.c)
// are in the same.
type cgroups struct{ set, id uint64 }

type container struct {
	id, engine, pod string
	known           bool
}

// processes makes of entries what /proc says of them. Only containers' names are read
// there, once for all that are in the same cgroups.
func processes(entries []tasksTaskEntry, o TaskOptions) []proc.Process {
	list := make([]proc.Process, 0, len(entries))
	at := make(map[int]int)
	containers := map[cgroups]container{}
	hierarchy, herr := proc.FindHierarchy()
	for i := range entries {
		e := &entries[i]
		if e.Tid != e.Pid {
			continue
		}
		p := proc.Process{
			PID: int(e.Pid), PPID: int(e.Ppid), UID: e.Euid, Comm: unix.ByteSliceToString(e.Comm[:]), State: entryState(e),
			NoNewPrivs: e.NoNewPrivs != 0, Seccomp: int(e.Seccomp), Namespaces: proc.Namespaces(e.Ns), Kernel: e.Kthread != 0, Zombie: e.Exiting != 0, Securebits: -1,
		}
		if o.All {
			p.Securebits = int(e.Securebits)
		}
		if p.Kernel && !o.Kernel {
			continue
		}
		if e.Kthread != 0 {
			// /proc shows a worker's present work, too (fs/proc/array.c:proc_task_name).
			if q, err := proc.Read("/proc", p.PID); err == nil {
				p.Comm = q.Comm
			}
		}
		in := cgroups{e.CssSet, e.Cgroup}
		c, found := containers[in]
		if !found && e.Exiting == 0 && herr == nil {
			c.id, c.engine, c.pod, c.known = hierarchy.Contains(p.PID, e.Cgroup)
			if c.known {
				containers[in] = c
			}
		}
		if !c.known || e.Exiting != 0 { // zombies have left v1's cgroups
			var ok bool
			if c.id, c.engine, c.pod, ok = proc.ContainerOf(p.PID); !ok && unix.Kill(p.PID, 0) == unix.ESRCH {
				continue // it has ended meanwhile, and nobody can say where it was
			}
		}
		p.Container, p.Engine, p.Pod = c.id, c.engine, c.pod
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b proc.Process) int { return a.PID - b.PID })
	threads := false
	for i := range entries {
		threads = threads || entries[i].Tid != entries[i].Pid
	}
	if !threads {
		return list
	}
	for i := range list {
		at[list[i].PID] = i
	}
	for i := range entries {
		e := &entries[i]
		if j, ok := at[int(e.Pid)]; ok && e.Tid != e.Pid {
			list[j].Threads = append(list[j].Threads, proc.Thread{TID: int(e.Tid), Comm: unix.ByteSliceToString(e.Comm[:]), State: entryState(e)})
		}
	}
	for i := range list {
		slices.SortFunc(list[i].Threads, func(a, b proc.Thread) int { return a.TID - b.TID })
	}
	return list
}

func entryState(e *tasksTaskEntry) caps.State {
	s := &e.Sets
	return caps.State{
		Effective: caps.Set(s.Effective), Permitted: caps.Set(s.Permitted), Inheritable: caps.Set(s.Inheritable),
		Bounding: caps.Set(s.Bounding), Ambient: caps.Set(s.Ambient),
	}
}
