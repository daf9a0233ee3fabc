package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/manifest"
)

// A Severity says how bad a finding is.
type Severity uint8

const (
	Note     Severity = iota // worth knowing
	Low                      // more than needed, within the container
	Medium                   // reaches or disturbs what is outside
	High                     // a way to the host, or protection that is not there
	Critical                 // the host
)

var severityNames = [...]string{"note", "low", "medium", "high", "critical"}

// Severities are all of them, the least first.
func Severities() []Severity { return []Severity{Note, Low, Medium, High, Critical} }

func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("Severity(%d)", uint8(s))
}

// MarshalText returns its name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, name := range severityNames {
		if string(text) == name {
			*s = Severity(i)
			return nil
		}
	}
	return fmt.Errorf("no severity is called %q: use one of %s", text, strings.Join(severityNames[:], ", "))
}

// severityOf is what it means that a container holds a capability of this danger.
func severityOf(l catalog.Level) Severity {
	switch l {
	case catalog.Host, catalog.Unknown:
		return Critical // nobody knows what an unknown one can do
	case catalog.Shared, catalog.Disturb, catalog.Disclose:
		return Medium
	}
	return Low
}

// A Finding is one thing that is not as it should be.
type Finding struct {
	Rule      *Rule
	Severity  Severity
	Container *manifest.Container // nil if it is about no container
	At        manifest.Pos
	Related   []manifest.Pos
	// Caps are the capabilities that it is about.
	Caps caps.Set
	// Word is the entry that it is about, as written, where one is.
	Word string
	// Message is what is wrong, in one sentence without a period.
	Message string
	// Gain is what an attacker gains by it, in one sentence, "" if nothing.
	Gain string
	// Mend is how to mend it, in one sentence.
	Mend string
	// Want is the change that mends it and can break nothing, or that a profile has
	// proven. Nil where somebody has to decide.
	Want *manifest.Want
	// Proven says that the want rests on a proven profile.
	Proven bool
	// Edits make the want, if somebody worked them out.
	Edits []manifest.Edit
	// Origin is where the place comes from, if the file was rendered from a chart that is
	// known.
	Origin *manifest.Origin
	// Exception is the one that covers it, nil if none does.
	Exception *Exception
	// Within is the finding that explains this one, too, and Folds are those that this one
	// explains: see [Fold]. Programs get all, people each cause once.
	Within *Finding
	Folds  []*Finding
}

// Fingerprint stays the same while a file is edited elsewhere: it has no line numbers.
func (f *Finding) Fingerprint() string {
	parts := []string{f.Rule.ID, f.At.File, f.Caps.String(), f.Word}
	if f.Container != nil {
		parts = append(parts, f.Container.Path)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// isOf says whether the container of a finding is this one, by its name or path.
func (f *Finding) isOf(container string) bool {
	return f.Container != nil && (f.Container.Name == container || f.Container.Path == container ||
		f.Container.Owner != nil && f.Container.Owner.Name+"/"+f.Container.Name == container)
}
