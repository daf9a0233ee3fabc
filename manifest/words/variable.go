package words

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// variable is what the text says of one.
type variable struct {
	sets  int  // how often it is set
	maybe bool // some of that depends on the run
	value *syntax.Word
	array []*syntax.ArrayExpr // the first, and what is appended
	busy  bool                // being resolved
	known bool                // text and why are what value means
	text  string
	why   string
	// uses are how often the text expands it; shared says that others can see it.
	uses   int
	shared bool
}

// plain says that a variable is set once and for all, and used once: where its value is
// changed nothing else changes.
func (r *reader) plain(name string, v *variable) bool {
	return v.sets == 1 && !v.maybe && !v.shared && v.uses == 1 && !r.elsewhere && r.mentions(name) == 1
}

// mentions counts where the text expands a variable, also in strings that are run later
// (trap, eval).
func (r *reader) mentions(name string) int {
	if r.mentioned == nil {
		r.mentioned = map[string]int{}
		b := r.text.Bytes
		for i := 0; i < len(b); i++ {
			if b[i] != '$' {
				continue
			}
			start := i + 1
			if start < len(b) && b[start] == '{' {
				start++
			}
			end := start
			for end < len(b) && syntax.ValidName("a"+string(b[end:end+1])) {
				end++
			}
			r.mentioned[string(b[start:end])]++
			i = max(i, end-1)
		}
	}
	return r.mentioned[name]
}

func (r *reader) variable(name string) *variable {
	v := r.vars[name]
	if v == nil {
		v = &variable{}
		r.vars[name] = v
	}
	return v
}

// collect notes what the text sets. maybe: what is below depends on the run.
func (r *reader) collect(n syntax.Node, maybe bool) {
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.IfClause, *syntax.WhileClause, *syntax.CaseClause:
			if !maybe {
				r.collect(n, true)
				return false
			}
		case *syntax.ForClause:
			if it, ok := n.Loop.(*syntax.WordIter); ok && it.Name != nil {
				r.runtime(it.Name.Value)
			}
			if !maybe {
				r.collect(n, true)
				return false
			}
		case *syntax.BinaryCmd:
			if !maybe && (n.Op == syntax.AndStmt || n.Op == syntax.OrStmt) {
				r.collect(n.X, false)
				r.collect(n.Y, true)
				return false
			}
		case *syntax.DeclClause:
			for _, a := range n.Args {
				r.assign(a, maybe)
				if a.Naked && a.Value != nil && strings.HasPrefix(a.Value.Lit(), "-") && strings.Contains(a.Value.Lit(), "n") {
					r.elsewhere = true // a name for another variable
				}
				if a.Name != nil && n.Variant.Value != "local" && n.Variant.Value != "readonly" {
					r.variable(a.Name.Value).shared = true // export, or a declare that may do as much
				}
			}
		case *syntax.CallExpr:
			if len(n.Args) == 0 {
				for _, a := range n.Assigns {
					r.assign(a, maybe)
				}
				return true
			}
			switch n.Args[0].Lit() {
			case ".", "source", "eval":
				r.elsewhere = true
			case "set": // -a exports all
				r.elsewhere = r.elsewhere || slices.ContainsFunc(n.Args[1:], func(w *syntax.Word) bool {
					s := w.Lit()
					return s == "allexport" || strings.HasPrefix(s, "-") && strings.Contains(s, "a")
				})
			case "read", "mapfile", "readarray", "getopts", "printf", "unset", "let":
				for _, w := range n.Args[1:] {
					if name := w.Lit(); syntax.ValidName(name) {
						r.runtime(name)
					}
				}
			}
		case *syntax.ParamExp:
			if n.Param != nil {
				r.variable(n.Param.Value).uses++
			}
			r.elsewhere = r.elsewhere || n.Excl
			if n.Param != nil && n.Exp != nil && (n.Exp.Op == syntax.AssignUnset || n.Exp.Op == syntax.AssignUnsetOrNull) {
				v := r.variable(n.Param.Value)
				v.sets, v.value, v.maybe = v.sets+1, n.Exp.Word, maybe || v.maybe
			}
		}
		return true
	})
}

// runtime says that a variable gets a value that only a run knows.
func (r *reader) runtime(name string) {
	v := r.variable(name)
	v.sets, v.maybe = v.sets+1, true
}

func (r *reader) assign(a *syntax.Assign, maybe bool) {
	if a.Name == nil || a.Naked {
		return
	}
	v := r.variable(a.Name.Value)
	v.maybe = v.maybe || maybe || a.Index != nil
	if a.Array != nil {
		if a.Append && (v.array != nil || v.sets == 0) {
			v.array = append(v.array, a.Array)
			v.sets = 1
			return
		}
		v.array = []*syntax.ArrayExpr{a.Array}
		v.sets++
		return
	}
	v.sets++
	v.value = a.Value
	if a.Append {
		v.maybe = true
	}
}
