package caps

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Cap is the number of one capability, 0 to 63. Numbers above [Last] are
// capabilities of newer kernels; they are carried, but have no name here.
type Cap uint8

// The capabilities in the order of include/uapi/linux/capability.h.
const (
	Chown Cap = iota
	DacOverride
	DacReadSearch
	Fowner
	Fsetid
	Kill
	Setgid
	Setuid
	Setpcap
	LinuxImmutable
	NetBindService // 10
	NetBroadcast
	NetAdmin
	NetRaw
	IpcLock
	IpcOwner
	SysModule
	SysRawio
	SysChroot
	SysPtrace
	SysPacct // 20
	SysAdmin
	SysBoot
	SysNice
	SysResource
	SysTime
	SysTtyConfig
	Mknod
	Lease
	AuditWrite
	AuditControl // 30
	Setfcap
	MacOverride
	MacAdmin
	Syslog
	WakeAlarm
	BlockSuspend
	AuditRead
	Perfmon           // since Linux 5.8
	Bpf               // since Linux 5.8
	CheckpointRestore // 40, since Linux 5.9

	// Last is the highest capability that has a name here: the kernel's
	// CAP_LAST_CAP at the time of writing.
	Last = CheckpointRestore
)

// maxCap is the highest number that fits the kernel's 64-bit sets
// (kernel_cap_t, include/linux/capability.h).
const maxCap Cap = 63

// names is the only table of names. Every other spelling is made from it.
var names = [...]string{
	Chown:             "chown",
	DacOverride:       "dac_override",
	DacReadSearch:     "dac_read_search",
	Fowner:            "fowner",
	Fsetid:            "fsetid",
	Kill:              "kill",
	Setgid:            "setgid",
	Setuid:            "setuid",
	Setpcap:           "setpcap",
	LinuxImmutable:    "linux_immutable",
	NetBindService:    "net_bind_service",
	NetBroadcast:      "net_broadcast",
	NetAdmin:          "net_admin",
	NetRaw:            "net_raw",
	IpcLock:           "ipc_lock",
	IpcOwner:          "ipc_owner",
	SysModule:         "sys_module",
	SysRawio:          "sys_rawio",
	SysChroot:         "sys_chroot",
	SysPtrace:         "sys_ptrace",
	SysPacct:          "sys_pacct",
	SysAdmin:          "sys_admin",
	SysBoot:           "sys_boot",
	SysNice:           "sys_nice",
	SysResource:       "sys_resource",
	SysTime:           "sys_time",
	SysTtyConfig:      "sys_tty_config",
	Mknod:             "mknod",
	Lease:             "lease",
	AuditWrite:        "audit_write",
	AuditControl:      "audit_control",
	Setfcap:           "setfcap",
	MacOverride:       "mac_override",
	MacAdmin:          "mac_admin",
	Syslog:            "syslog",
	WakeAlarm:         "wake_alarm",
	BlockSuspend:      "block_suspend",
	AuditRead:         "audit_read",
	Perfmon:           "perfmon",
	Bpf:               "bpf",
	CheckpointRestore: "checkpoint_restore",
}

// byName and kernelNames are derived from names, so that look-ups and the
// upper-case spellings cost no allocation.
var (
	byName      = sync.OnceValue(makeByName)
	kernelNames = sync.OnceValue(makeKernelNames)
)

func makeByName() map[string]Cap {
	m := make(map[string]Cap, len(names))
	for i, name := range names {
		m[name] = Cap(i)
	}
	return m
}

func makeKernelNames() *[len(names)]string {
	upper := new([len(names)]string)
	for i, name := range names {
		upper[i] = prefix + strings.ToUpper(name)
	}
	return upper
}

// prefix begins a capability's name in the kernel's headers.
const prefix = "CAP_"

// Known reports whether the capability has a name here.
func (c Cap) Known() bool { return c <= Last }

// String returns the spelling for people: "net_raw", or the decimal number
// ("47") of a capability without a name.
func (c Cap) String() string {
	if c.Known() {
		return names[c]
	}
	return strconv.Itoa(int(c))
}

// Name returns the kernel's spelling: "CAP_NET_RAW", or the decimal number of
// a capability without a name.
func (c Cap) Name() string {
	if c.Known() {
		return kernelNames()[c]
	}
	return strconv.Itoa(int(c))
}

// Docker returns the spelling that container engines and Kubernetes use:
// "NET_RAW", or the decimal number of a capability without a name (which they
// do not accept).
func (c Cap) Docker() string { return strings.TrimPrefix(c.Name(), prefix) }

// MarshalText makes a Cap "CAP_NET_RAW" in JSON, also as the key of an object.
// A number that fits no set is an error.
func (c Cap) MarshalText() ([]byte, error) {
	if c > maxCap {
		return nil, &UnknownError{Name: c.Name()}
	}
	return []byte(c.Name()), nil
}

// UnmarshalText is [ParseCap].
func (c *Cap) UnmarshalText(text []byte) error {
	parsed, err := ParseCap(string(text))
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}

// ParseCap reads one capability: its name in any case, with or without the
// CAP_ prefix, or its decimal number 0 to 63. Space around it does not matter.
//
// A number with a leading zero is refused: libcap reads "010" as octal, people
// read it as ten.
//
// The error is an [*UnknownError].
func ParseCap(s string) (Cap, error) {
	s = strings.TrimSpace(s)
	if c, ok := byName()[bareName(s)]; ok {
		return c, nil
	}
	if c, ok := parseNumber(s); ok {
		return c, nil
	}
	return 0, &UnknownError{Name: s, Suggestion: suggest(s)}
}

// bareName returns s in lower case and without one CAP_ prefix.
func bareName(s string) string {
	lower := strings.ToLower(s)
	if len(lower) != len(s) {
		// Letters beyond ASCII that become ASCII ones, as the Kelvin sign
		// becomes k: no name has them.
		return s
	}
	return strings.TrimPrefix(lower, "cap_")
}

// parseNumber reads "0" to "63", without leading zeros.
func parseNumber(s string) (Cap, bool) {
	if !isDigits(s) || len(s) > 2 || (len(s) == 2 && s[0] == '0') {
		return 0, false
	}
	n := 0
	for _, digit := range []byte(s) {
		n = n*10 + int(digit-'0')
	}
	return Cap(n), n <= int(maxCap)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// UnknownError says that a text names no capability.
type UnknownError struct {
	// Name is the text as it was given, without the space around it.
	Name string
	// Suggestion is the nearest name as [Cap.String] writes it, or empty if
	// none is near.
	Suggestion string
}

func (e *UnknownError) Error() string {
	switch {
	case e.Name == "":
		return "empty capability name"
	case isDigits(e.Name):
		return fmt.Sprintf("unknown capability %q: numbers are 0 to %d, without leading zeros", e.Name, maxCap)
	case e.Suggestion != "":
		return fmt.Sprintf("unknown capability %q: did you mean %q?", e.Name, e.Suggestion)
	}
	return fmt.Sprintf("unknown capability %q", e.Name)
}
