package proc

import "strings"

// ContainerAt finds the container that a cgroup's path is of, as [Process.Container] and
// [Process.Engine] do.
func ContainerAt(path string) (id, engine string) {
	id, engine, _ = containerIn(path)
	return id, engine
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

// IsContainerID says that a word is an id as engines give them to containers.
func IsContainerID(word string) bool {
	return len(word) == idLen && strings.IndexFunc(word, notHex) < 0
}
