// Package rules says which capabilities each container engine gives to a container,
// from what its user asked for. The engines differ: the same request means more in
// one and less in another, and one refuses what the next accepts.
//
// The sources are named beside each rule; the versions that were read are Moby
// 28.5.2, containers/common 0.64, containerd 2.1, CRI-O 1.34 and runc 1.3.
package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// Request is what a user asks of an engine.
type Request struct {
	// Add and Drop are the words as typed, ALL too.
	Add, Drop  []string
	Privileged bool
	// User is the container's: "" and "0" and "root" are root, "0:…" and "root:…" too.
	User string
	// Label is the image's io.containers.capabilities, nil if it has none. Only Podman
	// looks at it.
	Label *string
	// Default replaces the engine's default, as containers.conf, crio.conf and an
	// OCI template may.
	Default *caps.Set
	// Available is what the engine itself has and can give; nil means all of them.
	Available *caps.Set
	// Version is the engine's, "20.10.24" or "" for the newest; only Docker's rules
	// changed in ways that matter.
	Version string
}

// Result is what an engine answers.
type Result struct {
	// Set is what the container may have.
	Set caps.Set
	// Runtime is the state that the runtime sets before it executes the entry point.
	Runtime caps.State
	// Warnings say what was asked for and silently not done by the engine.
	Warnings []string

	request *request // nil where no engine was asked
	label   bool     // the image's label decided
}

// Rules are those of one engine.
type Rules struct {
	Name    string   // docker, podman, containerd, crio, runc
	Default caps.Set // without any request
	Source  string   // where the default stands

	merge func(*request) (caps.Set, error)
	state func(r *request, set caps.Set) caps.State
	// blindPrefix: a name is taken as it is written behind "CAP_".
	blindPrefix bool
	// unavailable says what happens to a capability that the engine does not have.
	unavailable func(r *request, c caps.Cap) error
}

var engines = []Rules{
	withDefault(Rules{Name: "docker", merge: mergeDocker, state: stateDocker, unavailable: refuseUnavailable}),
	withDefault(Rules{Name: "podman", merge: mergePodman, state: statePodman}),
	withDefault(Rules{Name: "containerd", merge: mergeCRI, state: stateSame, blindPrefix: true}),
	withDefault(Rules{Name: "crio", merge: mergeCRI, state: stateSame}),
	withDefault(Rules{Name: "runc", merge: mergeRunc, state: stateSame}),
}

// withDefault fills in what the catalog knows; a test holds that it has all of them.
func withDefault(r Rules) Rules {
	d, _ := catalog.FindDefault(r.Name)
	r.Default, r.Source = d.Caps, d.Source
	return r
}

// Names are what [For] knows.
func Names() []string {
	names := make([]string, len(engines))
	for i, e := range engines {
		names[i] = e.Name
	}
	return names
}

// For returns the rules of an engine.
func For(name string) (*Rules, error) {
	for i := range engines {
		if engines[i].Name == name {
			return &engines[i], nil
		}
	}
	return nil, fmt.Errorf("no rules are known for engine %q: use one of %s", name, strings.Join(Names(), ", "))
}

// Error is an engine's refusal.
type Error struct {
	Engine string
	Reason string
}

func (e *Error) Error() string { return e.Engine + " refuses this: " + e.Reason }

// request is a [Request], understood.
type request struct {
	*Request
	rules           *Rules
	base, available caps.Set
	adds, drops     caps.Set // those that were named
	addAll, dropAll bool
	warnings        []string
}

func (r *request) refuse(format string, args ...any) error {
	return &Error{r.rules.Name, fmt.Sprintf(format, args...)}
}

// IsRoot says whether a container's user, as [Request] has it, is root. Engines compare
// the words, and look a name up in the container; only Podman does not treat an empty
// one as special.
func IsRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	return name == "" || name == "0" || name == "root"
}

// formerDocker is Docker before 22.06 (which was released as 23.0). It withholds what is
// newer than audit_read, by name and in ALL (a38b96b8cd in 20.10.0, reverted by
// c1c973e81b), ALL is what the kernel has and not what the daemon has (485cf38d48), and it
// does not ask whether it has itself what is asked for.
func (r *request) formerDocker() bool {
	return r.rules.Name == "docker" && !atLeast(r.Version, 22, 6)
}

// everything is what ALL means.
func (r *request) everything() caps.Set {
	if r.formerDocker() {
		return caps.UpTo(caps.AuditRead)
	}
	return r.available
}

// within is what of a set can be given. A former Docker does not ask; then runc's
// capset(2) fails, if it makes one: of another user it sets the bounding set alone.
func (r *request) within(set caps.Set) (caps.Set, error) {
	if more := set.Minus(r.available); !more.Empty() && r.formerDocker() && r.root() {
		return 0, r.refuse("the runtime cannot give %v, which the engine does not have itself", more)
	}
	return set.Intersect(r.available), nil
}
func (r *request) root() bool { return IsRoot(r.User) }

// Apply says what the engine makes of a request. An [*Error] means that it refuses it.
func (e *Rules) Apply(in Request) (Result, error) {
	r := &request{Request: &in, rules: e, base: e.Default, available: caps.All()}
	if in.Default != nil {
		r.base = *in.Default
	}
	if in.Available != nil {
		r.available = *in.Available
	}
	var err error
	if r.adds, r.addAll, err = r.parse("add", in.Add); err != nil {
		return Result{}, err
	}
	if r.drops, r.dropAll, err = r.parse("drop", in.Drop); err != nil {
		return Result{}, err
	}

	var set caps.Set
	label := false
	switch {
	case in.Privileged:
		// Nobody looks at adds and drops then: moby TweakCapabilities; Podman
		// pkg/specgen/generate/security_linux.go; containerd and CRI-O on the CRI's
		// privileged.
		if set, err = r.within(r.everything()); err != nil {
			return Result{}, err
		}
	default:
		if e.unavailable != nil && !r.formerDocker() {
			for c := range r.adds.Union(r.drops).Minus(r.available).Values() {
				if err := e.unavailable(r, c); err != nil {
					return Result{}, err
				}
			}
		}
		if set, err = e.merge(r); err != nil {
			return Result{}, err
		}
		if set, err = r.within(set); err != nil {
			return Result{}, err
		}
		if e.Name == "podman" && in.Label != nil {
			if set, label, err = r.label(set, *in.Label); err != nil {
				return Result{}, err
			}
		}
	}
	return Result{Set: set, Runtime: e.state(r, set), Warnings: r.warnings, request: r, label: label}, nil
}

// errNumber: package caps takes numbers too, no engine does.
var errNumber = errors.New("a number")

// errWithheld: see formerDocker.
var errWithheld = errors.New("newer than the engine")

// parse reads the words of --cap-add or --cap-drop.
func (r *request) parse(flag string, words []string) (set caps.Set, all bool, err error) {
	for _, word := range words {
		name := word
		if r.rules.blindPrefix {
			// containerd internal/cri/opts/spec_opts.go WithCapabilities puts CAP_ before
			// what stands there, so that CAP_KILL becomes CAP_CAP_KILL; runc warns of an
			// unknown one and goes on (5fb831a0f).
			if up := strings.ToUpper(word); strings.HasPrefix(up, "CAP_") {
				r.warnings = append(r.warnings, fmt.Sprintf("%s is not %sed: %s puts CAP_ before it, and the runtime ignores %s", word, flag, r.rules.Name, "CAP_"+up))
				continue
			}
		}
		one, isAll, err := caps.ParseList([]string{name})
		if err == nil && strings.ContainsAny(name, "0123456789") {
			err = errNumber // no capability's name has a digit in it
		}
		if err == nil && !isAll && r.formerDocker() && !one.SubsetOf(r.everything()) {
			err = errWithheld
		}
		switch {
		case err == nil:
		case r.rules.blindPrefix || r.rules.Name == "runc":
			r.warnings = append(r.warnings, fmt.Sprintf("%s is not known, and the runtime ignores it", word))
			continue
		default:
			return 0, false, r.refuse("unknown capability %q to %s", word, flag)
		}
		if isAll && one.Empty() {
			all = true
			continue
		}
		if one.Len() != 1 || isAll {
			if r.rules.Name != "podman" { // only Podman's flags take commas
				return 0, false, r.refuse("unknown capability %q to %s: give one name at a time", word, flag)
			}
			all = all || isAll
		}
		set = set.Union(one)
	}
	return set, all, nil
}

// mergeDocker is moby daemon/pkg/oci/caps/utils.go TweakCapabilities.
func mergeDocker(r *request) (caps.Set, error) {
	switch {
	case r.addAll: // looked at first: an ALL among the drops means nothing then
		return r.everything().Minus(r.drops), nil
	case r.dropAll:
		return r.adds, nil
	}
	return r.base.Minus(r.drops).Union(r.adds), nil // what is in both is there
}

// mergePodman is containers/common pkg/capabilities MergeCapabilities.
func mergePodman(r *request) (caps.Set, error) {
	both := r.adds.Intersect(r.drops)
	switch { // in this order
	case r.addAll && r.dropAll:
		return 0, r.refuse("ALL cannot be added and dropped")
	case r.dropAll:
		return r.adds, nil
	case r.addAll:
		return r.available.Minus(r.drops), nil
	case !both.Empty():
		return 0, r.refuse("%v cannot be dropped and added", both)
	}
	return r.base.Minus(r.drops).Union(r.adds), nil
}

// mergeCRI is containerd internal/cri/opts/spec_opts.go WithCapabilities, and CRI-O
// internal/factory/container: named drops come last and win.
func mergeCRI(r *request) (caps.Set, error) {
	set := r.base
	if r.addAll {
		set = r.available
	}
	if r.dropAll {
		set = 0
	}
	return set.Union(r.adds).Minus(r.drops), nil
}

// mergeRunc: runc has no such flags, it gives what config.json lists. The request is
// an edit of what `runc spec` writes.
func mergeRunc(r *request) (caps.Set, error) {
	if r.addAll && r.dropAll {
		return 0, r.refuse("a list cannot be all and nothing")
	}
	return mergeDocker(r)
}

// refuseUnavailable is moby's NormalizeLegacyCapabilities since 22.06: before, the
// daemon took it and runc failed to start the container.
func refuseUnavailable(r *request, c caps.Cap) error {
	return r.refuse("%s is not supported by the kernel or not available to the engine", c)
}

// stateSame gives the set as bounding, permitted and effective.
func stateSame(_ *request, set caps.Set) caps.State {
	return caps.State{Effective: set, Permitted: set, Bounding: set}
}

// stateDocker: between 18.04 (15ff09395c) and 24 a user who is not root gets it as
// bounding set alone; 25.0 (3aef732e61) gives all three again.
func stateDocker(r *request, set caps.Set) caps.State {
	if !r.root() && atLeast(r.Version, 18, 4) && !atLeast(r.Version, 25, 0) {
		return caps.State{Bounding: set}
	}
	return stateSame(r, set)
}

// statePodman: podman pkg/specgen/generate/security_linux.go. A user who is not root
// has what was added by name, ambient too, since 2.2 (bce8f851c1).
func statePodman(r *request, set caps.Set) caps.State {
	if r.root() {
		return stateSame(r, set)
	}
	own := r.adds.Intersect(set)
	if r.addAll {
		own = set
	}
	return caps.State{Effective: own, Permitted: own, Inheritable: own, Ambient: own, Bounding: set}
}

// label is Podman's io.containers.capabilities (1.8.1): it may only take away.
func (r *request) label(set caps.Set, text string) (caps.Set, bool, error) {
	wanted := caps.Set(0)
	if strings.TrimSpace(text) != "" { // the empty one means none, since 4.7.0
		var all bool
		var err error
		if wanted, all, err = caps.ParseList([]string{text}); err != nil || all {
			return 0, false, r.refuse("the image's label asks for %q, which is no list of capabilities", text)
		}
	}
	if more := wanted.Minus(set); !more.Empty() {
		r.warnings = append(r.warnings, fmt.Sprintf("the image's label asks for %v, which the container may not have: the label is ignored", more))
		return set, false, nil
	}
	return wanted, true, nil
}

// Origins says where each member of Set comes from, in a few words.
func (res *Result) Origins() map[caps.Cap]string {
	m := make(map[caps.Cap]string, res.Set.Len())
	r := res.request
	if r == nil {
		return m
	}
	for c := range res.Set.Values() {
		switch {
		case r.Privileged:
			m[c] = "--privileged"
		case res.label:
			m[c] = "the image's label io.containers.capabilities"
		case r.adds.Has(c):
			m[c] = "--cap-add " + c.Docker()
		case r.addAll && !(r.dropAll && r.rules.Name != "docker"):
			m[c] = "--cap-add ALL"
		default:
			m[c] = r.rules.Name + "'s default"
		}
	}
	return m
}

// atLeast compares a version's first two numbers; the empty one is the newest.
func atLeast(version string, major, minor int) bool {
	if version == "" {
		return true
	}
	var have [2]int
	if n, _ := fmt.Sscanf(version, "%d.%d", &have[0], &have[1]); n == 0 {
		return true
	}
	return slices.Compare(have[:], []int{major, minor}) >= 0
}

// AfterExec is what a process has once it executed a program that is neither set-uid
// nor has capabilities: capabilities(7), "Transformation of capabilities during
// execve()".
func AfterExec(s caps.State, root bool) caps.State {
	after := caps.State{Inheritable: s.Inheritable, Bounding: s.Bounding, Ambient: s.Ambient}
	after.Permitted = s.Ambient
	if root {
		after.Permitted = s.Inheritable.Union(s.Bounding)
	}
	after.Effective = after.Permitted
	return after
}
