package line

import (
	"encoding/csv"
	"strconv"
	"strings"
)

// Volume is what one --volume or --mount of a line says.
type Volume struct {
	Source   string // a name, a path of the host, or "" for an anonymous volume
	Kind     string // "volume", "bind", "tmpfs", …
	Target   string // in the container
	ReadOnly bool
	fields   []string // --mount's, without its source
}

// Volume reads the flag, if it is one of the two.
func (f *Flag) Volume() (Volume, bool) {
	if f.Global {
		return Volume{}, false
	}
	switch f.Name {
	case "volume":
		return ShortVolume(f.Value), true
	case "mount":
		return mountVolume(f.Value)
	}
	return Volume{}, false
}

// ShortVolume reads [SOURCE:]TARGET[:OPTIONS]. What begins with a slash, a dot
// or a tilde is a path; what else stands before the colon is a name
// (docker/cli, cli/compose/loader/volume.go ParseVolume).
func ShortVolume(value string) Volume {
	words := strings.Split(value, ":")
	if len(words) == 1 {
		return Volume{Kind: "volume", Target: value}
	}
	v := Volume{Kind: "volume", Source: words[0], Target: words[1]}
	if strings.HasPrefix(v.Source, "/") || strings.HasPrefix(v.Source, ".") || strings.HasPrefix(v.Source, "~") {
		v.Kind = "bind"
	}
	v.fields = []string{"type=volume", "destination=" + v.Target}
	if len(words) > 2 {
		for option := range strings.SplitSeq(words[2], ",") {
			switch option {
			case "ro", "readonly":
				v.ReadOnly = true
				v.fields = append(v.fields, "readonly")
			case "nocopy":
				v.fields = append(v.fields, "volume-nocopy")
			}
		}
	}
	return v
}

// mountVolume reads --mount's comma separated fields, where type volume is the
// default (docker/cli, opts/mount.go).
func mountVolume(value string) (Volume, bool) {
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return Volume{}, false // the engine will say what is wrong with it
	}
	v := Volume{Kind: "volume"}
	for _, field := range fields {
		key, val, _ := strings.Cut(field, "=")
		switch strings.ToLower(key) {
		case "type":
			v.Kind = strings.ToLower(val)
		case "source", "src":
			v.Source = val
			continue
		case "target", "dst", "destination":
			v.Target = val
		case "readonly", "ro":
			set, err := strconv.ParseBool(val)
			v.ReadOnly = val == "" || err == nil && set
		}
		v.fields = append(v.fields, field)
	}
	return v, true
}

// Named says that it is a volume that outlives its containers.
func (v Volume) Named() bool { return v.Kind == "volume" && v.Source != "" }

// Stays says that what one run leaves in it is there for the next.
func (v Volume) Stays(fresh bool) bool {
	switch v.Kind {
	case "volume":
		return v.Source != "" && !fresh
	case "tmpfs":
		return false
	}
	return true
}

// anonymous is a --mount of a new volume in its place.
func (v Volume) anonymous() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(v.fields) // into memory
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
