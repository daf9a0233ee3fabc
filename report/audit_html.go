package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

//go:embed audit.html
var auditPage string

// auditTemplate is parsed when it is first needed: other outputs do without.
var auditTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("audit").Parse(auditPage))
})

// What the page shows. html/template escapes all of it; what is not printed is escaped
// before, as in text.
type (
	pageAudit struct {
		Summary    string
		Severities []string
		Caps       []pageCap
		Containers []pageContainer
		Others     []pageFinding
		Errors     []string
	}
	pageCap       struct{ Name, Title string }
	pageContainer struct {
		ID, Name, About, Image, Where, Engine, Holds, Unknown, Needs, Profile string
		// Worst is the severity of the worst open finding, "" without one; Search is what
		// the filter looks in.
		Worst, Search string
		Open          bool
		Cells         []pageCell
		Counts        []pageCount
		Findings      []pageFinding
	}
	pageCell    struct{ Class, Title string }
	pageCount   struct{ N, Severity string }
	pageFinding struct {
		Severity, Rule, Page, Message, Where, Gain, Mend, Exception string
	}
)

// AuditHTML writes a report as one page that needs nothing but a browser: no network, no
// other file.
func AuditHTML(w io.Writer, r *audit.Report) error {
	p := pageAudit{Summary: auditSummary(r)}
	for _, s := range audit.Severities() {
		p.Severities = append(p.Severities, s.String())
	}
	// Only capabilities that somebody holds or needs have a column.
	columns := caps.Set(0)
	for i := range r.Subjects {
		s := &r.Subjects[i]
		set, _ := s.Holds()
		columns = columns.Union(set)
		if s.Profile != nil {
			columns = columns.Union(s.Profile.Recommended)
		}
	}
	order := catalog.ByDanger(columns)
	for _, c := range order {
		p.Caps = append(p.Caps, pageCap{c.String(), c.String() + ": lets a process " + catalog.Get(c).Grants})
	}
	of := r.ByContainer()
	for i := range r.Subjects {
		p.Containers = append(p.Containers, pageOf(i, &r.Subjects[i], of[r.Subjects[i].Container], order))
	}
	for _, f := range of[nil] {
		p.Others = append(p.Others, pageOfFinding(f))
	}
	for _, e := range r.Errors {
		p.Errors = append(p.Errors, Clean(e.Error(), longest))
	}
	var b bytes.Buffer
	if err := auditTemplate().Execute(&b, p); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func pageOf(i int, s *audit.Subject, findings []*audit.Finding, order []caps.Cap) pageContainer {
	c := s.Container
	out := pageContainer{
		ID: fmt.Sprintf("c%d", i+1), Name: Clean(c.Name, longest), Image: Clean(c.Image.Raw, longest), Where: Clean(c.At.String(), longest),
		About: Clean(aboutContainer(c), longest),
	}
	if len(c.Target.Engines) > 0 && c.Stated == nil {
		out.Engine = c.Target.Engines[0]
	}
	search := []string{out.Name, out.About, out.Where}
	holds, known := s.Holds()
	if known {
		out.Holds = setInWords(holds)
		out.Cells = make([]pageCell, 0, len(order))
		search = append(search, holds.String())
	} else {
		out.Unknown = "what it holds cannot be known from the file"
	}
	need := caps.Set(0)
	if s.Profile != nil {
		need, out.Profile = s.Profile.Recommended, Clean(s.ProfileName, longest)
		out.Needs = setInWords(need)
	}
	if known {
		for _, c := range order {
			out.Cells = append(out.Cells, cellOf(s, c, holds.Has(c), need.Has(c)))
		}
	}
	counts := map[audit.Severity]int{}
	worst := -1
	for _, f := range findings {
		pf := pageOfFinding(f)
		out.Findings = append(out.Findings, pf)
		search = append(search, pf.Rule, pf.Message)
		if f.Exception == nil {
			counts[f.Severity]++
			worst = max(worst, int(f.Severity))
		}
	}
	if worst >= 0 {
		out.Worst = audit.Severity(worst).String()
		out.Open = audit.Severity(worst) >= audit.High
	}
	for i := len(audit.Severities()) - 1; i >= 0; i-- {
		if n := counts[audit.Severities()[i]]; n > 0 {
			out.Counts = append(out.Counts, pageCount{fmt.Sprint(n), audit.Severities()[i].String()})
		}
	}
	out.Search = strings.ToLower(strings.Join(search, " "))
	return out
}

func pageOfFinding(f *audit.Finding) pageFinding {
	out := pageFinding{
		Severity: f.Severity.String(), Rule: f.Rules(), Page: home + "/blob/main/" + f.Rule.Page(),
		Message: Clean(f.Message, longest), Where: Clean(f.At.String(), longest), Gain: Clean(f.Gain, longest), Mend: Clean(f.Mend, longest),
	}
	if f.Origin != nil {
		out.Mend = Clean(f.Mend+" "+sentenceOf(f.Origin), longest)
	}
	if e := f.Exception; e != nil {
		out.Exception = Clean(fmt.Sprintf("until %s: %s", e.Expires.Format(time.DateOnly), e.Reason), longest)
	}
	return out
}

// cellOf is a capability of a container in the picture.
func cellOf(s *audit.Subject, c caps.Cap, held, needed bool) pageCell {
	level := s.Danger(c)
	switch {
	case !held && needed:
		return pageCell{"missing", c.String() + ": needed, and not held"}
	case !held:
		return pageCell{}
	case needed:
		return pageCell{level.String() + " need", c.String() + ": held and needed; " + level.Means()}
	}
	return pageCell{level.String(), c.String() + ": held; " + level.Means()}
}
