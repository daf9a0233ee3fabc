package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
)

// fileCapsResult is an executable's file capabilities: nil caps and no error
// mean that it has none.
type fileCapsResult struct {
	caps  *caps.FileCaps
	err   error
	tries int
}

// maxTries is how often it is tried to read an executable's file capabilities: one whose
// processes are gone would be looked for at each survey.
const maxTries = 8

func decodeEvent(raw []byte) (ev bpfExecEvent, ok bool) {
	return ev, binary.Read(bytes.NewReader(raw), binary.NativeEndian, &ev) == nil
}

// resolveExe reads an executable's file capabilities through a process that
// runs it, or else through the root directory of any process in its scope.
func (p *Probe) resolveExe(key bpfExeKey, pid int) fileCapsResult {
	p.mu.Lock()
	got, ok := p.fileCaps[key]
	p.mu.Unlock()
	if ok && (got.err == nil || got.tries >= maxTries) {
		return got
	}
	var exe bpfExe
	end := unpreempted()
	err := p.coll.Maps[bpfMapExes].Lookup(key, &exe)
	end()
	if err != nil {
		return fileCapsResult{err: fmt.Errorf("executable is gone from the map: %w", err)}
	}
	want := walkPath(exe.Walk)
	// Under another number there may be any process, whose file of that name is another.
	res := fileCapsResult{err: errors.New("processes have other numbers here")}
	if p.kernelNumbers {
		res = p.readThroughAny(pid, key.Scope, want)
	}
	if res.err != nil {
		if own := readSame(want, key); own.err == nil {
			res = own
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	res.tries = got.tries + 1
	p.fileCaps[key] = res
	return res
}

// readThroughAny reads through the process, or else through another of its scope.
func (p *Probe) readThroughAny(pid int, scope uint64, want string) fileCapsResult {
	res := readThroughProcess(pid, want)
	if res.err == nil {
		return res
	}
	for _, other := range p.processes(scope) {
		if res = readThroughRoot(other, want); res.err == nil {
			break
		}
	}
	return res
}

// readThroughProcess follows /proc/PID/exe, and makes sure that the process
// did not execute something else meanwhile.
func readThroughProcess(pid int, want string) fileCapsResult {
	link := fmt.Sprintf("/proc/%d/exe", pid)
	res := readFileCaps(link)
	target, err := os.Readlink(link)
	if err != nil {
		return fileCapsResult{err: err}
	}
	if !isPath(target, want) {
		return fileCapsResult{err: fmt.Errorf("process %d runs %s by now", pid, target)}
	}
	return res
}

// isPath compares a link of /proc with a path that the kernel side read, of
// which the beginning may be missing.
func isPath(link, want string) bool {
	for _, file := range []string{link, strings.TrimSuffix(link, " (deleted)")} {
		end, cut := strings.CutPrefix(want, "/…")
		if file == want || file == "/"+want || cut && strings.HasSuffix(file, end) {
			return true
		}
	}
	return false
}

func readThroughRoot(pid int, file string) fileCapsResult {
	return readInRoot(fmt.Sprintf("/proc/%d/root", pid), file)
}

// readInRoot reads a file below another root directory, as a process there
// would: an absolute symbolic link begins again at that root, never at ours.
func readInRoot(root, file string) fileCapsResult {
	if !strings.HasPrefix(file, "/") {
		return fileCapsResult{err: fmt.Errorf("%s has no place in a tree", file)}
	}
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fileCapsResult{err: &os.PathError{Op: "open", Path: root, Err: err}}
	}
	defer unix.Close(dir)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	var fd int
	for range 10 { // EAGAIN: something was renamed meanwhile, and the path has ".."
		if fd, err = unix.Openat2(dir, file, &how); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fileCapsResult{err: fmt.Errorf("%s below %s cannot be read safely: openat2(2) is missing (Linux 5.6 has it): %w", file, root, err)}
	case err != nil:
		return fileCapsResult{err: &os.PathError{Op: "openat2", Path: root + file, Err: err}}
	}
	defer unix.Close(fd)
	return readFileCaps(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// readSame reads a file as we see it ourselves, if it is the very one that was
// executed: all processes that ran it may be gone by now.
func readSame(file string, key bpfExeKey) fileCapsResult {
	fd, err := unix.Open(file, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fileCapsResult{err: &os.PathError{Op: "open", Path: file, Err: err}}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fileCapsResult{err: &os.PathError{Op: "stat", Path: file, Err: err}}
	}
	// The kernel's own form of a device number: include/linux/kdev_t.h MKDEV().
	if st.Ino != key.Ino || unix.Major(st.Dev)<<20|unix.Minor(st.Dev) != key.Dev {
		return fileCapsResult{err: fmt.Errorf("%s is another file by now, or elsewhere", file)}
	}
	return readFileCaps(fmt.Sprintf("/proc/self/fd/%d", fd))
}

func readFileCaps(file string) fileCapsResult {
	c, err := proc.FileCaps(file)
	return fileCapsResult{caps: c, err: err}
}

// processes lists the processes that are known to be in a scope.
func (p *Probe) processes(scope uint64) []int {
	var pids []int
	_ = each(p.coll.Maps[bpfMapTasks], func(tid uint32, t bpfTask) { // those found will do
		if t.Scope == scope {
			pids = append(pids, int(tid))
		}
	})
	return pids
}

// walkString is a path as text.
func walkString(w bpfWalk) string { return strings.ToValidUTF8(walkPath(w), "\uFFFD") }

// walkPath joins a path that the kernel side read leaf first. What has no
// place in the tree (memfd:NAME) is its name alone.
func walkPath(w bpfWalk) string {
	var names []string
	for _, name := range slices.Backward(strings.Split(string(w.Names[:min(int(w.Len), len(w.Names))]), "\x00")) {
		if name != "" {
			names = append(names, name)
		}
	}
	if w.Truncated != 0 {
		names = append([]string{"…"}, names...)
	}
	if len(names) == 1 && (strings.HasPrefix(names[0], "memfd:") || strings.Contains(names[0], ":[")) {
		return names[0]
	}
	return "/" + strings.Join(names, "/")
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
