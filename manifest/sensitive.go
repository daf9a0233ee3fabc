package manifest

import (
	"path"
	"strings"
)

// A SensitiveMount is a mount, and what it gives.
type SensitiveMount struct {
	Mount
	Why string
}

// sensitive are paths of the host that give more than files. A row holds for what is
// below its path, too, and for what is above it (which contains it), except for rows
// that end with "$": those hold for the path alone.
var sensitive = []struct{ path, why string }{
	{"/$", "all of the host's file system"},
	{"/var/run/docker.sock", "Docker's socket, which is root on the host"},
	{"/run/docker.sock", "Docker's socket, which is root on the host"},
	{"/var/run/podman/podman.sock", "Podman's socket, which is its user on the host"},
	{"/run/podman/podman.sock", "Podman's socket, which is its user on the host"},
	{"/run/containerd/containerd.sock", "containerd's socket, which is root on the host"},
	{"/var/run/containerd/containerd.sock", "containerd's socket, which is root on the host"},
	{"/run/crio/crio.sock", "CRI-O's socket, which is root on the host"},
	{"/var/run/crio/crio.sock", "CRI-O's socket, which is root on the host"},
	{"/var/lib/docker", "the files of all of Docker's containers"},
	{"/var/lib/containerd", "the files of all of containerd's containers"},
	{"/var/lib/containers", "the files of all of Podman's and CRI-O's containers"},
	{"/var/lib/kubelet", "the kubelet's credentials and the volumes of all pods"},
	{"/etc/kubernetes", "the cluster's credentials"},
	{"/var/lib/etcd", "all of the cluster's state and secrets"},
	{"/proc", "the host's processes and kernel settings"},
	{"/sys", "the host's kernel objects and devices"},
	{"/dev", "the host's devices"},
	{"/boot", "the host's kernel"},
	{"/lib/modules", "the host's kernel modules"},
	{"/usr/lib/modules", "the host's kernel modules"},
	{"/etc", "the host's accounts and settings"},
	{"/root$", "root's home, with its keys"},
	{"/root/.*", "settings and keys in root's home"}, // .ssh, .kube, .docker
	{"/home$", "people's homes, with their keys"},
	{"/home/*$", "somebody's home, with their keys"},
	{"/home/*/.ssh", "somebody's keys"},
	{"/var/log", "the host's logs; a link in it is followed by whoever reads them as root"},
	{"/usr$", "the host's programs"},
	{"/usr/bin", "the host's programs"},
	{"/usr/sbin", "the host's programs"},
	{"/usr/lib", "the host's programs"},
	{"/usr/local/bin", "programs of the host"},
	{"/usr/local/sbin", "programs of the host"},
	{"/bin", "the host's programs"},
	{"/sbin", "the host's programs"},
	{"/lib", "the host's libraries"},
	{"/var/spool/cron", "the host's scheduled commands"},
}

// harmless are paths below sensitive ones that are mounted everywhere and give nothing.
var harmless = map[string]bool{
	"/etc/localtime": true, "/etc/timezone": true, "/usr/share/zoneinfo": true,
	"/dev/null": true, "/dev/zero": true, "/dev/full": true, "/dev/random": true, "/dev/urandom": true,
}

// SensitivePath says what a mount of this path of the host gives beyond files, "" if
// nothing that is known.
func SensitivePath(p string) string {
	if !strings.HasPrefix(p, "/") {
		return ""
	}
	p = path.Clean(p)
	if harmless[p] {
		return ""
	}
	if p == "/" {
		return sensitive[0].why
	}
	best, bestWhy := 0, ""
	for _, row := range sensitive[1:] {
		where, alone := strings.CutSuffix(row.path, "$")
		depth := strings.Count(where, "/")
		if ok, _ := path.Match(where, first(p, depth)); !ok || alone && strings.Count(p, "/") > depth {
			continue
		}
		if strings.Count(p, "/") == depth && !strings.Contains(where, "*") {
			return row.why
		}
		if depth > best {
			best, bestWhy = depth, row.why
		}
	}
	if bestWhy != "" {
		return bestWhy
	}
	for _, row := range sensitive[1:] {
		if !strings.ContainsAny(row.path, "*$") && strings.HasPrefix(row.path, p+"/") {
			return row.why + " (" + row.path + " is in it)"
		}
	}
	return ""
}

// first is a path's first elements, all of it if it has no more.
func first(p string, elements int) string {
	for i := range len(p) {
		if p[i] == '/' {
			if elements == 0 {
				return p[:i]
			}
			elements--
		}
	}
	return p
}
