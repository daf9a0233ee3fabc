// Package truth is the corpus of the truth bench: real workloads as data, what
// each of them really needs as the oracle found it, and the comparison of what
// leastcap learns with that.
//
// The workloads are workloads/*.yaml, one file each; the oracle's results are
// oracle.json. See docs/accuracy.md.
package truth

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed workloads
var files embed.FS

// Workload is one container as a user would start it.
type Workload struct {
	Name  string   `yaml:"name"`  // the file's, without .yaml
	Kinds []string `yaml:"kinds"` // what of the field it stands for, of [Kinds]
	// Short: it is in the subset that every test run learns.
	Short bool `yaml:"short"`
	// Packages are Debian's, installed in the image that all workloads share.
	Packages []string `yaml:"packages"`
	// Build is run once with sh -e, as root with all capabilities, on top of the
	// shared image; Changes are Dockerfile instructions for the result (VOLUME,
	// HEALTHCHECK, ENTRYPOINT, USER). With neither, the shared image is used as it is.
	Build   string   `yaml:"build"`
	Changes []string `yaml:"changes"`
	// Flags are docker run's, as a user would give them today. Volumes that must
	// be fresh are anonymous ("-v /data").
	Flags   []string `yaml:"flags"`
	Command []string `yaml:"command"`
	// Checks are commands for sh -c on the host, as of leastcap learn --check,
	// optionally "NAME: COMMAND". LEASTCAP_IP, LEASTCAP_CONTAINER and LEASTCAP_PID
	// are set. None: a command that ends by itself with status 0.
	Checks []string `yaml:"checks"`
	// Exec are commands for sh -c in the container, by docker exec, once the checks
	// have passed; "NAME: COMMAND" too. Each has to exit 0.
	Exec []string `yaml:"exec"`
	// Starts is how often a run starts it, each time as a new container with the
	// volumes of the one before; checks and helpers are the same in each. 0 is 1.
	Starts int `yaml:"starts"`
	// Notes say what it shows, and which need is expected where and why.
	Notes string `yaml:"notes"`
}

// Kinds are what the corpus has to cover.
var Kinds = []string{
	"web", "proxy", "database", "dns", "mail", "time", "transfer", "login",
	"supervisor", "network", "beyond-default", "packages", "non-root", "set-uid",
	"exec", "healthcheck", "stop", "fresh-volume", "used-volume", "entrypoint",
}

// Repository is where the images of the bench are, SharedImage the one that
// holds all packages.
const (
	Repository  = "leastcap-test/truth"
	SharedImage = Repository + ":shared"
)

// Image is the workload's image reference.
func (w *Workload) Image() string {
	if w.Build == "" && len(w.Changes) == 0 {
		return SharedImage
	}
	return Repository + ":" + w.Name
}

// Line is the docker line, with more flags put in behind the workload's own.
func (w *Workload) Line(flags ...string) []string {
	return slices.Concat([]string{"docker", "run"}, w.Flags, flags, []string{w.Image()}, w.Command)
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

func (w *Workload) validate() error {
	switch {
	case !validName.MatchString(w.Name):
		return fmt.Errorf("name %q: use small letters, digits and hyphens", w.Name)
	case len(w.Kinds) == 0:
		return fmt.Errorf("no kinds; known are %s", strings.Join(Kinds, ", "))
	case strings.TrimSpace(w.Notes) == "":
		return fmt.Errorf("no notes: say what it shows")
	case w.Starts < 0:
		return fmt.Errorf("starts %d: must not be negative", w.Starts)
	case len(w.Command) == 0 && len(w.Changes) == 0:
		return fmt.Errorf("no command, and no changes that give one")
	}
	for _, k := range w.Kinds {
		if !slices.Contains(Kinds, k) {
			return fmt.Errorf("kind %q is not known; known are %s", k, strings.Join(Kinds, ", "))
		}
	}
	return nil
}

// Workloads reads the corpus, in order of name.
func Workloads() ([]*Workload, error) {
	names, err := fs.Glob(files, "workloads/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*Workload
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		w := new(Workload)
		d := yaml.NewDecoder(bytes.NewReader(data))
		d.KnownFields(true)
		if err := d.Decode(w); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if w.Name != strings.TrimSuffix(path.Base(name), ".yaml") {
			return nil, fmt.Errorf("%s: its name is %q", name, w.Name)
		}
		if err := w.validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, w)
	}
	return all, nil
}

// Select gives the named workloads, all if none is named.
func Select(all []*Workload, names []string) ([]*Workload, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []*Workload
	for _, name := range names {
		i := slices.IndexFunc(all, func(w *Workload) bool { return w.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no workload %q in the corpus", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

// Recipe is a hash of everything in the definition that can change what the
// workload needs, so that a truth of an older definition is recognised.
func (w *Workload) Recipe() string {
	c := *w
	c.Notes, c.Kinds, c.Short = "", nil, false
	data, err := yaml.Marshal(&c)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))[:16]
}
