package report

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/manifest"
)

// home is where the project's pages are.
const home = "https://github.com/leastcap/leastcap"

var sarifLevels = map[audit.Severity]string{
	audit.Note: "note", audit.Low: "note", audit.Medium: "warning", audit.High: "error", audit.Critical: "error",
}

// securitySeverity is GitHub's scale, on which 9 and more is critical, 7 high, 4 medium
// (code scanning, "security-severity property").
var securitySeverity = map[audit.Severity]string{
	audit.Note: "0.0", audit.Low: "2.0", audit.Medium: "5.0", audit.High: "8.0", audit.Critical: "9.5",
}

// AuditSARIF writes a report as SARIF 2.1.0, with fixes where edits are known.
func AuditSARIF(w io.Writer, r *audit.Report, version string) error {
	doc := sarif.NewReport()
	run := sarif.NewRunWithInformationURI("leastcap", home)
	run.Tool.Driver.WithVersion(version)
	run.WithColumnKind("unicodeCodePoints") // as manifest.Pos counts
	worst := map[string]audit.Severity{}
	for _, f := range r.Findings {
		worst[f.Rule.ID] = max(worst[f.Rule.ID], f.Severity)
	}
	index := map[string]int{}
	for i, rule := range audit.Rules() {
		index[rule.ID] = i
		d := run.AddRule(rule.ID)
		d.WithName(pascal(rule.ID)).WithHelpURI(home + "/blob/main/" + rule.Page())
		d.WithShortDescription(sarif.NewMultiformatMessageString().WithText(rule.Title))
		d.WithFullDescription(sarif.NewMultiformatMessageString().WithText(rule.What))
		help := rule.What
		if rule.Mend != "" {
			help += "\n\n" + rule.Mend
		}
		d.WithHelp(sarif.NewMultiformatMessageString().WithText(help))
		bag := sarif.NewPropertyBag()
		bag.Add("tags", []string{"security", "container", "capabilities"})
		bag.Add("security-severity", securitySeverity[worst[rule.ID]])
		d.WithProperties(bag)
	}
	for _, f := range r.Findings {
		if f.Within == nil {
			run.AddResult(sarifResult(f, index[f.Rule.ID]))
		}
	}
	invocation := sarif.NewInvocation().WithExecutionSuccessful(len(r.Errors) == 0)
	for _, e := range r.Errors {
		bare := *e
		bare.At = manifest.Pos{}
		n := sarif.NewNotification().WithLevel("error").WithMessage(sarif.NewTextMessage(bare.Error()))
		if e.At.File != "" {
			n.WithLocations([]*sarif.Location{sarifLocation(e.At)})
		}
		invocation.AddToolExecutionNotification(n)
	}
	run.AddInvocation(invocation)
	doc.AddRun(run)
	return doc.PrettyWrite(w)
}

func sarifResult(f *audit.Finding, rule int) *sarif.Result {
	res := sarif.NewRuleResult(f.Rule.ID).WithRuleIndex(rule).WithLevel(sarifLevels[f.Severity]).
		WithMessage(sarif.NewTextMessage(sentences(f))).WithRank(float64(f.Severity) * 25).WithKind("fail")
	if f.At.File != "" {
		at := sarifLocation(f.At)
		if c := f.Container; c != nil {
			at.WithLogicalLocations([]*sarif.LogicalLocation{
				sarif.NewLogicalLocation().WithName(c.Name).WithFullyQualifiedName(c.Path).WithKind("resource"),
			})
		}
		res.WithLocations([]*sarif.Location{at})
	}
	for i, at := range f.Related {
		res.RelatedLocations = append(res.RelatedLocations, sarifLocation(at).WithID(i+1))
	}
	res.WithPartialFingerprints(map[string]string{"leastcap/v1": f.Fingerprint()})
	bag := sarif.NewPropertyBag()
	bag.Add("severity", f.Severity.String())
	if len(f.Folds) > 0 {
		bag.Add("rules", f.Rules())
	}
	bag.Add("capabilities", f.Caps.Names())
	res.WithProperties(bag)
	if o := f.Origin; o != nil {
		var keys []string
		for _, k := range o.Keys {
			keys = append(keys, k.Key)
			if k.At.File != "" {
				res.RelatedLocations = append(res.RelatedLocations, sarifLocation(k.At).WithID(len(res.RelatedLocations)+1))
			}
		}
		if len(keys) > 0 {
			bag.Add("values", keys)
		}
	}
	if e := f.Exception; e != nil {
		kind := "external"
		if e.At.File == f.At.File {
			kind = "inSource"
		}
		res.WithSuppressions([]*sarif.Suppression{sarif.NewSuppression().WithKind(kind).WithStatus("accepted").
			WithJustification(fmt.Sprintf("%s (until %s)", e.Reason, e.Expires.Format("2006-01-02")))})
	}
	if len(f.Edits) > 0 {
		res.WithFixes([]*sarif.Fix{sarifFix(f)})
	}
	return res
}

func sarifFix(f *audit.Finding) *sarif.Fix {
	fix := sarif.NewFix().WithDescription(sarif.NewTextMessage(f.Mend))
	changes := map[string]*sarif.ArtifactChange{}
	for _, e := range f.Edits {
		c := changes[e.File]
		if c == nil {
			c = sarif.NewArtifactChange().WithArtifactLocation(sarifArtifact(e.File))
			changes[e.File] = c
			fix.AddArtifactChange(c)
		}
		deleted := sarif.NewRegion().WithByteOffset(e.Start).WithByteLength(e.End - e.Start).WithCharOffset(-1)
		c.AddReplacement(sarif.NewReplacement().WithDeletedRegion(deleted).
			WithInsertedContent(sarif.NewArtifactContent().WithText(string(e.New))))
	}
	return fix
}

func sarifLocation(at manifest.Pos) *sarif.Location {
	p := sarif.NewPhysicalLocation().WithArtifactLocation(sarifArtifact(at.File))
	if at.Line > 0 {
		region := sarif.NewRegion().WithStartLine(at.Line).WithStartColumn(max(at.Column, 1)).WithCharOffset(-1)
		region.WithByteOffset(at.Start).WithByteLength(at.End - at.Start)
		if at.End <= at.Start {
			region.ByteOffset, region.ByteLength = -1, nil
		}
		p.WithRegion(region)
	}
	return sarif.NewLocation().WithPhysicalLocation(p)
}

// sarifArtifact names a file by a URI, relative to where the audit ran if it is below.
func sarifArtifact(file string) *sarif.ArtifactLocation {
	u := url.URL{Path: filepath.ToSlash(file)}
	if filepath.IsAbs(file) {
		u.Scheme = "file"
		return sarif.NewArtifactLocation().WithURI(u.String())
	}
	return sarif.NewArtifactLocation().WithURI(u.EscapedPath()).WithURIBaseID("%SRCROOT%")
}

// pascal is "KeepsDefault" of "keeps-default", as SARIF wants names.
func pascal(id string) string {
	var b strings.Builder
	for _, part := range strings.Split(id, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
