package line

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Other is a line about containers that there are already: docker stop web.
type Other struct {
	Prefix     []string // as in [Line]
	Engine     string
	Program    string
	Verb       string
	Flags      []Flag
	Containers []string
	Command    []string // of exec
}

// otherVerbs are the verbs of an [Other], with their flags: docker-exec(1) and so on,
// and what Podman has beside them.
var otherVerbs = sync.OnceValue(func() map[string][]FlagSpec {
	return map[string][]FlagSpec{
		"exec":    wrapperFlags("d/detach i/interactive /privileged t/tty", "/detach-keys e/env /env-file u/user w/workdir"),
		"start":   wrapperFlags("a/attach i/interactive /sig-proxy", "/detach-keys /checkpoint /checkpoint-dir"),
		"stop":    wrapperFlags("i/ignore", "t/time s/signal /timeout"),
		"restart": wrapperFlags("", "t/time s/signal /timeout"),
		"rm":      wrapperFlags("f/force l/link v/volumes i/ignore", "t/time"),
		"kill":    wrapperFlags("", "s/signal"),
		"wait":    nil,
		"pause":   nil,
		"unpause": nil,
	}
})

// ParseOther takes a line about existing containers apart. Errors are [*Error].
func ParseOther(argv []string) (*Other, error) {
	at, engine, err := locate(argv)
	if err != nil {
		return nil, err
	}
	if engine == "" {
		return nil, notALine(argv, at)
	}
	t, err := TableFor(engine)
	if err != nil {
		return nil, err
	}
	p := &parser{words: argv, at: at + 1, line: &Line{Engine: engine, table: t}}
	if err := p.global(); err != nil {
		return nil, err
	}
	if p.at < len(argv) && argv[p.at] == "container" {
		p.at++
	}
	o := &Other{Prefix: slices.Clone(argv[:at]), Engine: engine, Program: argv[at]}
	if p.at < len(argv) {
		o.Verb = argv[p.at]
	}
	specs, ok := otherVerbs()[o.Verb]
	if !ok {
		known := slices.Sorted(maps.Keys(otherVerbs()))
		return nil, &Error{
			Word: o.Verb, At: p.at,
			Reason: fmt.Sprintf("%s %q is not understood, only run, create, %s", engine, o.Verb, strings.Join(known, ", ")),
			Hint:   "look at what it does, and run it by hand",
		}
	}
	p.at++
	command := engine + " " + o.Verb
	fs := newFlagSet(specs, false, t.inherited())
	for p.at < len(argv) {
		_, dash, err := p.read(fs, command)
		if err != nil {
			return nil, err
		}
		if p.at == len(argv) {
			break
		}
		o.Containers = append(o.Containers, argv[p.at])
		p.at++
		if o.Verb == "exec" {
			o.Command = slices.Clone(argv[p.at:])
			break
		}
		if dash {
			o.Containers = append(o.Containers, argv[p.at:]...)
			break
		}
	}
	o.Flags = p.line.Flags
	if len(o.Containers) == 0 {
		return nil, &Error{At: p.at, Reason: command + ": no container", Hint: "name one"}
	}
	return o, nil
}

// Asks lists what the line asks for beyond what a container has; own is the container
// that it may touch.
func (o *Other) Asks(own string) []Ask {
	var list []Ask
	for _, f := range o.Flags {
		switch {
		case f.Global:
			list = append(list, Ask{Flag: o.Engine + " --" + f.Name + "=" + f.Value, Why: "another engine, or other settings of it"})
		case f.Name == "privileged" && f.Value != "false":
			list = append(list, Ask{Flag: "--privileged", Why: "all capabilities for the command"})
		case f.Name == "checkpoint" || f.Name == "checkpoint-dir" || f.Name == "env-file":
			list = append(list, Ask{Flag: "--" + f.Name + "=" + f.Value, Why: "a file of the host is read"})
		case f.Name == "env" && !strings.Contains(f.Value, "="):
			list = append(list, Ask{Flag: "--env=" + f.Value, Why: "the value of a variable of your environment", Variable: f.Value})
		}
	}
	for _, c := range o.Containers {
		if c != own {
			list = append(list, Ask{Flag: o.Verb + " " + c, Why: "that is another container than " + own})
		}
	}
	return list
}
