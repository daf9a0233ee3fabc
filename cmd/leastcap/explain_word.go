package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/shell"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

// explainWord finds out what a word is. A number below 64 is a capability, one of eight
// digits or more a mask, what is between a process.
func explainWord(ctx context.Context, x *report.Explanation, stderr io.Writer, word string) error {
	add := func(set report.ExplainedSet) { x.Sets = append(x.Sets, set) }
	trimmed := strings.TrimSpace(word)
	if d, ok := catalog.FindDefault(strings.ToLower(trimmed)); ok {
		set := report.NewExplainedSet(d.Engine, defaultTitle(&d), d.Caps)
		set.Default = &d
		add(set)
		return nil
	}
	if fields := strings.Fields(trimmed); len(fields) > 1 && !strings.Contains(trimmed, ",") || looksLikeLine(fields) {
		if set, err := caps.ParseSet(strings.Join(fields, ",")); err == nil { // names in quotes
			add(report.NewExplainedSet(trimmed, "a set of its own", set))
			return nil
		}
		if near := caps.Nearest(strings.ToLower(strings.Join(fields, "_")), wordNames()); near != "" {
			return unknownWord(trimmed, fmt.Sprintf("did you mean %q?", near))
		}
		argv, err := splitLine(trimmed)
		if err != nil {
			return err
		}
		set, err := explainLine(argv)
		if err == nil {
			add(*set)
		}
		return err
	}
	c, err := caps.ParseCap(trimmed)
	if err == nil && (c.Known() || !isProcess(int(c))) {
		if isNumber(trimmed) && isProcess(int(c)) {
			say(stderr, "hint: %s is read as a capability's number; for the process of that number: --pid %s", trimmed, trimmed)
		}
		if !slices.ContainsFunc(x.Capabilities, func(have report.ExplainedCapability) bool { return have.Cap == c }) {
			x.Capabilities = append(x.Capabilities, report.NewExplainedCapability(c))
		}
		return nil
	}
	if pid, perr := strconv.Atoi(trimmed); perr == nil && pid > int(caps.Last) && len(trimmed) < 8 && trimmed[0] != '0' {
		set, perr := explainProcess(pid)
		if perr == nil {
			add(*set)
		}
		return perr
	}
	set, serr := caps.ParseSet(trimmed)
	if serr == nil && strings.Trim(trimmed, ", ") != "" {
		title := "a set of its own"
		if !strings.Contains(trimmed, ",") {
			title = "the set " + trimmed
		}
		add(report.NewExplainedSet(trimmed, title, set))
		return nil
	}
	var unknown *caps.UnknownError
	if strings.Contains(trimmed, ",") && errors.As(serr, &unknown) {
		return &usageError{serr, "leastcap explain lists all capabilities"}
	}
	if c := findContainer(ctx, trimmed); c != nil {
		set, err := explainProcess(c.main)
		if err == nil {
			set.Name, set.Title = c.name, "container "+report.Clean(c.name, 80)+", "+set.Title
			add(*set)
		}
		return err
	}
	hint := "leastcap explain lists all capabilities; leastcap explain --help says what else a word can be"
	if near := caps.Nearest(strings.ToLower(trimmed), wordNames()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if _, err := strconv.ParseUint(trimmed, 16, 64); err == nil {
		hint = fmt.Sprintf("a mask has eight digits or more, or 0x before it: 0x%s", trimmed)
	}
	return unknownWord(trimmed, hint)
}

func unknownWord(word, hint string) error {
	const most = 80
	if len(word) > most {
		word = word[:most] + "…"
	}
	return &usageError{fmt.Errorf("%q is no capability, set, mask, process, running container or container line", word), hint}
}

// runningContainer is a container of this machine.
type runningContainer struct {
	name, image string
	main        int // the pid of its first process
}

// findContainer finds a running container by its name or the beginning of its id, nil if
// there is none.
func findContainer(ctx context.Context, word string) *runningContainer {
	if word == "" {
		return nil
	}
	for id, c := range runningContainers(ctx, slow) { // a busy engine's answer is waited for
		if c.name == word || len(word) >= 6 && strings.HasPrefix(id, word) {
			return &c
		}
	}
	return nil
}

// runningContainers are the containers that run here, by id; what engines do not tell
// in time is left out, and the beginning of the id stands for the name.
func runningContainers(ctx context.Context, limit time.Duration) map[string]runningContainer {
	list, _, err := proc.List("/proc", proc.ListOptions{Containers: proc.Each})
	if err != nil {
		return nil
	}
	found := make(map[string]runningContainer)
	members := make(map[int]string) // pid → container
	for i := range list {
		members[list[i].PID] = list[i].Container
	}
	for i := range list {
		p := &list[i]
		// The first is the one whose parent is outside.
		if _, known := found[p.Container]; p.Container != "" && !known && members[p.PPID] != p.Container {
			found[p.Container] = runningContainer{name: p.Container[:min(12, len(p.Container))], main: p.PID}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	running, _ := cli.Describe(ctx, slices.Sorted(maps.Keys(found))) // what answered in time
	for id, r := range running {
		if c, ok := found[id]; ok && r.Name != "" {
			c.name, c.image = r.Name, r.Image
			found[id] = c
		}
	}
	return found
}

// wordNames are the names that a word may be.
func wordNames() []string {
	var names []string
	for c := range caps.All().Values() {
		names = append(names, c.String())
	}
	for _, d := range catalog.DefaultSets() {
		names = append(append(names, d.Engine), d.Aliases...)
	}
	return names
}

func defaultTitle(d *catalog.Default) string {
	if d.Allows {
		return "what " + d.Title + " allows to add"
	}
	return "what " + d.Title + " gives by default"
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

func isProcess(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return err == nil && pid > 0
}

// looksLikeLine reports whether words are a container engine's line, or were meant so.
func looksLikeLine(words []string) bool {
	if len(words) < 2 {
		return false
	}
	_, ok := cli.Recognise(words)
	return ok && slices.ContainsFunc(words[1:], func(w string) bool { return w == "run" || w == "create" })
}

// splitLine makes words of a quoted line as a shell would, but runs nothing: variables
// stay as they are written.
func splitLine(line string) ([]string, error) {
	argv, err := shell.Fields(line, func(name string) string { return "$" + name })
	if err != nil {
		return nil, &usageError{fmt.Errorf("the line %q cannot be read: %w", line, err), "write out what the shell would put there; leastcap runs nothing to explain a line"}
	}
	return argv, nil
}

// explainLine says what an engine's line would give, by the engine's rules.
func explainLine(argv []string) (*report.ExplainedSet, error) {
	line, err := cli.Parse(argv)
	if err != nil {
		return nil, err
	}
	name := line.Engine
	if name == "nerdctl" {
		name = "docker" // pkg/cmd/container/run_security_linux.go: the same rules
	}
	engineRules, err := rules.For(name)
	if err != nil {
		return nil, err
	}
	in := rules.Request{Add: line.CapAdd(), Drop: line.CapDrop(), Privileged: line.Privileged(), User: line.User()}
	result, err := engineRules.Apply(in)
	if err != nil {
		return nil, &usageError{err, "leastcap explain lists the names; each engine has its own rules for what contradicts itself"}
	}
	set := report.NewExplainedSet(report.Clean(cli.Quote(argv), 300), "what this "+line.Engine+" line gives", result.Set)
	set.Origin = result.Origins()
	set.Shared = sharedBy(line)
	for _, w := range result.Warnings {
		set.Facts = append(set.Facts, "warning: "+w)
	}
	user := line.User()
	root := rules.IsRoot(user)
	after := rules.AfterExec(result.Runtime, root)
	switch {
	case user == "":
		set.Facts = append(set.Facts, "It starts as the image's user. Root has them all; another user "+nonRoot(engineRules, in)+".")
	case !root:
		set.Facts = append(set.Facts, fmt.Sprintf("As user %s a process has %s once it executed something; these are its bounding set, what set-uid programs and file capabilities can give.", user, nameSet(after.Effective)))
	}
	for _, a := range line.Asks() {
		set.Facts = append(set.Facts, a.Flag+": "+a.Why+".")
	}
	return &set, nil
}

// nonRoot says what becomes of a set for a user who is not root.
func nonRoot(r *rules.Rules, in rules.Request) string {
	in.User = "1000"
	result, err := r.Apply(in)
	if err != nil {
		return "may be refused"
	}
	after := rules.AfterExec(result.Runtime, false)
	if after.Effective.Empty() {
		return "has none, but by set-uid programs and file capabilities"
	}
	return "has " + nameSet(after.Effective)
}

func nameSet(set caps.Set) string {
	if set.Empty() {
		return "no capabilities"
	}
	return strings.ReplaceAll(set.String(), ",", ", ")
}

// sharedBy is what a line's container shares with its host.
func sharedBy(line *cli.Line) []catalog.Sharing {
	shared := []catalog.Sharing{catalog.SharesNothing}
	host := func(flag string, s catalog.Sharing) bool {
		if line.Value(flag) == "host" {
			shared = append(shared, s)
			return true
		}
		return false
	}
	host("pid", catalog.SharesPID)
	host("ipc", catalog.SharesIPC)
	network := line.Network()
	if !host("network", catalog.SharesNetwork) && network != "none" {
		shared = append(shared, catalog.SharesBridge)
	}
	mounts := slices.ContainsFunc(line.Asks(), func(a cli.Ask) bool {
		return strings.HasPrefix(a.Flag, "--volume=") || strings.HasPrefix(a.Flag, "--mount=") || strings.HasPrefix(a.Flag, "--volumes-from") || strings.HasPrefix(a.Flag, "--rootfs")
	})
	if mounts {
		shared = append(shared, catalog.SharesMount)
	}
	if line.Has("device") || line.Has("device-cgroup-rule") || line.Privileged() {
		shared = append(shared, catalog.SharesDevice)
	}
	return shared
}

// explainProcess says what a process has, and in which place.
func explainProcess(pid int) (*report.ExplainedSet, error) {
	if pid <= 0 {
		return nil, &usageError{fmt.Errorf("--pid %d: no process has that number", pid), "leastcap ps -a lists them"}
	}
	p, err := proc.Read("/proc", pid)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, &usageError{fmt.Errorf("there is no process %d", pid), "leastcap ps -a lists them"}
		}
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	set := report.NewExplainedSet(strconv.Itoa(pid), fmt.Sprintf("process %d (%s), user %s", pid, report.Clean(p.Comm, 40), userName(p.UID)), p.State.Effective)
	fact := func(format string, args ...any) { set.Facts = append(set.Facts, fmt.Sprintf(format, args...)) }
	if more := p.State.Permitted.Minus(p.State.Effective); !more.Empty() {
		fact("It may also make effective, since permitted: %s.", nameSet(more))
	}
	if more := p.State.Bounding.Minus(p.State.Permitted); !more.Empty() && !p.NoNewPrivs {
		if more == p.State.Bounding {
			fact("Its bounding set, what set-uid programs and file capabilities can give it, is %s.", boundingText(more))
		} else {
			fact("By its bounding set programs can give it more: %s.", boundingText(more))
		}
	}
	if !p.State.Ambient.Empty() {
		fact("Ambient, so kept by every program it executes: %s.", nameSet(p.State.Ambient))
	}
	if p.NoNewPrivs {
		fact("It has no_new_privs: no program gives it more.")
	}
	host, c := proc.Host("/proc"), proc.Confined("/proc", p)
	kinds := c.Namespaces.Own(&host)
	own := func(kind string) bool { return slices.Contains(kinds, kind) }
	switch {
	case kinds == nil:
		asRoot := ""
		if os.Geteuid() != 0 {
			asRoot = "; root may"
		}
		fact("Its namespaces cannot be read%s, so the dangers are those in general.", asRoot)
	case !own("mnt") && !own("pid") && !own("user"):
		fact("It runs on this host, in no container: what it has counts on the host itself.")
		set.Shared = []catalog.Sharing{catalog.SharesNothing, catalog.SharesPID, catalog.SharesNetwork, catalog.SharesIPC, catalog.SharesMount, catalog.SharesDevice, catalog.SharesBridge}
	default:
		set.UserNamespace = own("user")
		set.Shared = []catalog.Sharing{catalog.SharesNothing, catalog.SharesBridge}
		var shares []string
		for kind, s := range map[string]catalog.Sharing{"pid": catalog.SharesPID, "net": catalog.SharesNetwork, "ipc": catalog.SharesIPC} {
			if !own(kind) {
				set.Shared = append(set.Shared, s)
				shares = append(shares, kind)
			}
		}
		slices.Sort(shares)
		slices.Sort(set.Shared)
		fact("It has namespaces of its own: %s.%s Bind mounts and devices were not looked at.", strings.Join(kinds, ", "), ifAny(" It shares the host's: ", shares))
	}
	return &set, nil
}

func ifAny(intro string, words []string) string {
	if len(words) == 0 {
		return ""
	}
	return intro + strings.Join(words, ", ") + "."
}

func boundingText(set caps.Set) string {
	if docker, _ := catalog.DefaultSet("docker"); set == docker {
		return "docker default"
	}
	if missing := proc.Known().Minus(set); missing.Empty() {
		return "full"
	} else if missing.Len() < 6 {
		return "all but " + nameSet(missing)
	}
	return nameSet(set)
}
