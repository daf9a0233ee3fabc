package audit

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// An Exception is something that somebody decided to live with.
type Exception struct {
	// Rule is the id of the rule.
	Rule string
	// File is a pattern of path.Match for the file's path, or for its last elements; "" for
	// every file. Container is a name or a path, "" for every container.
	File, Container string
	// Caps are the capabilities that it is about; the empty set for whatever the rule finds.
	Caps caps.Set
	// Reason is why, and Expires the last day on which it holds.
	Reason  string
	Expires time.Time
	// At is where it is written.
	At manifest.Pos
	// line, of a comment: findings there are covered, and those of a container that begins
	// there. 0 for an exception of the configuration.
	line int

	used bool
}

// covers says whether it is about a finding.
func (e *Exception) covers(f *Finding) bool {
	if f.Rule.ID != e.Rule {
		return false
	}
	if e.line != 0 {
		if f.At.File != e.At.File || f.At.Line != e.line && (f.Container == nil || f.Container.At.File != e.At.File || f.Container.At.Line != e.line) {
			return false
		}
	} else if !matchFile(e.File, f.At.File) || e.Container != "" && !f.isOf(e.Container) {
		return false
	}
	// A finding of more capabilities than were thought of is not what was decided.
	return e.Caps.Empty() || !f.Caps.Empty() && f.Caps.SubsetOf(e.Caps)
}

func matchFile(pattern, file string) bool {
	if pattern == "" {
		return true
	}
	file, pattern = path.Clean(file), path.Clean(pattern)
	for {
		if ok, _ := path.Match(pattern, file); ok {
			return true
		}
		_, rest, more := strings.Cut(file, "/")
		if !more {
			return false
		}
		file = rest
	}
}

// Except marks the findings that exceptions cover on a day, and reports exceptions that
// are past their date or cover nothing. files says of a file whether it was audited: an
// exception for another is not unused.
func Except(findings []*Finding, exceptions []*Exception, today time.Time, audited func(e *Exception) bool) []*Finding {
	day := today.Truncate(24 * time.Hour)
	for _, e := range exceptions {
		e.used = false
		expired := !e.Expires.IsZero() && e.Expires.Before(day)
		for _, f := range findings {
			if !e.covers(f) {
				continue
			}
			e.used = true
			if !expired && f.Exception == nil {
				f.Exception = e
			}
		}
		switch {
		case e.used && expired:
			findings = append(findings, &Finding{
				Rule: FindRule("exception-expired"), Severity: Low, At: e.At, Word: e.Rule + " " + e.Container, Caps: e.Caps,
				Message: fmt.Sprintf("the exception for %s expired on %s (%s)", e.Rule, e.Expires.Format(time.DateOnly), e.Reason),
				Mend:    FindRule("exception-expired").Mend,
			})
		case !e.used && (audited == nil || audited(e)):
			findings = append(findings, &Finding{
				Rule: FindRule("exception-unused"), Severity: Low, At: e.At, Word: e.Rule + " " + e.Container, Caps: e.Caps,
				Message: fmt.Sprintf("the exception for %s covers nothing (%s)", e.Rule, e.Reason),
				Mend:    FindRule("exception-unused").Mend,
			})
		}
	}
	return findings
}

// check says what an exception lacks.
func (e *Exception) check() error {
	switch {
	case e.Rule == "":
		return errors.New("it names no rule")
	case FindRule(e.Rule) == nil:
		return fmt.Errorf("no rule is called %q", e.Rule)
	case FindRule(e.Rule).check == nil:
		return fmt.Errorf("%s is about exceptions, and has none", e.Rule)
	case strings.TrimSpace(e.Reason) == "":
		return errors.New("it gives no reason")
	case e.Expires.IsZero():
		return errors.New("it has no date on which it expires")
	}
	if _, err := path.Match(e.File, ""); err != nil {
		return fmt.Errorf("file %q is no pattern", e.File)
	}
	return nil
}

// comment is "leastcap: allow RULE [CAPABILITY...] until DATE: REASON" behind a comment
// sign. What does not look like that is no exception; what looks nearly so is an error.
var comment = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:#|//|<!--|;)\s*leastcap:\s*(.*?)\s*(?:-->)?$`) })

var allow = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^allow\s+([a-z-]+)((?:\s+[A-Za-z_]+)*?)\s+until\s+(\S+?):?\s+(\S.*)$`)
})

// Comments finds the exceptions in a file's comments. One that stands on a line of its own
// is about the next line that is no comment.
func Comments(name string, data []byte) ([]*Exception, error) {
	text := string(data)
	if !strings.Contains(text, "leastcap:") {
		return nil, nil
	}
	var list []*Exception
	var errs []error
	var pending []*Exception // of lines of their own
	offset := 0
	for i, line := range strings.SplitAfter(text, "\n") {
		start := offset
		offset += len(line)
		bare := strings.TrimSpace(line)
		alone := strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, "//") || strings.HasPrefix(bare, "<!--") || strings.HasPrefix(bare, ";")
		if m := comment().FindStringSubmatchIndex(strings.TrimRight(line, "\r\n")); m != nil {
			at := manifest.Pos{File: name, Start: start + m[0], End: start + m[1], Line: i + 1, Column: len([]rune(line[:m[0]])) + 1}
			if !meant(line[m[2]:m[3]]) {
				continue
			}
			e, err := parseAllow(line[m[2]:m[3]])
			if err != nil {
				errs = append(errs, &manifest.Error{At: at, Reason: err.Error(), Hint: "write it as: leastcap: allow RULE [CAPABILITY...] until YYYY-MM-DD: why"})
				continue
			}
			e.At, e.line = at, i+1
			if alone {
				pending = append(pending, e)
			}
			list = append(list, e)
		}
		if !alone && bare != "" {
			for _, e := range pending {
				e.line = i + 1
			}
			pending = nil
		}
	}
	return list, errors.Join(errs...)
}

// meant says that a comment is to be an exception, rightly written or not: "# leastcap: build and
// test" heads a Makefile. What is taken for none excepts nothing, and is seen by that.
func meant(text string) bool {
	return slices.ContainsFunc(strings.Fields(strings.ToLower(text)), func(word string) bool {
		word = strings.Trim(word, ":,")
		return slices.Contains([]string{"allow", "allows", "except", "ignore", "disable", "skip", "until"}, word) || FindRule(word) != nil
	})
}

func parseAllow(text string) (*Exception, error) {
	m := allow().FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("%q is no exception", text)
	}
	e := &Exception{Rule: m[1], Reason: m[4]}
	for _, word := range strings.Fields(m[2]) {
		c, err := caps.ParseCap(word)
		if err != nil {
			return nil, err
		}
		e.Caps = e.Caps.With(c)
	}
	var err error
	if e.Expires, err = time.Parse(time.DateOnly, m[3]); err != nil {
		return nil, fmt.Errorf("%q is no date", m[3])
	}
	return e, e.check()
}

// Looked says whether files that it is about were looked at: only then does it say
// something that it covers nothing.
func (e *Exception) Looked(files map[string]bool) bool {
	if e.line != 0 {
		return true
	}
	for name := range files {
		if matchFile(e.File, name) {
			return true
		}
	}
	return false
}
