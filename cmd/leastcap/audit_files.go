package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// stdinName is how standard input is called, by the user and in positions.
const (
	stdinArg  = "-"
	stdinName = "<stdin>"
)

// foundFile is a file to look at.
type foundFile struct {
	name string
	// named: the user named it, and not a directory that it is in.
	named bool
}

// vendored are directories of other people's files.
var vendored = []string{".git", ".hg", ".svn", "node_modules", "vendor", "third_party", ".terraform", ".venv", "venv", "__pycache__"}

// programs are the ends of names of source code. What it has in its strings (the tests of a
// tool for Compose files, say) is no definition, and reads as a broken one.
var programs = strings.Fields(".adoc .asciidoc .bat .c .cc .cmd .cpp .cs .css .dart .ex .go .h .hpp .html .java .js .jsx .kt .lua .m .php .pl .proto .ps1 .psm1 .py .rb .rs .rst .scala .scss .svg .swift .ts .tsx .vue")

// findFiles lists what arguments name: files, and in directories all that Git would not
// ignore and that is not vendored. What cannot be read is in errs; pass is told what of a
// directory is passed over, and why.
func findFiles(args, ignore []string, pass func(name, why string)) (files []foundFile, errs []*manifest.Error) {
	seen := map[string]bool{}
	add := func(f foundFile) {
		if !seen[f.name] {
			seen[f.name] = true
			files = append(files, f)
		}
	}
	fail := func(name string, err error) {
		errs = append(errs, &manifest.Error{At: manifest.Pos{File: name}, Err: bare(err)})
	}
	for _, arg := range args {
		if arg == stdinArg {
			add(foundFile{stdinArg, true})
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			fail(arg, err)
		case info.IsDir():
			w := &walker{fail: fail, pass: pass, add: func(name string) { add(foundFile{name, false}) }}
			w.walk(filepath.Clean(arg), outerPatterns(arg), ignore)
		default:
			add(foundFile{filepath.Clean(arg), true})
		}
	}
	return files, errs
}

type walker struct {
	add  func(name string)
	fail func(name string, err error)
	pass func(name, why string)
}

// walk goes through a directory in the order of names. patterns are those of directories
// above, for paths from the top.
func (w *walker) walk(top string, patterns outer, ignore []string) {
	for _, line := range ignore {
		if r, ok := parseIgnoreLine(line, len(patterns.domain)); ok {
			patterns.list = append(patterns.list, r)
		}
	}
	w.dir(top, patterns.domain, patterns.list)
}

func (w *walker) dir(dir string, parts []string, rules []ignoreRule) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.fail(dir, err)
		return
	}
	if data, err := readNamed(filepath.Join(dir, ".gitignore")); err == nil {
		rules = append(slices.Clip(rules), parseIgnore(data, len(parts))...)
	}
	for _, e := range entries {
		path := append(slices.Clip(parts), e.Name())
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			switch {
			case slices.Contains(vendored, e.Name()):
				w.pass(name, "it holds other people's files")
			case ignored(rules, path, true):
				w.pass(name, "it is ignored")
			default:
				w.dir(name, path, rules)
			}
			continue
		}
		// A link to a file of the tree is that file; one out of it is somebody else's.
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			w.pass(name, "it is a symbolic link")
		case !e.Type().IsRegular():
			w.pass(name, "it is no regular file")
		case ignored(rules, path, false):
			w.pass(name, "it is ignored")
		case slices.Contains(programs, filepath.Ext(name)):
			w.pass(name, "it is source code")
		default:
			w.add(name)
		}
	}
}

// outer are the patterns of the directories above one, up to the work tree's root, and
// where in the tree it is.
type outer struct {
	domain []string
	list   []ignoreRule
}

func outerPatterns(dir string) outer {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return outer{}
	}
	root := abs
	for {
		if _, err := os.Lstat(filepath.Join(root, ".git")); err == nil {
			break
		}
		up := filepath.Dir(root)
		if up == root {
			return outer{} // no work tree
		}
		root = up
	}
	var o outer
	if data, err := readNamed(filepath.Join(root, ".git", "info", "exclude")); err == nil {
		o.list = parseIgnore(data, 0)
	}
	rel, _ := filepath.Rel(root, abs)
	if rel == "." {
		return o
	}
	at := root
	for _, part := range strings.Split(rel, string(filepath.Separator)) {
		if data, err := readNamed(filepath.Join(at, ".gitignore")); err == nil {
			o.list = append(o.list, parseIgnore(data, len(o.domain))...)
		}
		o.domain = append(slices.Clip(o.domain), part)
		at = filepath.Join(at, part)
	}
	return o
}

// readNamed reads a file that a stranger's file or tree names, and the user did not: no
// pipe or device, where it could wait for ever, and none that is bigger than a definition.
func readNamed(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() && !info.IsDir(): // of a directory the system says so
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("it is no regular file")}
	case info.Size() > manifest.MaxSize:
		return nil, &os.PathError{Op: "read", Path: name, Err: tooBig(info)}
	}
	return os.ReadFile(name)
}

// sniffed are the bytes by which a file is known to be binary, Git's own number.
const sniffed = 8000

// readFile reads a file that might define containers: nil if it is certainly none, as
// executables and pictures are. One that was named is read whole.
func readFile(ctx context.Context, f foundFile, stdin io.Reader) (name string, data []byte, err error) {
	if f.name == stdinArg {
		data, err = readWhole(ctx, f.name, stdin, manifest.MaxSize, definitionSize)
		return stdinName, data, err
	}
	if f.named && onceOnly(f.name) {
		data, err = readWhole(ctx, f.name, nil, manifest.MaxSize, definitionSize)
		return f.name, data, err
	}
	file, err := os.Open(f.name)
	if err != nil {
		return f.name, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return f.name, nil, err
	case !info.Mode().IsRegular(): // it was, when it was found
		return f.name, nil, nil
	case info.Size() > manifest.MaxSize:
		// Of a directory's files only one that begins like a definition is worth a word.
		head := make([]byte, sniffed)
		n, err := io.ReadFull(file, head)
		if !f.named && (err != nil || bytes.IndexByte(head[:n], 0) >= 0 || manifest.Recognise(formats, f.name, head[:n]) == nil) {
			return f.name, nil, nil
		}
		return f.name, nil, tooBig(info)
	}
	buf := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if !f.named {
		// Git's own test: a zero byte near the beginning (xdiff-interface.c).
		if _, err := io.CopyN(buf, file, sniffed); err != nil && !errors.Is(err, io.EOF) {
			return f.name, nil, err
		}
		if bytes.IndexByte(buf.Bytes(), 0) >= 0 {
			return f.name, nil, nil
		}
	}
	_, err = buf.ReadFrom(io.LimitReader(file, manifest.MaxSize+1))
	return f.name, buf.Bytes(), err
}
