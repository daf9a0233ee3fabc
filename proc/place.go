package proc

import "strings"

// ContainerOf finds the container that a cgroup path is of, as [Process.Container] and
// [Process.Engine] do; none for Podman's and CRI-O's monitors, which are the host's and
// have the container's id in the name of their own cgroup.
func ContainerOf(path string) (id, engine string) {
	if strings.Contains(path, "conmon-") {
		return "", ""
	}
	return containerOf([]byte(path))
}

// UnitOf is the systemd unit that a cgroup path is of, of nested ones the innermost: a
// service or a scope. "" if there is none.
func UnitOf(path string) string {
	unit := ""
	for name := range strings.SplitSeq(path, "/") {
		if strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope") {
			unit = name
		}
	}
	return unit
}
