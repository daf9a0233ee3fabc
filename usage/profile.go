package usage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/leastcap/leastcap/caps"
)

// Version is the profile's format. Fields are only ever added to it.
const Version = "leastcap.profile/v1"

// Profile is the learned result of one workload.
type Profile struct {
	Version string    `json:"version"`
	Created time.Time `json:"created"`
	Tool    string    `json:"tool,omitempty"` // "leastcap 0.1.0"

	Subject Subject `json:"subject"`
	Kernel  string  `json:"kernel"` // uname -r
	Hook    string  `json:"hook"`   // the way in to the kernel's checks

	// Baseline is what the workload has today: its bounding set.
	Baseline caps.Set `json:"baseline"`
	// Required, Optional, Unused and Used part the baseline; see the vocabulary.
	Required caps.Set `json:"required"`
	Optional caps.Set `json:"optional"`
	Unused   caps.Set `json:"unused"`
	// Used was seen in use and not tried without: only observed, or cut short.
	Used caps.Set `json:"used,omitempty"`
	// Denied was asked for in the baseline, and is not in it.
	Denied caps.Set `json:"denied"`
	// Recommended is what to give: Required, or with Keep "used" also Optional.
	Recommended caps.Set `json:"recommended"`
	Keep        string   `json:"keep"` // "required", "used"
	// Proven: the recommended set was run by itself, Runs times, and passed.
	Proven bool `json:"proven"`
	Runs   int  `json:"runs"`

	Capabilities []Finding      `json:"capabilities"`
	Substitutes  []Substitute   `json:"substitutes,omitempty"`
	Portability  Portability    `json:"portability"`
	Identities   []Identity     `json:"identities"`
	Execs        []Exec         `json:"execs,omitempty"`
	Capsets      []Capset       `json:"capsets,omitempty"`
	Trials       []Trial        `json:"trials"`
	Sets         map[Phase]Sets `json:"sets"`
	// Declared compares with what the image says of itself, where that was asked for.
	Declared *Declaration `json:"declared,omitempty"`

	// Complete is false if anything could be missing: data lost, a time limit,
	// an interrupted run. Notes say what.
	Complete bool              `json:"complete"`
	Lost     map[string]uint64 `json:"lost,omitempty"`
	Notes    []string          `json:"notes,omitempty"`
	// NotExercised is what the runs did not do, and a user of the workload may.
	NotExercised []string `json:"not_exercised,omitempty"`
	Seconds      float64  `json:"seconds"`

	// Use is the result in the host format's own words.
	Use Use `json:"use"`

	// Merged are the profiles that this one was merged from, see [Merge], and
	// Conflicts where they disagree on what is needed.
	Merged    []Source   `json:"merged,omitempty"`
	Conflicts []Conflict `json:"conflicts,omitempty"`

	// Observed says how a running workload was watched; nil if leastcap ran it itself.
	Observed *Observation `json:"observed,omitempty"`

	// Origin is the registry that it came from; nil if it was learned here.
	Origin *Origin `json:"origin,omitempty"`
}

// Observation is a look at a workload that somebody else runs: no trial, and no proof.
type Observation struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// StartSeen: it was started at least once meanwhile. Else all that only a start needs
	// is missing.
	StartSeen bool   `json:"start_seen"`
	Checks    uint64 `json:"checks"` // the kernel's, counted or not
	// Denied are the checks that were denied, one of each kind.
	Denied []Check `json:"denied,omitempty"`
	// Looks is how often a watch began: leastcap may have been restarted in between.
	Looks int `json:"looks"`
}

// Origin says where a profile came from that others had shared.
type Origin struct {
	Reference string    `json:"reference"` // the image's, as the user gave it
	Digest    string    `json:"digest"`    // the artifact's manifest
	Pulled    time.Time `json:"pulled"`
	// Images are the ids that engines give the image it is attached to, none if it was
	// learned from another.
	Images []string `json:"images,omitempty"`
}

// Subject is what was learned.
type Subject struct {
	Kind    string   `json:"kind"` // "container", "command"
	Engine  string   `json:"engine,omitempty"`
	Command []string `json:"command"` // as the user typed it
	Image   string   `json:"image,omitempty"`
	ImageID string   `json:"image_id,omitempty"` // the local image's configuration digest
	Digest  string   `json:"digest,omitempty"`   // the registry's, if the image came from one
	User    string   `json:"user,omitempty"`
	Checks  []string `json:"checks,omitempty"` // the check commands, "NAME: COMMAND" if named
	Exec    []string `json:"exec,omitempty"`   // the helpers that ran beside it
	// Starts is how often a run started it, with volumes that were new at the first;
	// 0: once, with the volumes as they were.
	Starts int `json:"starts,omitempty"`
}

// Use is how to apply the result.
type Use struct {
	Command []string `json:"command,omitempty"` // the user's line with the capabilities put in
	Flags   []string `json:"flags,omitempty"`   // only those
	Systemd []string `json:"systemd,omitempty"` // lines of a [Service] section
}

// Declaration is what somebody said that the workload needs, compared with what it
// does.
type Declaration struct {
	Set      caps.Set `json:"set"`
	Suffices bool     `json:"suffices"` // the workload ran with exactly that set
	Reason   string   `json:"reason,omitempty"`
	Missing  caps.Set `json:"missing"`  // what it needs beside
	Unneeded caps.Set `json:"unneeded"` // what it works without
}

// Status parts the baseline.
type Status string

const (
	Required Status = "required"
	Optional Status = "optional"
	Unused   Status = "unused"
	Used     Status = "used"
)

// Finding is what is known of one capability of the baseline.
type Finding struct {
	Cap    caps.Cap `json:"capability"`
	Status Status   `json:"status"`
	// Reasons are the ways in which a need shows: "check", "exec" (file
	// capabilities), "capset", "ambient", "trial" (no event, only a run without
	// it told).
	Reasons []string `json:"reasons,omitempty"`
	Checks  []Check  `json:"checks,omitempty"`
	Execs   []Exec   `json:"execs,omitempty"`
	Capsets []Capset `json:"capsets,omitempty"`
	// Suggested is what made a need of it likely, where no check could be seen: what the
	// workload's files hold, or what its processes are. It is no evidence.
	Suggested string `json:"suggested,omitempty"`
	// Without is the trial that ran without it.
	Without *Proof `json:"without,omitempty"`
}

// Proof is a trial's outcome in short, with a reference to it.
type Proof struct {
	Trial  int    `json:"trial"` // index into Profile.Trials
	Passed bool   `json:"passed"`
	Reason string `json:"reason,omitempty"` // why it failed
	Log    string `json:"log,omitempty"`    // the workload's own last word on it
	// Denied are the checks that were refused in it.
	Denied []Check `json:"denied,omitempty"`
}

// Substitute is a narrower capability that can take another's place.
type Substitute struct {
	For    caps.Cap `json:"for"`
	Use    caps.Cap `json:"use"`
	Passed bool     `json:"passed"`
	// Adopted: it stands in the recommended set. It does only where it is a
	// reduction (a container's dac_read_search is none: it opens
	// open_by_handle_at(2), which ignores mount namespaces).
	Adopted bool   `json:"adopted"`
	Reason  string `json:"reason,omitempty"`
	Trial   int    `json:"trial"`
}

// Portability is what the proof rests on beside capabilities, and what another
// engine's defaults would add. Inferred, not proven.
type Portability struct {
	Ports    []Port   `json:"privileged_ports,omitempty"`
	Sysctls  *Sysctls `json:"sysctls,omitempty"`
	Inferred caps.Set `json:"inferred,omitempty"`
	Reasons  []string `json:"reasons,omitempty"`
}

// TrialKind says what a run was for.
type TrialKind string

const (
	Baseline TrialKind = "baseline"
	Predict  TrialKind = "predicted"
	Repair   TrialKind = "repair"
	Remove   TrialKind = "remove"
	Replace  TrialKind = "substitute"
	Confirm  TrialKind = "confirm"
)

// Trial is one run and its outcome.
type Trial struct {
	Kind    TrialKind `json:"kind"`
	Set     caps.Set  `json:"set"`
	Removed caps.Set  `json:"removed,omitempty"`
	Added   caps.Set  `json:"added,omitempty"`
	Passed  bool      `json:"passed"`
	// Failure is what failed: "check", "exec", "guard", "exit", "died", "start",
	// "timeout".
	Failure string  `json:"failure,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Seconds float64 `json:"seconds"`
	Exit    *int    `json:"exit,omitempty"` // the workload's exit status
}

// Again is the same run to be made once more, without its outcome.
func (t Trial) Again() Trial {
	return Trial{Kind: t.Kind, Set: t.Set, Removed: t.Removed, Added: t.Added}
}

// Marshal gives the profile as indented JSON with a final newline.
func (p *Profile) Marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(JSONWriter(&b))
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	return b.Bytes(), nil
}

// Parse reads a profile. Fields that it does not know are ignored; another
// version than [Version] is an error.
func Parse(data []byte) (*Profile, error) {
	var head struct {
		Version string `json:"version"`
	}
	if err := UnmarshalJSON(data, &head); err != nil {
		return nil, fmt.Errorf("not a profile: %w", err)
	}
	if head.Version != Version {
		return nil, fmt.Errorf("not a profile of version %q: its version is %q", Version, head.Version)
	}
	p := new(Profile)
	if err := UnmarshalJSON(data, p); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return p, nil
}
