package truth

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/leastcap/leastcap/caps"
)

// Oracle is what `make truth` found, and where.
type Oracle struct {
	Date   string            `json:"date"`   // of the last change, YYYY-MM-DD
	Kernel string            `json:"kernel"` // uname -r
	Engine string            `json:"engine"` // "Docker 20.10.24"
	Truths map[string]*Truth `json:"workloads"`
}

// Truth is what one workload needs.
type Truth struct {
	// Recipe identifies the workload's definition that was run; see [Workload.Recipe].
	Recipe   string            `json:"recipe"`
	Date     string            `json:"date"`
	Kernel   string            `json:"kernel"`
	Engine   string            `json:"engine"`
	Packages map[string]string `json:"packages"` // name → version
	Baseline caps.Set          `json:"baseline"` // the bounding set it has today
	// Required are those without any one of which it fails.
	Required caps.Set `json:"required"`
	// Minimal are all smallest sets that pass. It is [Required] alone, unless
	// there are capabilities of which any one of several will do.
	Minimal []caps.Set `json:"minimal"`
	// Why says, by capability, how the run without it failed.
	Why map[string]string `json:"why,omitempty"`
	// Substitutes were tried in the place of a required one.
	Substitutes []Substitute `json:"substitutes,omitempty"`
	Runs        int          `json:"runs"`
	Seconds     float64      `json:"seconds"`
}

// Substitute is a narrower capability in the place of a required one.
type Substitute struct {
	For    caps.Cap `json:"for"`
	Use    caps.Cap `json:"use"`
	Passed bool     `json:"passed"`
}

//go:embed oracle.json
var committed []byte

// Committed gives the oracle's results that are kept with the source.
func Committed() (*Oracle, error) {
	o := new(Oracle)
	if err := json.Unmarshal(committed, o); err != nil {
		return nil, fmt.Errorf("oracle.json: %w", err)
	}
	return o, nil
}
