package line

import (
	"encoding/csv"
	"path"
	"slices"
	"strings"
	"sync"
)

// Ask is one thing that a line asks for beyond what every container has: a way to the
// host, to other containers, or out of a confinement. Capabilities are not among them,
// see package engine/rules.
type Ask struct {
	Flag string // the flag and its value in one spelling: "--network=host"
	Why  string // what it gives
	// Variable is the variable of the caller's environment whose value the container
	// would get, "" if it asks for something else.
	Variable string
}

// plain are the flags that ask for nothing: they name, limit or arrange what is the
// container's own. What is not here and not looked at below counts as asking, so that
// a flag that nobody thought of is not passed over.
var plain = sync.OnceValue(func() map[string]bool {
	return nameSet(`
	add-host attach blkio-weight blkio-weight-device cap-add cap-drop cpu-count cpu-percent
	cpu-period cpu-quota cpu-shares cpus cpuset-cpus cpuset-mems detach detach-keys
	device-read-bps device-read-iops device-write-bps device-write-iops dns dns-option
	dns-search domainname entrypoint env-merge expose health-cmd health-interval
	health-log-destination health-max-log-count health-max-log-size health-on-failure
	health-retries health-start-interval health-start-period health-startup-cmd
	health-startup-interval health-startup-retries health-startup-success
	health-startup-timeout health-timeout hostname image-volume init interactive
	io-maxbandwidth io-maxiops ip ip6 isolation kernel-memory label link link-local-ip
	mac-address memory memory-reservation memory-swap memory-swappiness name network-alias
	no-healthcheck no-hostname no-hosts passwd pids-limit platform arch os variant publish
	publish-all pull quiet read-only read-only-tmpfs restart retry retry-delay rm shm-size
	shm-size-systemd sig-proxy stop-signal stop-timeout sysctl systemd timeout tmpfs tty tz
	ulimit umask unsetenv unsetenv-all user workdir`)
})

func nameSet(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}

// namespaces are the flags that name one, and what the host's gives.
var namespaces = sync.OnceValue(func() map[string]string {
	return map[string]string{
		"network":  "the host's network: its interfaces, its services on loopback, abstract sockets",
		"pid":      "the host's processes can be seen, and signalled as the same user",
		"ipc":      "the host's shared memory and semaphores",
		"uts":      "the host's name",
		"userns":   "the host's user ids, where the engine would map them",
		"cgroupns": "the host's cgroup tree can be seen",
	}
})

// others says of more flags what they give.
var others = sync.OnceValue(func() map[string]string {
	return map[string]string{
		"device":             "a device of the host",
		"device-cgroup-rule": "devices of the host",
		"gpus":               "the host's GPUs",
		"volumes-from":       "the volumes of another container",
		"volume-driver":      "a volume driver, which may mount what it likes",
		"use-api-socket":     "the engine's own socket, which is root on the host",
		"runtime":            "another runtime program",
		"cgroup-parent":      "a cgroup elsewhere in the host's tree",
		"cidfile":            "a file is written on the host",
		"pidfile":            "a file is written on the host",
		"conmon-pidfile":     "a file is written on the host",
		"pod-id-file":        "a file is read or written on the host",
		"env-file":           "a file of the host is read into its environment",
		"label-file":         "a file of the host is read into its labels",
		"env-host":           "all of your environment",
		"secret":             "a secret of the engine",
		"pod":                "the namespaces of a pod",
		"replace":            "another container of that name is removed",
		"oom-kill-disable":   "the kernel may not end it when memory is short",
		"rootfs":             "a directory of the host as its root file system",
		"annotation":         "annotations, which runtimes and hooks obey",
		"log-opt":            "options of the log driver, which can name files and hosts",
		"log-driver":         "another log driver",
	}
})

// Asks lists what the line asks for, in its order. The same twice is listed once.
func (l *Line) Asks() []Ask {
	var list []Ask
	add := func(a Ask) {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for i := range l.Flags {
		f := &l.Flags[i]
		if f.Global {
			add(Ask{Flag: l.Engine + " --" + f.Name + "=" + f.Value, Why: "another engine, or other settings of it"})
			continue
		}
		if why, variable := f.asks(); why != "" {
			text := "--" + f.Name + "=" + f.Value
			if f.Value == "true" {
				text = "--" + f.Name
			}
			add(Ask{text, why, variable})
		}
	}
	return list
}

// asks says what a flag of the verb asks for, "" if nothing.
func (f *Flag) asks() (why, variable string) {
	kind, _, _ := strings.Cut(f.Value, ":")
	switch f.Name {
	case "privileged":
		if f.Value == "false" {
			return "", ""
		}
		return "all capabilities, all devices, no confinement: the same as root on the host", ""
	case "network", "pid", "ipc", "uts", "userns", "cgroupns":
		switch {
		case kind == "host":
			return namespaces()[f.Name], ""
		case kind == "container" || kind == "ns" || kind == "pod":
			return "a namespace of another container or process", ""
		}
		return "", ""
	case "volume":
		return askVolume(f.Value), ""
	case "mount":
		return askMount(f.Value), ""
	case "security-opt":
		switch strings.Replace(f.Value, "=", ":", 1) {
		case "no-new-privileges", "no-new-privileges:true":
			return "", ""
		}
		return "another confinement than the engine's own", ""
	case "env":
		if name, _, given := strings.Cut(f.Value, "="); !given {
			return "the value of a variable of your environment", name
		}
		return "", ""
	case "group-add":
		if f.Value == "keep-groups" {
			return "your groups on the host", ""
		}
		return "", ""
	case "oom-score-adj":
		if !strings.HasPrefix(f.Value, "-") {
			return "", ""
		}
		return "other processes are ended before it when memory is short", ""
	}
	if plain()[f.Name] {
		return "", ""
	}
	if why := others()[f.Name]; why != "" && f.Value != "false" {
		return why, ""
	}
	if f.Value == "false" {
		return "", ""
	}
	return "nobody looked yet at what this flag gives", ""
}

// harmless are the files of the host that containers are often given to read.
var harmless = []string{"/etc/localtime", "/etc/timezone"}

const volumeOptions = "options of a volume, which can mount any directory of the host"

// askVolume looks at SOURCE:TARGET:OPTIONS.
func askVolume(value string) string {
	v := ShortVolume(value)
	var options string
	if parts := strings.SplitN(value, ":", 3); len(parts) == 3 {
		options = parts[2]
	}
	list := strings.Split(options, ",")
	if v.Kind != "bind" {
		if strings.Contains(options, "=") {
			return volumeOptions
		}
		return ""
	}
	return askBind(v.Source, slices.Contains(list, "ro"))
}

func askMount(value string) string {
	v, ok := mountVolume(value)
	if !ok {
		return "a mount that is not understood"
	}
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return "a mount that is not understood"
	}
	readOnly := false
	for _, field := range fields {
		key, val, given := strings.Cut(strings.ToLower(field), "=")
		switch key {
		case "volume-opt", "volume-driver":
			return volumeOptions
		case "readonly", "ro":
			readOnly = !given || val == "true" || val == "1"
		}
	}
	switch v.Kind {
	case "volume", "tmpfs", "ramfs", "image":
		return ""
	case "bind":
		return askBind(v.Source, readOnly)
	}
	return "a mount of kind " + v.Kind
}

// askBind says what a path of the host gives.
func askBind(source string, readOnly bool) string {
	source = path.Clean(source)
	if readOnly && slices.Contains(harmless, source) {
		return ""
	}
	base := path.Base(source)
	switch {
	case source == "/":
		return "all files of the host"
	case strings.HasSuffix(base, ".sock"):
		return "a socket of the host; an engine's is the same as root on the host"
	case slices.Contains([]string{"/run", "/var/run", "/var", "/run/docker", "/run/podman", "/run/containerd", "/var/lib/docker", "/var/lib/containers"}, source):
		return "a directory of the host with the engine's socket or files, which is the same as root on the host"
	case readOnly:
		return "files of the host, to read"
	}
	return "files of the host, to read and to write"
}
