package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/watch"
)

// lookout is a look at what runs: the probe, what is asked for, and who is who.
type lookout struct {
	probe   *probe.Probe
	targets []watch.Target // none: everything
	names   *namer
	gone    []uint64        // cgroups that were removed, as of the last survey
	ended   []string        // containers whose own cgroups are among them
	unnamed int             // of those that were removed: kept, until their engines have named them
	matched map[string]bool // containers that a target fits, by their ids: a new name changes nothing
}

// addHook is the flag --hook; otherwise is what else than a way in may be named.
func addHook(fl *pflag.FlagSet, hook *string, otherwise string) {
	fl.StringVar(hook, "hook", "", "the way in to the kernel's checks, one of leastcap doctor's"+otherwise+" (default: the first that works)")
}

// openProbe opens the probe; others is what --hook may name besides the ways in.
func openProbe(o probe.Options, others ...string) (*probe.Probe, error) {
	p, err := probe.Open(o)
	if h := (*probe.HookError)(nil); errors.As(err, &h) {
		return nil, &usageError{fmt.Errorf("--hook %q is not known", h.Name), "use " + strings.Join(append(probe.Hooks(), others...), ", ")}
	}
	return p, err
}

// newLookout opens the probe on the targets, and adopts what runs already.
func newLookout(ctx context.Context, words []string, o probe.Options, stderr io.Writer) (*lookout, error) {
	names := newNamer(ctx, stderr)
	o.Running, o.IsContainer = true, names.cgroups.has
	p, err := openProbe(o)
	if err != nil {
		return nil, err
	}
	l := &lookout{probe: p, names: names, matched: make(map[string]bool)}
	if err := l.aim(words, stderr); err != nil {
		p.Close()
		return nil, err
	}
	return l, nil
}

// aim finds what is asked for among what runs.
func (l *lookout) aim(words []string, stderr io.Writer) error {
	h := l.probe.Hierarchy()
	if len(words) == 0 {
		return l.probe.Adopt("/")
	}
	cgroups, err := cgroupsBelow(h.Mount)
	if err != nil {
		return err
	}
	var ids []string
	for _, cgroup := range cgroups {
		if s := l.of(cgroup); s.Kind == watch.Container && !slices.Contains(ids, s.ID) {
			ids = append(ids, s.ID)
		}
	}
	l.names.ask(ids, true)
	var adopt []string
	for _, word := range words {
		if word == "" {
			return &usageError{errors.New("a target is empty"), "name a container, a unit, a cgroup or a process"}
		}
		t, err := watch.ParseTarget(word, h.Mount, h.PathOf)
		if err != nil {
			return &usageError{fmt.Errorf("there is no process %s", word), "leastcap ps -a lists them"}
		}
		fitting := l.fitting(&t, cgroups)
		if len(fitting) == 0 {
			err := l.names.await(ids...)
			if fitting = l.fitting(&t, cgroups); len(fitting) == 0 && err != nil {
				return fmt.Errorf("nothing that runs is known as %q, but an engine failed: %w: try again, or give the container's id", word, err)
			}
		}
		for _, cgroup := range fitting {
			if t.Cgroup == probe.Alone {
				cgroup = probe.Alone
			}
			if !slices.ContainsFunc(adopt, func(a string) bool { return a == cgroup || strings.HasPrefix(cgroup, a+"/") }) {
				adopt = append(adopt, cgroup)
			}
		}
		if len(fitting) == 0 {
			also := ""
			if _, err := strconv.Atoi(word); err == nil {
				also = ", and no process has that number"
			}
			return &usageError{fmt.Errorf("no container, unit or cgroup that runs is called %q%s", word, also),
				"docker ps and systemctl list what runs; leastcap ps -a shows the container of each process; without a name everything is watched"}
		}
		if t.Cgroup != "" && t.Text != t.Cgroup {
			s := l.of(strings.TrimSuffix(t.Cgroup, "."))
			l.names.complete(&s)
			if !strings.HasPrefix(word, "/") {
				say(stderr, "process %s is one of %s: all of it is looked at", word, s.Label())
			}
		}
		l.targets = append(l.targets, t)
	}
	return l.probe.Adopt(adopt...)
}

// fitting are the cgroups that a target means, by what is known of containers so far.
func (l *lookout) fitting(t *watch.Target, cgroups []string) []string {
	return slices.DeleteFunc(slices.Clone(cgroups), func(cgroup string) bool {
		s := l.of(cgroup)
		l.names.complete(&s)
		return !t.Matches(cgroup, &s)
	})
}

// of says whose cgroup a place is.
func (l *lookout) of(cgroup string) watch.Subject { return l.names.cgroups.of(cgroup) }

// cgroupsBelow lists the paths of all cgroups, from the top.
func cgroupsBelow(mount string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(mount, func(dir string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && dir != mount {
			return nil // removed meanwhile
		}
		if err != nil {
			return fmt.Errorf("look for cgroups: %w", err)
		}
		if d.IsDir() {
			list = append(list, path.Clean("/"+strings.TrimPrefix(dir, mount)))
		}
		return nil
	})
	return list, err
}

// group says for the probe whose a cgroup is, "" if nobody asked for it, and remembers
// those that are gone.
func (l *lookout) group(place probe.Place) string {
	s := l.of(place.Path)
	wanted := l.wanted(place.Path, &s)
	if place.Dead {
		if !wanted && l.waits(&s) { // until it is known whether anybody asked for it
			return ""
		}
		l.left(place, &s)
	}
	if !wanted {
		return ""
	}
	if place.Dead {
		return s.Key() + watch.Gone
	}
	return s.Key()
}

// left takes note of a cgroup that was removed.
func (l *lookout) left(place probe.Place, s *watch.Subject) {
	if s.Kind == watch.Container && place.Path == s.Cgroup {
		l.ended = append(l.ended, s.ID)
	}
	l.gone = append(l.gone, place.ID)
}

func (l *lookout) wanted(cgroup string, s *watch.Subject) bool {
	if len(l.targets) == 0 {
		return true
	}
	if s.Kind == watch.Container {
		if !l.names.complete(s) {
			l.names.ask([]string{s.ID}, false)
		}
		if l.matched[s.ID] {
			return true
		}
	}
	fits := slices.ContainsFunc(l.targets, func(t watch.Target) bool { return t.Matches(cgroup, s) })
	if fits && s.Kind == watch.Container {
		l.matched[s.ID] = true
	}
	return fits
}

// survey is the probe's; forget has to follow it once what is gone was taken in.
func (l *lookout) survey() (map[string]*probe.Group, error) {
	l.begin()
	return l.probe.Survey(l.group)
}

// begin is before the probe asks for the groups anew.
func (l *lookout) begin() { l.gone, l.ended, l.unnamed = l.gone[:0], l.ended[:0], 0 }

// mostUnnamed is how many cgroups that are gone may wait for a name: while engines do not
// answer, what is kept of them must leave room in the kernel's maps.
const mostUnnamed = 100

// waits says whether a cgroup that is gone is kept until its container's engine has answered.
func (l *lookout) waits(s *watch.Subject) bool {
	if s.Kind != watch.Container || l.names.complete(s) || l.unnamed >= mostUnnamed {
		return false
	}
	l.names.ask([]string{s.ID}, false)
	l.unnamed++
	return true
}

func (l *lookout) forget() {
	if len(l.gone) > 0 {
		l.probe.Forget(l.gone...)
	}
}

// drop forgets a container.
func (l *lookout) drop(id string) {
	delete(l.matched, id)
	l.names.drop(id)
}

// describe completes a subject; false while its engine has not answered.
func (l *lookout) describe(s *watch.Subject) bool {
	if s.Kind == watch.Container && !l.names.complete(s) {
		l.names.ask([]string{s.ID}, false)
		return false
	}
	if s.Granted == nil {
		s.Granted = l.bounding(s)
	}
	return true
}

// bounding is what a subject may have: the bounding set of a container's first process, or
// the union of those of all processes; nil if there is nothing that can be read.
func (l *lookout) bounding(s *watch.Subject) *caps.Set {
	pids, err := proc.Procs(filepath.Join(l.probe.Hierarchy().Mount, s.Cgroup))
	if err != nil || len(pids) == 0 {
		return nil
	}
	if s.Kind == watch.Container { // others may be docker exec --privileged's
		pids = []int{oldest(pids)}
	}
	var all caps.Set
	known := false
	for _, pid := range pids {
		set, err := proc.Bounding(pid)
		if err == nil {
			all |= set
			known = true
		}
	}
	if !known || s.Kind != watch.Container && all.Empty() {
		return nil
	}
	return &all
}

// oldest is the process that began first. One that ends meanwhile is none.
func oldest(pids []int) (first int) {
	var began uint64
	for _, pid := range pids {
		if t, err := proc.StartTime(pid); err == nil && (first == 0 || t < began || t == began && pid < first) {
			first, began = pid, t
		}
	}
	return first
}

// namer knows what engines call their containers. They are asked beside the work, and each
// about all that came up meanwhile.
type namer struct {
	ctx     context.Context
	look    context.Context // once it has ended, nothing is asked twice
	stderr  io.Writer
	cgroups *cgroupNames

	mu      sync.Mutex
	known   map[string]engine.Running
	images  map[string]string // their ids, by the containers'
	asked   map[string]bool   // answered, or not waited for any more
	pending map[string]bool
	vain    map[string]int // look-ups that failed, of those that are asked about again
	queue   []string
	busy    bool
	news    uint64    // grows with what is known
	trouble error     // of the last look-up that failed
	renames time.Time // before which nobody looks for new names
}

// pauses are before an engine that failed is asked about a container again: one that is just
// starting many may not answer in time.
var pauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second}

// patience is how many look-ups may fail until a container goes by its id meanwhile.
const patience = 2

// newNamer does not end with ctx: what came up last is to have a name, too.
func newNamer(ctx context.Context, stderr io.Writer) *namer {
	return &namer{ctx: context.WithoutCancel(ctx), look: ctx, stderr: stderr, cgroups: newCgroupNames(), known: map[string]engine.Running{},
		images: map[string]string{}, asked: map[string]bool{}, pending: map[string]bool{}, vain: map[string]int{}}
}

// complete fills in what is known, and says whether that is all that will be.
func (n *namer) complete(s *watch.Subject) bool {
	if s.Kind != watch.Container || s.Engine == "leastcap" {
		return true // which no engine knows
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r, ok := n.known[s.ID]; ok {
		s.Engine, s.Name, s.Image, s.ImageID, s.User = r.Engine, r.Name, r.Image, n.images[s.ID], r.User
	}
	return n.asked[s.ID]
}

// told is a number that grows with what engines say.
func (n *namer) told() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.news
}

// ask asks the engines about containers that they were not asked about yet.
func (n *namer) ask(ids []string, wait bool) {
	n.mu.Lock()
	for _, id := range ids {
		if !n.asked[id] && !n.pending[id] {
			n.pending[id] = true
			n.queue = append(n.queue, id)
		}
	}
	n.unlockAndWork(wait)
}

// again asks a second time about those of the containers that are not forgotten.
func (n *namer) again(ids []string) {
	n.mu.Lock()
	for _, id := range ids {
		if n.vain[id] > 0 {
			n.queue = append(n.queue, id)
		}
	}
	n.unlockAndWork(false)
}

// unlockAndWork ends what was begun with the lock, and sees to it that the queue is worked off.
func (n *namer) unlockAndWork(wait bool) {
	start := len(n.queue) > 0 && !n.busy
	n.busy = n.busy || start
	n.mu.Unlock()
	switch {
	case !start:
	case wait:
		n.work(engineTimeout) // what there was no time for is asked about again
	default:
		go n.work(5 * engineTimeout) // nobody waits for it
	}
}

// drop forgets a container. It is asked about anew, should it come back.
func (n *namer) drop(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.vain[id] > 0 && n.known[id].Name == "" { // see retries
		n.warn([]string{id})
	}
	delete(n.known, id)
	delete(n.images, id)
	delete(n.asked, id)
	delete(n.pending, id)
	delete(n.vain, id)
}

// refresh looks, now and then, for new names of containers that Docker has on disk.
func (n *namer) refresh(ids []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if now.Before(n.renames) {
		return
	}
	const forever = time.Hour // while it looks
	n.renames = now.Add(forever)
	var known []string
	for _, id := range ids {
		if n.known[id].Told {
			known = append(known, id)
		}
	}
	go func() {
		began := time.Now()
		var records engine.Records
		names := make(map[string]string)
		for _, id := range known {
			names[id] = records.Name(id)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for id, name := range names {
			if r, ok := n.known[id]; ok && name != "" && name != r.Name {
				r.Name = name
				n.known[id] = r
				n.news++
			}
		}
		const share = 100 // of the time, at most
		n.renames = time.Now().Add(max(namesAge, share*time.Since(began)))
	}()
}

// await waits until containers that were asked about have been answered for, and says why one
// was not, if an engine failed.
func (n *namer) await(ids ...string) error {
	for end := time.Now().Add(5 * engineTimeout); ; time.Sleep(10 * time.Millisecond) {
		n.mu.Lock()
		done, err := true, error(nil)
		for _, id := range ids {
			done = done && !n.pending[id]
			if n.vain[id] > 0 {
				err = n.trouble
			}
		}
		n.mu.Unlock()
		if done || time.Now().After(end) {
			return err
		}
	}
}

// work asks about what is in the queue, until nothing is; images is how long may be waited for
// the images' ids.
func (n *namer) work(images time.Duration) {
	for {
		n.mu.Lock()
		ids := n.queue
		n.queue = nil
		if len(ids) == 0 {
			n.busy = false
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		found, err := askEngines(n.ctx, ids, nil)
		ctx, cancel := context.WithTimeout(n.ctx, images)
		pictured := map[string]string{}
		by := map[string][]string{}
		for id, r := range found {
			by[r.Engine] = append(by[r.Engine], id)
		}
		for name, of := range by {
			maps.Copy(pictured, cli.ImageIDs(ctx, name, of))
		}
		imageless := ctx.Err() != nil
		cancel()
		n.take(ids, found, pictured, err, imageless)
	}
}

// take takes in what engines say of containers. err is why some of them said nothing, and
// imageless says that there was no time for all images.
func (n *namer) take(ids []string, found map[string]engine.Running, images map[string]string, err error, imageless bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.trouble = err
	}
	again := map[int][]string{} // by how often it was tried
	var unnamed []string
	for _, id := range ids {
		tried := n.vain[id]
		if !n.pending[id] && tried == 0 {
			continue // dropped meanwhile
		}
		r, ok := found[id]
		if ok && (r.Name != "" || n.known[id].Name == "") {
			n.known[id] = r
		}
		named := n.known[id].Name != ""
		if image, ok := images[id]; ok {
			n.images[id] = image
		}
		switch failed := !named && err != nil; {
		case !failed && !(ok && images[id] == "" && imageless):
			delete(n.vain, id)
		case tried < len(pauses) && n.look.Err() == nil:
			n.vain[id] = tried + 1
			again[tried] = append(again[tried], id)
		default:
			delete(n.vain, id)
			if failed {
				unnamed = append(unnamed, id)
			}
		}
		// What has a name is not held back for want of its image's id.
		if v := n.vain[id]; v == 0 || v >= patience || named {
			n.asked[id] = true
			delete(n.pending, id)
			n.news++
		}
	}
	for tried, ids := range again {
		time.AfterFunc(pauses[tried], func() { n.again(ids) })
	}
	n.warn(unnamed)
}

// retries says that a container may still get a name: its engine has not answered yet, or
// failed and is asked again.
func (n *namer) retries(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return (n.pending[id] || n.vain[id] > 0) && n.known[id].Name == ""
}

// end gives up what is asked about, once it is not looked any more.
func (n *namer) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	var unnamed []string
	for id := range n.vain {
		if n.known[id].Name == "" {
			unnamed = append(unnamed, id)
		}
	}
	clear(n.vain)
	clear(n.pending)
	n.warn(unnamed)
}

// warn says that engines have not named containers.
func (n *namer) warn(ids []string) {
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	const most = 3
	var words []string
	for _, id := range ids[:min(most, len(ids))] {
		words = append(words, id[:min(12, len(id))])
	}
	who := strings.Join(words, ", ")
	if more := len(ids) - most; more > 0 {
		who += " and " + count(more, "other")
	}
	say(n.stderr, "warning: %v: the name of %s is not known: a container without one is shown by its id, and looked for by its id alone", n.trouble, who)
}

// cgroupNames says whose a cgroup is, also where its name does not tell that it is a
// container's.
type cgroupNames struct {
	bundles engine.Bundles
	named   map[string]string        // containers, by their cgroups
	plain   map[string]watch.Subject // of those that were looked for
	pause   time.Time                // until which nobody looks again
}

func newCgroupNames() *cgroupNames {
	n := &cgroupNames{plain: make(map[string]watch.Subject)}
	n.named = n.bundles.Cgroups()
	return n
}

// mostPlain is how many cgroups are remembered.
const mostPlain = 10000

func (n *cgroupNames) of(cgroup string) watch.Subject {
	if s, ok := n.plain[cgroup]; ok {
		return s
	}
	s := watch.Of(cgroup)
	if s.Kind == watch.Container || s.Kind == watch.Host {
		return s
	}
	id, at := engine.CgroupIn(cgroup, n.named)
	if id == "" {
		now := time.Now()
		if now.Before(n.pause) {
			return s // it is looked for later
		}
		n.named = n.bundles.Cgroups()
		n.pause = time.Now().Add(lookShare * time.Since(now))
		id, at = engine.CgroupIn(cgroup, n.named)
	}
	if id != "" {
		s = watch.Subject{Kind: watch.Container, ID: id, Engine: "containerd", Cgroup: at}
	}
	if len(n.plain) > mostPlain {
		clear(n.plain)
	}
	n.plain[cgroup] = s
	return s
}

// has says that a cgroup is a container's or has them below it.
func (n *cgroupNames) has(cgroup string) bool {
	if _, ok := n.named[cgroup]; ok {
		return true
	}
	id, _ := engine.CgroupIn(cgroup, n.named)
	return id != ""
}

// lastingFor gives a deadline's channel; none for zero.
func lastingFor(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}
