package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
	"github.com/leastcap/leastcap/watch"
)

type watchFlags struct {
	last, idle            time.Duration
	profile, output, hook string
	quiet                 bool
}

func newWatch(stdout, stderr io.Writer) *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch [flags] [TARGET...]",
		Short: "Watch which capabilities running containers and services use",
		Long: `Watch what runs, without a restart, and say which capabilities each container and
each service uses, and which it is refused. Nothing that is watched is changed.

A TARGET is a container's name or the beginning of its id (Docker, Podman, nerdctl), a
systemd unit (nginx.service, user.slice), a cgroup's path, or a process's number, which
stands for all that shares its cgroup. Without one everything is watched: each container
by itself, and the host's processes by their unit. Containers that start meanwhile are
taken in; for a target by name, that is one with the same name.

Each first use of a capability is said, and each first refusal of a kind; at the end
there is a summary. What the kernel asks in vain, and what a container's runtime uses to
set it up, is left out, as with leastcap learn. Nothing is lost under load: sets are kept
in the kernel.

What was only watched is not proven. Of what ran already the start was not seen, and what
only a start needs is missing: that is said, in the summary and in the profile. A profile
for each container or unit is written into the directory --profile, every few seconds
where there is something new, at the end, and at SIGTERM; one that an earlier watch left
there is gone on with, and one that leastcap learn left is merged with.

It ends with Ctrl-C or SIGTERM, after --for, or when nothing new was used for
--until-idle.

--output json is a stream, one event a line: "begin", "use", "denial", "end", "loss", and
for each subject a "summary".

Exit status:
  0  done, also by Ctrl-C
  2  wrong usage, or nothing that runs has that name
  3  could not look, or something was lost or could not be written`,
		Example: `  leastcap watch
  leastcap watch web db --for 10m --profile profiles/
  leastcap watch nginx.service --until-idle 1m
  leastcap watch -o json | jq 'select(.event == "denial")'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(f.output, "text", "json"); err != nil {
				return err
			}
			for name, d := range map[string]time.Duration{"for": f.last, "until-idle": f.idle} {
				if cmd.Flags().Changed(name) && d <= 0 {
					return &usageError{fmt.Errorf("--%s %v: must be more than nothing", name, d), "for example --" + name + " 1m"}
				}
			}
			var made []string
			if cmd.Flags().Changed("profile") {
				var err error
				if made, err = profileDir(f.profile); err != nil {
					return err
				}
			}
			return f.run(cmd.Context(), stdout, stderr, args, made)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.DurationVar(&f.last, "for", 0, "end after this long")
	fl.DurationVar(&f.idle, "until-idle", 0, "end when nothing used a new capability for this long")
	fl.StringVar(&f.profile, "profile", "", "keep a profile of each container and unit in this directory")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json (a stream, an event a line)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no events, only the summary; with json no difference")
	addHook(fl, &f.hook, "")
	return cmd
}

// profileDir finds out now whether profiles can be written. The directories that it made for
// that come with the innermost first.
func profileDir(dir string) (made []string, err error) {
	if dir == "" {
		return nil, &usageError{errors.New("--profile is empty"), "give a directory"}
	}
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		removeDirs(made)
		return nil, &usageError{fmt.Errorf("--profile %s: %w", dir, err), "give a directory"}
	}
	tmp, err := os.CreateTemp(dir, proc.TempPattern())
	if err != nil {
		removeDirs(made)
		return nil, &usageError{fmt.Errorf("--profile %s: %w", dir, err), "give a directory that can be written to"}
	}
	tmp.Close()
	return made, os.Remove(tmp.Name())
}

// removeDirs removes directories as far as they are empty.
func removeDirs(dirs []string) {
	for _, d := range dirs {
		_ = os.Remove(d)
	}
}

const (
	// lookEvery is how often it is asked whether there is anything new.
	lookEvery = 100 * time.Millisecond
	// lookShare bounds the part of the time that reading the maps takes: after a survey
	// there is a pause of at least this many times its length.
	lookShare = 10
	// flushEvery is how often profiles are written that changed.
	flushEvery = 5 * time.Second
	// mostEnded is how many subjects that have ended are remembered for the summary, and in
	// case that they come back. Profiles stay.
	mostEnded = 1000
)

// watching is a watch under way.
type watching struct {
	*watchFlags
	*lookout
	tracker        *watch.Tracker
	profiles       *profileFiles
	stdout, stderr io.Writer
	style          report.Style
	steady         map[uint64]bool
	lost           map[string]uint64
	retired        int   // subjects that the summary leaves out
	failed         error // of the output, or of a profile
}

// run watches. The directories made are for profiles, and there will be none if it cannot begin.
func (f *watchFlags) run(ctx context.Context, stdout, stderr io.Writer, words, made []string) error {
	l, err := newLookout(ctx, words, probe.Options{Hook: f.hook}, stderr)
	if err != nil {
		removeDirs(made)
		return err
	}
	defer l.probe.Close()
	w := &watching{watchFlags: f, lookout: l, tracker: watch.NewTracker(l.of), stdout: stdout, stderr: stderr, style: styleOf(stdout), steady: map[uint64]bool{}}
	if f.profile != "" {
		w.profiles = newProfileFiles(f.profile, l.probe.Hook())
	}
	what := "everything"
	if len(words) > 0 {
		what = strings.Join(words, ", ")
	}
	say(stderr, "watching %s; Ctrl-C ends", what)
	return w.loop(ctx)
}

// loop looks until it is time to end, and sums up.
func (w *watching) loop(ctx context.Context) error {
	end, began := lastingFor(w.last), time.Now()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	var news, told uint64
	fresh, pause := began, time.Time{} // when something new was used; no survey before
	pending := true
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-end:
			done = true
		case <-flush.C:
			w.flush()
			w.askNames()
		case <-tick.C:
		}
		now := time.Now()
		n, err := w.probe.News()
		if err != nil {
			return err
		}
		names := w.names.told()
		idle := w.idle > 0 && now.Sub(fresh) >= w.idle // unless there is something that was not looked at yet
		if (n != news || names != told || pending) && now.After(pause) || done || idle {
			news, told = n, names
			var used bool
			if used, pending, err = w.look(now, done || idle); err != nil {
				return err
			}
			if used {
				fresh = now
			}
			done = done || idle && !used
			pause = time.Now().Add(lookShare * time.Since(now))
		}
		if w.failed != nil {
			break // nobody reads any more
		}
	}
	return w.conclude()
}

// look surveys, says what is new, and tells whether a capability was used first, and
// whether something has to wait for the next look.
func (w *watching) look(now time.Time, last bool) (used, pending bool, err error) {
	groups, err := w.survey()
	if err != nil {
		return false, false, err
	}
	w.rename()
	events := w.tracker.Look(now, groups, w.describe, last)
	w.forget()
	if w.output == "text" {
		events = watch.Gather(events)
	}
	for i := range events {
		e := &events[i]
		used = used || e.Event == watch.Use
		w.emit(e)
	}
	pending = w.unnamed > 0 || w.tracker.Pending()
	var settledIDs []uint64
	for name, g := range groups {
		s := w.tracker.Get(name)
		if s == nil {
			continue
		}
		pending = pending || s.StartSeen && s.Kind == watch.Container && !s.Settled(now)
		if s.StartSeen && s.Settled(now) {
			for _, p := range g.Places {
				if !p.Adopted && !w.steady[p.ID] {
					w.steady[p.ID] = true
					settledIDs = append(settledIDs, p.ID)
				}
			}
		}
	}
	if len(settledIDs) > 0 {
		if err := w.probe.SetPhase(usage.Steady, settledIDs...); err != nil {
			return used, pending, err
		}
	}
	for _, id := range w.gone {
		delete(w.steady, id)
	}
	for _, id := range w.ended {
		if w.tracker.Get((&watch.Subject{Kind: watch.Container, ID: id}).Key()) == nil { // nobody asked for it
			w.drop(id)
		}
	}
	return used, pending, w.losses(now)
}

// rename gives containers the names that they have by now, as far as those are known.
func (w *watching) rename() {
	for _, s := range w.tracker.Subjects() {
		if s.Kind == watch.Container {
			w.names.complete(&s.Subject)
		}
	}
}

// askNames has new names looked for.
func (w *watching) askNames() {
	var ids []string
	for _, s := range w.tracker.Subjects() {
		if s.Kind == watch.Container && s.Ended.IsZero() {
			ids = append(ids, s.ID)
		}
	}
	w.names.refresh(ids)
}

// losses says what could not be kept, once a kind and then when it has doubled.
func (w *watching) losses(now time.Time) error {
	lost, err := w.probe.Lost()
	if err != nil {
		return err
	}
	fresh := map[string]uint64{}
	for kind, n := range lost {
		if n >= 2*max(w.lost[kind], 1) || w.lost[kind] == 0 {
			fresh[kind] = n
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if w.lost == nil {
		w.lost = map[string]uint64{}
	}
	maps.Copy(w.lost, fresh)
	e := &watch.Event{Time: now, Event: watch.Loss, Lost: lost}
	if w.output == "json" {
		w.emit(e)
	} else {
		say(w.stderr, "warning: %s", e.Words())
	}
	return nil
}

func (w *watching) emit(e *watch.Event) {
	if w.failed != nil {
		return
	}
	if w.output == "json" {
		w.failed = jsonLine(w.stdout, e)
		return
	}
	if w.quiet {
		return
	}
	h := report.Happening{Time: e.Time, Who: e.Subject.Label(), Words: e.Words()}
	h.Alarm = e.Mattered != nil && *e.Mattered
	h.Quiet = e.Event == watch.Begin || e.Event == watch.End
	if e.Event == watch.Begin && e.Running && e.Subject.Kind != watch.Container {
		return // the host has many, and they are in the summary
	}
	w.failed = report.Happened(w.stdout, h, w.style)
}

// jsonLine writes one document on a line.
func jsonLine(out io.Writer, v any) error {
	e := json.NewEncoder(usage.JSONWriter(out))
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// flush writes the profiles that changed, and forgets what ended long ago.
func (w *watching) flush() {
	now := time.Now()
	var ended []*watch.Tracked
	subjects := w.tracker.Subjects()
	// What ended goes first: another of its name, which may be there already, goes on with
	// its profile.
	slices.SortStableFunc(subjects, func(a, b *watch.Tracked) int {
		switch gone := !a.Ended.IsZero(); {
		case gone == b.Ended.IsZero():
			if gone {
				return -1
			}
			return 1
		case gone:
			return a.Ended.Compare(b.Ended)
		}
		return 0
	})
	if w.profiles != nil {
		w.profiles.failed = w.profiles.lost
	}
	for _, s := range subjects {
		if w.names.retries(s.ID) {
			continue // a profile keeps its name
		}
		if w.profiles != nil && s.Changed && s.Record != nil && w.keeps(s) {
			err := w.profiles.write(s, now)
			if err == nil {
				s.Changed = false
			} else { // it is tried again, and said once
				w.profiles.failed = true
				if text := err.Error(); w.profiles.said[s.Key()] != text {
					w.profiles.said[s.Key()] = text
					say(w.stderr, "warning: %s", text)
				}
			}
		}
		if !s.Ended.IsZero() {
			ended = append(ended, s)
		}
	}
	if len(ended) > mostEnded {
		slices.SortFunc(ended, func(a, b *watch.Tracked) int { return a.Ended.Compare(b.Ended) })
		w.retire(ended[:len(ended)-mostEnded])
	}
}

// retire forgets what ended long ago. Its profile stays, and is gone on with if it comes back.
func (w *watching) retire(list []*watch.Tracked) {
	for _, s := range list {
		w.tracker.Drop(s.Key())
		if w.profiles != nil {
			w.profiles.lost = w.profiles.lost || s.Changed && s.Record != nil && w.keeps(s)
			w.profiles.drop(s.Key())
		}
		if s.Kind == watch.Container {
			w.drop(s.ID)
		}
	}
	w.retired += len(list)
}

// keeps says whether a subject has a profile: the host as a whole has none, and other
// cgroups only where they were asked for.
func (w *watching) keeps(s *watch.Tracked) bool {
	return s.Kind == watch.Container || s.Kind == watch.Unit || s.Kind == watch.Cgroup && len(w.targets) > 0
}

// flushAll writes the profiles a last time: counts go on, and until when. What has ended has
// nothing new to say, and another of its name may go on with its profile by now.
func (w *watching) flushAll() {
	for _, s := range w.tracker.Subjects() {
		s.Changed = s.Changed || s.Ended.IsZero()
	}
	w.flush()
}

// conclude sums up.
func (w *watching) conclude() error {
	now := time.Now()
	w.names.end()
	w.flushAll()
	subjects := w.tracker.Subjects()
	lost, err := w.probe.Lost()
	if err != nil {
		return err
	}
	if w.output == "json" {
		for _, s := range subjects {
			w.emit(&watch.Event{Time: now, Event: watch.Summary, Subject: &s.Subject, Running: s.Running, Total: s.Total(now), Lost: lostOf(s, lost)})
		}
	} else if w.failed == nil {
		if w.retired > 0 {
			say(w.stderr, "%d that ended earlier are not in the summary", w.retired)
		}
		w.failed = report.WatchTotals(w.stdout, w.totals(now, subjects, lost), w.style)
	}
	switch {
	case w.failed != nil:
		return w.failed
	case w.blind(lost):
		return status(exitBlind)
	}
	return nil
}

// blind says that something was lost, of all or of one subject, or could not be kept.
func (w *watching) blind(lost map[string]uint64) bool {
	return len(lost) > 0 || w.profiles != nil && w.profiles.failed ||
		slices.ContainsFunc(w.tracker.Subjects(), func(s *watch.Tracked) bool { return s.Record != nil && len(s.Record.Lost) > 0 })
}

// lostOf is what was lost of one subject: what can be of any, and what is its own.
func lostOf(s *watch.Tracked, lost map[string]uint64) map[string]uint64 {
	if s.Record == nil || len(s.Record.Lost) == 0 {
		return lost
	}
	of := maps.Clone(s.Record.Lost)
	for kind, n := range lost {
		of[kind] = max(of[kind], n)
	}
	return of
}

func (w *watching) totals(now time.Time, subjects []*watch.Tracked, lost map[string]uint64) []report.WatchTotal {
	var list []report.WatchTotal
	for _, s := range subjects {
		t := s.Total(now)
		row := report.WatchTotal{
			Label: s.Label(), Seconds: t.Seconds, StartSeen: t.StartSeen, Ended: !s.Ended.IsZero(),
			Granted: s.Granted, Used: t.Used, Denied: t.Denied, Lacked: t.Lacked,
		}
		if s.Kind == watch.Container {
			row.What = strings.Trim(s.Engine+", "+s.Image, ", ")
			if row.What == "" {
				row.What = "container"
			}
		}
		words := s.Doubts()
		if len(words) > 3 {
			words = append(words[:3], "and of "+count(len(words)-3, "other"))
		}
		words = append(words, watch.LostWords(lostOf(s, lost))...)
		if len(words) > 0 {
			row.Incomplete = strings.Join(words, ", ") + ": something may be missing here"
		}
		list = append(list, row)
	}
	return list
}
