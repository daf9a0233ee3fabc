package learn

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/binary"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
)

// What an instance's files suggest is read where nothing else tells what it needs: the
// command that it executes, the scripts and programs that this names, and the libraries
// that they are linked with.

const (
	// clueTime is how long the reading may take at least; as long as the first run in any
	// case, which goes on meanwhile.
	clueTime = 5 * time.Second
	// cluePrograms is how many programs are read, clueLibraries how many libraries.
	cluePrograms, clueLibraries = 24, 16
	// clueScript is the most of a script that is read, in bytes.
	clueScript = 1 << 20
)

// plainLibraries are linked with everything: that they call a function says nothing.
var plainLibraries = []string{"libc.so", "libc.musl", "ld-linux", "ld-musl", "libm.so", "libpthread.so", "libdl.so", "librt.so", "libresolv.so", "libstdc++.so", "libgcc_s.so", "linux-vdso"}

// interpreters execute what somebody else wrote: what they call themselves is no clue.
var interpreters = []string{"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "toybox", "python", "perl", "ruby", "node", "php", "lua", "tclsh", "java", "env"}

func isInterpreter(name string) bool {
	return slices.ContainsFunc(interpreters, func(i string) bool {
		rest, ok := strings.CutPrefix(path.Base(name), i)
		return ok && strings.Trim(rest, "0123456789.") == ""
	})
}

// search is the reading of one instance's files.
type search struct {
	files     engine.Files
	clues     advise.Clues
	dirs      []string               // of $PATH
	commands  map[string]engine.File // in dirs, by name
	seen      map[string]bool
	libraries map[string]bool
	libDirs   []string
	told      bool  // something of what is executed was readable
	unread    error // why a directory could not be listed
}

// Clues reads what an instance's files suggest. helpers are commands that will run in it
// as well. What cannot be read suggests nothing; the error says why.
func Clues(ctx context.Context, files engine.Files, helpers []string) (*advise.Clues, error) {
	entry, err := files.Entry(ctx)
	if err != nil {
		return nil, err
	}
	s := &search{files: files, seen: map[string]bool{}, libraries: map[string]bool{}}
	user, _, _ := strings.Cut(entry.User, ":")
	s.clues.Root = user == "" || user == "0" || user == "root"
	s.dirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	for _, e := range entry.Env {
		if list, ok := strings.CutPrefix(e, "PATH="); ok {
			s.dirs = slices.DeleteFunc(strings.Split(list, ":"), func(d string) bool { return !path.IsAbs(d) })
		}
	}
	s.argv(ctx, entry.Args, entry.Dir, advise.Called, 0)
	for _, h := range helpers {
		s.text(ctx, h, "the helper", advise.Called, 0)
	}
	s.clues.Mute = !s.told
	if ctx.Err() != nil {
		return &s.clues, ctx.Err()
	}
	return &s.clues, s.unread
}

// known are the commands that are there. Listing them costs as much as reading several:
// what is executed first is read before.
func (s *search) known(ctx context.Context) map[string]engine.File {
	if s.commands != nil {
		return s.commands
	}
	s.commands = map[string]engine.File{}
	for _, dir := range s.dirs {
		list, err := s.files.List(ctx, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.unread = err
		}
		for _, f := range list {
			if _, ok := s.commands[path.Base(f.Path)]; !ok {
				s.commands[path.Base(f.Path)] = f
			}
		}
	}
	return s.commands
}

// first reads the command that is executed, wherever it is.
func (s *search) first(ctx context.Context, name string) {
	s.clues.Add(advise.CommandNeeds(name), advise.Called, "the command "+name)
	for _, dir := range s.dirs {
		if s.program(ctx, path.Join(dir, name), advise.Called, 0) {
			return
		}
	}
}

// argv follows a command's words: each may be a program that the one before executes.
func (s *search) argv(ctx context.Context, args []string, dir string, as advise.Clue, depth int) {
	for i, arg := range args {
		switch {
		case strings.ContainsAny(arg, " \t\n;|&$"): // for a shell
			s.text(ctx, arg, path.Base(args[0])+"'s argument", as, depth)
		case strings.Contains(arg, "/") && (i == 0 || path.IsAbs(arg) || strings.HasPrefix(arg, "./")):
			name := arg
			if !path.IsAbs(arg) {
				name = path.Join("/", dir, arg)
			}
			s.program(ctx, name, as, depth)
		case i == 0 && depth == 0:
			s.first(ctx, arg)
		default:
			s.command(ctx, arg, as, depth)
		}
	}
}

// command follows a name that may be a command's.
func (s *search) command(ctx context.Context, name string, as advise.Clue, depth int) {
	if f, ok := s.known(ctx)[name]; ok {
		s.clues.Add(advise.CommandNeeds(name), as, "the command "+name)
		s.program(ctx, f.Path, as, depth)
	}
}

// text follows a script, or what a shell is given.
func (s *search) text(ctx context.Context, text, from string, as advise.Clue, depth int) {
	s.told = true
	for _, word := range binary.Words(text) {
		if set := advise.FunctionNeeds(word); set != 0 {
			s.clues.Add(set, as, word+" in "+from)
		}
		switch {
		case path.IsAbs(word) && path.Clean(word) != "/":
			s.program(ctx, word, advise.Helped, depth+1)
		case s.known(ctx)[word].Path != "":
			s.command(ctx, word, advise.Helped, depth+1)
		}
	}
}

// program reads an executable, and says whether it is there.
func (s *search) program(ctx context.Context, name string, as advise.Clue, depth int) bool {
	if depth > 3 || s.seen[name] || len(s.seen) >= cluePrograms {
		return true
	}
	if isInterpreter(name) { // what it is given follows
		return true
	}
	f, err := s.files.Read(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.seen[name] = true
	if err != nil || f.Mode&0o111 == 0 && path.Ext(name) != ".py" {
		return true
	}
	if f.SetUID() && f.UID == 0 {
		s.clues.Root = true
	}
	s.clues.Add(f.Needs(), advise.Granted, "file capabilities of "+name)
	if line := binary.Script(f.Content); line != nil {
		s.text(ctx, string(f.Content[:min(len(f.Content), clueScript)]), name, as, depth)
		return true
	}
	b, err := binary.Read(f.Content)
	if err != nil {
		return true
	}
	s.told = s.told || !b.Mute
	for _, call := range b.Functions {
		s.clues.Add(advise.FunctionNeeds(call), as, call+" in "+name)
	}
	if as == advise.Called {
		s.linked(ctx, b, path.Dir(name))
	}
	others := s.privileged(ctx, f.Content, name)
	f.Content = nil // not kept while others are read
	for _, other := range others {
		s.program(ctx, other, advise.Helped, depth+1)
	}
	return true
}

// linked reads the libraries that a program is linked with.
func (s *search) linked(ctx context.Context, b *binary.File, origin string) {
	if s.libDirs == nil {
		s.libDirs = []string{"/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib", "/lib", "/usr/local/lib"}
		if strings.Contains(b.Interpreter, "aarch64") {
			s.libDirs[0], s.libDirs[1] = s.libDirs[1], s.libDirs[0]
		}
	}
	var dirs []string
	for _, d := range b.RunPath {
		dirs = append(dirs, strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(d))
	}
	for _, name := range b.Libraries {
		if s.libraries[name] || len(s.libraries) >= clueLibraries || slices.ContainsFunc(plainLibraries, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		s.libraries[name] = true
		for _, dir := range slices.Concat(dirs, s.libDirs) {
			f, err := s.files.Read(ctx, path.Join(dir, name))
			if err != nil {
				continue
			}
			if i := slices.Index(s.libDirs, dir); i > 0 { // the others will be there, too
				s.libDirs[0], s.libDirs[i] = s.libDirs[i], s.libDirs[0]
			}
			if lib, err := binary.Read(f.Content); err == nil {
				for _, call := range lib.Functions {
					if set := advise.FunctionNeeds(call); set != 0 {
						s.clues.Add(set&^caps.Of(caps.NetBindService), advise.Linked, call+" in "+name)
					}
				}
			}
			break
		}
	}
}

// privileged gives those commands whose files give privileges, and whose names a program
// holds: it may execute them.
func (s *search) privileged(ctx context.Context, content []byte, name string) (paths []string) {
	known := s.known(ctx)
	for _, other := range slices.Sorted(maps.Keys(known)) { // the same ones each time, if there are too many
		f := known[other]
		if f.Caps == nil && !f.SetUID() || len(other) < 2 || f.Path == name {
			continue
		}
		if len(paths) == cluePrograms || ctx.Err() != nil {
			break
		}
		if bytes.Contains(content, []byte("\x00"+other+"\x00")) || bytes.Contains(content, []byte("/"+other+"\x00")) {
			paths = append(paths, f.Path)
		}
	}
	return paths
}
