package usage

import (
	"time"

	"github.com/leastcap/leastcap/caps"
)

// Begun says whether a system call was seen to begin: one that seccomp stops is not.
type Begun string

const (
	BegunUnknown Begun = ""
	BegunYes     Begun = "yes"
	BegunNo      Begun = "no"
)

// Refusal is one kind of system call that failed with EPERM, EACCES or EROFS, with the
// first of its kind: what the kernel knew of it. Why it failed is [advise.Explain]'s.
type Refusal struct {
	Group   string        // whose: a container, a unit
	Since   time.Duration // when, since boot
	Count   uint64
	Syscall string
	Call    string // with its arguments, for people
	Path    string // absolute, as the process names it
	Args    [6]uint64
	Errno   string
	// Denied, Beyond and Granted are the counted checks that it led to: denied for want
	// of the bit, denied whatever the process has, and granted.
	Denied, Beyond, Granted caps.Set
	Asked                   caps.Set // capset(2): all that is in its sets
	Function                string   // the kernel function that was denied first
	Begun                   Begun
	Reply                   bool // netlink's answer says so; the call itself succeeded

	Process       Process
	FSUID, FSGID  uint32
	State         caps.State
	Launch        bool // by the runtime's last steps, as the container
	NoNewPrivs    bool
	Seccomp       int  // 0 off, 1 strict, 2 filter
	UserNamespace bool // not the initial one
	// Numbered: FSUID, FSGID and the ids of File are as the user namespace numbers them.
	Numbered bool

	// What was looked up afterwards, as far as it could be.
	File    *File  // what Path leads to
	Program *File  // the process's executable
	LSM     string // its label: SELinux' context, AppArmor's profile
}

// File is what is known of a file, as one who may look sees it.
type File struct {
	Exists    bool           `json:"exists"`
	UID       uint32         `json:"uid"`
	GID       uint32         `json:"gid"`
	Mode      uint32         `json:"mode"` // with its type, as stat(2) has it
	ReadOnly  bool           `json:"read_only,omitempty"`
	NoExec    bool           `json:"noexec,omitempty"`
	NoSetID   bool           `json:"nosuid,omitempty"`
	Immutable bool           `json:"immutable,omitempty"` // or append-only
	Caps      *caps.FileCaps `json:"file_capabilities,omitempty"`
	// Device is the kind and number of a device, as "c 1:11"; DeviceName is its file on the
	// host, "" if there is none.
	Device     string `json:"device,omitempty"`
	DeviceName string `json:"device_name,omitempty"`
	// Shared: it is in a sticky directory that others may write to, and belongs to somebody
	// else than the directory.
	Shared bool `json:"shared,omitempty"`
	// Unmapped: its owner or group has no number in the process's user namespace.
	Unmapped bool `json:"unmapped,omitempty"`
	// Unmounted: its file system is mounted no more, and how it was is not known.
	Unmounted bool `json:"-"`
	// Blocker is the first directory on the way that the process may not search.
	Blocker string `json:"blocker,omitempty"`
}

// May says whether the mode lets a user do something (4 read, 2 write, 1 execute or
// search). Supplementary groups and ACLs are not looked at.
func (f *File) May(uid, gid, what uint32) bool {
	switch {
	case f.UID == uid:
		return f.Mode>>6&what == what
	case f.GID == gid:
		return f.Mode>>3&what == what
	}
	return f.Mode&what == what
}
