package main

import (
	"bytes"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// ignoreRule is a line of a .gitignore (gitignore(5)).
type ignoreRule struct {
	glob    string
	depth   int  // of the directory that the file is in, below the top
	rooted  bool // the whole path from there counts, not the name alone
	dirOnly bool
	keep    bool // an exception: what it matches is not ignored
}

// parseIgnore reads the lines of a .gitignore in a directory that is depth below the top.
func parseIgnore(data []byte, depth int) []ignoreRule {
	var rules []ignoreRule
	for line := range bytes.Lines(data) {
		if r, ok := parseIgnoreLine(strings.TrimRight(string(line), "\r\n"), depth); ok {
			rules = append(rules, r)
		}
	}
	return rules
}

func parseIgnoreLine(line string, depth int) (ignoreRule, bool) {
	r := ignoreRule{depth: depth}
	if strings.HasPrefix(line, "#") {
		return r, false
	}
	line, r.keep = strings.CutPrefix(line, "!")
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	line, r.dirOnly = strings.CutSuffix(line, "/")
	r.rooted = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if r.rooted && strings.HasSuffix(line, "/**") {
		line += "/*" // what is in a directory, and not the directory
	}
	r.glob = literalBraces(line)
	return r, line != ""
}

// literalBraces takes their meaning from braces, which Git gives none.
func literalBraces(glob string) string {
	if !strings.ContainsAny(glob, "{}") {
		return glob
	}
	var b strings.Builder
	escaped := false
	for i := range len(glob) {
		if !escaped && (glob[i] == '{' || glob[i] == '}') {
			b.WriteByte('\\')
		}
		escaped = !escaped && glob[i] == '\\'
		b.WriteByte(glob[i])
	}
	return b.String()
}

// ignored reports whether rules say that a path from the top is ignored; the last that
// matches decides. The directories above it are not.
func ignored(rules []ignoreRule, parts []string, dir bool) bool {
	for i := len(rules) - 1; i >= 0; i-- {
		r := &rules[i]
		if r.dirOnly && !dir {
			continue
		}
		name := parts[len(parts)-1]
		if r.rooted {
			name = path.Join(parts[r.depth:]...)
		}
		if ok, err := doublestar.Match(r.glob, name); ok && err == nil { // Git passes over what is no pattern, too
			return !r.keep
		}
	}
	return false
}
