package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

// ImageVersion is the version of [Image]'s JSON. Fields are only ever added.
const ImageVersion = "leastcap.image/v1"

// Image is what an image itself says about privilege. Lists are never null in
// its JSON, capabilities are CAP_* names.
type Image struct {
	Version   string `json:"version"`
	Reference string `json:"reference"`
	// Source is docker, podman, registry, oci, docker-archive, oci-archive, tar or dir.
	Source string `json:"source"`
	// ID is the digest of the configuration, of a tar that of the file; Digest the
	// manifest's. They are left out where there is none.
	ID     string `json:"id,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Platform is "linux/amd64", left out for a tar or a directory.
	Platform   string            `json:"platform,omitempty"`
	User       string            `json:"user"`
	Entrypoint []string          `json:"entrypoint"`
	Command    []string          `json:"command"`
	Labels     map[string]string `json:"labels"`
	// Declared is what the label io.containers.capabilities says that the image
	// needs; null without the label or where DeclaredError says why it is no set.
	Declared      *caps.Set    `json:"declared"`
	DeclaredError string       `json:"declared_error,omitempty"`
	Layers        []ImageLayer `json:"layers"`
	// Files are the regular files with set-id bits or capabilities, in the order of
	// their layers.
	Files []ImageFile `json:"files"`
	// ExecNeeds is what the bounding set must have so that all Files can be executed.
	ExecNeeds caps.Set `json:"exec_needs"`
	// NonRoot is the most that a user other than root could gain with them.
	NonRoot ImageGains `json:"non_root"`
}

// ImageLayer is one layer, lowest first.
type ImageLayer struct {
	Digest  string `json:"digest,omitempty"`
	DiffID  string `json:"diff_id,omitempty"`
	History string `json:"history,omitempty"`
}

// ImageFile is a file whose execution can give privileges.
type ImageFile struct {
	Path  string   `json:"path"`
	Links []string `json:"links,omitempty"` // its other names
	// Mode is in octal: "4755".
	Mode string `json:"mode"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	// Layer counts from 1.
	Layer int `json:"layer"`
	// Capabilities is the security.capability attribute, null without.
	Capabilities *caps.FileCaps `json:"capabilities"`
	// SetUID and SetGID are whether exec changes the effective ids to UID and GID.
	SetUID bool `json:"set_uid"`
	SetGID bool `json:"set_gid"`
	// ExecutableBy is everyone, group, owner or nobody, by the mode of the file
	// alone.
	ExecutableBy string `json:"executable_by"`
	// ExecNeeds is what the bounding set must have, or exec fails with EPERM, for
	// root too.
	ExecNeeds caps.Set `json:"exec_needs"`
	// NonRoot is what a user other than root gains who may execute it.
	NonRoot ImageGains `json:"non_root"`
}

// ImageGains is what is gained under a bounding set, without no_new_privs; with
// it, nothing is.
type ImageGains struct {
	Docker ImageGain `json:"docker"` // Docker's default set
	None   ImageGain `json:"none"`   // no capability
}

// ImageGain is what one or more executions give.
type ImageGain struct {
	// Exec is whether exec works.
	Exec bool `json:"exec"`
	// Root is whether the effective user becomes root.
	Root bool `json:"root"`
	// Capabilities is the permitted set.
	Capabilities caps.Set `json:"capabilities"`
}

// NewImageFile says what follows from a file.
func NewImageFile(file string, links []string, layer int, p caps.Program) ImageFile {
	return ImageFile{
		Path: file, Links: links, Layer: layer, Mode: fmt.Sprintf("%04o", p.Mode), UID: p.UID, GID: p.GID,
		Capabilities: p.Caps, SetUID: p.SetUID(), SetGID: p.SetGID(), ExecutableBy: executableBy(p.Mode),
		ExecNeeds: p.Needs(), NonRoot: ImageGains{gain(p, dockerDefault()), gain(p, 0)},
	}
}

func dockerDefault() caps.Set {
	set, _ := catalog.DefaultSet("docker") // which a test of the catalog holds to be there
	return set
}

func gain(p caps.Program, bounding caps.Set) ImageGain {
	set, ok := p.Gains(bounding)
	return ImageGain{ok, ok && p.SetUID() && p.UID == 0, set}
}

func executableBy(mode uint32) string {
	switch {
	case mode&0o001 != 0:
		return "everyone"
	case mode&0o010 != 0:
		return "group"
	case mode&0o100 != 0:
		return "owner"
	}
	return "nobody"
}

// forNonRoot is whether somebody else than root may execute the file.
func (f *ImageFile) forNonRoot() bool {
	return f.ExecutableBy == "everyone" || f.ExecutableBy == "group" || f.ExecutableBy == "owner" && f.UID != 0
}

// Add puts a file in, and what follows for the image.
func (v *Image) Add(f ImageFile) {
	v.Files = append(v.Files, f)
	v.ExecNeeds |= f.ExecNeeds
	if f.forNonRoot() {
		v.NonRoot.Docker.add(f.NonRoot.Docker)
		v.NonRoot.None.add(f.NonRoot.None)
	}
}

func (g *ImageGain) add(h ImageGain) {
	g.Exec = g.Exec || h.Exec
	g.Root = g.Root || h.Root
	g.Capabilities |= h.Capabilities
}

// ImageJSON writes it for a program.
func ImageJSON(w io.Writer, v *Image) error {
	out := *v
	out.Version = ImageVersion
	if out.Entrypoint == nil {
		out.Entrypoint = []string{}
	}
	if out.Command == nil {
		out.Command = []string{}
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Layers == nil {
		out.Layers = []ImageLayer{}
	}
	if out.Files == nil {
		out.Files = []ImageFile{}
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return fmt.Errorf("write what the image says: %w", err)
	}
	_, err = w.Write(append(usage.EscapeJSON(data), '\n'))
	return err
}

// imageReport is a page about an image.
type imageReport struct {
	*Image
	*page
	col int // of what is said about a file
}

// ImageText writes it for a person: what the image says of itself, then each
// file that gives privileges, and what follows from them.
func ImageText(w io.Writer, v *Image, style Style) error {
	r := &imageReport{Image: v, page: newPage(style), col: 12}
	for _, f := range v.Files {
		r.col = max(r.col, min(ansi.StringWidth(Clean(f.Path, longest))+4, r.width/2))
	}
	r.head()
	r.files("SET-UID ROOT", "who executes one is root, with the whole bounding set", func(f ImageFile) bool {
		return f.SetUID && f.UID == 0 && f.Capabilities == nil
	})
	r.files("FILE CAPABILITIES", "who executes one has them, as far as the bounding set does", func(f ImageFile) bool {
		return f.Capabilities != nil
	})
	r.files("OTHER SET-UID AND SET-GID", "who executes one is that user or of that group; no capabilities", func(f ImageFile) bool {
		return f.Capabilities == nil && (f.SetUID && f.UID != 0 || f.SetGID && !f.SetUID)
	})
	r.files("WITHOUT EFFECT", "the bit is set, but exec does not heed it", func(f ImageFile) bool {
		return f.Capabilities == nil && !f.SetUID && !f.SetGID
	})
	r.follows()
	r.layers()
	return r.writeTo(w)
}

func (r *imageReport) head() {
	spans := []span{{Clean(r.Reference, 100) + ": ", strong}}
	if n := len(r.Files); n == 0 {
		spans = append(spans, span{"no file in it gives privileges when executed", good})
	} else {
		spans = append(spans, span{count(n, "file") + " with privileges of " + their(n) + " own", caution})
	}
	r.para(span{}, 0, spans...)
	facts := []string{r.Source}
	for _, s := range []string{shortDigest(r.ID), r.Platform, count(len(r.Layers), "layer")} {
		if s != "" {
			facts = append(facts, s)
		}
	}
	r.para(span{}, 0, span{Clean(strings.Join(facts, ", "), longest), faint})
	r.blank()
	fact := func(label, value string) { r.para(span{"  " + label, faint}, 14, text(value)) }
	user := orNone(r.User)
	if r.User == "" {
		user = "root, as none is named"
	}
	fact("user", user)
	fact("entrypoint", argv(r.Entrypoint))
	fact("command", argv(r.Command))
	for _, k := range sortedKeys(r.Labels) {
		fact("label", Clean(k, 100)+" = "+orNone(r.Labels[k]))
	}
	switch {
	case r.DeclaredError != "":
		r.para(span{"  declared", faint}, 14, span{"no set of capabilities: " + Clean(r.DeclaredError, 300), alarm})
	case r.Declared != nil && r.Declared.Empty():
		fact("declared", "needs no capability")
	case r.Declared != nil:
		fact("declared", "needs "+list(catalog.ByDanger(*r.Declared)))
	}
}

func their(n int) string {
	if n == 1 {
		return "its"
	}
	return "their"
}

// argv is a command as JSON, which its words cannot get out of.
func argv(ws []string) string {
	if len(ws) == 0 {
		return "none"
	}
	data, err := json.Marshal(ws)
	if err != nil {
		return "unprintable" // strings are always printable
	}
	return string(usage.EscapeJSON(data))
}

func (r *imageReport) files(title, about string, is func(ImageFile) bool) {
	first := true
	for _, f := range r.Files {
		if !is(f) {
			continue
		}
		if first {
			r.blank()
			r.para(span{title, strong}, len(title)+2, text(about))
			first = false
		}
		r.file(f)
	}
}

func (r *imageReport) file(f ImageFile) {
	var about []string
	if f.Capabilities != nil {
		about = append(about, f.Capabilities.String())
		if f.Capabilities.RootID != 0 {
			about = append(about, "which counts only in a user namespace of that root")
		}
	}
	if f.SetUID && (f.UID != 0 || f.Capabilities != nil) {
		about = append(about, fmt.Sprintf("as user %d", f.UID))
	}
	if f.SetGID {
		about = append(about, fmt.Sprintf("as group %d", f.GID))
	}
	switch f.ExecutableBy {
	case "group":
		about = append(about, fmt.Sprintf("for group %d alone", f.GID))
	case "owner":
		about = append(about, fmt.Sprintf("for user %d alone", f.UID))
	case "nobody":
		about = append(about, "not executable")
	}
	about = append(about, "mode "+f.Mode, fmt.Sprintf("layer %d", f.Layer))
	label := "  " + Clean(f.Path, longest)
	if ansi.StringWidth(label) >= r.col { // on lines of its own
		r.para(span{}, 2, span{f.Path, strong})
		label = ""
	}
	r.para(span{label, strong}, r.col, text(strings.Join(about, ", ")))
	for _, l := range f.Links {
		r.para(span{}, r.col, span{"also " + Clean(l, longest), faint})
	}
	if !f.ExecNeeds.Empty() {
		r.para(span{}, r.col, span{"fails at exec (EPERM), for root too, without " + list(catalog.ByDanger(f.ExecNeeds)) + " in the bounding set", caution})
	}
}

func (r *imageReport) follows() {
	if len(r.Files) == 0 {
		return
	}
	r.blank()
	r.para(span{"WHAT FOLLOWS", strong}, 0)
	line := func(label string, spans ...span) { r.para(span{"  " + label, faint}, 19, spans...) }

	if r.ExecNeeds.Empty() {
		line("bounding set", text("no exec needs anything in it"))
	} else {
		line("bounding set", text("to execute all of these it must have "), span{list(catalog.ByDanger(r.ExecNeeds)), caution})
	}
	line("a non-root user", append([]span{text("could gain, with Docker's default set: ")}, gained(r.NonRoot.Docker, dockerDefault())...)...)
	line("", append([]span{text("with an empty bounding set: ")}, gained(r.NonRoot.None, 0)...)...)
	if r.NonRoot.Docker.Root || !r.NonRoot.Docker.Capabilities.Empty() {
		line("to prevent it", text("no_new_privs: docker run --security-opt no-new-privileges"))
	}
}

// gained is the end of a sentence.
func gained(g ImageGain, bounding caps.Set) []span {
	set := list(catalog.ByDanger(g.Capabilities))
	if g.Capabilities == bounding && bounding.Len() > 1 {
		set = fmt.Sprintf("all %d of it", bounding.Len())
	}
	switch {
	case g.Root && g.Capabilities.Empty():
		return []span{{"user id 0, but no capability", caution}}
	case g.Root:
		return []span{{"root with " + set, alarm}}
	case g.Capabilities.Empty():
		return []span{{"no capability", good}}
	}
	return []span{{set, caution}}
}

// layers says what made those that files are from.
func (r *imageReport) layers() {
	used := map[int]bool{}
	for _, f := range r.Files {
		used[f.Layer] = true
	}
	if len(used) == 0 {
		return
	}
	r.blank()
	r.para(span{"LAYERS", strong}, 8, text("that the files are from"))
	for i, l := range r.Layers {
		if !used[i+1] {
			continue
		}
		digest := l.Digest
		if digest == "" {
			digest = l.DiffID
		}
		history := l.History
		if history == "" {
			history = "nothing says what made it"
		}
		r.para(span{fmt.Sprintf("  %d", i+1), strong}, 5, span{shortDigest(digest) + " ", faint}, text(Clean(history, 300)))
	}
}
