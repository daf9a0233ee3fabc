package helm

import (
	"slices"
	"text/template/parse"
)

// A value is what a template's expression can be, as far as its text says: where it comes
// from, not what it is.
type value struct {
	// refs are paths from the root of the chart's data: Values, image, tag. What comes
	// first is the likeliest.
	refs [][]string
	// fields are those of a dict.
	fields map[string]value
	// text is a constant's.
	text    string
	isText  bool
	changed bool // by more than how it is written: a part is left out, or added
}

// each stands in a path for the items of what a range goes through.
const each = "[]"

func root() value { return value{refs: [][]string{{}}} }

// field is a part of a value.
func (v value) field(names ...string) value {
	for _, name := range names {
		if f, ok := v.fields[name]; ok {
			v = f
			continue
		}
		refs := make([][]string, len(v.refs))
		for i, r := range v.refs {
			if refs[i] = r; len(r) < maxLength {
				refs[i] = append(slices.Clip(r), name)
			}
		}
		v = value{refs: refs, changed: v.changed}
	}
	return v
}

// union is what may be one or the other.
func union(list ...value) value {
	var out value
	for _, v := range list {
		for _, r := range v.refs {
			if len(out.refs) < maxRefs && !slices.ContainsFunc(out.refs, func(o []string) bool { return slices.Equal(o, r) }) {
				out.refs = append(out.refs, r)
			}
		}
		for _, f := range v.fields {
			out = union(out, f)
		}
		out.changed = out.changed || v.changed
	}
	return out
}

// scope are the variables of a template.
type scope struct {
	outer *scope
	vars  map[string]value
}

func (s *scope) inner() *scope { return &scope{outer: s, vars: map[string]value{}} }

func (s *scope) get(name string) value {
	for ; s != nil; s = s.outer {
		if v, ok := s.vars[name]; ok {
			return v
		}
	}
	return value{}
}

// set assigns to the variable that is there: it can be either afterwards.
func (s *scope) set(name string, v value) {
	for o := s; o != nil; o = o.outer {
		if old, ok := o.vars[name]; ok {
			o.vars[name] = union(v, old)
			return
		}
	}
	s.vars[name] = v
}

// A layout says how a pipeline's output is laid out.
type layout struct {
	indent  int
	newline bool
	given   bool
}

// writing are the functions that change how a value is written, and not what it is.
var writing = []string{"toYaml", "toYamlPretty", "toJson", "toPrettyJson", "quote", "squote", "trim", "trimSuffix", "trimPrefix", "toString", "int", "int64", "float64",
	"tpl", "required", "print", "nindent", "indent", "b64enc", "upper", "lower", "fromYaml", "fromJson", "deepCopy"}

// choosing are those that take one of their arguments as it is.
var choosing = []string{"default", "coalesce", "ternary", "or", "and", "first", "last"}

// pipe evaluates a pipeline. include is for a template in it whose text is put out.
func (d *drawing) pipe(p *parse.PipeNode, dot value, s *scope) (v value, l layout, include *call) {
	if p == nil || !d.spend(1) {
		return value{}, l, nil
	}
	for i, cmd := range p.Cmds {
		var last *value
		if i > 0 {
			last = &v
		}
		name, args := d.command(cmd, dot, s, last)
		switch {
		case name == "include" || name == "template":
			if c := d.called(args); c != nil {
				include = c
				v = value{}
			}
			continue
		case (name == "nindent" || name == "indent") && len(args) > 0:
			l.given, l.newline = true, name == "nindent"
			l.indent = number(args[0].text)
			if len(args) > 1 {
				v = args[len(args)-1]
			}
			continue
		case include != nil && name != "" && !slices.Contains(writing, name):
			v, include = d.refsOf(include), nil // what becomes of its text is not followed
		}
		v = d.apply(name, args)
	}
	return v, l, include
}

// command reads a command: the function's name, "" if it is a value alone, and arguments.
func (d *drawing) command(cmd *parse.CommandNode, dot value, s *scope, last *value) (name string, args []value) {
	list := cmd.Args
	if id, ok := list[0].(*parse.IdentifierNode); ok {
		name, list = id.Ident, list[1:]
	}
	for _, a := range list {
		args = append(args, d.argument(a, dot, s))
	}
	if last != nil {
		args = append(args, *last)
	}
	return name, args
}

func (d *drawing) argument(n parse.Node, dot value, s *scope) value {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot
	case *parse.FieldNode:
		return dot.field(n.Ident...)
	case *parse.VariableNode:
		return s.get(n.Ident[0]).field(n.Ident[1:]...)
	case *parse.ChainNode:
		return d.argument(n.Node, dot, s).field(n.Field...)
	case *parse.PipeNode:
		v, _, include := d.pipe(n, dot, s)
		if include != nil {
			v = d.refsOf(include)
		}
		return v
	case *parse.StringNode:
		return value{text: n.Text, isText: true}
	case *parse.NumberNode:
		return value{text: n.Text, isText: true}
	case *parse.IdentifierNode: // a function without arguments: dict, list
		return d.apply(n.Ident, nil)
	}
	return value{}
}

// apply is what a function makes of its arguments.
func (d *drawing) apply(name string, args []value) value {
	switch {
	case name == "":
		if len(args) == 0 {
			return value{}
		}
		return args[0]
	case name == "dict":
		v := value{fields: map[string]value{}}
		for i := 0; i+1 < len(args); i += 2 {
			if args[i].isText {
				v.fields[args[i].text] = args[i+1]
			}
		}
		return v
	case (name == "index" || name == "get" || name == "dig") && len(args) > 0:
		v := args[0]
		names := args[1:]
		if name == "dig" { // its last arguments are the default and the dict
			if len(args) < 3 {
				return union(args...)
			}
			v, names = args[len(args)-1], args[:len(args)-2]
		}
		for _, a := range names {
			if !a.isText {
				return union(v)
			}
			v = v.field(a.text)
		}
		return v
	case slices.Contains(writing, name):
		v := union(slices.DeleteFunc(slices.Clone(args), func(v value) bool { return v.isText })...)
		if len(args) == 1 { // as it is: a dict stays one
			v = args[0]
		}
		return v
	case slices.Contains(choosing, name):
		slices.Reverse(args) // the last is the one that is meant
		if name == "ternary" && len(args) > 0 {
			args = args[1:]
		}
		return union(args...)
	case name == "eq" || name == "ne" || name == "not" || name == "empty" || name == "hasKey" || name == "kindIs" || name == "semverCompare":
		return value{}
	}
	v := union(args...)
	v.changed = true
	return v
}

// A call is of a named template.
type call struct {
	name string
	dot  value
}

func (d *drawing) called(args []value) *call {
	if len(args) == 0 || !args[0].isText {
		return nil
	}
	c := &call{name: args[0].text}
	if len(args) > 1 {
		c.dot = args[1]
	}
	return c
}

// refsOf is all that a named template's text can come from.
func (d *drawing) refsOf(c *call) value {
	inner := &drawing{chart: d.chart, depth: d.depth + 1, left: d.left}
	inner.call(c)
	if inner.err != nil {
		d.err = inner.err
		return value{}
	}
	var out value
	for _, m := range inner.marks {
		out = union(out, m.value)
	}
	out.changed = true
	return out
}

func number(s string) int {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' || n > 1000 {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}
