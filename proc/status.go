package proc

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// status is a process's file of that name.
type status struct {
	Process
	threads int
}

// The kernel escapes the name there as lib/string_helpers.c:string_escape_mem does
// with ESCAPE_SPACE|ESCAPE_SPECIAL, limited to these two (fs/proc/array.c:proc_task_name).
var commNames = strings.NewReplacer(`\\`, `\`, `\n`, "\n")

// kthreadd is the process that is the parent of the kernel's.
const kthreadd = 2

var errNoStatus = errors.New("no capabilities in it")

// parseStatus makes nothing of it that is not asked for: a machine has thousands.
func parseStatus(data []byte) (status, error) {
	s := status{Process: Process{Seccomp: -1, Securebits: -1}}
	found := 0
	told, memory, pid := false, false, 0
	for len(data) > 0 {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		i := bytes.IndexByte(line, ':')
		if i < 0 {
			continue
		}
		value := bytes.TrimPrefix(line[i+1:], []byte{'\t'})
		var err error
		var set *caps.Set
		switch string(line[:i]) {
		case "CapInh":
			set = &s.State.Inheritable
		case "CapPrm":
			set = &s.State.Permitted
		case "CapEff":
			set = &s.State.Effective
		case "CapBnd":
			set = &s.State.Bounding
		case "CapAmb":
			set = &s.State.Ambient
		case "Name":
			if s.Comm = string(value); strings.IndexByte(s.Comm, '\\') >= 0 {
				s.Comm = commNames.Replace(s.Comm)
			}
		case "State":
			s.Zombie = len(value) > 0 && (value[0] == 'Z' || value[0] == 'X')
		case "Kthread": // since Linux 6.8
			told, s.Kernel = true, string(value) == "1"
		case "VmSize":
			memory = true
		case "Pid":
			pid, err = strconv.Atoi(string(value))
		case "PPid":
			s.PPID, err = strconv.Atoi(string(value))
		case "Uid": // real, effective, saved, file system
			if f := bytes.Fields(value); len(f) == 4 {
				var n uint64
				n, err = strconv.ParseUint(string(f[1]), 10, 32)
				s.UID = uint32(n)
			}
		case "Threads":
			s.threads, err = strconv.Atoi(string(value))
		case "NoNewPrivs":
			s.NoNewPrivs = string(value) == "1"
		case "Seccomp":
			s.Seccomp, err = strconv.Atoi(string(value))
		}
		if set != nil {
			var n uint64
			n, err = strconv.ParseUint(string(value), 16, 64)
			*set = caps.Set(n)
			found++
		}
		if err != nil {
			return status{}, err
		}
	}
	if found < 4 { // CapAmb since Linux 4.3
		return status{}, errNoStatus
	}
	if !told {
		// kthreadd and its children have no memory of their own. In another pid namespace
		// than the first, process 2 is like any other.
		s.Kernel = (pid == kthreadd && s.PPID == 0 || s.PPID == kthreadd) && !memory && !s.Zombie
	}
	return s, nil
}
