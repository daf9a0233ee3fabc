package line

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/leastcap/leastcap/caps"
)

// Parse takes a run or create line of docker, podman or nerdctl apart, as the
// engine itself would, with the built-in flag table. Errors are [*Error].
func Parse(argv []string) (*Line, error) {
	at, engine, err := locate(argv)
	if err != nil {
		return nil, err
	}
	if engine == "" {
		return nil, notALine(argv, at)
	}
	t, err := TableFor(engine)
	if err != nil {
		return nil, err
	}
	return ParseWith(argv, t)
}

// ParseWith is [Parse] with a table of the caller's, for an engine that is
// newer than the built-in one.
func ParseWith(argv []string, t *Table) (*Line, error) { return parse(argv, t, false) }

// Read is [Parse] for looking at lines and not for running them: values are not
// checked, so that a misspelt capability, or a word that stands for a variable, can be
// talked about.
func Read(argv []string) (*Line, error) {
	_, engine, err := locate(argv)
	if err != nil {
		return nil, err
	}
	if engine == "" {
		return nil, notALine(argv, 0)
	}
	t, err := tableOnce[engine]()
	if err != nil {
		return nil, err
	}
	return parse(argv, t, true)
}

// tableOnce are the built-in tables, each read when it is first needed.
var tableOnce = map[string]func() (*Table, error){
	"docker":  sync.OnceValues(func() (*Table, error) { return TableFor("docker") }),
	"podman":  sync.OnceValues(func() (*Table, error) { return TableFor("podman") }),
	"nerdctl": sync.OnceValues(func() (*Table, error) { return TableFor("nerdctl") }),
}

func parse(argv []string, t *Table, unchecked bool) (*Line, error) {
	at, engine, err := locate(argv)
	if err != nil {
		return nil, err
	}
	if engine == "" {
		return nil, notALine(argv, at)
	}
	p := &parser{
		words:     argv,
		at:        at + 1,
		unchecked: unchecked,
		line: &Line{
			Engine:  engine,
			Prefix:  slices.Clone(argv[:at]),
			Program: argv[at],
			table:   t,
		},
	}
	for _, step := range []func() error{p.global, p.verb, p.flags, p.image} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p.line, nil
}

func notALine(argv []string, at int) error {
	e := &Error{
		At:     at,
		Reason: "not a container command line",
		Hint:   "give a line that starts with " + strings.Join(engines, ", ") + ", such as: docker run nginx",
	}
	if at < len(argv) {
		e.Word = argv[at]
		e.Reason = fmt.Sprintf("%q is not a container engine (%s)", argv[at], strings.Join(engines, ", "))
	}
	return e
}

// parser goes through the words once. pflag decides, one word at a time, which
// flags a word holds and whether the next is a value; the parser keeps where
// each of them was.
type parser struct {
	words []string
	at    int
	line  *Line

	unchecked bool
}

// global reads the engine's own flags.
func (p *parser) global() error {
	start := p.at
	fs := p.line.table.borrow(globalSet)
	defer p.line.table.sets[globalSet].Put(fs)
	_, dash, err := p.read(fs, p.line.Engine)
	if err != nil {
		return err
	}
	if dash {
		return &Error{
			Word: "--", At: p.at - 1,
			Reason: fmt.Sprintf("%s: -- stands before the command", p.line.Engine),
			Hint:   "leave it out",
		}
	}
	p.line.Global = slices.Clone(p.words[start:p.at])
	return nil
}

// verb reads "run", "create", "container run" or "container create".
func (p *parser) verb() error {
	start := p.at
	if p.at < len(p.words) && p.words[p.at] == "container" {
		p.at++
		_, dash, err := p.read(newFlagSet(nil, true, p.line.table.inherited()), p.line.Engine+" container")
		if err != nil {
			return err
		}
		if dash {
			p.at-- // no command word follows a "--"
		}
	}
	if p.at == len(p.words) {
		return &Error{
			At:     p.at,
			Err:    ErrOtherVerb,
			Reason: fmt.Sprintf("%s: there is no command", Quote(p.words)),
			Hint:   fmt.Sprintf("give a whole %s run line, with its image", p.line.Engine),
		}
	}
	p.line.Verb = p.words[p.at]
	if p.line.Verb != verbRun && p.line.Verb != verbCreate {
		return wrongVerb(p.line.Engine, p.words[start:p.at+1], p.at)
	}
	p.at++
	p.line.command = slices.Clone(p.words[start:p.at])
	return nil
}

// wrongVerb says what to type instead of a command that is not understood.
func wrongVerb(engine string, command []string, at int) error {
	typed := engine + " " + strings.Join(command, " ")
	e := &Error{
		Word:   command[len(command)-1],
		At:     at,
		Err:    ErrOtherVerb,
		Reason: fmt.Sprintf("%q is not understood, only %s run, %[2]s container run and %[2]s create", typed, engine),
		Hint:   fmt.Sprintf("give the %s run line that starts the container", engine),
	}
	switch e.Word {
	case "compose":
		e.Hint = fmt.Sprintf("give one service at a time, as: %s run [its flags] IMAGE", engine)
	case "exec":
		e.Hint = fmt.Sprintf("a command that joins a container has that container's capabilities; give the %s run line "+
			"that starts it, or: %[1]s run [its flags] IMAGE COMMAND", engine)
	case "start", "restart", "unpause", "attach":
		e.Hint = fmt.Sprintf("the container exists already, with its capabilities; give the %s run line that made it", engine)
	case "stack", "service", "swarm":
		e.Hint = fmt.Sprintf("give one service's container, as: %s run [its flags] IMAGE", engine)
	case "kube", "play", "pod":
		e.Hint = fmt.Sprintf("give one container of the pod, as: %s run [its flags] IMAGE", engine)
	}
	return e
}

// flags reads what stands between the verb and the image.
func (p *parser) flags() error {
	l := p.line
	which := runSet
	if l.Verb == verbCreate {
		which = createSet
	}
	fs := l.table.borrow(which)
	defer l.table.sets[which].Put(fs)
	groups, dash, err := p.read(fs, l.Engine+" "+l.Verb)
	l.groups, l.dash = groups, dash
	return err
}

// read consumes flags up to the first word that is none; a "--" is consumed
// and reported.
func (p *parser) read(fs *pflag.FlagSet, command string) (groups []group, dash bool, err error) {
	for p.at < len(p.words) {
		if p.words[p.at] == "--" {
			p.at++
			return groups, true, nil
		}
		g, err := p.group(fs, command)
		if err != nil {
			return nil, false, err
		}
		if len(g.words) == 0 {
			break
		}
		groups = append(groups, g)
		p.at += len(g.words)
	}
	return groups, false, nil
}

// group reads the flags of one word; it has no words if there are none.
func (p *parser) group(fs *pflag.FlagSet, command string) (group, error) {
	type found struct {
		flag  *pflag.Flag
		value string
	}
	var list []found
	attempt := func(n int) error {
		list = list[:0]
		return fs.ParseAll(p.words[p.at:p.at+n], func(f *pflag.Flag, value string) error {
			list = append(list, found{f, value})
			return nil
		})
	}
	n := 1
	err := attempt(n)
	if missing := (*pflag.ValueRequiredError)(nil); errors.As(err, &missing) && p.at+1 < len(p.words) {
		n = 2
		err = attempt(n)
	}
	if err != nil {
		return group{}, flagError(err, command, fs, p.words, p.at)
	}
	if fs.NArg() > 0 {
		return group{}, nil
	}
	g := group{words: slices.Clone(p.words[p.at : p.at+n]), first: len(p.line.Flags), count: len(list)}
	for i, f := range list {
		spec, ok := f.flag.Value.(*specValue)
		if !ok {
			continue // every flag of newFlagSet has one
		}
		flag := Flag{Name: spec.canonical(), Typed: typed(g.words[0], i), Value: f.value, Word: p.at, Words: 1, Global: spec.global}
		if i == len(list)-1 {
			flag.Words = n
		}
		if p.unchecked {
			if (flag.Name == "help" || flag.Name == "version" && flag.Global) && flag.Value == "true" {
				return group{}, helpError(command, flag.Typed, flag.Word)
			}
		} else if err := checkValue(&flag, spec, command); err != nil {
			return group{}, err
		}
		p.line.Flags = append(p.line.Flags, flag)
	}
	return g, nil
}

// typed returns how the i-th flag of a word was written, without its value.
func typed(word string, i int) string {
	if strings.HasPrefix(word, "--") {
		name, _, _ := strings.Cut(word, "=")
		return name
	}
	return "-" + word[1+i:2+i] // pflag has found a letter there
}

// checkValue refuses what the engine would refuse too, where leastcap has to
// understand the value: booleans, whole numbers, capabilities; and flags that
// only print something.
func checkValue(f *Flag, spec *specValue, command string) error {
	bad := func(reason, hint string, err error) error {
		return &Error{
			Word: f.Value, At: f.Word + f.Words - 1, Hint: hint, Err: err,
			Reason: fmt.Sprintf("%s: %s %s: %s", command, f.Typed, Quote([]string{f.Value}), reason),
		}
	}
	switch spec.FlagSpec.Type {
	case "bool":
		if _, err := strconv.ParseBool(f.Value); err != nil {
			return bad("not a boolean", fmt.Sprintf("write %s or %[1]s=false", f.Typed), err)
		}
		if f.Name == "help" || f.Name == "version" && f.Global {
			return helpError(command, f.Typed, f.Word)
		}
	case "int", "int64":
		if _, err := strconv.ParseInt(f.Value, 0, 64); err != nil {
			return bad("not a whole number", "", err)
		}
	case "uint", "uint16", "uint64":
		if _, err := strconv.ParseUint(f.Value, 0, 64); err != nil {
			return bad("not a whole number that is not negative", "", err)
		}
	}
	if f.Global || f.Name != "cap-add" && f.Name != "cap-drop" {
		return nil
	}
	words := []string{f.Value}
	if spec.FlagSpec.Type == "strings" { // the engine splits at commas
		if f.Value == "" {
			return nil
		}
		words = strings.Split(f.Value, ",")
	} else if strings.Contains(f.Value, ",") {
		return bad("one capability only", fmt.Sprintf("give %s once for each", f.Typed), nil)
	}
	for _, word := range words {
		if _, _, err := caps.ParseList([]string{word}); err != nil {
			return bad(err.Error(), "write a capability as in NET_RAW, or ALL", err)
		}
		if n, err := strconv.Atoi(strings.TrimSpace(word)); err == nil {
			return bad("the engine knows no numbers", fmt.Sprintf("write %s", caps.Cap(n).Docker()), nil)
		}
	}
	return nil
}

// image reads the image and the command.
func (p *parser) image() error {
	l := p.line
	command := l.Engine + " " + l.Verb
	if p.at == len(p.words) || p.words[p.at] == "" {
		e := &Error{
			At:     p.at,
			Reason: command + ": no image",
			Hint:   fmt.Sprintf("give the whole line, as: %s [its flags] IMAGE", command),
		}
		// An image that was taken for a value is the usual reason.
		if n := len(l.groups); n > 0 && len(l.groups[n-1].words) == 2 && p.at == len(p.words) {
			f := &l.Flags[len(l.Flags)-1]
			e.Hint = fmt.Sprintf("%s takes a value, and took %s", f.Typed, Quote([]string{f.Value}))
		}
		return e
	}
	l.Image = p.words[p.at]
	l.Command = slices.Clone(p.words[p.at+1:])
	return nil
}
