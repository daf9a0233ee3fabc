package manifest

import (
	"slices"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/rules"
)

func TestPlan(t *testing.T) {
	want := caps.Of(caps.Chown, caps.Kill)
	for _, tt := range []struct {
		name   string
		caps   []Request
		strict bool
		remove []int
		spell  []string
		drop   bool
		add    []caps.Cap
	}{
		{"nothing there", nil, false, nil, nil, true, want.Caps()},
		{"all there", []Request{word(Drop, "all"), word(Add, "cap_chown"), word(Add, "KILL")}, false, nil, nil, false, nil},
		{"all there, strict", []Request{word(Drop, "all"), word(Add, "cap_chown"), word(Add, "KILL")}, true, nil, []string{"ALL", "CHOWN"}, false, nil},
		{"too much", []Request{word(Add, "ALL"), word(Add, "CHOWN"), word(Add, "NET_RAW"), word(Drop, "KILL"), word(Add, "TYPO")}, false,
			[]int{0, 2, 3, 4}, nil, true, []caps.Cap{caps.Kill}},
		{"twice", []Request{word(Drop, "ALL"), word(Drop, "ALL"), word(Add, "CHOWN"), word(Add, "CAP_CHOWN"), word(Add, "KILL")}, true, []int{1, 3}, nil, false, nil},
	} {
		c := &Container{Name: "c", Caps: tt.caps, Target: Target{Engines: []string{"docker"}}}
		p, err := c.Plan(want, tt.strict)
		var spell []string
		for _, r := range p.Respell {
			spell = append(spell, r.Word)
		}
		if err != nil || !slices.Equal(p.Remove, tt.remove) || !slices.Equal(spell, tt.spell) || p.DropAll != tt.drop || !slices.Equal(p.Add, tt.add) {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
			continue
		}
		// Every engine gives exactly the set to what the plan leaves.
		var req rules.Request
		for i, r := range tt.caps {
			if slices.Contains(p.Remove, i) {
				continue
			}
			w := r.Word.V
			if j := slices.IndexFunc(p.Respell, func(s Correction) bool {
				return s.Word == w || s.Word == "CHOWN" && w == "cap_chown" || s.Word == "ALL" && w == "all"
			}); j >= 0 {
				w = p.Respell[j].Word
			}
			if r.Action == Add {
				req.Add = append(req.Add, w)
			} else {
				req.Drop = append(req.Drop, w)
			}
		}
		for _, m := range p.Add {
			req.Add = append(req.Add, m.Docker())
		}
		if p.DropAll {
			req.Drop = append(req.Drop, "ALL")
		}
		for _, name := range rules.Names() {
			if !tt.strict && name == "containerd" {
				continue
			}
			r, _ := rules.For(name)
			if got, err := r.Apply(req); err != nil || got.Set != want {
				t.Errorf("%s: %s gives %v, %v", tt.name, name, got.Set, err)
			}
		}
	}

	c := &Container{Name: "c", Caps: []Request{{Word: NotKnown[string]("${X}", "the variable X has no value", Pos{})}}}
	if _, err := c.Plan(want, false); err == nil {
		t.Error("a word that is not known was planned around")
	}
}
