package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
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
default + net_admin - chown" those, one more and one less; on a terminal what a container
has beyond Docker's default is in colour. Threads whose sets differ from their process's
follow it. <defunct> is one that has ended and was not waited for: it does nothing with
what it has.

Containers are found by the names of their cgroups. Their own names, and what was asked
for them, are in what Docker, Podman, containerd, CRI-O and Kubernetes keep on disk (a
pod's container is NAMESPACE/POD/CONTAINER), or else Docker, Podman and nerdctl are asked;
one that does not answer within a second is left out, and the container's id stands
instead. Where a process could have more than its engine says that the container was
given (by docker exec --privileged, say), or less, it is said.

--wide also shows the inheritable set, the bounding set where it is not the permitted
one, the image, what was asked of the engine, the command line and what else confines the
process: its own namespaces and the host's (process 1's, in a container), seccomp,
no_new_privs, the label of SELinux or AppArmor, securebits, and whether its program is a
set-id one. What may not be read is named. Securebits are not in /proc: they are shown
where leastcap may use BPF.

Where there are many processes, they are read by a BPF iterator, if leastcap may (as root).

--format pscap is what libcap-ng's pscap 0.8 prints, --format pscap-0.9 what it prints
since 0.9.1; both take -a and -p as pscap does. Control characters in names are escaped,
as its newest versions do.

--output json has all five sets of each, no_new_privs, the seccomp mode (0 none,
1 strict, 2 filter, -1 not known), and all that --wide shows; null is not known, and what
is not there (set_uid, own_user_namespace, zombie, container) is not so, or is in "unreadable".

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
			for name, value := range map[string]string{"container": f.container, "having": f.having} {
				if cmd.Flags().Changed(name) && value == "" { // a variable that is not set, say: not everything is meant
					return &usageError{fmt.Errorf("--%s is empty", name), "leave it out to see all"}
				}
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

func (f *psFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	var having caps.Set
	if f.having != "" {
		set, all, err := caps.ParseList([]string{f.having})
		if err != nil {
			return &usageError{fmt.Errorf("--having: %w", err), "write a capability as in net_raw; several with commas"}
		}
		if having = set; all {
			having = caps.All()
		}
	}
	list, err := f.list(stderr)
	if err != nil {
		return err
	}
	if layout, ok := pscapLayouts[f.format]; ok {
		return f.pscap(stdout, layout, list)
	}

	var monitors []int // of one process nothing is known about others
	if f.pid == 0 {
		monitors = engine.Monitors(list)
	}
	list = slices.DeleteFunc(list, func(p proc.Process) bool {
		has := held(&p)
		return f.having != "" && has.Intersect(having).Empty() || !f.all && f.pid == 0 && has.Empty() ||
			f.container != "" && p.Container == ""
	})
	containers, err := describeContainers(ctx, list, monitors)
	if err != nil {
		say(stderr, "warning: %v: its containers are shown by their ids", err)
	}
	hidden := 0
	for _, c := range containers {
		if c.Name == "" && c.Engine != "leastcap" {
			hidden++
		}
	}
	if hidden > 0 && os.Geteuid() != 0 {
		say(stderr, "warning: %d of %d containers are shown by their ids: what engines keep of them may not be read: run leastcap as root", hidden, len(containers))
	}
	if f.container != "" {
		list = slices.DeleteFunc(list, func(p proc.Process) bool {
			c := containers[p.Container]
			return c.Name != f.container && !strings.HasPrefix(c.ID, f.container)
		})
	}
	rows := processRows(list, containers, f.wide || f.output == "json")
	switch {
	case f.sort == "risk":
		report.ByRisk(rows)
	case f.tree:
		rows = report.Tree(rows)
	}
	if f.output == "json" {
		err = report.ProcessesJSON(stdout, rows)
	} else {
		err = report.Processes(stdout, rows, report.ProcessOptions{Style: styleOf(stdout), Full: proc.Known(), Wide: f.wide, Tree: f.tree, Inside: f.wide && !proc.MountedForUs()})
	}
	if err == nil && len(rows) == 0 {
		if f.container != "" {
			switch {
			case hidden > 0 && os.Geteuid() != 0:
				say(stderr, "no container is known to be called %q; a beginning of its id will do, too", f.container)
			case f.all:
				say(stderr, "no process is in a container %q", f.container)
			default:
				say(stderr, "no process of a container %q has capabilities; -a shows those without", f.container)
			}
			if hidden > 0 && os.Geteuid() == 0 { // in a container, say
				say(stderr, "no engine says here what %d of %d containers are called: a beginning of the id will do, too", hidden, len(containers))
			}
		} else if f.having != "" {
			say(stderr, "no process that can be seen has any of %v", having)
		} else {
			say(stderr, "no other process is to be seen")
		}
		return status(exitFindings)
	}
	return err
}

// list reads the processes that there can be rows of.
func (f *psFlags) list(stderr io.Writer) ([]proc.Process, error) {
	if f.pid != 0 {
		p, err := readProcess(f.pid, f.wide || f.output == "json")
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &usageError{fmt.Errorf("there is no process %d", f.pid), "leastcap ps -a lists them"}
		case err != nil:
			return nil, fmt.Errorf("process %d: %w", f.pid, err)
		}
		if leader, err := proc.Leader(f.pid); err == nil && leader != f.pid {
			return nil, &usageError{fmt.Errorf("%d is a thread of process %d", f.pid, leader), fmt.Sprintf("leastcap ps -p %d shows that, with the threads that differ", leader)}
		}
		return []proc.Process{*p}, nil
	}
	o := proc.ListOptions{Containers: capable, UserNamespaces: capable}
	switch {
	case f.format != "":
		o.Containers = nil
	case f.all:
		o.Containers, o.UserNamespaces = proc.Each, proc.Each
	}
	list, unreadable, err := listProcesses(f.wide || f.output == "json", o)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	if len(list) == 0 { // not even this one
		return nil, errors.New("no process is to be seen: /proc is not mounted, or not for this pid namespace")
	}
	own := os.Getpid()
	list = slices.DeleteFunc(list, func(p proc.Process) bool { return p.PID == own })
	if unreadable > 0 {
		say(stderr, "warning: %d processes could not be read: run leastcap as root", unreadable)
	}
	if os.Geteuid() != 0 && proc.Hidden() {
		say(stderr, "warning: /proc is mounted with hidepid: other users' processes are not shown: run leastcap as root")
	}
	return list, nil
}

// pscapKernel is what pscap takes for the kernel's (libcap-ng utils/pscap.c), in any pid
// namespace.
func pscapKernel(p *proc.Process) bool { return p.PID == 2 || p.PPID == 2 }

func (f *psFlags) pscap(stdout io.Writer, layout report.PscapLayout, list []proc.Process) error {
	own := proc.UserNamespace("/proc", "self")
	list = slices.DeleteFunc(list, func(p proc.Process) bool { return p.State.Effective.Empty() || f.pid == 0 && pscapKernel(&p) })
	processes := make([]report.Process, len(list))
	rows := make([]report.PscapRow, len(list))
	for i := range list {
		theirs := list[i].Namespaces[proc.NSUser]
		processes[i] = processRow(&list[i])
		rows[i] = report.PscapRow{Process: &processes[i], OtherUser: theirs != 0 && theirs != own}
	}
	return report.Pscap(stdout, layout, rows, proc.Known(), f.all || f.pid != 0)
}
