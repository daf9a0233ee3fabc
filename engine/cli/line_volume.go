package cli

import (
	"encoding/csv"
	"strings"
)

// volume is what one --volume or --mount of a line says.
type volume struct {
	source string   // a name, a path of the host, or "" for an anonymous volume
	kind   string   // "volume", "bind", "tmpfs", …
	target string   // in the container
	fields []string // --mount's, without its source
}

// volume reads the flag, if it is one of the two.
func (f *Flag) volume() (volume, bool) {
	if f.Global {
		return volume{}, false
	}
	switch f.Name {
	case "volume":
		return shortVolume(f.Value), true
	case "mount":
		return mountVolume(f.Value)
	}
	return volume{}, false
}

// shortVolume reads [SOURCE:]TARGET[:OPTIONS]. What begins with a slash, a dot
// or a tilde is a path; what else stands before the colon is a name
// (docker/cli, cli/compose/loader/volume.go ParseVolume).
func shortVolume(value string) volume {
	words := strings.Split(value, ":")
	if len(words) == 1 {
		return volume{kind: "volume", target: value}
	}
	v := volume{kind: "volume", source: words[0], target: words[1]}
	if strings.HasPrefix(v.source, "/") || strings.HasPrefix(v.source, ".") || strings.HasPrefix(v.source, "~") {
		v.kind = "bind"
	}
	v.fields = []string{"type=volume", "destination=" + v.target}
	if len(words) > 2 {
		for option := range strings.SplitSeq(words[2], ",") {
			switch option {
			case "ro":
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
func mountVolume(value string) (volume, bool) {
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return volume{}, false // the engine will say what is wrong with it
	}
	v := volume{kind: "volume"}
	for _, field := range fields {
		key, val, _ := strings.Cut(field, "=")
		switch strings.ToLower(key) {
		case "type":
			v.kind = strings.ToLower(val)
		case "source", "src":
			v.source = val
			continue
		case "target", "dst", "destination":
			v.target = val
		}
		v.fields = append(v.fields, field)
	}
	return v, true
}

// named says that it is a volume that outlives its containers.
func (v volume) named() bool { return v.kind == "volume" && v.source != "" }

// stays says that what one run leaves in it is there for the next.
func (v volume) stays(fresh bool) bool {
	switch v.kind {
	case "volume":
		return v.source != "" && !fresh
	case "tmpfs":
		return false
	}
	return true
}

// anonymous is a --mount of a new volume in its place.
func (v volume) anonymous() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(v.fields) // into memory
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
