package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
	"github.com/leastcap/leastcap/watch"
)

type whyFlags struct {
	last         time.Duration
	output, hook string
	engine       string
	quiet        bool
}

func newWhy(stdout, stderr io.Writer) *cobra.Command {
	var f whyFlags
	cmd := &cobra.Command{
		Use:   "why [flags] [TARGET...]\n  leastcap why [flags] -- COMMAND [ARG...]",
		Short: "Explain why something was just refused, and what to do instead of allowing it",
		Long: `Explain system calls that fail with EPERM, EACCES or EROFS, as they happen: which
process, which call on which path, which capability was missing and whether that mattered,
what would allow it with the least power, and what to do instead.

With targets it looks at what runs (see leastcap watch --help for what a TARGET is), with
none at everything. With a command behind -- it runs that and looks at it alone: a docker,
podman or nerdctl run line, as it stands but for -i and -t, whose container is removed at
the end, or any other command, which runs on this host in a cgroup of its own. What the
command writes goes to standard error.

A refusal is one of: "capability" (asked for, and not there), "file mode" (of a process
that is not root and never had any), "seccomp" (the filter stopped the call before it
began), "read-only", "user namespace" (asked of an outer one, so that nothing can satisfy
it), "file capabilities" (execve of a file that has more than the bounding set), "capset",
"not executable", "no such file" (nor can one be made in /proc or /sys), "immutable",
"sticky directory" (another user's file in one like /tmp), "device", "security module",
"unknown". Where it says "maybe" it is the likely reason and
not what was seen: SELinux, AppArmor, Landlock and the device rules leave no trace that
can be told apart.

--output json is a stream, one document a line: "refusal", and a "summary" at the end.

Exit status:
  0  nothing was refused that mattered
  1  a refusal mattered
  2  wrong usage, or the command could not be run as written
  3  could not look, or something was lost`,
		Example: `  leastcap why -- docker run --rm --cap-drop all nginx
  leastcap why --engine embedded -- docker run --cap-drop all nginx
  leastcap why -- mount -t tmpfs none /mnt
  leastcap why web --for 1m
  leastcap why -o json | jq 'select(.explanation.mattered)'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(f.output, "text", "json"); err != nil {
				return err
			}
			if cmd.Flags().Changed("for") && f.last <= 0 {
				return &usageError{fmt.Errorf("--for %v: must be more than nothing", f.last), "for example --for 1m"}
			}
			dash := cmd.ArgsLenAtDash()
			switch {
			case f.engine != "" && f.engine != engineEmbedded:
				return &usageError{fmt.Errorf("--engine %q is not known", f.engine), "use embedded, or leave it out: the line names its engine"}
			case f.engine != "" && dash < 0:
				return &usageError{errors.New("--engine goes with a command"), "leastcap why --engine " + f.engine + " -- docker run IMAGE"}
			case dash > 0:
				return &usageError{errors.New("targets and a command contradict each other"), "leave what stands before -- out"}
			case dash == 0 && len(args) == 0:
				return &usageError{errors.New("no command behind --"), "leastcap why -- docker run IMAGE"}
			}
			return f.run(cmd.Context(), stdout, stderr, args, dash == 0)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.DurationVar(&f.last, "for", 0, "end after this long; a command is stopped then")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json (a stream, a document a line)")
	fl.StringVar(&f.engine, "engine", "", "run a docker line on another engine: embedded, leastcap's own runtime")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "do not show what the command writes")
	addHook(fl, &f.hook, "")
	return cmd
}

// whyLook is a leastcap why under way.
type whyLook struct {
	*whyFlags
	*lookout
	trial          *trial // nil: what runs is looked at
	stdout, stderr io.Writer
	style          report.Style
	modules        []string
	told           map[string]int // a refusal's key to its place in list
	list           []told
	held           map[string]usage.Refusal // that wait for their containers' names
	past           whySummary               // of cgroups that are gone, and forgotten
	failed         error
}

type told struct {
	usage.Refusal
	advise.Explanation
	key    string
	others map[string]uint64 // the counts of those for the same reason, by their keys
}

func (f *whyFlags) run(ctx context.Context, stdout, stderr io.Writer, args []string, isCommand bool) error {
	w := &whyLook{whyFlags: f, stdout: stdout, stderr: stderr, style: styleOf(stdout), told: map[string]int{}, held: map[string]usage.Refusal{}, modules: securityModules()}
	if isCommand {
		return w.command(ctx, args)
	}
	l, err := newLookout(ctx, args, probe.Options{Refusals: true, Hook: f.hook}, stderr)
	if err != nil {
		return err
	}
	defer l.probe.Close()
	w.lookout = l
	what := "everything"
	if len(args) > 0 {
		what = strings.Join(args, ", ")
	}
	say(stderr, "looking for refusals of %s; Ctrl-C ends", what)
	if err := w.loop(ctx, nil); err != nil {
		return err
	}
	return w.conclude()
}

// loop looks until it is time to end, or what is looked at has.
func (w *whyLook) loop(ctx context.Context, ended <-chan struct{}) error {
	end := lastingFor(w.last)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var news, told uint64
	var pause time.Time
	for done := false; !done && w.failed == nil; {
		select {
		case <-ctx.Done():
			done = true
		case <-end:
			done = true
		case <-ended:
			done = true
		case <-tick.C:
		}
		n, err := w.probe.News()
		if err != nil {
			return err
		}
		names := w.names.told()
		if now := time.Now(); (n != news || names != told || len(w.held) > 0 || w.unnamed > 0) && now.After(pause) || done {
			news, told = n, names
			if err := w.look(now, done); err != nil {
				return err
			}
			pause = time.Now().Add(lookShare * time.Since(now))
		}
	}
	return nil
}

// chosen says for the probe whose refusals are wanted, and takes note of cgroups that are
// gone. One of a container stays until its engine has named that.
func (w *whyLook) chosen(place probe.Place) string {
	if w.trial != nil {
		if w.trial.has(place) {
			return place.Path
		}
		if place.Dead {
			w.gone = append(w.gone, place.ID)
		}
		return ""
	}
	s := w.of(place.Path)
	name := place.Path
	if place.Dead && !w.waits(&s) {
		w.left(place, &s)
		name += watch.Gone
	}
	if !w.wanted(place.Path, &s) {
		return ""
	}
	return name
}

// again is chosen a second time: what was not gone then is not gone now.
func (w *whyLook) again(place probe.Place) string {
	if w.trial != nil {
		if w.trial.has(place) {
			return place.Path
		}
		return ""
	}
	s := w.of(place.Path)
	switch {
	case !w.wanted(place.Path, &s):
		return ""
	case slices.Contains(w.gone, place.ID):
		return place.Path + watch.Gone
	}
	return place.Path
}

// look explains what is new. What is of a container that its engine has not named yet
// waits for the next look, unless this is the last.
func (w *whyLook) look(now time.Time, last bool) error {
	w.begin()
	groups, err := w.probe.Survey(w.chosen)
	if err != nil {
		return err
	}
	refusals, err := w.probe.Refusals(w.again)
	if err != nil {
		return err
	}
	live := map[int]bool{}
	for _, r := range append(refusals, answers(groups)...) {
		var gone bool
		r.Group, gone = strings.CutSuffix(r.Group, watch.Gone)
		i := w.take(now, r, gone, last)
		if w.failed != nil {
			return nil
		}
		if i >= 0 && !gone {
			live[i] = true
		}
	}
	if len(w.gone) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if path, gone := strings.CutSuffix(name, watch.Gone); gone {
			w.past.Harmless = append(w.past.Harmless, w.harmless(path, groups[name])...)
		}
	}
	if more := len(w.past.Harmless) - mostHarmless; more > 0 {
		w.past.Harmless = slices.Delete(w.past.Harmless, 0, more)
		w.past.Omitted += more
	}
	w.retire(live)
	w.probe.Forget(w.gone...)
	for _, id := range w.ended {
		w.names.drop(id)
	}
	return nil
}

// mostHarmless is how many refusals that did not matter are remembered of cgroups that are gone.
const mostHarmless = 1000

// take takes one refusal in and tells it if it is new; it gives its place in the list, or -1.
// Gone is the last time that it comes, last the last look.
func (w *whyLook) take(now time.Time, r usage.Refusal, gone, last bool) int {
	key := fmt.Sprint(r.Group, r.Process.Exe, r.Process.EUID, r.Call, r.Errno, r.Denied, r.Beyond, r.Begun, r.Since)
	if i, ok := w.told[key]; ok {
		if t := &w.list[i]; t.key == key {
			t.Count = r.Count
		} else {
			t.others[key] = r.Count
		}
		return i
	}
	if r.Launch && r.Denied.Empty() && r.Beyond.Empty() && !strings.HasPrefix(r.Syscall, "exec") {
		return -1 // the runtime's own affair
	}
	s := w.of(r.Group)
	if early, ok := w.held[key]; ok {
		early.Count = r.Count
		r = early
	} else {
		w.lookUp(&r, &s) // while the process is there
	}
	if w.trial == nil && !w.describe(&s) {
		switch {
		case last:
			_ = w.names.await(s.ID) // what fails is said at the end
			w.describe(&s)
		case !gone:
			w.held[key] = r
			return -1
		}
	}
	delete(w.held, key)
	// One directory in the way is told once, however many files are looked for in it.
	if f := r.File; f != nil && f.Blocker != "" && f.Blocker != r.Path && aboutDirectory(&r) {
		blocked := fmt.Sprint(r.Group, r.Process.Exe, r.Process.EUID, r.Syscall, r.Errno, r.Denied, "\x00", f.Blocker)
		if i, ok := w.told[blocked]; ok {
			w.told[key] = i
			w.list[i].others[key] = r.Count
			return i
		}
		w.told[blocked] = len(w.list)
	}
	e := advise.Explain(&r, w.context(&s))
	w.told[key] = len(w.list)
	w.list = append(w.list, told{r, e, key, map[string]uint64{}})
	w.tell(now, &s, &r, &e)
	return len(w.list) - 1
}

// retire keeps of what is not live, since its cgroups are gone, the sums alone.
func (w *whyLook) retire(live map[int]bool) {
	at := make(map[int]int)
	var list []told
	for i := range w.list {
		if live[i] {
			at[i] = len(list)
			list = append(list, w.list[i])
		} else {
			w.past.add(&w.list[i])
		}
	}
	w.list = list
	for key, i := range w.told {
		if j, ok := at[i]; ok {
			w.told[key] = j
		} else {
			delete(w.told, key)
		}
	}
}

// answers are refusals that netlink gives in its answers.
func answers(groups map[string]*probe.Group) (list []usage.Refusal) {
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		for _, c := range groups[name].Record.Checks {
			if !advise.InReply(&c) {
				continue
			}
			r := usage.Refusal{
				Group: name, Since: c.Since, Count: c.Count, Syscall: c.Syscall, Call: c.Call, Errno: "EPERM", Function: c.Function,
				Begun: usage.BegunYes, Reply: true, Process: c.Process,
			}
			if set := caps.Of(c.Cap); c.Beyond {
				r.Beyond = set
			} else {
				r.Denied = set
			}
			list = append(list, r)
		}
	}
	return list
}

// harmless are the denied checks of a cgroup that did not matter.
func (w *whyLook) harmless(path string, g *probe.Group) (list []whyHarmless) {
	s := w.of(path)
	if w.trial == nil {
		w.describe(&s)
	}
	for _, c := range g.Record.Checks {
		if c.Verdict == usage.Denied && !watch.Mattered(c) {
			list = append(list, whyHarmless{w.subjectOf(&s), c})
		}
	}
	return list
}

func (w *whyLook) context(s *watch.Subject) advise.Context {
	c := advise.Context{Container: s.Kind == watch.Container, Engine: s.Engine, Modules: w.modules}
	if c.Container {
		c.Opens = bundle.Opens
	}
	return c
}

// lookUp adds what can still be found out about a refusal's file and program.
func (w *whyLook) lookUp(r *usage.Refusal, s *watch.Subject) {
	var pids []int
	known := proc.KernelNumbers() // else another process has its number here
	if known {
		pids = append(pids, r.Process.PID)
	}
	if s.Kind == watch.Container {
		dir := filepath.Join(w.probe.Hierarchy().Mount, s.Cgroup)
		if w.trial != nil {
			dir = w.trial.dir(w.probe.Hierarchy().Mount, s.Cgroup)
		}
		if more, err := proc.Procs(dir); err == nil {
			pids = append(pids, more...)
		}
	} else {
		pids = append(pids, os.Getpid())
	}
	inDir := changesDirectory(r)
	if r.Path != "" {
		for _, pid := range pids {
			f, err := proc.Look(pid, r.Path, r.FSUID, r.FSGID, inDir)
			if err == nil {
				r.File = f
				number(r, pid)
				break
			}
		}
		if r.File == nil && w.trial != nil {
			r.File = w.trial.look(r.Path, r.FSUID, r.FSGID, inDir)
		}
	}
	if r.NoNewPrivs && strings.HasPrefix(r.Process.Exe, "/") {
		for _, pid := range pids {
			if f, err := proc.Look(pid, r.Process.Exe, 0, 0, false); err == nil {
				r.Program = f
				break
			}
		}
		if r.Program == nil && w.trial != nil {
			r.Program = w.trial.look(r.Process.Exe, 0, 0, false)
		}
	}
	if len(w.modules) > 0 && known {
		r.LSM = proc.Confined("/proc", &proc.Process{PID: r.Process.PID}).LSM
	}
}

// number puts a refusal's ids, and its file's, as the user namespace of a process has them:
// so they are written in images.
func number(r *usage.Refusal, pid int) {
	if !r.UserNamespace || pid == os.Getpid() {
		return
	}
	users, groups, err := proc.IDMaps(pid)
	if err != nil {
		return
	}
	uid, ok := users.Inside(r.FSUID)
	gid, gok := groups.Inside(r.FSGID)
	if !ok || !gok {
		return // it is in another one
	}
	r.FSUID, r.FSGID, r.Numbered = uid, gid, true
	const nobody = 65534 // Documentation/admin-guide/sysctl/fs.rst: overflowuid
	if uid, ok = users.Inside(r.File.UID); !ok {
		uid = nobody
	}
	if gid, gok = groups.Inside(r.File.GID); !gok {
		gid = nobody
	}
	r.File.UID, r.File.GID, r.File.Unmapped = uid, gid, !ok || !gok
}

// aboutDirectory: it is the directory that a call was refused for, and not the file itself,
// which may have gone.
func aboutDirectory(r *usage.Refusal) bool {
	of := r.Denied.Union(r.Beyond)
	return of.Empty() || !of.Intersect(caps.Of(caps.DacOverride, caps.DacReadSearch)).Empty() || changesDirectory(r)
}

// changesDirectory: the call needs to write the directory, not the file. A link to somebody
// else's file is refused for that, and with EPERM (fs/namei.c:may_linkat).
func changesDirectory(r *usage.Refusal) bool {
	if (r.Syscall == "link" || r.Syscall == "linkat") && r.Errno == "EPERM" {
		return false
	}
	return slices.Contains([]string{
		"mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat",
		"symlink", "symlinkat", "mknod", "mknodat", "creat",
	}, r.Syscall)
}

// securityModules are those that the kernel has: securityfs' lsm; nil if that cannot be read.
func securityModules() []string {
	data, err := os.ReadFile("/sys/kernel/security/lsm")
	if err == nil {
		return strings.Split(strings.TrimSpace(string(data)), ",")
	}
	var list []string // where securityfs is not mounted
	for name, sign := range map[string]string{"selinux": "/sys/fs/selinux/enforce", "apparmor": "/sys/module/apparmor/parameters/enabled"} {
		if _, err := os.Stat(sign); err == nil {
			list = append(list, name)
		}
	}
	return list
}

// whyDocument is a refusal as JSON.
type whyDocument struct {
	Time        time.Time           `json:"time"`
	Event       string              `json:"event"`
	Subject     *watch.Subject      `json:"subject,omitempty"`
	Process     *usage.Process      `json:"process,omitempty"`
	Syscall     string              `json:"syscall"`
	Call        string              `json:"call,omitempty"`
	Path        string              `json:"path,omitempty"`
	Errno       string              `json:"errno"`
	Reply       bool                `json:"reply,omitempty"` // netlink's answer says so, and not the call
	Denied      caps.Set            `json:"denied"`
	Beyond      caps.Set            `json:"beyond"`
	Function    string              `json:"function,omitempty"`
	NoNewPrivs  bool                `json:"no_new_privs"`
	Seccomp     int                 `json:"seccomp"`
	State       whyState            `json:"state"`
	File        *usage.File         `json:"file,omitempty"`
	LSM         string              `json:"lsm,omitempty"`
	Explanation *advise.Explanation `json:"explanation"`
}

type whyState struct {
	Effective   caps.Set `json:"effective"`
	Permitted   caps.Set `json:"permitted"`
	Inheritable caps.Set `json:"inheritable"`
	Bounding    caps.Set `json:"bounding"`
	Ambient     caps.Set `json:"ambient"`
}

// whySummary is the last document.
type whySummary struct {
	Time     time.Time         `json:"time"`
	Event    string            `json:"event"`
	Kinds    int               `json:"kinds"`
	Mattered int               `json:"mattered"` // kinds
	Refusals uint64            `json:"refusals"`
	Harmless []whyHarmless     `json:"harmless"`
	Omitted  int               `json:"harmless_omitted,omitempty"` // of cgroups that are gone, kinds
	Lost     map[string]uint64 `json:"lost,omitempty"`
}

func (s *whySummary) add(t *told) {
	s.Kinds++
	s.Refusals += t.Count
	for _, n := range t.others {
		s.Refusals += n
	}
	if t.Mattered {
		s.Mattered++
	}
}

type whyHarmless struct {
	Subject *watch.Subject `json:"subject,omitempty"`
	Check   usage.Check    `json:"check"`
}

// subjectOf is whose a refusal is, for people and programs; nil for the one command.
func (w *whyLook) subjectOf(s *watch.Subject) *watch.Subject {
	if w.trial != nil {
		return nil
	}
	return s
}

func (w *whyLook) tell(now time.Time, s *watch.Subject, r *usage.Refusal, e *advise.Explanation) {
	if w.output == "json" {
		w.failed = jsonLine(w.stdout, whyDocument{
			Time: now, Event: "refusal", Subject: w.subjectOf(s), Process: &r.Process, Syscall: r.Syscall, Call: r.Call, Path: r.Path, Errno: r.Errno, Reply: r.Reply,
			Denied: r.Denied, Beyond: r.Beyond, Function: r.Function, NoNewPrivs: r.NoNewPrivs, Seccomp: r.Seccomp,
			State: whyState(r.State), File: r.File, LSM: r.LSM, Explanation: e,
		})
		return
	}
	row := report.Refused{
		Time: now, Call: r.Call, Errno: r.Errno, Cause: string(e.Cause), Mattered: e.Mattered, Certain: e.Certain,
		Why: e.Why, Allow: e.Allow,
	}
	if row.Call == "" {
		row.Call = r.Syscall
	}
	if r.Reply {
		row.Errno += " in its answer"
	}
	if sub := w.subjectOf(s); sub != nil {
		row.Who = sub.Label()
	}
	row.Process = fmt.Sprintf("%s (%s) as uid %d, process %d", r.Process.Comm, r.Process.Exe, r.Process.EUID, r.Process.PID)
	if r.Process.Exe == "" {
		row.Process = fmt.Sprintf("%s as uid %d, process %d", r.Process.Comm, r.Process.EUID, r.Process.PID)
	}
	if r.Launch {
		row.Process += ", the runtime starting the command"
	}
	for _, a := range e.Instead {
		do := a.Do
		if a.How != "" {
			do += ": " + a.How
		}
		row.Instead = append(row.Instead, do)
	}
	w.failed = report.Refusal(w.stdout, row, w.style)
}

// conclude sums up, and gives the exit status.
func (w *whyLook) conclude() error {
	if w.failed != nil {
		return w.failed
	}
	now := time.Now()
	w.names.end()
	lost, err := w.probe.Lost()
	if err != nil {
		return err
	}
	sum := w.past
	sum.Time, sum.Event, sum.Lost = now, "summary", lost
	for i := range w.list {
		sum.add(&w.list[i])
	}
	groups, err := w.probe.Survey(w.again)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		if path, forgotten := strings.CutSuffix(name, watch.Gone); !forgotten {
			sum.Harmless = append(sum.Harmless, w.harmless(path, groups[name])...)
		}
	}
	if sum.Harmless == nil {
		sum.Harmless = []whyHarmless{}
	}
	if w.output == "json" {
		err = jsonLine(w.stdout, sum)
	} else {
		total := report.WhyTotal{Kinds: sum.Kinds, Mattered: sum.Mattered, Refusals: sum.Refusals, Omitted: sum.Omitted}
		for _, h := range sum.Harmless {
			row := report.Harmless{Cap: h.Check.Cap.String(), Call: h.Check.Call, Errno: h.Check.Errno, Count: h.Check.Count}
			if row.Call == "" {
				row.Call = "outside a system call"
			}
			if h.Subject != nil {
				row.Who = h.Subject.Label()
			}
			total.Harmless = append(total.Harmless, row)
		}
		var words []string
		for _, kind := range slices.Sorted(maps.Keys(lost)) {
			words = append(words, fmt.Sprintf("%d of the %s", lost[kind], kind))
		}
		if len(words) > 0 {
			total.Lost = strings.Join(words, ", ") + ": more may have been refused"
		}
		err = report.WhyTotals(w.stdout, total, w.style)
	}
	switch {
	case err != nil:
		return err
	case sum.Mattered > 0:
		return status(exitFindings)
	case len(lost) > 0:
		return status(exitBlind)
	}
	return nil
}
