package manifest

import (
	"fmt"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/rules"
)

// Request is what the container asks its engine for, in the words of package
// engine/rules. What the engine would need to know and the file does not say is in
// unknown; then the request is a part of the truth, and no answer to it is one.
func (c *Container) Request() (req rules.Request, unknown []*Error) {
	missing := func(at Pos, fact, why string) {
		unknown = append(unknown, &Error{At: at, Reason: fmt.Sprintf("%s of %s cannot be known: %s", fact, c.Name, why)})
	}
	if c.CapsWhy != "" {
		missing(c.At, "the capabilities", c.CapsWhy)
	}
	for _, r := range c.Caps {
		word, ok := r.Word.Get()
		switch {
		case r.Set != Engine:
		case !ok:
			missing(r.Word.At, "a capability", r.Word.Why)
		case r.Action == Add:
			req.Add = append(req.Add, word)
		default:
			req.Drop = append(req.Drop, word)
		}
	}
	switch c.Privileged.State {
	case Unknown:
		missing(c.Privileged.At, "privileged", c.Privileged.Why)
	case Known:
		req.Privileged = c.Privileged.V
	}
	switch c.User.State {
	case Unknown:
		missing(c.User.At, "the user", c.User.Why)
	case Known:
		req.User = c.User.V
	}
	if len(c.Target.Engines) > 0 {
		req.Version, req.Default = c.Target.Version, c.Target.Default
	}
	return req, unknown
}

// Given is what an engine gives the container, by package engine/rules: "" is the first
// of its target. An [*Error] says what cannot be known, a [*rules.Error] that the engine
// refuses the container. What an image may add (its user, its labels) is not in it: use
// [Container.Request] and rules where an image is known.
func (c *Container) Given(engine string) (rules.Result, error) {
	if c.Stated != nil {
		return rules.Result{Set: c.Stated.Bounding, Runtime: *c.Stated}, nil
	}
	if engine == "" {
		if len(c.Target.Engines) == 0 {
			return rules.Result{}, &Error{At: c.At, Reason: "no engine is known for " + c.Name}
		}
		engine = c.Target.Engines[0]
	}
	r, err := rules.For(engine)
	if err != nil {
		return rules.Result{}, err
	}
	req, unknown := c.Request()
	if len(unknown) > 0 {
		return rules.Result{}, unknown[0]
	}
	if len(c.Target.Engines) == 0 || c.Target.Engines[0] != engine {
		req.Version, req.Default = "", nil
	}
	return r.Apply(req)
}

// Capability is what a request names: a capability, or ALL. Its error is a
// [*caps.UnknownError], or an [*Error] if the word is not known.
func (r *Request) Capability() (c caps.Cap, all bool, err error) {
	word, ok := r.Word.Get()
	if !ok {
		return 0, false, &Error{At: r.Word.At, Reason: r.Word.Why}
	}
	set, all, err := caps.ParseList([]string{word})
	if err != nil {
		return 0, false, err
	}
	if all {
		return 0, true, nil
	}
	if set.Len() != 1 {
		return 0, false, &caps.UnknownError{Name: word}
	}
	return set.Caps()[0], false, nil
}
