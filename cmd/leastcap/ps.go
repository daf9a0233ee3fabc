package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

type psFlags struct {
	all, tree, wide                         bool
	pid                                     int
	having, container, sort, format, output string
}

func newPs(stdout, stderr io.Writer) *cobra.Command {
	var f psFlags
	cmd := &cobra.Command{
		Use:   "ps [flags]",
		Short: "List processes with their capabilities",
		Long: `List the processes that have capabilities, with their container: those in their
effective set, and where they have more, the permitted and the ambient set. "full" is
all that this kernel has, "docker default" the fourteen of a Docker container, "docker
default + net_admin" those and more; on a terminal what a container has beyond Docker's
default is in colour. Threads whose sets differ from their process's follow it.

Containers are found by the names of their cgroups, and Docker, Podman and nerdctl are
asked for the containers' names; one that does not answer within two seconds is left
out, and the container's id stands instead. Where a process could have more than its
engine says that the container was given (by docker exec --privileged, say), it is said.

--wide also shows the image, the command line and what else confines the process: the
namespaces that are not leastcap's own, seccomp, no_new_privs, the label of SELinux or
AppArmor, and whether its program is a set-id one.

--format pscap is what libcap-ng's pscap 0.8 prints, --format pscap-0.9 what it prints
since 0.9.1; both take -a and -p as pscap does.

--output json has all five sets of each, no_new_privs, the seccomp mode (0 none,
1 strict, 2 filter), and all that --wide shows.

Exit status:
  0  done
  1  no process fits
  2  wrong usage
  3  /proc cannot be read`,
		Example: `  leastcap ps
  leastcap ps --container web --wide
  leastcap ps --having net_raw --sort risk
  leastcap ps -p 4242 -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("%q: ps takes no arguments", args[0]), "leastcap ps -p PID shows one process, --container NAME a container's"}
			}
			if cmd.Flags().Changed("pid") && f.pid <= 0 {
				return &usageError{fmt.Errorf("--pid %d: no process has that number", f.pid), "give one of leastcap ps -a"}
			}
			if err := f.check(); err != nil {
				return err
			}
			return f.run(cmd.Context(), stdout, stderr)
		},
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.all, "all", "a", false, "processes without capabilities too, but not the kernel's")
	fl.IntVarP(&f.pid, "pid", "p", 0, "this process only, whatever it has")
	fl.StringVar(&f.having, "having", "", "only those with one of these capabilities, in their effective or permitted set")
	fl.StringVar(&f.container, "container", "", "only those of this container: its name, or the beginning of its id")
	fl.StringVar(&f.sort, "sort", "pid", "pid or risk: the most dangerous first")
	fl.BoolVar(&f.tree, "tree", false, "children below their parents")
	fl.BoolVarP(&f.wide, "wide", "w", false, "the image, the command line, and what else confines it")
	fl.StringVar(&f.format, "format", "", "pscap or pscap-0.9: as libcap-ng's pscap prints it")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
	completeCaps(cmd, "having")
	completeContainer(cmd, "container")
	completeFlag(cmd, "sort", func() []string { return []string{"pid", "risk"} })
	completeFlag(cmd, "format", func() []string { return []string{"pscap", "pscap-0.9"} })
	completeFlag(cmd, "output", func() []string { return []string{"text", "json"} })
	return cmd
}

var pscapLayouts = map[string]report.PscapLayout{"pscap": report.Pscap08, "pscap-0.9": report.Pscap09}

func (f *psFlags) check() error {
	if err := known(f.output, "text", "json"); err != nil {
		return err
	}
	if f.sort != "pid" && f.sort != "risk" {
		return &usageError{fmt.Errorf("--sort %q is not known", f.sort), "use pid or risk"}
	}
	if f.tree && f.sort != "pid" {
		return &usageError{fmt.Errorf("--tree and --sort %s contradict each other", f.sort), "leave one of them out"}
	}
	if f.format == "" {
		return nil
	}
	if _, ok := pscapLayouts[f.format]; !ok {
		return &usageError{fmt.Errorf("--format %q is not known", f.format), "use pscap or pscap-0.9; --output json is for programs"}
	}
	if f.output != "text" || f.tree || f.wide || f.having != "" || f.container != "" || f.sort != "pid" {
		return &usageError{fmt.Errorf("--format %s goes with -a and -p only, as pscap itself", f.format), "leave the other flags out"}
	}
	return nil
}

// engineTimeout is how long the engines may take to name their containers.
const engineTimeout = 2 * time.Second

func (f *psFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	var having caps.Set
	if f.having != "" {
		set, all, err := caps.ParseList([]string{f.having})
		if err != nil {
			return &usageError{fmt.Errorf("--having: %w", err), ""}
		}
		if having = set; all {
			having = caps.All()
		}
	}
	list, unreadable, err := proc.List("/proc")
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	list = slices.DeleteFunc(list, func(p proc.Process) bool {
		return f.pid != 0 && p.PID != f.pid || f.pid == 0 && (p.Kthread() || p.PID == os.Getpid())
	})
	if unreadable > 0 {
		say(stderr, "warning: %d processes could not be read: run leastcap as root", unreadable)
	}
	if len(list) == 0 && f.pid != 0 {
		return &usageError{fmt.Errorf("there is no process %d", f.pid), "leastcap ps -a lists them"}
	}
	if layout, ok := pscapLayouts[f.format]; ok {
		return f.pscap(stdout, layout, list)
	}

	list = slices.DeleteFunc(list, func(p proc.Process) bool {
		has := p.State.Effective.Union(p.State.Permitted)
		for _, t := range p.Threads {
			has = has.Union(t.State.Effective).Union(t.State.Permitted)
		}
		return f.having != "" && has.Intersect(having).Empty() || !f.all && f.pid == 0 && has.Empty() ||
			f.container != "" && p.Container == ""
	})
	containers, err := describeContainers(ctx, list)
	if err != nil {
		say(stderr, "warning: %v: its containers are shown by their ids", err)
	}
	var rows []report.Process
	for i := range list {
		p := &list[i]
		row := processRow(p)
		if p.Container != "" {
			row.Container = containers[p.Container]
		}
		if f.container != "" && row.Container.Name != f.container && !strings.HasPrefix(row.Container.ID, f.container) {
			continue
		}
		if f.wide || f.output == "json" {
			c := proc.Confined("/proc", p.PID)
			row.Args, row.Executable, row.SetID, row.Namespaces, row.LSM = c.Args, c.Exe, c.SetID, c.Own, c.LSM
		}
		rows = append(rows, row)
	}
	switch {
	case f.sort == "risk":
		report.ByRisk(rows)
	case f.tree:
		rows = report.Tree(rows)
	}
	if f.output == "json" {
		err = report.ProcessesJSON(stdout, rows)
	} else {
		err = report.Processes(stdout, rows, report.ProcessOptions{Style: styleOf(stdout), Full: proc.Known(), Wide: f.wide, Tree: f.tree})
	}
	if err == nil && len(rows) == 0 {
		if f.container != "" {
			say(stderr, "no process of a container %q has capabilities; -a shows those without", f.container)
		}
		return status(exitFindings)
	}
	return err
}

func (f *psFlags) pscap(stdout io.Writer, layout report.PscapLayout, list []proc.Process) error {
	own := proc.UserNamespace("/proc", "self")
	rows := make([]report.PscapRow, len(list))
	for i := range list {
		p := processRow(&list[i])
		theirs := proc.UserNamespace("/proc", strconv.Itoa(p.PID))
		rows[i] = report.PscapRow{Process: &p, OtherUser: theirs != "" && theirs != own}
	}
	return report.Pscap(stdout, layout, rows, proc.Known(), f.all || f.pid != 0)
}

func processRow(p *proc.Process) report.Process {
	row := report.Process{
		PID: p.PID, PPID: p.PPID, User: userName(p.UID), UID: p.UID, Command: p.Comm,
		Effective: p.State.Effective, Permitted: p.State.Permitted, Inheritable: p.State.Inheritable, Bounding: p.State.Bounding, Ambient: p.State.Ambient,
		NoNewPrivs: p.NoNewPrivs, Seccomp: p.Seccomp,
	}
	for _, t := range p.Threads {
		row.Threads = append(row.Threads, report.ProcThread{
			TID: t.TID, Command: t.Comm, Effective: t.State.Effective, Permitted: t.State.Permitted,
			Inheritable: t.State.Inheritable, Bounding: t.State.Bounding, Ambient: t.State.Ambient,
		})
	}
	return row
}

// describeContainers says by id what is known of the containers of processes.
func describeContainers(ctx context.Context, list []proc.Process) (map[string]*report.ProcContainer, error) {
	found := make(map[string]*report.ProcContainer)
	var ids []string
	for i := range list {
		if p := &list[i]; p.Container != "" && found[p.Container] == nil {
			found[p.Container] = &report.ProcContainer{ID: p.Container, Engine: p.Engine}
			if p.Engine != "leastcap" { // which no engine knows
				ids = append(ids, p.Container)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	running, err := cli.Describe(ctx, ids)
	for id, r := range running {
		c := found[id]
		if c == nil {
			continue
		}
		c.Engine, c.Name, c.Image = r.Engine, r.Name, r.Image
		name := r.Engine
		if name == "nerdctl" {
			name = "docker" // pkg/cmd/container/run_security_linux.go: the same rules
		}
		engineRules, rerr := rules.For(name)
		if rerr != nil {
			continue
		}
		result, rerr := engineRules.Apply(rules.Request{Add: r.CapAdd, Drop: r.CapDrop, Privileged: r.Privileged, User: r.User})
		if rerr != nil {
			continue
		}
		c.Asked = &report.ProcAsked{CapAdd: notNil(r.CapAdd), CapDrop: notNil(r.CapDrop), Privileged: r.Privileged, Set: result.Set}
	}
	return found, err
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

var userNames = map[uint32]string{}

// userName is the host's name of a user, or the number.
func userName(uid uint32) string {
	name, ok := userNames[uid]
	if !ok {
		name = strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
		userNames[uid] = name
	}
	return name
}
