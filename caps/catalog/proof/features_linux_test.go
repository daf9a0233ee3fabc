package proof_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps/catalog/proof"
)

// features tell whether this machine has one, by something else than the operations that
// need it. They work without any right, so that a missing right is not taken for a
// missing feature.
var features = map[string]func() bool{
	// kernel/module/procfs.c: there with CONFIG_MODULES alone; modules_disabled closes
	// it for good.
	"modules": func() bool { return exists("/proc/modules") && read("/proc/sys/kernel/modules_disabled") != "1" },
	// kernel/ksysfs.c, kernel/kexec_core.c.
	"kexec": func() bool {
		return exists("/sys/kernel/kexec_loaded") && read("/proc/sys/kernel/kexec_load_disabled") != "1"
	},
	"io_ports": func() bool {
		if runtime.GOARCH != "amd64" {
			return false
		}
		const iopl = 172 // arch/x86/entry/syscalls/syscall_64.tbl
		_, _, errno := unix.RawSyscall(iopl, 0, 0, 0)
		return errno != unix.ENOSYS
	},
	// kernel/power/main.c: there with CONFIG_PM_SLEEP alone.
	"suspend":       func() bool { return exists("/sys/power/wakeup_count") },
	"perf_paranoid": func() bool { return number("/proc/sys/kernel/perf_event_paranoid") >= 1 },
	"hidden_addresses": func() bool { // kernel/ksyms_common.c:kallsyms_show_value
		switch number("/proc/sys/kernel/kptr_restrict") {
		case 0:
			return number("/proc/sys/kernel/perf_event_paranoid") > 1
		case 1:
			return true
		}
		return false
	},
	// include/linux/proc_ns.h:PROC_PID_INIT_INO.
	"initial_pid_namespace": func() bool {
		link, err := os.Readlink("/proc/self/ns/pid")
		return err == nil && link == "pid:[4026531836]"
	},
	// security/smack/smackfs.c:init_smk_fs registers it where Smack is in use.
	"smack": func() bool { return strings.Contains(read("/proc/filesystems"), "smackfs") },
	// security/apparmor/lsm.c.
	"apparmor": func() bool { return read("/sys/module/apparmor/parameters/enabled") == "Y" },
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// number is -2 where there is none: below all that these files can have.
func number(path string) int {
	n, err := strconv.Atoi(read(path))
	if err != nil {
		return -2
	}
	return n
}

// lacking is a feature that an experiment needs and this machine does not have, or nil.
func lacking(t *testing.T, e proof.Experiment) *proof.Feature {
	t.Helper()
	for _, name := range e.Needs {
		f, ok := proof.FeatureNamed(name)
		has := features[name]
		if !ok || has == nil {
			t.Fatalf("%s needs %q: nobody knows how to find out whether it is there", e.Name, name)
		}
		if !has() {
			return &f
		}
	}
	return nil
}
