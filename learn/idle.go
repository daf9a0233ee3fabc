package learn

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// idleTime is for how long, since the machine was started, a CPU of it had nothing to do, on
// average of all of them. In that time nobody waited for one. Waiting for a disk does not count
// as idle, nor does what a hypervisor took away. It is not known outside Linux.
func idleTime() (time.Duration, bool) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	return parseIdle(data)
}

// parseIdle reads the fourth number of the first line, which is the sum of all CPUs, in ticks of
// which every architecture tells user space a hundred a second (proc_stat(5); USER_HZ). Each CPU
// has a line of its own behind it: those that this process may use can be fewer.
func parseIdle(data []byte) (time.Duration, bool) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 5 || string(f[0]) != "cpu" {
		return 0, false
	}
	ticks, err := strconv.ParseInt(string(f[4]), 10, 63)
	cpus := 0
	for line := range bytes.Lines(rest) {
		if bytes.HasPrefix(line, []byte("cpu")) {
			cpus++
		}
	}
	if err != nil || cpus == 0 {
		return 0, false
	}
	return time.Duration(ticks) * 10 * time.Millisecond / time.Duration(cpus), true
}
