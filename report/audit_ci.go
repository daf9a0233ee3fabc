package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/leastcap/leastcap/audit"
)

// JUnit's form as Jenkins and GitLab read it: a suite a file, a case a container.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitFailure `xml:"failure,omitempty"`
		Error   *junitFailure `xml:"error,omitempty"`
		Skipped *junitSkipped `xml:"skipped,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

// AuditJUnit writes a report as JUnit's XML: a case for each rule that found something in
// a container, and one that passed for each container without findings.
func AuditJUnit(w io.Writer, r *audit.Report) error {
	all := junitSuites{Name: "leastcap audit"}
	suites := map[string]int{}
	suite := func(file string) *junitSuite {
		i, ok := suites[file]
		if !ok {
			i = len(all.Suites)
			suites[file] = i
			all.Suites = append(all.Suites, junitSuite{Name: file})
		}
		return &all.Suites[i]
	}
	add := func(file string, c junitCase) {
		s := suite(file)
		s.Cases = append(s.Cases, c)
		s.Tests++
		all.Tests++
		switch {
		case c.Failure != nil:
			s.Failures++
			all.Failures++
		case c.Error != nil:
			s.Errors++
			all.Errors++
		case c.Skipped != nil:
			s.Skipped++
		}
	}
	finding := func(f *audit.Finding) {
		c := junitCase{Name: f.Rule.ID, Class: f.At.File, File: f.At.File, Line: f.At.Line}
		if f.Container != nil {
			c.Name, c.Class = f.Rule.ID+": "+f.Container.Name, f.Container.Path
		}
		switch {
		case f.Exception != nil:
			c.Skipped = &junitSkipped{f.Exception.Reason}
		case f.Severity > audit.Note:
			c.Failure = &junitFailure{Message: f.Message, Type: f.Severity.String(), Text: f.At.String() + ": " + sentences(f)}
		}
		add(f.At.File, c)
	}
	of := r.ByContainer()
	for i := range r.Subjects {
		s := &r.Subjects[i]
		list := of[s.Container]
		for _, f := range list {
			finding(f)
		}
		if len(list) == 0 {
			add(s.Container.At.File, junitCase{Name: s.Container.Name, Class: s.Container.Path, File: s.Container.At.File, Line: s.Container.At.Line})
		}
	}
	for _, f := range r.Findings {
		if f.Container == nil {
			finding(f)
		}
	}
	for _, e := range r.Errors {
		add(e.At.File, junitCase{Name: "read", Class: e.At.File, File: e.At.File, Line: e.At.Line, Error: &junitFailure{Message: e.Error(), Type: "error"}})
	}
	data, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err = w.Write([]byte(xml.Header + string(data) + "\n"))
	return err
}

var githubLevels = map[audit.Severity]string{
	audit.Note: "notice", audit.Low: "notice", audit.Medium: "warning", audit.High: "error", audit.Critical: "error",
}

// AuditGitHub writes workflow commands, which GitHub shows beside the lines of a change.
func AuditGitHub(w io.Writer, r *audit.Report, o AuditOptions) error {
	var b strings.Builder
	for _, f := range r.Open(o.Least) {
		fmt.Fprintf(&b, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", githubLevels[f.Severity],
			githubProperty(f.At.File), max(f.At.Line, 1), max(f.At.Column, 1), githubProperty("leastcap: "+f.Rule.Title),
			githubData(sentences(f)))
	}
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "::error file=%s,line=%d,title=leastcap::%s\n", githubProperty(e.At.File), max(e.At.Line, 1), githubData(e.Error()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The escapes of actions/toolkit packages/core/src/command.ts.
var (
	githubDataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubPropertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// sentences are all that a finding says.
func sentences(f *audit.Finding) string {
	text := f.Message + "."
	for _, s := range []string{f.Gain, f.Mend} {
		if s != "" {
			text += " " + s
		}
	}
	if f.Origin != nil {
		text += " " + sentenceOf(f.Origin)
	}
	return text
}

// githubLongest is the most characters of a finding's sentences: a log shows them.
const githubLongest = 4000

func githubData(s string) string     { return githubDataEscapes.Replace(Clean(s, githubLongest)) }
func githubProperty(s string) string { return githubPropertyEscapes.Replace(Clean(s, githubLongest)) }

// AuditMarkdown writes a summary, as for a pull request or a job.
func AuditMarkdown(w io.Writer, r *audit.Report, o AuditOptions) error {
	var b strings.Builder
	b.WriteString("## leastcap audit\n\n")
	fmt.Fprintf(&b, "%s.\n", auditSummary(r))
	open := r.Open(o.Least)
	if len(open) > 0 {
		b.WriteString("\n| severity | where | container | finding | mend |\n|---|---|---|---|---|\n")
		for level := len(audit.Severities()) - 1; level >= 0; level-- {
			for _, f := range open {
				if int(f.Severity) != level {
					continue
				}
				mend := f.Mend
				if f.Origin != nil {
					mend += " " + sentenceOf(f.Origin)
				}
				name := ""
				if f.Container != nil {
					name = f.Container.Name
				}
				fmt.Fprintf(&b, "| %s | %s | %s | %s ([%s](%s/blob/main/%s)) | %s |\n", f.Severity, cell(f.At.String()), cell(name),
					cell(f.Message), f.Rules(), home, f.Rule.Page(), cell(mend))
			}
		}
	}
	if len(r.Subjects) > 0 {
		b.WriteString("\n<details><summary>Containers</summary>\n\n| container | where | holds | needs |\n|---|---|---|---|\n")
		for i := range r.Subjects {
			s := &r.Subjects[i]
			holds, needs := "not known", "not learned"
			if set, known := s.Holds(); known {
				holds = setInWords(set)
			}
			if s.Profile != nil {
				needs = setInWords(s.Profile.Recommended)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(s.Container.Name), cell(s.Container.At.String()), cell(holds), cell(needs))
		}
		b.WriteString("\n</details>\n")
	}
	if len(r.Errors) > 0 {
		b.WriteString("\nCould not be read:\n\n")
		for _, e := range r.Errors {
			fmt.Fprintf(&b, "- %s\n", cell(e.Error()))
		}
	}
	if n := excepted(r); n > 0 {
		fmt.Fprintf(&b, "\n%s covered by exceptions.\n", count(n, "finding"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func excepted(r *audit.Report) int {
	n := 0
	for _, f := range r.Findings {
		if f.Exception != nil {
			n++
		}
	}
	return n
}

// cell is text in a table of Markdown: nothing in it is markup.
func cell(s string) string {
	return markdownEscapes.Replace(Clean(s, longest))
}

var markdownEscapes = strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "&", "&amp;", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "@", "&#64;", "#", "\\#")
