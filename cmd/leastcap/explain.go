package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/report"
)

type explainFlags struct {
	long, diff, noPager    bool
	pids                   []string
	syscall, errno, output string
}

func newExplain(stdout, stderr io.Writer) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [flags] [WORD...] [-- docker run ...]",
		Short: "Say what capabilities are, how dangerous, and how not to need them",
		Long: `Say what a capability lets a process do, what of that a container confines and
what not, where the kernel asks for it, who needs it, and what to do instead of
granting it.

Each WORD is one of these:

  net_raw CAP_NET_RAW 13  a capability: one has a page, a few are side by side
  docker podman crio ...  what an engine gives by default, or a policy allows;
                          their names are below
  a80425fb 0x2400         a mask, as /proc/PID/status has it; also all and none
  chown,setuid            a set of your own
  4242                    a process (--pid for those with a capability's number)
  web 0e7fd7e67241        a running container, by its name or id
  "docker run ..."        what a docker, podman or nerdctl line would give, by
                          the engine's rules; nothing is run. Also after --

Without a WORD all capabilities are listed, the most dangerous first.

The danger is that in a container that has namespaces of its own, but no user
namespace: host (takes over the host), shared (takes it over if a namespace, a
mount or a device is shared), disturb, disclose, inside. Of a process and of a
line it is what it comes to with what they share.

--syscall and --errno find the checks of a system call, and those that give an
error: EPERM, 1 or "Operation not permitted". Together they say what a line of
strace may be about.

A page longer than the terminal goes through $LEASTCAP_PAGER, $PAGER or less.
--output json is one document, with all that is known.

The sets are ` + wrapNames(defaultNames()) + `.

Exit status:
  0  done
  2  wrong usage: a word that is not known, or a line that the engine refuses
  3  a process that cannot be looked at`,
		Example: `  leastcap explain net_raw
  leastcap explain --long sys_admin
  leastcap explain chown fowner dac_override
  leastcap explain docker
  leastcap explain --diff podman docker
  leastcap explain "docker run --cap-add net_admin --pid host nginx"
  leastcap explain --syscall mount --errno EPERM`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(f.output, "text", "json"); err != nil {
				return err
			}
			for flag, value := range map[string]string{"syscall": f.syscall, "errno": f.errno, "pid": strings.Join(f.pids, "")} {
				if cmd.Flags().Changed(flag) && strings.TrimSpace(value) == "" {
					return &usageError{fmt.Errorf("--%s is empty", flag), "leastcap explain --help has examples"}
				}
			}
			x, err := f.find(cmd.Context(), stderr, args, cmd.ArgsLenAtDash())
			if err != nil {
				return err
			}
			return f.show(cmd.Context(), stdout, x)
		},
		ValidArgsFunction: completeWords,
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &usageError{err, "put a container's line in quotes, or -- before it; leastcap explain --help lists explain's own flags"}
	})
	fl := cmd.Flags()
	fl.BoolVarP(&f.long, "long", "l", false, "all that is known, with sources")
	fl.BoolVar(&f.diff, "diff", false, "how two sets differ")
	fl.StringSliceVarP(&f.pids, "pid", "p", nil, "the process of this number")
	fl.StringVar(&f.syscall, "syscall", "", "the capabilities that a system call may be asked for")
	fl.StringVar(&f.errno, "errno", "", "those without which something gives this error")
	fl.BoolVar(&f.noPager, "no-pager", false, "write long pages at once")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
	completeFlag(cmd, "pid", processWords)
	completeFlag(cmd, "syscall", func() []string { return catalog.Calls() })
	completeFlag(cmd, "errno", errnoNames)
	return cmd
}

// defaultNames are the names of the catalog's sets.
func defaultNames() []string {
	var names []string
	for _, d := range catalog.DefaultSets() {
		names = append(names, d.Engine)
	}
	return names
}

func errnoNames() []string {
	var names []string
	for _, e := range catalog.Errnos() {
		names = append(names, e.Name)
	}
	return names
}

// wrapNames breaks a list that stands behind "The sets are ".
func wrapNames(names []string) string {
	const intro, width = "The sets are ", 79
	line, lines := intro, ""
	for i, name := range names {
		if i < len(names)-1 {
			name += ","
		}
		if len(line)+len(name) > width {
			lines += strings.TrimRight(line, " ") + "\n"
			line = ""
		}
		line += name + " "
	}
	return strings.TrimPrefix(lines+strings.TrimRight(line, " "), intro)
}

// find works out what was asked.
func (f *explainFlags) find(ctx context.Context, stderr io.Writer, args []string, dash int) (*report.Explanation, error) {
	var x report.Explanation
	if f.syscall != "" || f.errno != "" {
		if len(args) > 0 || len(f.pids) > 0 || f.diff {
			return nil, &usageError{fmt.Errorf("--syscall and --errno take no words beside them"), "ask one thing at a time"}
		}
		asked, err := findChecks(f.syscall, f.errno)
		x.Asked = asked
		return &x, err
	}
	words, line := args, []string(nil)
	if dash >= 0 {
		words, line = args[:dash], args[dash:]
	} else if len(args) > 1 && looksLikeLine(args) {
		words, line = nil, args
	}
	for _, word := range words {
		if err := explainWord(ctx, &x, stderr, word); err != nil {
			return nil, err
		}
	}
	for _, word := range f.pids {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--pid %q is not a number", word), "leastcap ps -a lists processes"}
		}
		set, err := explainProcess(pid)
		if err != nil {
			return nil, err
		}
		x.Sets = append(x.Sets, *set)
	}
	if line != nil {
		set, err := explainLine(line)
		if err != nil {
			return nil, err
		}
		x.Sets = append(x.Sets, *set)
	}
	if f.diff {
		return &x, diffSets(&x)
	}
	if len(x.Capabilities) == 0 && len(x.Sets) == 0 {
		set := report.NewExplainedSet("all", "all capabilities of Linux", caps.All())
		x.Sets = append(x.Sets, set)
	}
	return &x, nil
}

// diffSets compares the two sets that were named; a capability is a set of one.
func diffSets(x *report.Explanation) error {
	if len(x.Sets)+len(x.Capabilities) != 2 {
		return &usageError{fmt.Errorf("--diff compares two sets, and %d were given", len(x.Sets)+len(x.Capabilities)), "such as: leastcap explain --diff podman docker"}
	}
	for _, e := range slices.Backward(x.Capabilities) {
		set := report.NewExplainedSet(e.Cap.String(), e.Cap.String(), caps.Of(e.Cap))
		x.Sets = slices.Insert(x.Sets, 0, set)
	}
	x.Capabilities = nil
	a, b := &x.Sets[0], &x.Sets[1]
	x.Diff = &report.SetDiff{A: a.Name, B: b.Name, OnlyA: a.Caps.Minus(b.Caps), OnlyB: b.Caps.Minus(a.Caps), Both: a.Caps.Intersect(b.Caps)}
	return nil
}

func (f *explainFlags) show(ctx context.Context, stdout io.Writer, x *report.Explanation) error {
	if f.output == "json" {
		return report.ExplanationJSON(stdout, x)
	}
	style := styleOf(stdout)
	var page bytes.Buffer
	if err := report.Explain(&page, x, report.ExplainOptions{Style: style, Long: f.long, Height: max(heightOf(stdout)-1, 0)}); err != nil {
		return err
	}
	return f.write(ctx, stdout, page.Bytes())
}

// findChecks looks up a system call, an error number, or both.
func findChecks(call, errno string) (*report.ExplainedChecks, error) {
	asked := &report.ExplainedChecks{Call: strings.TrimSuffix(strings.ToLower(strings.TrimSpace(call)), "()")}
	if errno != "" {
		e, ok := catalog.FindErrno(errno)
		if !ok {
			hint := "the catalog knows " + strings.Join(errnoNames(), ", ")
			if strings.EqualFold(errno, "ENOSYS") {
				hint = "a kernel that lacks the system call gives it, or a seccomp profile: Docker's for clone3 without sys_admin"
			} else if near := caps.Nearest(strings.ToUpper(errno), errnoNames()); near != "" {
				hint = fmt.Sprintf("did you mean %s? %s", near, hint)
			}
			return nil, &usageError{fmt.Errorf("--errno %q is not an error that a missing capability gives", errno), hint}
		}
		asked.Errno = e.Name
	}
	if call != "" {
		if !slices.Contains(catalog.Calls(), asked.Call) && catalog.Opened(asked.Call).Empty() && !probe.SystemCall(asked.Call) {
			hint := "strace prints the names of system calls; leastcap explain without a word lists the capabilities"
			if near := caps.Nearest(asked.Call, catalog.Calls()); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			return nil, &usageError{fmt.Errorf("--syscall %q is no system call", call), hint}
		}
		if family := catalog.Family(asked.Call); family != asked.Call {
			asked.Family = family
		}
		asked.Opened = catalog.Opened(asked.Call)
	}
	asked.Checks = catalog.Find(asked.Call, asked.Errno)
	return asked, nil
}
