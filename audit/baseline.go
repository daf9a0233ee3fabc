package audit

import (
	"errors"
	"fmt"

	"github.com/leastcap/leastcap/usage"
)

// ReportVersion is the version of the JSON of a report. Fields are only ever added to it.
const ReportVersion = "leastcap.audit/v1"

// A Baseline is the findings that are known already: how often each fingerprint was
// there.
type Baseline map[string]int

// ParseBaseline reads the JSON of an earlier report.
func ParseBaseline(data []byte) (Baseline, error) {
	var in struct {
		Version  string `json:"version"`
		Findings *[]struct {
			Fingerprint string `json:"fingerprint"`
		} `json:"findings"`
	}
	if err := usage.UnmarshalJSON(data, &in); err != nil {
		return nil, fmt.Errorf("not a report of leastcap audit: %w", err)
	}
	if in.Version != ReportVersion {
		return nil, fmt.Errorf("not a report of version %q: its version is %q", ReportVersion, in.Version)
	}
	if in.Findings == nil {
		return nil, errors.New("a report without findings: it is cut short")
	}
	b := Baseline{}
	for _, f := range *in.Findings {
		b[f.Fingerprint]++
	}
	return b, nil
}

// New are the findings that are not in the baseline. The order stays.
func (b Baseline) New(findings []*Finding) []*Finding {
	left := make(map[string]int, len(b))
	for k, n := range b {
		left[k] = n
	}
	var list []*Finding
	for _, f := range findings {
		print := f.Fingerprint()
		if left[print] > 0 {
			left[print]--
			continue
		}
		list = append(list, f)
	}
	return list
}
