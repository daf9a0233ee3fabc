package fences

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/leastcap/leastcap"

// check reads every Go file of the module in fsys, whatever system or build
// tag it is for, and returns what is outside a fence, a line each, sorted.
//
// It reads the files rather than ask "go list", which leaves out the files
// that this system does not build.
func check(fsys fs.FS) ([]string, error) {
	var found []string
	seen := map[string]bool{} // directories whose name and rank have been looked at
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			switch {
			case name == ".":
				return nil
			case base == "testdata", base == "vendor", strings.HasPrefix(base, "."), strings.HasPrefix(base, "_"):
				return fs.SkipDir
			}
			if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, src, parser.ParseComments)
		if err != nil {
			return err
		}
		if isGenerator(file) {
			return nil
		}
		dir := path.Dir(name)
		if !seen[dir] {
			seen[dir] = true
			found = append(found, checkPackage(dir, file.Name.Name)...)
		}
		found = append(found, checkFile(dir, name, fset, file)...)
		return nil
	})
	slices.Sort(found)
	return found, err
}

// checkPackage looks at the package's name and at its place in the table.
func checkPackage(dir, name string) []string {
	var found []string
	name = strings.TrimSuffix(name, "_test")
	for _, word := range append(strings.Split(dir, "/"), name) {
		if slices.Contains(badNames, word) {
			found = append(found, fmt.Sprintf("%s: a package named %s says nothing about what it does", dir, word))
			break
		}
	}
	if rank(dir) < 0 && !slices.Contains(testingPackages, dir) {
		found = append(found, fmt.Sprintf("%s: not in the table of packages (internal/fences/fences.go)", dir))
	}
	return found
}

// checkFile looks at one file's imports and calls. Tests are free: they
// compare with outside tools, and they wire packages as they like.
func checkFile(dir, name string, fset *token.FileSet, file *ast.File) []string {
	if strings.HasSuffix(name, "_test.go") {
		return nil
	}
	var found []string
	report := func(pos token.Pos, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s:%d: ", name, fset.Position(pos).Line)+fmt.Sprintf(format, args...))
	}
	exit := map[string]string{} // an import's local name → the function that ends the process
	for _, spec := range file.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			report(spec.Pos(), "import %s: %v", spec.Path.Value, err)
			continue
		}
		if why := outside(dir, imp); why != "" {
			report(spec.Pos(), "%s imports %s: %s", dir, imp, why)
		}
		if imp == "os" || imp == "syscall" || imp == "golang.org/x/sys/unix" {
			local := path.Base(imp)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			if local == "." {
				report(spec.Pos(), "%s imports %s by dot, which hides its Exit", dir, imp)
			}
			exit[local] = imp + ".Exit"
		}
	}
	if !slices.Contains(testingPackages, dir) {
		compiled(file, func(pos token.Pos, call string) {
			report(pos, "%s at every start of the program: do it at first use (sync.OnceValue)", call)
		})
	}
	if within(dir, exits) {
		return found
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Exit" {
			return true
		}
		// An identifier that the file declares is not the import (Obj says so).
		if x, ok := sel.X.(*ast.Ident); ok && x.Obj == nil && exit[x.Name] != "" {
			report(sel.Pos(), "%s uses %s: only %s may end the process", dir, exit[x.Name], strings.Join(exits, ", "))
		}
		return true
	})
	return found
}

// compiled reports the calls that compile a pattern or a template when a package is
// initialised, which is before main, whatever is called.
func compiled(file *ast.File, report func(pos token.Pos, call string)) {
	slow := map[string]string{"MustCompile": "regexp", "Must": "template"}
	for _, decl := range file.Decls {
		vars, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		ast.Inspect(vars, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && slow[n.Sel.Name] == x.Name {
					report(n.Pos(), x.Name+"."+n.Sel.Name)
				}
			}
			return true
		})
	}
}

// outside says why the package dir may not import imp; "" if it may.
func outside(dir, imp string) string {
	if own, ok := strings.CutPrefix(imp, module+"/"); ok {
		return outOfOrder(dir, own)
	}
	if within(imp, impure) && within(dir, pure) {
		return "a pure package has no effects"
	}
	var nearest *fence
	for i, f := range imports {
		if within(imp, []string{f.path}) && (nearest == nil || len(f.path) > len(nearest.path)) {
			nearest = &imports[i]
		}
	}
	if nearest != nil && len(nearest.in) == 0 {
		return "only tests may"
	}
	if nearest != nil && !within(dir, nearest.in) {
		return fmt.Sprintf("%s stays in %s", nearest.path, strings.Join(nearest.in, ", "))
	}
	return ""
}

// outOfOrder says why the package dir may not import the module's package own.
func outOfOrder(dir, own string) string {
	switch from, to := rank(dir), rank(own); {
	case slices.Contains(testingPackages, dir):
		return ""
	case slices.Contains(testingPackages, own) || strings.HasPrefix(own, "internal/"):
		return "only tests may"
	case from < 0 || to < 0:
		return "" // a package that is not in the table is reported once, not here
	case from == to:
		return "they are of one rank"
	case from < to:
		return "it is below in the table"
	default:
		return ""
	}
}

// rank is the place of a package in the order, or -1.
func rank(dir string) int {
	return slices.IndexFunc(order, func(row []string) bool { return slices.Contains(row, dir) })
}

// within reports whether path is one of dirs or below one.
func within(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool {
		return path == d || strings.HasPrefix(path, d+"/")
	})
}

// isGenerator reports whether the file is a program of its own that "go
// generate" runs, marked "//go:build ignore".
func isGenerator(file *ast.File) bool {
	for _, group := range file.Comments {
		if group.Pos() > file.Package {
			break
		}
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) {
				continue
			}
			if expr, err := constraint.Parse(c.Text); err == nil {
				return !expr.Eval(func(tag string) bool { return tag != "ignore" })
			}
		}
	}
	return false
}
