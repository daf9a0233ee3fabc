package helm

import (
	"errors"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/leastcap/leastcap/manifest"
)

// A drawing is a template's text with all of its branches, and a mark in the place of each
// output.
type drawing struct {
	chart  *Chart
	in     *text // the file that is being drawn
	out    []char
	marks  []mark
	depth  int  // of named templates
	nested int  // of branches
	left   *int // how much may yet be drawn
	err    error
}

// A char is a byte, and where it stands.
type char struct {
	c  byte
	in *text
	at int
}

// A mark is an output of an expression.
type mark struct {
	value value
	at    manifest.Pos
	file  string // the template's path, for whose values they are
}

// markByte begins and ends a mark: its number stands between. Templates have none.
const markByte = 0x02

const (
	maxDrawn = 1 << 20
	maxDepth = 30
	maxRefs  = 50
	// maxLength is how long a key's path gets; no values are nested as deep.
	maxLength = 100
	callCost  = 100 // of a named template, whatever it puts out
)

var errTooMuch = errors.New("the template includes too much to be followed")

// A page is a drawn template, as a tree.
type page struct {
	*drawing
	docs []*node
	err  error
}

func (c *Chart) draw(t *text) *page {
	left := maxDrawn
	d := &drawing{chart: c, in: t, left: &left}
	if t.tree != nil && t.tree.Root != nil {
		s := &scope{vars: map[string]value{"$": root()}}
		d.list(t.tree.Root, root(), s)
	}
	p := &page{drawing: d, err: d.err}
	if p.err == nil {
		p.docs = d.read()
	}
	return p
}

// spend says whether so much more may be drawn.
func (d *drawing) spend(n int) bool {
	if *d.left -= n; *d.left < 0 {
		d.err = errTooMuch
	}
	return d.err == nil
}

func (d *drawing) write(text string, at int) {
	if !d.spend(len(text)) {
		return
	}
	for i := range len(text) {
		d.out = append(d.out, char{text[i], d.in, at + i})
	}
}

// mark puts one out.
func (d *drawing) mark(v value, at int) {
	d.marks = append(d.marks, mark{value: v, at: d.in.lines.Pos(at, at), file: d.in.path})
	for _, c := range []byte(string(rune(markByte)) + strconv.Itoa(len(d.marks)-1) + string(rune(markByte))) {
		d.out = append(d.out, char{c, d.in, at})
	}
}

func (d *drawing) list(l *parse.ListNode, dot value, s *scope) {
	if l == nil {
		return
	}
	if d.nested++; d.nested > manifest.MaxDepth {
		d.err = errTooMuch
	}
	defer func() { d.nested-- }()
	for _, n := range l.Nodes {
		if d.err != nil {
			return
		}
		d.node(n, dot, s)
	}
}

func (d *drawing) node(n parse.Node, dot value, s *scope) {
	switch n := n.(type) {
	case *parse.TextNode:
		d.write(strings.ReplaceAll(string(n.Text), string(rune(markByte)), " "), int(n.Pos))
	case *parse.ActionNode:
		d.action(n, dot, s)
	case *parse.IfNode:
		in := s.inner()
		d.declare(n.Pipe, dot, in)
		d.list(n.List, dot, in.inner())
		d.list(n.ElseList, dot, in.inner())
	case *parse.WithNode:
		in := s.inner()
		v := d.declare(n.Pipe, dot, in)
		d.list(n.List, v, in.inner())
		d.list(n.ElseList, dot, in.inner())
	case *parse.RangeNode:
		in := s.inner()
		v, _, include := d.pipe(n.Pipe, dot, in)
		if include != nil {
			v = d.refsOf(include)
		}
		item := v.field(each)
		if n.Pipe != nil && len(n.Pipe.Decl) > 0 {
			in.vars[n.Pipe.Decl[len(n.Pipe.Decl)-1].Ident[0]] = item
		}
		d.list(n.List, item, in.inner())
		d.list(n.ElseList, dot, in.inner())
	case *parse.TemplateNode:
		v, _, include := d.pipe(n.Pipe, dot, s)
		if include != nil {
			v = d.refsOf(include)
		}
		d.call(&call{n.Name, v})
	}
}

// declare evaluates a pipeline and sets its variables.
func (d *drawing) declare(p *parse.PipeNode, dot value, s *scope) value {
	v, _, include := d.pipe(p, dot, s)
	if include != nil {
		v = d.refsOf(include)
	}
	if p != nil && d.spend(callCost*len(v.refs)) {
		for _, name := range p.Decl {
			if p.IsAssign {
				s.set(name.Ident[0], v)
			} else {
				s.vars[name.Ident[0]] = v
			}
		}
	}
	return v
}

// action is one that puts something out, or sets a variable.
func (d *drawing) action(n *parse.ActionNode, dot value, s *scope) {
	if n.Pipe != nil && len(n.Pipe.Decl) > 0 {
		d.declare(n.Pipe, dot, s)
		return
	}
	v, l, include := d.pipe(n.Pipe, dot, s)
	from := len(d.out)
	if include != nil {
		d.call(include)
	} else {
		d.mark(v, int(n.Pos))
	}
	if !l.given || d.err != nil {
		return
	}
	text := append([]char{}, d.out[from:]...)
	d.out = d.out[:from]
	if l.newline {
		d.write("\n", int(n.Pos))
	}
	space := strings.Repeat(" ", l.indent)
	for i, c := range text { // each line begins with the indentation
		if i == 0 || text[i-1].c == '\n' {
			d.write(space, int(n.Pos))
		}
		if !d.spend(1) {
			return
		}
		d.out = append(d.out, c)
	}
}

// call draws a named template in its place.
func (d *drawing) call(c *call) {
	def := d.chart.defines[c.name]
	if def == nil {
		d.err = errors.New("the template includes " + c.name + ", which is not in the chart")
		return
	}
	if !d.spend(callCost) {
		return
	}
	if d.depth++; d.depth > maxDepth {
		d.err = errTooMuch
		return
	}
	in := d.in
	d.in = def.in
	d.list(def.list, c.dot, &scope{vars: map[string]value{"$": c.dot}})
	d.in = in
	d.depth--
}
