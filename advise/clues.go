package advise

import (
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
)

// What a workload's files suggest that it needs, where nothing shows what it asks the
// kernel for. Clues only order what is tried: what is needed is what a run fails without.

// Clue is how strongly the files suggest a need, the strongest last.
type Clue uint8

const (
	NoClue    Clue = iota
	Linked         // a library that a program is linked with calls a function that asks for it
	Helped         // a command that a script or an argument names does
	Called         // the workload's own program or script does
	Granted        // a program that it executes has the file capability
	clueKinds      // how many there are
)

// Clues are what the files of a workload suggest.
type Clues struct {
	// Root: it starts as root, or executes a set-uid program of root's.
	Root bool
	// Mute: what it executes tells nothing: no program was found, or a static one
	// without symbols.
	Mute bool
	// Of are the clues to each capability.
	Of map[caps.Cap]Clue
	// From says in which file the strongest was: "chown in /usr/sbin/nginx".
	From map[caps.Cap]string
}

// Add puts in a clue, if it is stronger than what is known.
func (c *Clues) Add(set caps.Set, clue Clue, from string) {
	if c.Of == nil {
		c.Of, c.From = map[caps.Cap]Clue{}, map[caps.Cap]string{}
	}
	for _, k := range set.Caps() {
		if clue > c.Of[k] {
			c.Of[k], c.From[k] = clue, from
		}
		// Who gives files away often uses them afterwards.
		if k == caps.Chown && clue > Linked && c.Of[caps.DacOverride] < Linked {
			c.Of[caps.DacOverride], c.From[caps.DacOverride] = Linked, from
		}
	}
}

// functions are those of the C library, and Go's, by the capability that the kernel
// asks for behind them (capabilities(7), caps/catalog). What every program calls
// (open, socket, ioctl, write) is no clue.
var functions = sync.OnceValue(func() map[caps.Cap]string {
	return map[caps.Cap]string{
		caps.Chown:          "chown lchown fchown fchownat",
		caps.Setgid:         "setgid setregid setresgid setegid setgroups initgroups setfsgid",
		caps.Setuid:         "setuid setreuid setresuid seteuid setfsuid",
		caps.Fowner:         "chmod fchmod fchmodat utimensat futimens utimes utime lutimes futimes",
		caps.Fsetid:         "chmod fchmod fchmodat",
		caps.Kill:           "kill killpg tgkill",
		caps.SysChroot:      "chroot",
		caps.Mknod:          "mknod mknodat xmknod __xmknod xmknodat __xmknodat",
		caps.NetBindService: "bind",
		caps.NetRaw:         "pcap_activate pcap_open_live libnet_init",
		caps.SysAdmin:       "mount umount umount2 pivot_root setns unshare swapon swapoff sethostname setdomainname quotactl bpf fanotify_init",
		caps.SysNice:        "setpriority nice sched_setscheduler sched_setaffinity sched_setparam ioprio_set",
		caps.IpcLock:        "mlock mlock2 mlockall",
		caps.SysPtrace:      "ptrace process_vm_readv process_vm_writev",
		caps.Setpcap:        "capset cap_set_proc prctl_capbset_drop cap_drop_bound capng_apply capng_change_id",
		caps.Setfcap:        "cap_set_file cap_set_fd",
		caps.SysResource:    "setrlimit setrlimit64 prlimit prlimit64",
		caps.SysTime:        "settimeofday clock_settime adjtimex clock_adjtime ntp_adjtime stime",
		caps.SysBoot:        "reboot kexec_load",
		caps.SysModule:      "init_module finit_module delete_module",
		caps.SysRawio:       "iopl ioperm",
		caps.SysPacct:       "acct",
		caps.Syslog:         "klogctl",
		caps.SysTtyConfig:   "vhangup",
		caps.AuditWrite:     "audit_log_user_message audit_log_acct_message audit_log_user_command pam_open_session",
		caps.AuditControl:   "audit_add_rule_data audit_set_enabled",
	}
})

// commands are programs that scripts call, by what they need when they do what they are
// for.
var commands = sync.OnceValue(func() map[caps.Cap]string {
	return map[caps.Cap]string{
		caps.Chown:       "chown chgrp install useradd adduser dpkg",
		caps.Setgid:      "gosu su-exec setpriv su runuser sudo chpst setuidgid s6-setuidgid start-stop-daemon apt-get login",
		caps.Setuid:      "gosu su-exec setpriv su runuser sudo chpst setuidgid s6-setuidgid start-stop-daemon apt-get login",
		caps.SysChroot:   "chroot",
		caps.Mknod:       "mknod",
		caps.DacOverride: "dpkg",
		caps.Fowner:      "chmod dpkg tar touch",
		caps.Fsetid:      "dpkg tar",
		caps.Kill:        "kill pkill killall",
		caps.NetAdmin:    "ip ifconfig iptables ip6tables iptables-restore nft tc route brctl wg wg-quick",
		caps.NetRaw:      "ping ping6 arping tcpdump traceroute mtr iptables iptables-restore nmap hping3",
		caps.SysAdmin:    "mount umount nsenter unshare losetup hostname",
		caps.SysNice:     "renice ionice chrt nice",
		caps.SysPtrace:   "strace gdb ltrace",
		caps.SysTime:     "hwclock ntpd chronyd ntpdate",
		caps.Setfcap:     "setcap",
		caps.SysModule:   "modprobe insmod rmmod",
		caps.Setpcap:     "capsh",
	}
})

// index turns a table around.
func index(table map[caps.Cap]string) map[string]caps.Set {
	by := map[string]caps.Set{}
	for c, names := range table {
		for name := range strings.FieldsSeq(names) {
			by[name] = by[name].With(c)
		}
	}
	return by
}

var byFunction, byCommand = sync.OnceValue(func() map[string]caps.Set { return index(functions()) }),
	sync.OnceValue(func() map[string]caps.Set { return index(commands()) })

// FunctionNeeds gives what a function of that name may ask the kernel for, none for one
// that says nothing.
func FunctionNeeds(name string) caps.Set { return byFunction()[name] }

// CommandNeeds gives what a command of that name mostly needs.
func CommandNeeds(name string) caps.Set { return byCommand()[name] }
