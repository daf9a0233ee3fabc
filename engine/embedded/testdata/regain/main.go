// Command regain tries every way that a program has to get capabilities back, and
// prints what it has after each as one JSON object. It is built static by the tests,
// and put beside copies of itself that are set-uid root and have file capabilities.
// As "regain udp-echo PORT" it only answers packets.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// state is /proc/self/status's, and what the kernel let this process do.
type state map[string]string

// A thread has capabilities of its own, and the one that changed them has to be the one
// that executes.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) > 1 && os.Args[1] == "status" {
		print(status())
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "udp-echo" {
		echo(os.Args[2])
	}
	dir := filepath.Dir(os.Args[0])
	out := map[string]state{"self": status()}
	for _, name := range []string{"suid", "filecaps", "filecaps-permitted"} {
		out[name] = execute(filepath.Join(dir, name), nil)
	}
	out["ambient"] = ambient(os.Args[0])
	out["userns"] = execute(os.Args[0], &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	})
	print(out)
}

func echo(port string) {
	conn, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			panic(err)
		}
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

func print(v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(data))
}

func status() state {
	s := state{"uid": fmt.Sprint(os.Geteuid())}
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return state{"error": err.Error()}
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), ":"); ok && (strings.HasPrefix(k, "Cap") || k == "NoNewPrivs" || k == "Seccomp") {
			s[k] = strings.TrimSpace(v)
		}
	}
	// What the host would notice: each needs a capability over the initial user
	// namespace, or over one that the container does not own.
	try := func(name string, err error) {
		s["does "+name] = "yes"
		if err != nil {
			s["does "+name] = "no"
		}
	}
	try("chown", chown())
	try("mknod", unix.Mknod(filepath.Join(os.TempDir(), fmt.Sprintf("node%d", os.Getpid())), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 7))))
	try("sethostname", unix.Sethostname(hostname()))
	var raw int
	raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err == nil {
		unix.Close(raw)
	}
	try("raw socket", err)
	return s
}

func hostname() []byte {
	name, _ := os.Hostname()
	return []byte(name)
}

// chown gives a file of this process's to another user.
func chown() error {
	f, err := os.CreateTemp("", "chown")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return f.Chown(12345, -1)
}

func execute(path string, attr *syscall.SysProcAttr) state {
	cmd := exec.Command(path, "status")
	cmd.SysProcAttr = attr
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		reason := err.Error()
		if i := strings.LastIndex(reason, ": "); i >= 0 {
			reason = reason[i+2:]
		}
		return state{"error": reason}
	}
	var s state
	if err := json.Unmarshal(out, &s); err != nil {
		return state{"error": err.Error()}
	}
	return s
}

// ambient asks for every capability, in every set that there is a system call for,
// and executes this program again.
func ambient(self string) state {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	for c := range 41 {
		var data [2]unix.CapUserData
		if unix.Capget(&hdr, &data[0]) != nil {
			break
		}
		bit := uint32(1) << (c % 32)
		data[c/32].Inheritable |= bit
		_ = unix.Capset(&hdr, &data[0])
		data[c/32].Permitted |= bit
		data[c/32].Effective |= bit
		_ = unix.Capset(&hdr, &data[0])
		_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0)
	}
	return execute(self, nil)
}
