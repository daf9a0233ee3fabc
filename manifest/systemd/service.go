// Package systemd reads units: what their processes may have (CapabilityBoundingSet= and
// what else takes capabilities away), the containers that docker lines in Exec…= start,
// and Podman's Quadlet files.
package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/words"
)

// Format is the one of units, Quadlet that of Podman's.
var (
	Format = manifest.Format{
		Name: "systemd", Title: "systemd unit",
		Recognise: recogniseUnit, Parse: parseService, Edit: editService, Verify: verifyUnit(parseService),
	}
	Quadlet = manifest.Format{
		Name: "quadlet", Title: "Podman Quadlet file",
		Recognise: recogniseQuadlet, Parse: parseQuadlet, Edit: editQuadlet, Verify: verifyUnit(parseQuadlet),
	}
)

var (
	unitHeader = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^[ \t]*\[(Unit|Service|Socket|Install|Mount|Swap|Timer|Path)\][ \t\r]*$`)
	})
	execHeader = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^[ \t]*\[(Service|Socket|Mount|Swap)\][ \t\r]*$`)
	})
	quadletHeader = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^[ \t]*\[(Container|Pod|Kube)\][ \t\r]*$`) })
)

func recogniseUnit(name string, data []byte) manifest.Likelihood {
	head := head(data)
	if !beginsWithSection(head) { // a script that writes one, a document that shows one
		if slices.Contains([]string{".service", ".socket", ".mount", ".swap"}, path.Ext(name)) && !quadletHeader().Match(head) {
			return manifest.Maybe
		}
		return manifest.No
	}
	switch {
	case quadletHeader().Match(head):
		return manifest.No
	case execHeader().Match(head) && (unitHeader().Match(head) || strings.HasSuffix(name, ".conf")):
		return manifest.Sure
	case unitHeader().Match(head):
		return manifest.Likely
	case slices.Contains([]string{".service", ".socket", ".mount", ".swap"}, path.Ext(name)):
		return manifest.Maybe
	}
	return manifest.No
}

// head is where a file shows what it is.
func head(data []byte) []byte {
	return bytes.TrimPrefix(data[:min(len(data), 64<<10)], []byte("\ufeff"))
}

// beginsWithSection says that the first line that is no comment is a section's.
func beginsWithSection(data []byte) bool {
	for line := range bytes.Lines(data) {
		if t := bytes.TrimSpace(line); len(t) > 0 && t[0] != '#' && t[0] != ';' {
			return t[0] == '['
		}
	}
	return false
}

// sections are those whose processes the settings of systemd.exec(5) are for.
var sections = []string{"Service", "Socket", "Mount", "Swap"}

// A service is a unit, with its drop-ins, in the order in which systemd reads them.
type service struct {
	section string
	files   []*unit
	errs    []error
}

// readService reads a unit and its drop-ins.
func readService(src manifest.Source) (*service, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	u, errs := parseUnit(src.Name, src.Data)
	s := &service{files: []*unit{u}, errs: errs}
	for _, name := range sections {
		if u.has(name) {
			s.section = name
		}
	}
	for _, d := range dropIns(src) {
		u, errs := parseUnit(d.name, d.data)
		s.files, s.errs = append(s.files, u), append(s.errs, errs...)
		for _, name := range sections {
			if s.section == "" && u.has(name) {
				s.section = name
			}
		}
	}
	return s, nil
}

// each calls f for all assignments of a key.
func (s *service) each(key string, f func(u *unit, a *setting)) {
	for _, u := range s.files {
		for _, a := range u.all(s.section, key) {
			f(u, a)
		}
	}
}

// boolean and text are the last file's word.
func (s *service) boolean(key string) (b manifest.Bool) {
	for _, u := range s.files {
		if list := u.all(s.section, key); len(list) > 0 {
			b = u.boolean(s.section, key)
		}
	}
	return b
}

func (s *service) text(key string) (t manifest.Text) {
	for _, u := range s.files {
		if list := u.all(s.section, key); len(list) > 0 {
			t = u.last(s.section, key)
		}
	}
	return t
}

func parseService(src manifest.Source) ([]*manifest.Container, error) {
	s, err := readService(src)
	if err != nil {
		return nil, err
	}
	if s.section == "" || ofUnitBeside(src) {
		return nil, errors.Join(s.errs...)
	}
	list := []*manifest.Container{s.container()}
	for _, v := range s.invocations() {
		list = append(list, v.Container)
	}
	return list, errors.Join(s.errs...)
}

// lookup is systemd's capability_from_name (basic/cap-list.c): any case, with CAP_, or a
// number. What it does not know it ignores.
func lookup(word string) (caps.Cap, bool) {
	if len(word) < 4 || !strings.EqualFold(word[:4], "CAP_") {
		if word == "" || strings.Trim(word, "0123456789") != "" {
			return 0, false
		}
	}
	c, err := caps.ParseCap(word)
	return c, err == nil && c.Known()
}

// A taker is a setting that takes capabilities away, if it is on: src/core/unit.c
// unit_patch_contexts() of systemd 252 and 257.
type taker struct {
	key string
	set caps.Set
}

var takers = []taker{
	{"PrivateDevices", caps.Of(caps.Mknod, caps.SysRawio)},
	{"ProtectKernelModules", caps.Of(caps.SysModule)},
	{"ProtectKernelLogs", caps.Of(caps.Syslog)},
	{"ProtectClock", caps.Of(caps.SysTime, caps.WakeAlarm)},
}

// set follows the assignments of a list of capabilities: src/core/load-fragment.c
// config_parse_capability_set(). def is what holds where nothing is assigned. written
// says whether anything is.
func (s *service) set(key string, which manifest.Set, def caps.Set, requests *[]manifest.Request) (set caps.Set, written bool) {
	set = def
	unset := true // capability_set is still what it was initialised to
	s.each(key, func(u *unit, a *setting) {
		written = true
		text := a.value
		list := splitWords(text)
		invert := len(text.Bytes) > 0 && text.Bytes[0] == '~'
		sum := caps.Set(0)
		for i := range list {
			w := list[i]
			word, from := w.Text, 0
			if i == 0 && invert {
				word, from = strings.TrimPrefix(word, "~"), 1
				if word == "" {
					continue
				}
			}
			start, end := w.Range(from, len(w.Text))
			if from == 0 {
				start, end = w.Start, w.End // with its quotes
			}
			at := u.lines.Pos(start, end)
			t := manifest.Of(word, word, at)
			if w.Why != "" {
				t = manifest.NotKnown[string](word, w.Why, at)
			}
			r := manifest.Request{Set: which, Word: t, List: a.at()}
			if invert {
				r.Action = manifest.Drop
			}
			*requests = append(*requests, r)
			if c, ok := lookup(word); ok {
				sum = sum.With(c)
			}
		}
		all := caps.All()
		switch {
		case sum.Empty() || unset:
			if set = sum; invert {
				set = all.Minus(sum)
			}
		case invert:
			set = set.Minus(sum)
		default:
			set = set.Union(sum)
		}
		unset = set == def
	})
	return set, written
}

// root says whether the processes run as root.
func (s *service) root() bool {
	user := s.text("User")
	return !manifest.Is(s.boolean("DynamicUser"), true) && (user.State == manifest.Unset || manifest.Is(user, "root") || manifest.Is(user, "0"))
}

// container is what the unit's own processes may have.
func (s *service) container() *manifest.Container {
	u := s.files[0]
	name := path.Base(u.name)
	at := u.lines.Pos(0, 0)
	for _, sec := range u.sections {
		if sec.name == s.section {
			at = u.lines.Pos(sec.start, sec.start+len(sec.name)+2)
		}
	}
	c := &manifest.Container{
		Format: "systemd", Path: "unit", Name: name, Kind: "unit", At: at,
		Target: manifest.Target{Engines: []string{"systemd"}, Why: "it is a unit"},
		User:   s.text("User"), NoNewPrivs: s.boolean("NoNewPrivileges"),
	}
	c.WorkDir = s.text("WorkingDirectory")
	for _, u := range s.files {
		c.Env = append(c.Env, u.environment(s.section)...)
	}
	bounding, _ := s.set("CapabilityBoundingSet", manifest.Bounding, caps.All(), &c.Caps)
	ambient, _ := s.set("AmbientCapabilities", manifest.Ambient, 0, &c.Caps)
	for _, t := range takers {
		b := s.boolean(t.key)
		switch {
		case manifest.Is(b, true):
			bounding = bounding.Minus(t.set)
		case b.State == manifest.Unknown && c.CapsWhy == "":
			c.CapsWhy = t.key + "= is not known: " + b.Why
		}
		if b.State != manifest.Unset {
			c.Facts = append(c.Facts, manifest.Pair{Key: t.key, KeyAt: b.At, Value: manifest.Text{V: fmt.Sprint(b.V), State: b.State, Raw: b.Raw, Why: b.Why, At: b.At}})
		}
	}
	state := caps.State{Bounding: bounding, Ambient: ambient, Inheritable: ambient, Permitted: ambient, Effective: ambient}
	if s.root() {
		state.Permitted, state.Effective = bounding, bounding
	}
	c.Stated = &state
	if isDropIn(u.name) {
		c.CapsWhy = "it is a drop-in, and what it is dropped into is another file"
		c.Name = strings.TrimSuffix(path.Base(path.Dir(u.name)), ".d") + " (" + name + ")"
		c.Kind = "drop-in"
	}
	if dyn := s.boolean("DynamicUser"); manifest.Is(dyn, true) {
		// unit_patch_contexts(): a dynamic user cannot be left by way of set-uid.
		c.NoNewPrivs = manifest.Of(true, "DynamicUser="+dyn.Raw, dyn.At)
		if c.User.State == manifest.Unset {
			c.User = manifest.Of("dynamic", "DynamicUser="+dyn.Raw, dyn.At)
		}
	}
	for _, key := range []string{"PrivateUsers", "RootDirectory", "RootImage", "SystemCallFilter", "ProtectSystem", "DynamicUser"} {
		if t := s.text(key); t.State != manifest.Unset {
			c.Facts = append(c.Facts, manifest.Pair{Key: key, KeyAt: t.At, Value: t})
		}
	}
	s.eachExec(func(u *unit, a *setting, prefix string, list []words.Word) {
		if a.key == "ExecStart" {
			// A line that starts a container is one of its own.
			if c.Command = u.line(list, a.at()); startsContainer(list, u.lines) {
				c.Command = manifest.Args{}
			}
		}
		if strings.ContainsAny(prefix, "+") { // systemd.service(5): without any of these settings
			c.Facts = append(c.Facts, manifest.Pair{Key: a.key, KeyAt: a.at(), Value: manifest.Of("+", a.text(), a.at())})
		}
	})
	return c
}

// execKeys are the settings that have command lines.
var execKeys = []string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPre", "ExecStopPost"}

// eachExec calls f for each command line, without the characters before its program.
func (s *service) eachExec(f func(u *unit, a *setting, prefix string, list []words.Word)) {
	for _, u := range s.files {
		for i := range u.settings {
			a := &u.settings[i]
			if a.section != s.section || !slices.Contains(execKeys, a.key) || len(a.value.Bytes) == 0 {
				continue
			}
			list := splitWords(a.value)
			if len(list) == 0 {
				continue
			}
			n := len(list[0].Text) - len(strings.TrimLeft(list[0].Text, "-@:+!"))
			prefix := list[0].Text[:n]
			if n > 0 && list[0].Written() {
				list[0] = list[0].Cut(n)
			}
			if strings.Contains(prefix, "@") && len(list) > 1 { // the second word is argv[0]
				list = append(list[:1:1], list[2:]...)
			}
			f(u, a, prefix, list)
		}
	}
}

// startsContainer says that a line is an engine's, or a shell's with one in it.
func startsContainer(list []words.Word, lines *manifest.Lines) bool {
	if v, err := flags.Parse(list, lines); v != nil || err != nil {
		return true
	}
	if len(list) != 3 || list[1].Text != "-c" {
		return false
	}
	t, ok := list[2].Script()
	if !ok {
		return false
	}
	commands, _ := words.Parse(t, nil)
	return slices.ContainsFunc(commands, func(c words.Command) bool {
		v, err := flags.Parse(c.Program(), lines)
		return v != nil || err != nil
	})
}

// An invocation is a docker line in a unit.
type invocation struct {
	*flags.Invocation
	unit *unit
}

func (s *service) invocations() []invocation {
	var found []invocation
	add := func(u *unit, a *setting, list []words.Word) {
		v, err := flags.Parse(list, u.lines)
		if err != nil {
			s.errs = append(s.errs, err)
		}
		if v != nil {
			v.Container.Facts = append(v.Container.Facts, manifest.Pair{Key: "setting", KeyAt: a.at(), Value: manifest.Of(a.key, a.key, a.at())})
			found = append(found, invocation{v, u})
		}
	}
	s.eachExec(func(u *unit, a *setting, _ string, list []words.Word) {
		add(u, a, list)
		if len(list) == 3 && list[1].Text == "-c" {
			if t, ok := list[2].Script(); ok {
				commands, _ := words.Parse(t, nil)
				for _, c := range commands {
					add(u, a, c.Program())
				}
			}
		}
	})
	for i, v := range found {
		v.Container.Format = "systemd"
		v.Container.Path = fmt.Sprintf("#%d %s", i+1, v.Container.Name)
	}
	return found
}
