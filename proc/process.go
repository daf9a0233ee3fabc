package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
)

// StartTime gives field 22 of /proc/PID/stat, in clock ticks since boot. With
// the pid it names a process for good: pids are used again. It is the first time
// namespace's, whatever this process is in, so that others understand it.
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return startTime(string(data))
}

func startTime(stat string) (uint64, error) {
	// The command may hold spaces and parentheses: fields count from the last ')'.
	_, rest, ok := cutLast(stat, ")")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("/proc/PID/stat: unexpected form %q", stat)
	}
	t, err := strconv.ParseInt(fields[19], 10, 64)
	return uint64(t - bootOffset()), err
}

// bootOffset is what this process's time namespace adds to the time since boot, in clock
// ticks: time_namespaces(7).
var bootOffset = sync.OnceValue(func() int64 {
	data, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return 0 // a kernel without them, before 5.5
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "boottime" && f[0] != "7" { // CLOCK_BOOTTIME, until 5.6
			continue
		}
		sec, serr := strconv.ParseInt(f[1], 10, 64)
		nsec, nerr := strconv.ParseInt(f[2], 10, 64)
		if serr == nil && nerr == nil {
			return sec*ticks + nsec/(1e9/ticks)
		}
	}
	return 0
})

// ticks are a second's, to user space: USER_HZ (include/asm-generic/param.h).
const ticks = 100

// Session lists the processes of a session: field 6 of /proc/PID/stat. A
// process keeps it wherever its cgroup is, unless it makes one of its own.
func Session(sid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := cutLast(string(stat), ")")
		if f := strings.Fields(rest); len(f) > 3 && f[3] == strconv.Itoa(sid) && !ended(string(stat)) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Owner names a process for good: "PID-STARTTIME", and with "nINODE" behind it in another
// pid namespace than the first. It marks what leastcap creates, so that a later start knows
// what a killed one left behind.
type Owner string

// OwnerPattern is what an owner looks like, for regular expressions.
const OwnerPattern = `\d+-\d+(?:n\d+)?`

// Self is this process.
func Self() Owner {
	pid := os.Getpid()
	t, err := StartTime(pid)
	if err != nil {
		t = 0
	}
	o := fmt.Sprintf("%d-%d", pid, t)
	if ns := ownPIDs(); ns != "" {
		o += "n" + ns
	}
	return Owner(o)
}

// ownPIDs is the inode of this process's pid namespace, empty for the first one.
var ownPIDs = sync.OnceValue(func() string { return pidNamespace("self") })

func pidNamespace(pid string) string {
	const first = "4026531836" // include/linux/proc_ns.h PROC_PID_INIT_INO
	link, _ := os.Readlink("/proc/" + pid + "/ns/pid")
	ns, ok := strings.CutPrefix(strings.TrimSuffix(link, "]"), "pid:[")
	if !ok || ns == first {
		return ""
	}
	return ns
}

// Alive says whether that process still runs; one that nobody has waited for
// yet does not. What is not an owner's name is not alive. One in a pid namespace that
// cannot be looked into is taken for alive.
func (o Owner) Alive() bool {
	pid, start, ok := strings.Cut(string(o), "-")
	n, err := strconv.Atoi(pid)
	if !ok || err != nil || n <= 0 {
		return false
	}
	start, ns, _ := strings.Cut(start, "n")
	switch own := ownPIDs(); {
	case ns == own:
		return runs(pid, start)
	case own != "":
		return true
	}
	// The first namespace sees all, under other numbers.
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		// Another user's may not be read: its numbers tell enough.
		if in := pidNamespace(d.Name()); in != "" && in != ns {
			continue
		}
		status, err := os.ReadFile("/proc/" + d.Name() + "/status")
		if err != nil {
			continue // ended meanwhile
		}
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) > 1 && f[0] == "NSpid:" && f[len(f)-1] == pid && runs(d.Name(), start) {
				return true
			}
		}
	}
	return false
}

// runs says whether there is such a process that started then. From time namespaces whose
// offsets are not whole ticks (criu makes such) a start is rounded differently, by one.
func runs(pid, start string) bool {
	then, err := strconv.ParseUint(start, 10, 64)
	if err != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	t, err := startTime(string(stat))
	return err == nil && t <= then+1 && then <= t+1 && !ended(string(stat))
}

// ended says whether /proc/PID/stat is a zombie's: proc_pid_stat(5), field 3.
func ended(stat string) bool {
	_, rest, _ := cutLast(stat, ")")
	state := strings.TrimSpace(rest)
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

// Leader is the process that a thread is of, and of a process itself: Tgid of
// /proc/PID/status. A thread has a directory in /proc, too, which no listing shows.
func Leader(tid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Tgid:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errNoStatus
}

// Bounding gives a process's bounding set: CapBnd of /proc/PID/status.
func Bounding(pid int) (caps.Set, error) {
	s, err := Sets(pid)
	return s.Bounding, err
}

// Sets reads all of a process's sets.
func Sets(pid int) (caps.State, error) {
	name := fmt.Sprintf("/proc/%d/status", pid)
	data, err := os.ReadFile(name)
	if err != nil {
		return caps.State{}, err
	}
	s, err := parseStatus(data)
	if err != nil {
		return caps.State{}, fmt.Errorf("%s: %w", name, err)
	}
	return s.State, nil
}
