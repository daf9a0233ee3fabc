package proc

import (
	"os"
	"strings"
)

// Hidden says that /proc is mounted so that it does not show other users' processes: proc(5),
// hidepid.
func Hidden() bool {
	data, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && hidden(string(data))
}

func hidden(mountinfo string) bool {
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || fields[4] != "/proc" || len(tail) < 3 || tail[0] != "proc" {
			continue
		}
		for _, option := range strings.Split(tail[2], ",") {
			if value, ok := strings.CutPrefix(option, "hidepid="); ok {
				return value != "0" && value != "off"
			}
		}
	}
	return false
}
