package proc

import (
	"bytes"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// idLen is the length of the ids that engines give containers, in hexadecimal digits.
const idLen = 64

// containerOf finds the container that a process is in by its cgroups' paths
// (/proc/PID/cgroup), of nested ones the innermost; which engine's, if the path says so;
// and the Kubernetes pod's uid. Engines put their monitors (conmon) into cgroups beside
// the container's, with its id: those are not in it.
func containerOf(cgroup []byte) (id, engine, pod string) {
	for len(cgroup) > 0 {
		line := cgroup
		if i := bytes.IndexByte(cgroup, '\n'); i >= 0 {
			line, cgroup = cgroup[:i], cgroup[i+1:]
		} else {
			cgroup = nil
		}
		if len(line) < idLen {
			continue // most of a process that is in none
		}
		if id, engine, pod = containerIn(string(line)); id != "" {
			return id, engine, pod
		}
	}
	return "", "", ""
}

// enginePrefixes are what stands between a slash and an id:
//   - moby daemon/oci_linux.go:WithCgroups: "docker" is the default parent, "docker-" the
//     prefix of systemd's scopes
//   - podman libpod/container_internal_linux.go:getOCICgroupPath: "libpod-", and with
//     --cgroups=split "libpod-payload-"
//   - containerd internal/cri/server/podsandbox/helpers.go:getCgroupsPath: "cri-containerd"
//     before a hyphen, or a colon where runc was not told to use systemd
//   - nerdctl pkg/cmd/container/run_cgroup_linux.go: "nerdctl-"
//   - cri-o internal/config/cgmgr: "crio-"
//   - leastcap engine/embedded: "leastcap-"
var enginePrefixes = []struct{ prefix, engine string }{
	{"/docker/", "docker"}, {"/docker-", "docker"}, {":docker:", "docker"},
	{"/libpod-", "podman"}, {"/libpod-payload-", "podman"},
	{"/cri-containerd-", "containerd"}, {":cri-containerd:", "containerd"},
	{"/nerdctl-", "containerd"}, {":nerdctl:", "containerd"},
	{"/crio-", "crio"}, {":crio:", "crio"},
	{"/leastcap-", "leastcap"},
}

// notContainers stand before an id that is a pod's, or the container's of a monitor.
var notContainers = []string{"/libpod-conmon-", "/crio-conmon-", "-libpod_pod_", "/libpod_pod_"}

func containerIn(line string) (id, engine, pod string) {
	at := -1
	for end := len(line); end > 0 && at < 0; {
		start := end
		for start > 0 && !notHex(rune(line[start-1])) {
			start--
		}
		if end-start == idLen {
			at = start
		}
		end = start - 1
	}
	if at < 0 {
		return "", "", ""
	}
	for _, prefix := range notContainers {
		if strings.HasSuffix(line[:at], prefix) {
			return containerIn(line[:at-len(prefix)]) // an engine in a container, maybe
		}
	}
	id, pod = line[at:at+idLen], podOf(line[:at])
	for _, e := range enginePrefixes {
		if strings.HasSuffix(line[:at], e.prefix) {
			return id, e.engine, pod
		}
	}
	return id, "", pod
}

func notHex(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }

// podOf finds the uid in a path of the kubelet's (pkg/kubelet/cm/pod_container_manager_linux.go:
// "pod" and the uid; systemd's slices have underscores for its hyphens). That of a static
// pod has no hyphens.
func podOf(path string) string {
	const dashed, plain = 36, 32
	for {
		i := strings.LastIndex(path, "pod")
		if i < 0 {
			return ""
		}
		rest := path[i+len("pod"):]
		if i > 0 && (path[i-1] == '/' || path[i-1] == '-') {
			for _, n := range []int{dashed, plain} {
				if len(rest) < n || len(rest) > n && !strings.ContainsRune("/.:", rune(rest[n])) {
					continue
				}
				uid := strings.ReplaceAll(rest[:n], "_", "-")
				if strings.Count(uid, "-") == (n-plain) && strings.IndexFunc(uid, func(r rune) bool { return r != '-' && notHex(r) }) < 0 {
					return uid
				}
			}
		}
		path = path[:i]
	}
}

// Contains finds the container of a process that was seen in the cgroup with this id: no
// if it is in another one by now, or that cannot be told.
func (h Hierarchy) Contains(pid int, cgroup uint64) (id, engine, pod string, ok bool) {
	text, err := newReader("/proc").file(pid, "cgroup")
	if err != nil {
		return "", "", "", false
	}
	dir, err := h.pathOf(string(text))
	if err != nil {
		return "", "", "", false
	}
	// A cgroup's id is the inode number of its directory (include/linux/kernfs.h).
	var st unix.Stat_t
	if unix.Stat(path.Join(h.Mount, dir), &st) != nil || st.Ino != cgroup {
		return "", "", "", false
	}
	id, engine, pod = containerOf(text)
	return id, engine, pod, true
}

// ContainerOf reads which container a process is in; not ok if it has ended, or its
// cgroups may not be read.
func ContainerOf(pid int) (id, engine, pod string, ok bool) {
	text, err := newReader("/proc").file(pid, "cgroup")
	if err != nil {
		return "", "", "", false
	}
	id, engine, pod = containerOf(text)
	return id, engine, pod, true
}

// InitialUserNamespace says that this process's capabilities are the machine's, and not those
// of a user namespace in it; also where that cannot be known.
func InitialUserNamespace() bool {
	ns := UserNamespace("/proc", "self")
	return ns == 0 || ns == initUserNS
}

// KernelNumbers says that this process and /proc number processes as the kernel does: both are
// in the initial pid namespace.
func KernelNumbers() bool {
	self, err := os.Readlink("/proc/self")
	if err != nil || self != itoa(os.Getpid()) {
		return false
	}
	ns, _ := readNamespace("/proc", "self", "pid")
	return ns == initPidNS
}

// MountedForUs says that /proc is that of the initial pid namespace and that this process
// is in it and in the initial user namespace: then numbers are the kernel's own.
func MountedForUs() bool {
	return KernelNumbers() && UserNamespace("/proc", "self") == initUserNS
}
