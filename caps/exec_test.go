package caps

import "testing"

func TestProgram(t *testing.T) {
	raw, two := Of(NetRaw), Of(NetRaw, NetAdmin)
	docker := Of(NetRaw, Chown, Setuid)
	root := func(mode uint32) Program { return Program{Mode: mode} }
	with := func(p Program, c FileCaps) Program { p.Caps = &c; return p }
	tests := map[string]struct {
		p              Program
		setuid, setgid bool
		needs          Set
		docker, none   Set
		ok, okNone     bool
	}{
		"plain":                  {root(0o755), false, false, 0, 0, 0, true, true},
		"set-uid root":           {root(0o4755), true, false, 0, docker, 0, true, true},
		"set-uid other":          {Program{Mode: 0o4755, UID: 33}, true, false, 0, 0, 0, true, true},
		"set-uid, not for exec":  {root(0o4644), false, false, 0, 0, 0, false, false},
		"set-gid":                {root(0o2755), false, true, 0, 0, 0, true, true},
		"mandatory locking":      {root(0o2745), false, false, 0, 0, 0, true, true},
		"ep":                     {with(root(0o755), FileCaps{Permitted: raw, Effective: true}), false, false, raw, raw, 0, true, false},
		"ep, more than there is": {with(root(0o755), FileCaps{Permitted: two, Effective: true}), false, false, two, 0, 0, false, false},
		"p":                      {with(root(0o755), FileCaps{Permitted: two}), false, false, 0, raw, 0, true, true},
		"i":                      {with(root(0o755), FileCaps{Inheritable: two, Effective: true}), false, false, 0, 0, 0, true, true},
		"ep, not for exec":       {with(root(0o644), FileCaps{Permitted: raw, Effective: true}), false, false, 0, 0, 0, false, false},
		"set-uid root and ep":    {with(root(0o4755), FileCaps{Permitted: raw, Effective: true}), true, false, raw, raw, 0, true, false},
		"of another namespace":   {with(root(0o4755), FileCaps{Permitted: raw, Effective: true, RootID: 1000}), true, false, 0, docker, 0, true, true},
	}
	for name, tt := range tests {
		if tt.p.SetUID() != tt.setuid || tt.p.SetGID() != tt.setgid {
			t.Errorf("%s: set-uid %t, set-gid %t", name, tt.p.SetUID(), tt.p.SetGID())
		}
		if got := tt.p.Needs(); got != tt.needs {
			t.Errorf("%s: needs %s, want %s", name, got, tt.needs)
		}
		if got, ok := tt.p.Gains(docker); got != tt.docker || ok != tt.ok {
			t.Errorf("%s: with Docker's gains %s, %t; want %s, %t", name, got, ok, tt.docker, tt.ok)
		}
		if got, ok := tt.p.Gains(0); got != tt.none || ok != tt.okNone {
			t.Errorf("%s: with none gains %s, %t; want %s, %t", name, got, ok, tt.none, tt.okNone)
		}
	}
}
