package learn_test

import (
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/learn"
)

// A declared set is tried as it is; what it lacks and what it has too many is said.
func TestDeclared(t *testing.T) {
	need := caps.Of(caps.Chown, caps.Setuid)
	for _, tt := range []struct {
		name              string
		declared          caps.Set
		suffices          bool
		missing, unneeded caps.Set
	}{
		{"exactly", need, true, 0, 0},
		{"too much", need.With(caps.NetRaw, caps.Kill), true, 0, caps.Of(caps.NetRaw, caps.Kill)},
		{"too little", caps.Of(caps.Chown), false, caps.Of(caps.Setuid), 0},
		{"nothing", 0, false, need, 0},
		{"another", caps.Of(caps.Chown, caps.Kill), false, caps.Of(caps.Setuid), caps.Of(caps.Kill)},
		{"beyond the default", need.With(caps.SysAdmin), true, 0, caps.Of(caps.SysAdmin)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &model{baseline: docker14 | tt.declared, play: needs(need, need)}
			p := mustLearn(t, m, learn.Options{Declared: &tt.declared, Checks: checks("true")})
			d := p.Declared
			if d == nil || d.Set != tt.declared || d.Suffices != tt.suffices || d.Missing != tt.missing || d.Unneeded != tt.unneeded {
				t.Errorf("%+v; trials %+v", d, p.Trials)
			}
			if !p.Proven || p.Required != need {
				t.Errorf("required %v proven %v", p.Required, p.Proven)
			}
			if (d.Reason == "") != d.Suffices {
				t.Errorf("reason %q", d.Reason)
			}
		})
	}
}
