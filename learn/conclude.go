package learn

import (
	"cmp"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// conclude fills in what the trials established.
func (l *learner) conclude(final caps.Set, proven bool) {
	p := l.profile
	p.Subject = l.subject
	base := usage.Fold(l.good...)
	predicted := advise.Predict(base, p.Baseline)
	p.Required, p.Optional, p.Used = 0, 0, 0
	for _, c := range p.Baseline.Caps() {
		n := l.withoutTrial(c)
		switch {
		case n >= 0 && p.Trials[n].Passed:
			switch {
			case l.shaken:
				p.Used = p.Used.With(c)
			case predicted.Has(c), l.unaided(): // that it works without is all that is known
				p.Optional = p.Optional.With(c)
			}
		case n >= 0:
			p.Required = p.Required.With(c)
		case predicted.Has(c), l.isEnough && l.enough.Has(c):
			p.Used = p.Used.With(c)
		}
	}
	for _, s := range p.Substitutes {
		if s.Adopted { // the wider one is not required: this one is
			p.Required = p.Required.Without(s.For).With(s.Use)
			if predicted.Has(s.For) {
				p.Optional = p.Optional.With(s.For)
			}
		}
	}
	p.Unused = p.Baseline &^ (p.Required | p.Optional | p.Used)
	p.Recommended, p.Proven = final, proven
	if !proven {
		p.Recommended |= p.Required | p.Used
		if p.Keep == string(KeepUsed) {
			p.Recommended |= p.Optional
		}
	}
	p.Runs = l.passes[p.Recommended]
	p.Portability = advise.Portability(base, p.Recommended)
	p.Use = l.workload.Use(p.Recommended, l.grant(0).Unconfined)
	if beyond := base.All().Beyond; !beyond.Empty() {
		l.note("%v: asked of a user namespace outside the container's own (%s); no capability that it is given can satisfy that", beyond, beyondCalls(base))
	}
	p.Capabilities = nil
	for _, c := range (p.Baseline | p.Required).Caps() {
		p.Capabilities = append(p.Capabilities, l.finding(c, base))
	}
}

// finding gathers what is known of one capability.
func (l *learner) finding(c caps.Cap, base *usage.Record) usage.Finding {
	p := l.profile
	f := usage.Finding{Cap: c, Status: usage.Unused}
	switch {
	case p.Required.Has(c):
		f.Status = usage.Required
	case p.Optional.Has(c):
		f.Status = usage.Optional
	case p.Used.Has(c):
		f.Status = usage.Used
	}
	add := func(reason string, is bool) {
		if is {
			f.Reasons = append(f.Reasons, reason)
		}
	}
	for _, k := range base.Checks {
		if k.Cap == c && k.Verdict == usage.Granted {
			f.Checks = append(f.Checks, k)
		}
	}
	add("check", base.All().Granted.Has(c))
	for _, e := range base.Execs {
		if e.Caps != nil && e.Caps.Effective && e.Caps.Permitted.Has(c) {
			f.Execs = append(f.Execs, e)
		}
	}
	add("exec", len(f.Execs) > 0)
	for _, s := range base.Capsets {
		if (s.Permitted | s.Effective | s.Inheritable).Has(c) {
			f.Capsets = append(f.Capsets, s)
		}
	}
	add("capset", base.All().Capset.Has(c))
	add("ambient", base.All().Ambient.Has(c))
	if n := l.withoutTrial(c); n >= 0 {
		t := p.Trials[n]
		f.Without = &usage.Proof{Trial: n, Passed: t.Passed, Reason: t.Reason, Log: l.words[n]}
		for _, k := range l.records[n].Checks {
			if k.Verdict == usage.Denied && k.Cap == c {
				f.Without.Denied = append(f.Without.Denied, k)
			}
		}
	}
	if l.unaided() && l.clues != nil {
		f.Suggested = l.clues.From[c]
	}
	if len(f.Reasons) == 0 && f.Status == usage.Required {
		f.Reasons = []string{"trial"}
	}
	return f
}

// beyondCalls names what asked for something that cannot be given.
func beyondCalls(r *usage.Record) string {
	var calls []string
	for _, c := range r.Checks {
		if call := cmp.Or(c.Syscall, "no system call"); c.Beyond && !slices.Contains(calls, call) {
			calls = append(calls, call)
		}
	}
	return strings.Join(calls, ", ")
}
