package manifest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// lines is the smallest format that has all that Guard and Rewrite are for: one line a
// container, "name: cap cap", and one line "shared: cap" that all have that say "+shared".
func lines() *Format {
	parse := func(src Source) ([]*Container, error) {
		shared := ""
		var list []*Container
		offset := 0
		ix := NewLines(src.Name, src.Data)
		for line := range strings.Lines(string(src.Data)) {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
			if name == "shared" {
				shared = rest
			} else {
				c := &Container{Name: name, Path: name, At: ix.Pos(offset, offset+len(name)), Target: Target{Engines: []string{"docker"}}}
				for word := range strings.FieldsSeq(strings.Replace(rest, "+shared", shared, 1)) {
					a := Add
					if strings.HasPrefix(word, "-") {
						a, word = Drop, word[1:]
					}
					c.Caps = append(c.Caps, Request{Action: a, Word: Of(word, word, Pos{})})
				}
				if strings.Contains(rest, "+shared") {
					c.Shared = []Shared{{Kind: "line", Name: "shared", At: Pos{File: src.Name, Line: 1, Column: 1}, With: []string{"a", "b", "c"}}}
				}
				list = append(list, c)
			}
			offset += len(line)
		}
		return list, nil
	}
	f := &Format{Name: "lines", Title: "line file", Parse: parse}
	f.Edit = func(src Source, changes []Change) ([]Edit, []*Refusal) {
		return Guard(src, changes, parse, func(c Change) ([]Edit, *Refusal) {
			if p, err := c.Container.Plan(*c.Want.Exactly, false); err != nil || p.Empty() {
				return nil, nil
			}
			name := c.Container.Name
			line := "\n" + name + ":"
			if bytes.Contains(src.Data, []byte(name+": +shared")) {
				line = "shared:"
			}
			start := bytes.Index(src.Data, []byte(line)) + len(line)
			end := start + bytes.IndexByte(src.Data[start:], '\n')
			return []Edit{{File: src.Name, Start: start, End: end, New: " -ALL " + strings.Join(c.Want.Exactly.Docker(), " "), Reason: name}}, nil
		})
	}
	f.Verify = func(before, after Source, changes []Change) error {
		if i := bytes.Index(after.Data, []byte("evil: -ALL")); i >= 0 {
			return fmt.Errorf("evil at byte %d", i)
		}
		return nil
	}
	return f
}

func want(c *Container, list ...caps.Cap) Change {
	set := caps.Of(list...)
	return Change{c, Want{Exactly: &set}}
}

func TestGuardAndRewrite(t *testing.T) {
	text := "shared: KILL\na: +shared\nb: +shared\nc: NET_RAW\nevil: CHOWN\n"
	f := lines()
	src := Source{Name: "f", Data: []byte(text)}
	run := func(changes ...Change) (string, string) {
		files, refused, err := Rewrite(f, src, changes)
		if err != nil {
			t.Fatal(err)
		}
		var why []string
		for _, r := range refused {
			why = append(why, r.Error())
		}
		if len(files) == 0 {
			return text, strings.Join(why, "; ")
		}
		return string(files[0].After), strings.Join(why, "; ")
	}
	list, _ := f.Parse(src)
	a, b, c, evil := list[0], list[1], list[2], list[3]
	for _, tt := range []struct {
		name    string
		changes []Change
		after   string
		why     string
	}{
		{"none", nil, text, ""},
		{"own", []Change{want(c, caps.Chown)}, strings.Replace(text, "c: NET_RAW", "c: -ALL CHOWN", 1), ""},
		{"shared, alone", []Change{want(a, caps.Chown)}, text, "f:1:1: a: not changed: line shared is used by b, too"},
		{"shared, and both want it", []Change{want(a, caps.Chown), want(b, caps.Chown)}, strings.Replace(text, "shared: KILL", "shared: -ALL CHOWN", 1), ""},
		{"shared, and the other is as it was", []Change{want(a, caps.Chown), want(b, caps.Kill)}, text, "is used by"},
		{"one refused, another made", []Change{want(a, caps.Chown), want(c, caps.Chown)}, strings.Replace(text, "c: NET_RAW", "c: -ALL CHOWN", 1), "used by b"},
		{"the second parser sees evil", []Change{want(c, caps.Chown), want(evil, caps.Chown)}, strings.Replace(text, "c: NET_RAW", "c: -ALL CHOWN", 1), "evil: not changed: the edit would not mean what it should: evil at byte"},
	} {
		after, why := run(tt.changes...)
		if after != tt.after || !strings.Contains(why, tt.why) || tt.why == "" && why != "" {
			t.Errorf("%s: %q (%s)", tt.name, after, why)
		}
	}
}

func TestRewriteIsSettled(t *testing.T) {
	f := lines()
	edit := f.Edit
	f.Edit = func(src Source, changes []Change) ([]Edit, []*Refusal) { // never content
		edits, refused := edit(src, changes)
		return append(edits, Edit{File: src.Name, Start: len(src.Data), End: len(src.Data), New: " ", Reason: "more"}), refused
	}
	src := Source{Name: "f", Data: []byte("shared:\nc: NET_RAW\n")}
	list, _ := f.Parse(src)
	if files, refused, _ := Rewrite(f, src, []Change{want(list[0], caps.Chown)}); len(files) > 0 || len(refused) != 1 || !strings.Contains(refused[0].Reason, "second run") {
		t.Errorf("%v %v", files, refused)
	}
}

func TestCompare(t *testing.T) {
	one := func() *Container {
		return &Container{Name: "c", Path: "c", User: Of("0", "0", Pos{Line: 1}), Caps: []Request{word(Add, "KILL")}, Owner: &Owner{Name: "o"}, Mounts: []Mount{{Type: "bind"}}}
	}
	for _, tt := range []struct {
		name   string
		change func(*Container)
		want   Want
		ok     bool
	}{
		{"nothing", func(c *Container) {}, Want{}, true},
		{"a place and a spelling", func(c *Container) { c.User.At.Line, c.User.Raw = 7, `"0"` }, Want{}, true},
		{"the user", func(c *Container) { c.User.V = "1" }, Want{}, false},
		{"an owner", func(c *Container) { c.Owner = &Owner{Name: "p"} }, Want{}, false},
		{"a mount", func(c *Container) { c.Mounts = nil }, Want{}, false},
		{"a capability", func(c *Container) { c.Caps = nil }, Want{}, false},
		{"a capability, wanted", func(c *Container) { c.Caps = []Request{word(Drop, "ALL")} }, Want{Exactly: new(caps.Set)}, true},
		{"not what was wanted", func(c *Container) { c.Caps = []Request{word(Drop, "ALL"), word(Add, "KILL")} }, Want{Exactly: new(caps.Set)}, false},
		{"wanted, and the user", func(c *Container) { c.Caps, c.User.V = []Request{word(Drop, "ALL")}, "1" }, Want{Exactly: new(caps.Set)}, false},
		{"no new privileges", func(c *Container) { c.NoNewPrivs = Of(true, "", Pos{}) }, Want{NoNewPrivs: true}, true},
		{"still privileged", func(c *Container) { c.Privileged = Of(true, "", Pos{}) }, Want{Unprivileged: true}, false},
	} {
		b, a := one(), one()
		tt.change(a)
		var changes []Change
		if !tt.want.Empty() {
			changes = []Change{{b, tt.want}}
		}
		if err := Compare([]*Container{b}, []*Container{a}, changes); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if Compare([]*Container{one()}, nil, nil) == nil {
		t.Error("one is none")
	}
}
