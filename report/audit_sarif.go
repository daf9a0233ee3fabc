package report

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/usage"
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
	run := sarifRun{ColumnKind: "unicodeCodePoints"} // as manifest.Pos counts
	driver := &run.Tool.Driver
	*driver = sarifDriver{Name: "leastcap", Version: version, InformationURI: home}
	worst := map[string]audit.Severity{}
	for _, f := range r.Findings {
		worst[f.Rule.ID] = max(worst[f.Rule.ID], f.Severity)
	}
	index := map[string]int{}
	for i, rule := range audit.Rules() {
		index[rule.ID] = i
		help := rule.What
		if rule.Mend != "" {
			help += "\n\n" + rule.Mend
		}
		driver.Rules = append(driver.Rules, sarifRule{
			ID: rule.ID, Name: pascal(rule.ID), HelpURI: home + "/blob/main/" + rule.Page(),
			Short: sarifMessage{rule.Title}, Full: sarifMessage{rule.What}, Help: sarifMessage{help},
			Properties: map[string]any{
				"tags": []string{"security", "container", "capabilities"}, "security-severity": securitySeverity[worst[rule.ID]],
			},
		})
	}
	run.Results = []sarifResult{} // none is an empty list: it was looked
	for _, f := range r.Findings {
		if f.Within == nil {
			run.Results = append(run.Results, newSarifResult(f, index[f.Rule.ID]))
		}
	}
	invocation := sarifInvocation{Successful: len(r.Errors) == 0}
	for _, e := range r.Errors {
		bare := *e
		bare.At = manifest.Pos{}
		n := sarifNotification{Level: "error", Message: sarifMessage{bare.Error()}}
		if e.At.File != "" {
			n.Locations = []sarifLocation{newSarifLocation(e.At)}
		}
		invocation.Notifications = append(invocation.Notifications, n)
	}
	run.Invocations = []sarifInvocation{invocation}
	e := json.NewEncoder(usage.JSONWriter(w))
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

func newSarifResult(f *audit.Finding, rule int) sarifResult {
	res := sarifResult{
		RuleID: f.Rule.ID, RuleIndex: rule, Kind: "fail", Level: sarifLevels[f.Severity], Message: sarifMessage{sentences(f)},
		Rank: float64(f.Severity) * 25, Fingerprints: map[string]string{"leastcap/v1": f.Fingerprint()},
		Properties: map[string]any{"severity": f.Severity.String(), "capabilities": f.Caps.Names()},
	}
	if f.At.File != "" {
		at := newSarifLocation(f.At)
		if c := f.Container; c != nil {
			at.Logical = []sarifLogical{{Name: c.Name, Path: c.Path, Kind: "resource"}}
		}
		res.Locations = []sarifLocation{at}
	}
	for i, at := range f.Related {
		related := newSarifLocation(at)
		related.ID = i + 1
		res.Related = append(res.Related, related)
	}
	if len(f.Folds) > 0 {
		res.Properties["rules"] = f.Rules()
	}
	if o := f.Origin; o != nil {
		var keys []string
		for _, k := range o.Keys {
			keys = append(keys, k.Key)
			if k.At.File != "" {
				related := newSarifLocation(k.At)
				related.ID = len(res.Related) + 1
				res.Related = append(res.Related, related)
			}
		}
		if len(keys) > 0 {
			res.Properties["values"] = keys
		}
	}
	if e := f.Exception; e != nil {
		kind := "external"
		if e.At.File == f.At.File {
			kind = "inSource"
		}
		res.Suppressions = []sarifSuppression{{kind, "accepted", fmt.Sprintf("%s (until %s)", e.Reason, e.Expires.Format("2006-01-02"))}}
	}
	if len(f.Edits) > 0 {
		res.Fixes = []sarifFix{newSarifFix(f)}
	}
	return res
}

func newSarifFix(f *audit.Finding) sarifFix {
	fix := sarifFix{Description: sarifMessage{f.Mend}}
	change := map[string]int{} // by file
	for _, e := range f.Edits {
		i, ok := change[e.File]
		if !ok {
			i = len(fix.Changes)
			change[e.File] = i
			fix.Changes = append(fix.Changes, sarifChange{Artifact: newSarifArtifact(e.File)})
		}
		offset, length := e.Start, e.End-e.Start
		r := sarifReplacement{Deleted: sarifRegion{ByteOffset: &offset, ByteLength: &length}}
		r.Inserted.Text = string(e.New)
		fix.Changes[i].Replacements = append(fix.Changes[i].Replacements, r)
	}
	return fix
}

func newSarifLocation(at manifest.Pos) sarifLocation {
	var l sarifLocation
	l.Physical.Artifact = newSarifArtifact(at.File)
	if at.Line > 0 {
		l.Physical.Region = &sarifRegion{StartLine: at.Line, StartColumn: max(at.Column, 1)}
		if offset, length := at.Start, at.End-at.Start; length > 0 {
			l.Physical.Region.ByteOffset, l.Physical.Region.ByteLength = &offset, &length
		}
	}
	return l
}

// newSarifArtifact names a file by a URI, relative to where the audit ran if it is below.
func newSarifArtifact(file string) sarifArtifact {
	u := url.URL{Path: filepath.ToSlash(file)}
	if filepath.IsAbs(file) {
		u.Scheme = "file"
		return sarifArtifact{URI: u.String()}
	}
	return sarifArtifact{URI: u.EscapedPath(), Base: "%SRCROOT%"}
}

// pascal is "KeepsDefault" of "keeps-default", as SARIF wants names.
func pascal(id string) string {
	var b strings.Builder
	for _, part := range strings.Split(id, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
