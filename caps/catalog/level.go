package catalog

import "fmt"

// Level is how dangerous a capability is in a container. A higher level is
// more dangerous.
type Level uint8

// The levels. [Level.Means] explains each.
const (
	Unknown  Level = iota // of a capability without a name
	Inside                // power inside the container only
	Disclose              // discloses what is outside
	Disturb               // disturbs what is outside
	Shared                // takes over the host if something is shared
	Host                  // takes over the host
)

var levelNames = [...]string{
	Unknown:  "unknown",
	Inside:   "inside",
	Disclose: "disclose",
	Disturb:  "disturb",
	Shared:   "shared",
	Host:     "host",
}

// String returns the level's name: "host".
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("Level(%d)", uint8(l))
}

// Means returns a clause that completes "it …": "takes over the host even if
// the container shares nothing with it". It is empty for [Unknown].
func (l Level) Means() string {
	if int(l) >= len(levelMeans) {
		return ""
	}
	return levelMeans[l]
}

// MarshalText returns the level's name.
func (l Level) MarshalText() ([]byte, error) {
	if int(l) >= len(levelNames) {
		return nil, fmt.Errorf("unknown danger level %d", uint8(l))
	}
	return []byte(levelNames[l]), nil
}

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	for i, name := range levelNames {
		if name == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("unknown danger level %q", text)
}
