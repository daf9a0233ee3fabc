package audit

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/usage"
)

// A Subject is a container, and what is known of it besides its definition.
type Subject struct {
	Container *manifest.Container
	// Profile is what it was learned to need; nil if it was not. ProfileName is for people.
	Profile     *usage.Profile
	ProfileName string
	// Image is what its image holds; nil if nobody looked.
	Image *Image

	held *held // what [Audit] found out, so that a report need not again
}

// held is the answer of [Subject.Holds].
type held struct {
	set   caps.Set
	known bool
}

// An Image is what matters of an image.
type Image struct {
	// User is that of its configuration.
	User string
	// Programs are those that give privilege to who executes them.
	Programs []Program
	// Label is io.containers.capabilities; nil if it has none.
	Label *string
}

// A Program is a set-uid or set-gid one, or has file capabilities.
type Program struct {
	Path  string
	SetID bool
	Caps  caps.Set
}

// Audit applies all rules to all subjects. The findings of one container stand together,
// the worst first, in the order of the subjects.
func Audit(subjects []Subject) []*Finding {
	found := make([][]*Finding, len(subjects))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(subjects)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(subjects) {
					return
				}
				found[i] = check(&subjects[i])
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

// check applies all rules to one subject.
func check(in *Subject) []*Finding {
	s := newSubject(in)
	in.held = &held{s.holds(), s.err == nil}
	for r := range ruleTable {
		if check := ruleTable[r].check; check != nil {
			s.rule = &ruleTable[r]
			check(s)
		}
	}
	slices.SortStableFunc(s.found, func(a, b *Finding) int { return int(b.Severity) - int(a.Severity) })
	return s.found
}

// subject is a [Subject] with what the rules ask of it again and again.
type subject struct {
	*Subject
	c *manifest.Container

	// given is what its engine gives it, if that is known; err says why it is not.
	given rules.Result
	err   error
	// engine is the first of its target, "" if none is known.
	engine *rules.Rules

	adds, drops     []entry
	addAll, dropAll *entry // the first of each
	sharing         []catalog.Sharing
	privileged      bool
	// ownUsers: it has a user namespace of its own.
	ownUsers bool

	rule  *Rule
	found []*Finding
}

// entry is a request, understood.
type entry struct {
	*manifest.Request
	cap caps.Cap
	all bool
	err error // the word is no capability, or not known
}

func newSubject(in *Subject) *subject {
	s := &subject{Subject: in, c: in.Container}
	s.privileged = manifest.Is(s.c.Privileged, true)
	for i := range s.c.Caps {
		r := &s.c.Caps[i]
		if r.Set != manifest.Engine {
			continue
		}
		e := entry{Request: r}
		e.cap, e.all, e.err = r.Capability()
		list, all := &s.adds, &s.addAll
		if r.Action == manifest.Drop {
			list, all = &s.drops, &s.dropAll
		}
		*list = append(*list, e)
		if e.err == nil && e.all && *all == nil {
			*all = &e
		}
	}
	if names := s.c.Target.Engines; len(names) > 0 {
		s.engine, _ = rules.For(names[0])
		if own := s.c.Target.Default; own != nil && s.engine != nil {
			changed := *s.engine
			changed.Default = *own
			s.engine = &changed
		}
	}
	s.given, s.err = s.givenBy("")
	s.sharing = sharing(s.c)
	s.ownUsers = ownUsers(s.c)
	return s
}

// givenBy is what an engine gives the container with this image.
func (s *subject) givenBy(engine string) (rules.Result, error) {
	if s.c.Stated != nil && s.c.CapsWhy != "" { // a drop-in, say
		return rules.Result{}, &manifest.Error{At: s.c.At, Reason: fmt.Sprintf("the capabilities of %s cannot be known: %s", s.c.Name, s.c.CapsWhy)}
	}
	if s.Image == nil || s.c.Stated != nil || s.engine == nil {
		return s.c.Given(engine)
	}
	req, unknown := s.c.Request()
	if len(unknown) > 0 {
		return rules.Result{}, unknown[0]
	}
	if s.c.User.State == manifest.Unset {
		req.User = s.Image.User
	}
	req.Label = s.Image.Label
	r := s.engine
	if engine != "" && engine != r.Name {
		var err error
		if r, err = rules.For(engine); err != nil {
			return rules.Result{}, err
		}
		req.Version, req.Default = "", nil
	}
	return r.Apply(req)
}

// holds is all that a process of the container can get: its bounding set, and what it
// has from the start. With no_new_privs execve(2) gives nothing (prctl(2); commoncap.c
// cap_bprm_creds_from_file), so that sets which are stated stay what they are. Of an
// engine's container it is the set that the engine was asked for.
func (s *subject) holds() caps.Set {
	if s.err != nil {
		return 0
	}
	if s.c.Stated != nil && manifest.Is(s.c.NoNewPrivs, true) {
		return s.given.Runtime.Permitted.Union(s.given.Runtime.Ambient)
	}
	return s.given.Set.Union(s.given.Runtime.Permitted)
}

// user is the container's user, by its definition or its image, without the group.
func (s *subject) user() (name string, known bool) {
	name, known = s.c.User.Get()
	if s.c.User.State == manifest.Unset && s.Image != nil {
		name, known = s.Image.User, true
	}
	name, _, _ = strings.Cut(name, ":")
	return name, known
}

// nonRoot says that the container certainly starts as somebody else than root.
func (s *subject) nonRoot() bool {
	name, known := s.user()
	return known && name != "" && name != "0" && name != "root" || manifest.Is(s.c.NonRoot, true)
}

// usable is a profile that a recommendation can rest on.
func (s *subject) usable() bool {
	return s.Profile != nil && s.Profile.Complete && s.Profile.Proven
}

// ownUsers says that a container has a user namespace of its own: Docker's and Podman's
// --userns, Kubernetes' hostUsers: false, a bundle's namespace, systemd's PrivateUsers=.
func ownUsers(c *manifest.Container) bool {
	for _, n := range c.Namespaces {
		with, known := n.With.Get()
		if n.Kind != "user" || !known {
			continue
		}
		with, _, _ = strings.Cut(with, ":")
		if slices.Contains([]string{"own", "auto", "keep-id", "nomap", "private"}, with) {
			return true
		}
	}
	for _, f := range c.Facts {
		switch f.Key {
		case "user namespace":
			return manifest.Is(f.Value, "own")
		case "PrivateUsers":
			v, known := f.Value.Get()
			return known && slices.Contains([]string{"1", "yes", "y", "true", "t", "on", "self", "identity", "full"}, strings.ToLower(v))
		}
	}
	return false
}

// level is how dangerous a capability is in this container. In a user namespace of its
// own, one counts for what belongs to that: of what is outside, only the neighbours on a
// bridge can be reached, through the network namespace that is its own too
// (user_namespaces(7), KERNEL: ns_capable() against the object's namespace).
func (s *subject) level(c caps.Cap) catalog.Level {
	e := knowledge(c)
	if !s.ownUsers || e.Danger == catalog.Unknown {
		return e.DangerUnder(s.sharing...)
	}
	level := catalog.Inside
	if e.UserNamespace.Effect != catalog.UserUseless && slices.Contains(s.sharing, catalog.SharesBridge) {
		for _, r := range e.Container.Reaches {
			if r.Shared == catalog.SharesBridge {
				level = max(level, r.Level)
			}
		}
	}
	return level
}

// sharing is what a container shares with its host, as the catalog asks for it. Of mounts
// and devices only those count that lead beyond themselves: a directory of its own is no
// way to the host.
func sharing(c *manifest.Container) []catalog.Sharing {
	if onHost(c) { // all but the bridge, and devices by their files' rights
		return []catalog.Sharing{catalog.SharesPID, catalog.SharesNetwork, catalog.SharesIPC, catalog.SharesMount}
	}
	var list []catalog.Sharing
	for _, n := range []struct {
		kind string
		s    catalog.Sharing
	}{{"pid", catalog.SharesPID}, {"net", catalog.SharesNetwork}, {"ipc", catalog.SharesIPC}} {
		if c.Shares(n.kind) {
			list = append(list, n.s)
		}
	}
	if len(c.Sensitive()) > 0 {
		list = append(list, catalog.SharesMount)
	}
	if len(c.Devices) > 0 {
		list = append(list, catalog.SharesDevice)
	}
	if c.Stated == nil && !slices.ContainsFunc(c.Namespaces, func(n manifest.Namespace) bool { return n.Kind == "net" }) {
		list = append(list, catalog.SharesBridge)
	}
	return list
}

// worst is the most dangerous of a set in this container.
func (s *subject) worst(set caps.Set) (worst caps.Cap, level catalog.Level) {
	first := true
	for _, c := range byDanger(set) {
		l := s.level(c)
		if l == catalog.Unknown {
			return c, l
		}
		if first || l > level {
			worst, level, first = c, l, false
		}
	}
	return worst, level
}

// report notes a finding of the rule at hand.
func (s *subject) report(f Finding) *Finding {
	f.Rule, f.Container = s.rule, s.c
	if f.At.IsZero() {
		f.At = s.c.At
	}
	if f.Mend == "" {
		f.Mend = s.rule.Mend
	}
	if f.Gain == "" {
		f.Gain = s.rule.Gain
	}
	s.found = append(s.found, &f)
	return &f
}
