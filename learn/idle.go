package learn

import (
	"bytes"
	"os"
	"runtime"
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
	return parseIdle(data, runtime.NumCPU())
}

// parseIdle reads the fourth number of the first line, in ticks of which every architecture
// tells user space a hundred a second (proc_stat(5); USER_HZ).
func parseIdle(data []byte, cpus int) (time.Duration, bool) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 5 || string(f[0]) != "cpu" {
		return 0, false
	}
	ticks, err := strconv.ParseInt(string(f[4]), 10, 63)
	if err != nil {
		return 0, false
	}
	return time.Duration(ticks) * 10 * time.Millisecond / time.Duration(cpus), true
}
