// Package line understands and rewrites the command lines of container engines:
// docker, podman and nerdctl.
//
// Which words belong to which flag is never guessed: pflag, the parser that
// all three engines are built on, decides, with tables of flags taken from the
// engines themselves. What the installed engine knows beyond the tables, its caller
// finds out ([ParseHelp]): the package has no effects.
package line

import (
	"slices"
	"strconv"

	"github.com/leastcap/leastcap/caps"
)

// The verbs that are understood.
const (
	verbRun    = "run"
	verbCreate = "create"
)

// Line is a container engine's run or create line, taken apart. It is made by
// [Parse] and never changes; the methods that rewrite it return new words.
//
//	sudo -E docker -H unix:///x container run -itd --name web -p 80:80 nginx:1 nginx -g 'daemon off;'
//	└Prefix┘└Prog.┘└─Global───┘           Verb└────────Flags─────────┘ └Image┘ └──────Command──────┘
type Line struct {
	Prefix  []string // sudo, env … with their words
	Engine  string   // docker, podman or nerdctl
	Program string   // the engine's program as typed
	Global  []string // the words between the program and the (first) command word
	Verb    string   // run or create
	Flags   []Flag   // the flags before and after the verb, in order
	Image   string   // the image, or the directory with --rootfs
	Command []string // what follows the image

	table   *Table
	command []string // from "container", if it is there, up to the verb
	groups  []group  // the words between verb and image
	dash    bool     // a "--" stands before the image
}

// Flag is one occurrence of a flag.
type Flag struct {
	Name   string // its long name; "network" also for --net
	Typed  string // as typed, without value: "--net", "-p"
	Value  string // its value; for a boolean without one, "true"
	Word   int    // index in the command line of the word it is in
	Words  int    // 2 if its value is the next word, otherwise 1
	Global bool   // a flag of the engine, not of run
}

// group is a word with flags in it, and the next one if that is a value.
type group struct {
	words []string
	first int // index in Line.Flags
	count int // number of flags: more than one in -itd
}

// VerbAt is the index of the verb in the words that were parsed.
func (l *Line) VerbAt() int { return len(l.Prefix) + 1 + len(l.Global) + len(l.command) - 1 }

// ImageAt is the index of the image in the words that were parsed.
func (l *Line) ImageAt() int {
	at := l.VerbAt() + 1
	for _, g := range l.groups {
		at += len(g.words)
	}
	if l.dash {
		at++
	}
	return at
}

// Splits says that the engine splits the values of a flag of the verb at commas.
func (l *Line) Splits(name string) bool {
	own, _ := l.table.verbFlags(l.Verb)
	i := slices.IndexFunc(own, func(f FlagSpec) bool { return f.Name == name })
	return i >= 0 && own[i].Type == "strings"
}

// Has reports whether the flag was given to the verb, in whatever spelling.
func (l *Line) Has(name string) bool { return len(l.Values(name)) > 0 }

// Value returns the last value of a flag of the verb, as pflag would keep it,
// or "" if it was not given. The name is the long one.
func (l *Line) Value(name string) string { return last(l.Values(name)) }

// Values returns all values of a flag of the verb in order, one for each time
// that it was given, unsplit. It is nil if it was not given.
func (l *Line) Values(name string) []string { return l.values(name, false) }

// GlobalValue returns the last value of a flag of the engine ("host",
// "context", "namespace"), before the verb or, where the engine allows it,
// after; "" if it was not given.
func (l *Line) GlobalValue(name string) string { return last(l.values(name, true)) }

func (l *Line) values(name string, global bool) []string {
	var values []string
	for i := range l.Flags {
		if f := &l.Flags[i]; f.Name == name && f.Global == global {
			values = append(values, f.Value)
		}
	}
	return values
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// Bool returns the value of a boolean flag of the verb, false if it was not
// given.
func (l *Line) Bool(name string) bool {
	b, err := strconv.ParseBool(l.Value(name))
	return err == nil && b
}

// CapAdd returns the values of --cap-add as typed.
func (l *Line) CapAdd() []string { return l.Values("cap-add") }

// CapDrop returns the values of --cap-drop as typed.
func (l *Line) CapDrop() []string { return l.Values("cap-drop") }

// Privileged reports --privileged.
func (l *Line) Privileged() bool { return l.Bool("privileged") }

// User returns --user, "" if the image decides.
func (l *Line) User() string { return l.Value("user") }

// Networks returns every --network; none if the engine's default is used.
func (l *Line) Networks() []string { return l.Values("network") }

// Network returns the last --network.
func (l *Line) Network() string { return l.Value("network") }

// Name returns --name, "" if the engine makes one up.
func (l *Line) Name() string { return l.Value("name") }

// Detach reports --detach.
func (l *Line) Detach() bool { return l.Bool("detach") }

// Interactive reports --interactive.
func (l *Line) Interactive() bool { return l.Bool("interactive") }

// TTY reports --tty.
func (l *Line) TTY() bool { return l.Bool("tty") }

// Rm reports --rm.
func (l *Line) Rm() bool { return l.Bool("rm") }

// Restart returns --restart.
func (l *Line) Restart() string { return l.Value("restart") }

// SecurityOpt returns every --security-opt.
func (l *Line) SecurityOpt() []string { return l.Values("security-opt") }

// Publish returns every --publish.
func (l *Line) Publish() []string { return l.Values("publish") }

// Volumes returns every --volume.
func (l *Line) Volumes() []string { return l.Values("volume") }

// Mounts returns every --mount.
func (l *Line) Mounts() []string { return l.Values("mount") }

// Sysctls returns every --sysctl (NAME=VALUE).
func (l *Line) Sysctls() []string { return l.Values("sysctl") }

// CgroupParent returns --cgroup-parent.
func (l *Line) CgroupParent() string { return l.Value("cgroup-parent") }

// CIDFile returns --cidfile.
func (l *Line) CIDFile() string { return l.Value("cidfile") }

// Entrypoint returns --entrypoint; ok tells an empty one, which takes the
// image's away, from none.
func (l *Line) Entrypoint() (entrypoint string, ok bool) {
	return l.Value("entrypoint"), l.Has("entrypoint")
}

// StopSignal returns --stop-signal.
func (l *Line) StopSignal() string { return l.Value("stop-signal") }

// StopTimeout returns --stop-timeout in seconds; ok is false if it was not given.
func (l *Line) StopTimeout() (seconds int, ok bool) {
	n, err := strconv.ParseInt(l.Value("stop-timeout"), 0, strconv.IntSize)
	return int(n), err == nil
}

// HealthCmd returns --health-cmd.
func (l *Line) HealthCmd() string { return l.Value("health-cmd") }

// NoHealthcheck reports --no-healthcheck, or Podman's --health-cmd none.
func (l *Line) NoHealthcheck() bool {
	return l.Bool("no-healthcheck") || l.Engine == "podman" && l.HealthCmd() == "none"
}

// PIDMode returns --pid.
func (l *Line) PIDMode() string { return l.Value("pid") }

// Userns returns --userns.
func (l *Line) Userns() string { return l.Value("userns") }

// Request is what a line asks for in capabilities. What it gets is the
// engine's to say: engines differ in their defaults, and in what wins when ALL
// or one capability is in both lists.
type Request struct {
	Adds       caps.Set // named by --cap-add
	Drops      caps.Set // named by --cap-drop
	AddAll     bool     // --cap-add ALL
	DropAll    bool     // --cap-drop ALL
	Privileged bool     // docker and nerdctl then ignore the rest
}

// BaselineRequest returns what the line asks for as it stands.
func (l *Line) BaselineRequest() Request {
	r := Request{Privileged: l.Privileged()}
	// Parse has refused what caps does not know.
	r.Adds, r.AddAll, _ = caps.ParseList(nonEmpty(l.CapAdd()))
	r.Drops, r.DropAll, _ = caps.ParseList(nonEmpty(l.CapDrop()))
	return r
}

// nonEmpty leaves empty values out: to a flag that is split at commas they are
// empty lists.
func nonEmpty(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
}

// Words returns the command line as it was typed, word by word.
func (l *Line) Words() []string { return l.render(rewriting{verb: l.Verb}) }
