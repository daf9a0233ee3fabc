package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// AuditOptions say how a report is shown.
type AuditOptions struct {
	Style Style
	// Least is the least severity that is shown; Excepted shows what exceptions cover too.
	Least    audit.Severity
	Excepted bool
}

var severityInk = map[audit.Severity]ink{
	audit.Critical: alarm, audit.High: alarm, audit.Medium: caution, audit.Low: plain, audit.Note: faint,
}

// findingColumn is where the text of a finding begins.
const findingColumn = 12

// AuditText writes a report for people, grouped by container.
func AuditText(w io.Writer, r *audit.Report, o AuditOptions) error {
	p := newPage(o.Style)
	hidden, excepted := 0, 0
	show := func(list []*audit.Finding) (shown []*audit.Finding) {
		for _, f := range list {
			switch {
			case f.Exception != nil && !o.Excepted:
				excepted++
			case f.Severity < o.Least:
				hidden++
			default:
				shown = append(shown, f)
			}
		}
		return shown
	}
	clean := 0
	of := r.ByContainer()
	for i := range r.Subjects {
		s := &r.Subjects[i]
		list := show(of[s.Container])
		if len(list) == 0 {
			clean++
			continue
		}
		auditContainer(p, s)
		for _, f := range list {
			auditFinding(p, f)
		}
		p.blank()
		if err := p.drain(w); err != nil {
			return err
		}
	}
	if others := show(of[nil]); len(others) > 0 {
		for _, f := range others {
			auditFinding(p, f)
		}
		p.blank()
	}
	p.para(text(""), 0, text(auditSummary(r)))
	if clean > 0 && clean < len(r.Subjects) {
		p.para(text(""), 0, text(fmt.Sprintf("%s without any that is shown", count(clean, "container"))))
	}
	if hidden > 0 {
		p.para(text(""), 0, text(fmt.Sprintf("%s below %s not shown (--severity note shows all)", count(hidden, "finding"), o.Least)))
	}
	if excepted > 0 {
		p.para(text(""), 0, text(fmt.Sprintf("%s covered by exceptions (--excepted shows them)", count(excepted, "finding"))))
	}
	if r.Known > 0 {
		p.para(text(""), 0, text(fmt.Sprintf("%s in the baseline not shown", count(r.Known, "finding"))))
	}
	return p.writeTo(w)
}

func auditContainer(p *page, s *audit.Subject) {
	c := s.Container
	p.para(text(""), 0, span{c.At.String(), faint}, text(" "), span{c.Name, strong}, text(" ("+aboutContainer(c)+")"))
	if set, known := s.Holds(); known {
		engine := ""
		if len(c.Target.Engines) > 0 && c.Stated == nil {
			engine = ", by the rules of " + c.Target.Engines[0]
		}
		p.para(text("  has"), findingColumn, text(setInWords(set)+engine))
	}
}

// aboutContainer says what it is.
func aboutContainer(c *manifest.Container) string {
	about := c.Kind
	if c.Owner != nil && c.Owner.Name != "" {
		about += fmt.Sprintf(" of %s %s", c.Owner.Kind, c.Owner.Name)
	}
	if image := c.Image.Raw; image != "" && image != c.Name {
		about += ", image " + image
	}
	return about
}

// setInWords is a set for people.
func setInWords(set caps.Set) string {
	d := dockerDefault()
	switch {
	case set.Empty():
		return "no capability"
	case set.Minus(caps.All()) == 0 && caps.All().Minus(set).Empty():
		return "all capabilities"
	case caps.All().Minus(set).Len() <= 6:
		return "all capabilities but " + joined(caps.All().Minus(set))
	case set == d:
		return "Docker's default 14"
	case set.Minus(d) != 0 && d.Minus(set).Empty():
		return "Docker's default 14 and " + joined(set.Minus(d))
	}
	return joined(set)
}

func auditFinding(p *page, f *audit.Finding) {
	p.para(span{"  " + f.Severity.String(), severityInk[f.Severity]}, findingColumn,
		text(f.Message), text(" "), span{fmt.Sprintf("[%s]", f.Rules()), faint})
	where := ""
	if f.Container == nil || f.At != f.Container.At {
		where = f.At.String()
	}
	if where != "" {
		p.para(text(""), findingColumn, span{where, faint})
	}
	if f.Gain != "" {
		p.para(text(""), findingColumn, text(f.Gain))
	}
	if f.Mend != "" {
		p.para(text("    mend"), findingColumn, text(f.Mend))
	}
	if f.Origin != nil {
		p.para(text("    chart"), findingColumn, text(sentenceOf(f.Origin)))
	}
	if e := f.Exception; e != nil {
		p.para(text("    except"), findingColumn, text(fmt.Sprintf("until %s: %s (%s)", e.Expires.Format(time.DateOnly), e.Reason, e.At)))
	}
}

// sentenceOf says where something that a chart renders is set.
func sentenceOf(o *manifest.Origin) string {
	var keys []string
	for _, k := range o.Keys {
		switch {
		case k.Written:
			keys = append(keys, fmt.Sprintf("%s (%s)", k.Key, k.At))
		case k.At.IsZero():
			keys = append(keys, k.Key+" (not in values.yaml yet)")
		default:
			keys = append(keys, fmt.Sprintf("%s (not written yet; near it is %s)", k.Key, k.At))
		}
	}
	if len(keys) > 0 {
		return "Set in the chart's values: " + strings.Join(keys, ", or ") + "."
	}
	if o.Template.File == "" {
		return "No value of the chart can be named for it: " + o.Why + "."
	}
	return fmt.Sprintf("No value of the chart can be named for it: %s (%s).", o.Why, o.Template)
}

// auditSummary is one sentence.
func auditSummary(r *audit.Report) string {
	files := 0
	for _, f := range r.Files {
		if f.Format != "" {
			files++
		}
	}
	s := count(len(r.Subjects), "container")
	if files > 0 {
		s += " in " + count(files, "file")
	}
	counts := r.Count()
	var parts []string
	for i := len(audit.Severities()) - 1; i >= 0; i-- {
		if n := counts[audit.Severities()[i]]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, audit.Severities()[i]))
		}
	}
	if len(parts) == 0 {
		return s + ": no findings"
	}
	return s + ": " + strings.Join(parts, ", ")
}

// The JSON of a report. Lists are never null, capabilities are CAP_* names.
type (
	auditFileJSON struct {
		File       string `json:"file"`
		Format     string `json:"format"`
		Containers int    `json:"containers"`
	}
	placeJSON struct {
		File   string `json:"file"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
		// Start and End are byte offsets.
		Start int `json:"start,omitempty"`
		End   int `json:"end,omitempty"`
	}
	containerJSON struct {
		placeJSON
		Path         string    `json:"path"`
		Name         string    `json:"name"`
		Kind         string    `json:"kind"`
		Format       string    `json:"format"`
		Image        string    `json:"image,omitempty"`
		User         string    `json:"user,omitempty"`
		Engines      []string  `json:"engines"`
		Privileged   bool      `json:"privileged"`
		Capabilities *caps.Set `json:"capabilities"` // null if not known
		Required     *caps.Set `json:"required"`     // null if nobody learned it
	}
	findingJSON struct {
		Rule     string `json:"rule"`
		Severity string `json:"severity"`
		placeJSON
		Container    string         `json:"container,omitempty"`
		Capabilities caps.Set       `json:"capabilities"`
		Message      string         `json:"message"`
		Gain         string         `json:"gain,omitempty"`
		Mend         string         `json:"mend,omitempty"`
		Fixable      bool           `json:"fixable"`
		Proven       bool           `json:"proven,omitempty"`
		Exception    *exceptionJSON `json:"exception"`
		Origin       *originJSON    `json:"origin,omitempty"`
		Fingerprint  string         `json:"fingerprint"`
		Within       string         `json:"within,omitempty"` // the fingerprint of the one that explains it
		Page         string         `json:"page"`
	}
	// originJSON is where in a chart it comes from.
	originJSON struct {
		Template placeJSON   `json:"template"`
		Values   []valueJSON `json:"values"`
		Why      string      `json:"why,omitempty"` // why no value is named
	}
	valueJSON struct {
		placeJSON
		Key     string `json:"key"`
		Written bool   `json:"written"`
	}
	exceptionJSON struct {
		Reason  string `json:"reason"`
		Expires string `json:"expires"`
		At      string `json:"at"`
	}
	auditErrorJSON struct {
		placeJSON
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}
)

func place(p manifest.Pos) placeJSON { return placeJSON{p.File, p.Line, p.Column, p.Start, p.End} }

// AuditJSON writes a report as one document, version [audit.ReportVersion]. It is written
// as it is made: of many files the whole would take more memory than all the rest.
func AuditJSON(w io.Writer, r *audit.Report) error {
	out := newJSONObject(w)
	out.field("version", audit.ReportVersion)
	listField(out, "files", r.Files, func(f *audit.File) auditFileJSON { return auditFileJSON{f.Name, f.Format, f.Containers} })
	listField(out, "containers", r.Subjects, newContainerJSON)
	listField(out, "findings", r.Findings, func(f **audit.Finding) findingJSON { return newFindingJSON(*f) })
	listField(out, "errors", r.Errors, func(e **manifest.Error) auditErrorJSON {
		at := **e
		at.At = manifest.Pos{}
		return auditErrorJSON{place((*e).At), at.Error(), (*e).Hint}
	})
	summary := map[string]int{}
	for s, n := range r.Count() {
		summary[s.String()] = n
	}
	out.field("summary", summary)
	out.field("known", r.Known)
	if err := out.end(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func newContainerJSON(s *audit.Subject) containerJSON {
	c := s.Container
	j := containerJSON{
		placeJSON: place(c.At), Path: c.Path, Name: c.Name, Kind: c.Kind, Format: c.Format,
		Image: c.Image.Raw, User: c.User.Raw, Engines: append([]string{}, c.Target.Engines...), Privileged: manifest.Is(c.Privileged, true),
	}
	if set, known := s.Holds(); known {
		j.Capabilities = &set
	}
	if s.Profile != nil {
		j.Required = &s.Profile.Required
	}
	return j
}

func newFindingJSON(f *audit.Finding) findingJSON {
	j := findingJSON{
		Rule: f.Rule.ID, Severity: f.Severity.String(), placeJSON: place(f.At), Capabilities: f.Caps,
		Message: f.Message, Gain: f.Gain, Mend: f.Mend, Fixable: f.Want != nil, Proven: f.Proven,
		Fingerprint: f.Fingerprint(), Page: f.Rule.Page(),
	}
	if f.Within != nil {
		j.Within = f.Within.Fingerprint()
	}
	if f.Container != nil {
		j.Container = f.Container.Path
	}
	if o := f.Origin; o != nil {
		j.Origin = &originJSON{Template: place(o.Template), Values: []valueJSON{}, Why: o.Why}
		for _, k := range o.Keys {
			j.Origin.Values = append(j.Origin.Values, valueJSON{place(k.At), k.Key, k.Written})
		}
	}
	if e := f.Exception; e != nil {
		j.Exception = &exceptionJSON{e.Reason, e.Expires.Format(time.DateOnly), e.At.String()}
	}
	return j
}
