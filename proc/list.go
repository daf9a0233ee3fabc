package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
)

// Process is one process as /proc shows it: proc_pid_status(5).
type Process struct {
	PID, PPID  int
	UID        uint32 // effective
	Comm       string // its name; at most 15 bytes, but for the kernel's own
	State      caps.State
	NoNewPrivs bool
	Seccomp    int    // 0 none, 1 strict, 2 filter; -1 if the kernel does not say
	Container  string // the container's id of 64 digits, "" for none
	// Engine is whose container it is by the name of its cgroup: "docker", "podman",
	// "containerd", "crio", "leastcap"; "" if that says nothing.
	Engine string
	// Pod is the uid of the Kubernetes pod that the container is in, "" for none.
	Pod string
	// Namespaces are those that are known without asking: all where the kernel's task
	// iterator was read, from /proc the user namespace if it was asked for. [Confined]
	// asks for the others.
	Namespaces Namespaces
	// Kernel says that it is one of the kernel's own, which no user space is in.
	Kernel bool
	// Zombie says that it has ended and is only waited for, as a first thread is that others
	// have outlived: it does nothing with what it has.
	Zombie bool
	// Securebits are prctl(2)'s PR_GET_SECUREBITS; -1 if not known. /proc does not show
	// them.
	Securebits int
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

// Known are the capabilities that this kernel has: capabilities(7), cap_last_cap.
func Known() caps.Set {
	data, err := readFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return caps.All()
	}
	last, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 6)
	if err != nil {
		return caps.All()
	}
	return caps.UpTo(caps.Cap(last))
}

// Tasks is how many threads there are on the machine, those of the kernel included:
// proc_loadavg(5). 0 if that cannot be read.
func Tasks() int {
	data, err := readFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(data))
	if len(f) < 4 {
		return 0
	}
	_, total, _ := strings.Cut(f[3], "/")
	n, _ := strconv.Atoi(total)
	return n
}

// ListOptions say what [List] reads of each process besides its status.
type ListOptions struct {
	// Kernel: the kernel's own processes, too.
	Kernel bool
	// Containers says for which the container is looked for: for none if it is nil.
	Containers func(*Process) bool
	// UserNamespaces says of which the user namespace is read: of none if it is nil.
	UserNamespaces func(*Process) bool
}

// Each is for what is read of all processes.
func Each(*Process) bool { return true }

// List reads all processes below root, "/proc" as a rule, in the order of their numbers.
// Those that end meanwhile are left out; unreadable counts those that may not be read.
func List(root string, o ListOptions) (list []Process, unreadable int, err error) {
	dir, err := openDir(root)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(dir)
	pids, err := numbers(dir)
	if err != nil {
		return nil, 0, err
	}
	list = make([]Process, len(pids))
	var kernel []int
	if !o.Kernel {
		kernel = kthreads(dir)
	}
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		denied atomic.Int64
	)
	const chunk = 16 // so that one with many threads does not keep the others waiting
	some := func() {
		r := reader{dir: dir, kernel: kernel, buf: make([]byte, 4096)}
		for {
			end := int(next.Add(chunk))
			if end-chunk >= len(pids) {
				return
			}
			for i := end - chunk; i < min(end, len(pids)); i++ {
				if err := r.read(pids[i], &o, &list[i]); errors.Is(err, fs.ErrPermission) {
					denied.Add(1)
				}
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), (len(pids)+chunk-1)/chunk) - 1 {
		wg.Go(some)
	}
	some() // to wait for others would be to be woken
	wg.Wait()
	list = slices.DeleteFunc(list, func(p Process) bool { return p.PID == 0 })
	return list, int(denied.Load()), nil
}

// openDir opens a directory. An os.File would be made known to the poller, which is of no
// use here.
func openDir(dir string) (fd int, err error) {
	if fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return -1, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

// numbers are the names in an open directory that are numbers, in order.
func numbers(fd int) ([]int, error) {
	var list []int
	var names []string
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("read a directory: %w", err)
		case n == 0:
			slices.Sort(list)
			return list, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
		for _, name := range names {
			if number, err := strconv.Atoi(name); err == nil {
				list = append(list, number)
			}
		}
	}
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

// Read reads one process, with its container and its user namespace.
func Read(root string, pid int) (*Process, error) {
	var p Process
	if err := newReader(root).read(pid, &ListOptions{Kernel: true, Containers: Each, UserNamespaces: Each}, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// kthreads are the children of kthreadd, in order, as far as the kernel says: proc_pid_task(5),
// children. None in other pid namespaces than the first.
func kthreads(dir int) (list []int) {
	r := reader{dir: dir, buf: make([]byte, 8<<10)}
	data, err := r.file(kthreadd, "status")
	if err != nil {
		return nil
	}
	if s, err := parseStatus(data); err != nil || !s.Kernel {
		return nil
	}
	fd, err := unix.Openat(dir, "2/task/2/children", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // a kernel without CONFIG_PROC_CHILDREN
	}
	defer unix.Close(fd)
	held := 0
	for { // it comes in pieces
		n, err := unix.Read(fd, r.buf[held:])
		if err != nil || n == 0 {
			break
		}
		if held += n; held == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
	}
	for word := range bytes.FieldsSeq(r.buf[:held]) {
		if pid, err := strconv.Atoi(string(word)); err == nil {
			list = append(list, pid)
		}
	}
	slices.Sort(list)
	return list
}

// reader reads one process after the other into the same buffer.
type reader struct {
	dir    int    // an open directory, in which that is
	prefix string // before the process's number
	kernel []int  // probably the kernel's, which are of no interest
	path   []byte
	buf    []byte
}

func newReader(root string) *reader {
	return &reader{dir: unix.AT_FDCWD, prefix: root + "/", buf: make([]byte, 4096)}
}

// readFile reads one that the kernel shows in one piece.
func readFile(path string) ([]byte, error) {
	r := reader{dir: unix.AT_FDCWD, buf: make([]byte, 256)}
	return r.open(path)
}

// to is the path of a file of a process.
func (r *reader) to(pid int, name string) string {
	r.path = append(strconv.AppendInt(append(r.path[:0], r.prefix...), int64(pid), 10), '/')
	return string(append(r.path, name...))
}

// file reads a file of a process. What it returns holds until the next call.
func (r *reader) file(pid int, name string) ([]byte, error) { return r.open(r.to(pid, name)) }

func (r *reader) open(path string) ([]byte, error) {
	fd, err := unix.Openat(r.dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n := 0
	for {
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		m, err := unix.Read(fd, r.buf[n:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		// All of these files are shown in one piece, so that a short read is all
		// (fs/proc/base.c:proc_single_show, fs/seq_file.c:seq_read_iter).
		if n += m; n < len(r.buf) {
			return r.buf[:n], nil
		}
	}
}

// read fills p, and leaves it empty if there is nothing to say.
func (r *reader) read(pid int, o *ListOptions, p *Process) error {
	if _, found := slices.BinarySearch(r.kernel, pid); found {
		// What kthreadd has started to be a program has an executable file. To look for it
		// takes a third of the time of reading the status, but may not be allowed.
		_, err := unix.Readlinkat(r.dir, r.to(pid, "exe"), r.buf)
		switch {
		case errors.Is(err, unix.ENOENT):
			return nil
		case errors.Is(err, unix.EACCES):
			r.kernel = nil
		}
	}
	data, err := r.file(pid, "status")
	if err != nil {
		return err
	}
	s, err := parseStatus(data)
	if err != nil {
		return err
	}
	s.PID = pid
	if s.Kernel && !o.Kernel {
		return nil
	}
	if s.threads > 1 {
		s.Threads = r.others(&s)
	}
	if o.Containers != nil && o.Containers(&s.Process) {
		if cgroup, err := r.file(pid, "cgroup"); err == nil {
			s.Container, s.Engine, s.Pod = containerOf(cgroup)
		}
	}
	if o.UserNamespaces != nil && o.UserNamespaces(&s.Process) {
		s.Namespaces[NSUser] = r.userNamespace(pid)
	}
	*p = s.Process
	return nil
}

// userNamespace is the inode number of it, 0 if it may not be read.
func (r *reader) userNamespace(pid int) uint32 {
	n, err := unix.Readlinkat(r.dir, r.to(pid, "ns/user"), r.buf)
	if err != nil {
		return 0
	}
	ns, _ := parseNamespace(string(r.buf[:n]), "user") // none is 0
	return ns
}

// others are the threads with other sets. One that ends meanwhile is left out.
func (r *reader) others(p *status) []Thread {
	task := r.to(p.PID, "task")
	fd, err := unix.Openat(r.dir, task, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	tids, err := numbers(fd)
	unix.Close(fd)
	if err != nil {
		return nil
	}
	var list []Thread
	for _, tid := range tids {
		if tid == p.PID {
			continue
		}
		data, err := r.open(task + "/" + strconv.Itoa(tid) + "/status")
		if err != nil {
			continue
		}
		if t, err := parseStatus(data); err == nil && t.State != p.State {
			list = append(list, Thread{tid, t.Comm, t.State})
		}
	}
	return list
}
