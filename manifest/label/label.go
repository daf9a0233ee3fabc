// Package label reads the labels RUN, INSTALL, UNINSTALL and STOP of an image, which
// say how it wants to be run, as projectatomic/atomic does, and writes them.
//
// A label is data from a stranger: it becomes words, no shell sees it, and nothing
// here runs anything. What may be run is the caller's to say.
//
// The source of the rules is atomic's Atomic/atomic.py (gen_cmd, sub_env_strings,
// cmd_env), Atomic/util.py (expandvars) and Atomic/backends/_docker.py (run).
package label

import (
	"path"
	"strings"
)

// The labels that hold commands, and the one that names a file of options.
const (
	Run         = "RUN"
	Install     = "INSTALL"
	Uninstall   = "UNINSTALL"
	Stop        = "STOP"
	RunOptsFile = "RUN_OPTS_FILE"
)

// Lookup finds a label: as it is named, in lower case, capitalised, in upper case, in
// this order. key is its spelling in the image.
func Lookup(labels map[string]string, name string) (key, text string, ok bool) {
	lower := strings.ToLower(name)
	capitalised := lower
	if lower != "" {
		capitalised = strings.ToUpper(lower[:1]) + lower[1:]
	}
	for _, key := range []string{name, lower, capitalised, strings.ToUpper(name)} {
		if text, ok := labels[key]; ok {
			return key, text, true
		}
	}
	return "", "", false
}

// Name is the container's name that follows from the image's: its last component
// without tag and digest, with "-spc" behind it for a super privileged container.
func Name(image string, spc bool) string {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")
	if spc {
		name += "-spc"
	}
	return name
}

// Default is the command of an image without the label RUN.
type Default struct {
	Program string // the engine's
	TTY     bool   // standard input is a terminal
	Detach  bool
	SPC     bool // a super privileged container: all of the host is its own
}

// Words are the command's, ready: name and image are put in.
func (d Default) Words(name, image string) []string {
	words := []string{d.Program, "run"}
	if d.TTY {
		words = append(words, "-t")
	}
	if d.Detach {
		words = append(words, "-d")
	}
	words = append(words, "-i")
	if d.SPC {
		words = append(words, "--privileged",
			"-v", "/:/host", "-v", "/run:/run", "-v", "/etc/localtime:/etc/localtime",
			"-v", "/sys/fs/selinux:/sys/fs/selinux:ro",
			"--net=host", "--ipc=host", "--pid=host",
			"-e", "HOST=/host", "-e", "NAME="+name, "-e", "IMAGE="+image, "-e", "SYSTEMD_IGNORE_CHROOT=1")
	}
	return append(words, "--name", name, image)
}

// Options are the values of --opt1 to --opt3.
type Options [3]string

// Environment is what a label's variables are: those of the process, and NAME, IMAGE,
// and OPT1 to OPT3 where they were given, whose own variables are expanded. The caller
// adds what it has to ask the system for: PWD, SUDO_UID, SUDO_GID, RUN_OPTS.
func Environment(environ []string, name, image string, opts Options) map[string]string {
	env := make(map[string]string, len(environ)+5)
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok && k != "" {
			env[k] = v
		}
	}
	env["NAME"], env["IMAGE"] = name, image
	for i, key := range []string{"OPT1", "OPT2", "OPT3"} {
		if opts[i] == "" {
			continue // what the process has stays, as with atomic
		}
		env[key] = expand(opts[i], env, nil)
	}
	return env
}
