package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

// artifactType is what a profile is called in a registry.
const artifactType = "application/vnd.leastcap.profile.v1+json"

// The annotations of a profile in a registry. They are for people and tools that
// list artifacts; leastcap itself takes only the first from them.
const (
	annotationCreated  = "org.opencontainers.image.created"
	annotationCommand  = "io.leastcap.command"
	annotationUser     = "io.leastcap.user"
	annotationRequired = "io.leastcap.required"
	annotationImage    = "io.leastcap.image"
)

// shareTimeout is how long a registry may take in all.
const shareTimeout = 2 * time.Minute

type pushFlags struct {
	profile, platform string
	force             bool
}

func newProfilePush(stdout, stderr io.Writer) *cobra.Command {
	var f pushFlags
	cmd := &cobra.Command{
		Use:   "push [flags] REF",
		Short: "Attach profiles to their image in its registry",
		Long: `Attach a profile to its image in the image's registry, for leastcap profile pull and
leastcap run --pull-profile elsewhere. Without --profile these are all that were
learned here for the image. It becomes an OCI artifact that refers to the image;
the image itself, its digest and its tags stay as they are. The same profile is
attached once, however often it is pushed.

Who can read the image can read the profile: the command line, its checks, paths
and processes. The values of environment variables in the line are left out; look
at the rest with leastcap profile show before.

The credentials are those of docker login and podman login. The artifact's
reference is printed.

Exit status:
  0  attached, now or before
  2  wrong usage, no profile, or one that is not proven or of another image
  3  the registry could not be asked, or does not allow it`,
		Example: `  leastcap profile push registry.example.com/web:1.4
  leastcap profile push --profile web.json registry.example.com/web:1.4`,
		DisableFlagsInUseLine: true,
		Args:                  oneRef("leastcap profile push REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.InOrStdin(), stdout, stderr, args[0])
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.profile, "profile", "", "push this file, - for standard input, instead of what is kept here")
	platformFlag(cmd, &f.platform)
	fl.BoolVar(&f.force, "force", false, "push it also if it is not proven, or was learned from another image")
	return cmd
}

func platformFlag(cmd *cobra.Command, platform *string) {
	cmd.Flags().StringVar(platform, "platform", "", "of an image for several: OS/ARCHITECTURE (default: Linux, and this machine's)")
}

var platformForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`)
})

func checkPlatform(platform string) error {
	if platform == "" || platformForm().MatchString(platform) {
		return nil
	}
	return &usageError{fmt.Errorf("--platform %q is none", platform), "write it as linux/arm64"}
}

// oneRef takes the reference of an image.
func oneRef(how string) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return &usageError{errors.New("no image is named"), "use " + how}
		case len(args) > 1:
			return &usageError{fmt.Errorf("too many arguments: %s", strings.Join(args[1:], " ")), "use " + how}
		}
		return nil
	}
}

func (f *pushFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, ref string) error {
	if err := checkPlatform(f.platform); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	type item struct {
		name string
		p    *usage.Profile
	}
	var items []item
	if f.profile != "" {
		p, err := readProfile(stdin, f.profile)
		if err != nil {
			return err
		}
		items = append(items, item{cmp.Or(strings.TrimSuffix(f.profile, "-"), "standard input"), p})
	}
	m, err := image.Resolve(ctx, ref, f.platform)
	if err != nil {
		return err
	}
	if f.profile == "" {
		kept, err := readStore(stderr)
		if err != nil {
			return err
		}
		for _, k := range kept.profiles {
			if fitting(m, k.Profile) != nil {
				items = append(items, item{k.File, k.Profile})
			}
		}
		if len(items) == 0 {
			return &usageError{fmt.Errorf("no profile of %s is kept here", ref), "leastcap learn makes one; --profile FILE pushes a file; leastcap profile list shows what is kept"}
		}
	}
	// All are looked at before the first is pushed.
	var to []image.RemoteImage
	var files []image.Attachment
	for _, it := range items {
		p := it.p
		if p.Subject.Kind != "container" {
			return &usageError{fmt.Errorf("%s is the profile of a host's command, and of no image", it.name), "learn the container: leastcap learn -- docker run …"}
		}
		target := fitting(m, p)
		switch {
		case !f.force && (!p.Proven || !p.Complete):
			return &usageError{fmt.Errorf("%s is not proven, or not complete", it.name), "learn again; --force pushes it all the same, and only profile pull --force takes it"}
		case target == nil && !f.force:
			return &usageError{fmt.Errorf("%s was learned from another image (%s, id %.19s) than %s (id %.19s)", it.name, p.Subject.Image, p.Subject.ImageID, ref, m.Images[0].ID),
				"push it to its own image, give --platform, or learn from this one; --force pushes it all the same, and only profile pull --force takes it"}
		case target == nil:
			target = &m.Images[0]
		}
		a, err := attachment(p, *target)
		if err != nil {
			return &usageError{fmt.Errorf("%s: %w", it.name, err), "learn again"}
		}
		if len(a.Data) > image.MaxAttachment {
			return &usageError{fmt.Errorf("%s has %d bytes; at most %d are shared", it.name, len(a.Data), image.MaxAttachment), "push the profiles that it was merged from, or learn with fewer --exec"}
		}
		to, files = append(to, *target), append(files, a)
	}
	for i, a := range files {
		digest, added, err := m.Attach(ctx, to[i], a)
		if err != nil {
			return err
		}
		what := "attached"
		if !added {
			what = "was attached already"
		}
		say(stderr, "%s: %s (%s)", items[i].name, what, workload(items[i].p))
		if _, err := fmt.Fprintf(stdout, "%s@%s\n", m.Repository, digest); err != nil {
			return err
		}
	}
	return nil
}

// fitting gives the image that a profile was learned from, nil if it was another.
func fitting(m *image.Remote, p *usage.Profile) *image.RemoteImage {
	for i, img := range m.Images {
		if m.Is(img, p.Subject.ImageID) {
			return &m.Images[i]
		}
		if _, digest, ok := strings.Cut(p.Subject.Digest, "@"); ok && p.Subject.ImageID == "" && m.Is(img, digest) {
			return &m.Images[i]
		}
	}
	return nil
}

// workload says in short what a profile is of.
func workload(p *usage.Profile) string {
	what := "the image's own command"
	if line, err := storedLine(p.Subject.Command); err == nil {
		entrypoint, _ := line.Entrypoint()
		if words := slices.DeleteFunc(append([]string{entrypoint}, line.Command...), func(w string) bool { return w == "" }); len(words) > 0 {
			what = cli.Quote(words)
		}
	}
	if p.Subject.User != "" {
		what += ", as user " + p.Subject.User
	}
	return report.Clean(what, 200)
}

// attachment is a profile as it is shared. The same profile gives the same bytes.
func attachment(p *usage.Profile, to image.RemoteImage) (image.Attachment, error) {
	shared, err := withoutSecrets(p)
	if err != nil {
		return image.Attachment{}, err
	}
	data, err := shared.Marshal()
	if err != nil {
		return image.Attachment{}, err
	}
	var small bytes.Buffer
	if err := json.Compact(&small, data); err != nil {
		return image.Attachment{}, err
	}
	line, err := storedLine(shared.Subject.Command)
	if err != nil {
		return image.Attachment{}, err
	}
	command := line.Command
	if entrypoint, ok := line.Entrypoint(); ok {
		command = append([]string{entrypoint}, command...)
	}
	notes := map[string]string{
		annotationCreated:  p.Created.UTC().Format(time.RFC3339),
		annotationCommand:  report.Clean(cli.Quote(command), 1000),
		annotationUser:     report.Clean(line.User(), 200),
		annotationRequired: strings.Join(p.Required.Docker(), ","),
		annotationImage:    to.ID,
	}
	return image.Attachment{Type: artifactType, Annotations: notes, Data: small.Bytes()}, nil
}

// withoutSecrets is a copy in which the command lines name environment variables and
// do not say their values.
func withoutSecrets(p *usage.Profile) (*usage.Profile, error) {
	out := *p
	out.Origin = nil
	var err error
	redact := func(words []string) []string {
		if len(words) == 0 {
			return words
		}
		line, perr := storedLine(words)
		if perr != nil {
			err = cmp.Or(err, fmt.Errorf("its command line: %w", perr))
			return nil
		}
		safe := line.WithoutValues()
		if ownLine(words) {
			safe[0] = words[0]
		}
		return safe
	}
	out.Subject.Command = redact(p.Subject.Command)
	out.Use.Command = redact(p.Use.Command)
	out.Merged = slices.Clone(p.Merged)
	for i := range out.Merged {
		out.Merged[i].Subject.Command = redact(out.Merged[i].Subject.Command)
	}
	out.Notes = slices.Clone(p.Notes)
	for i, n := range out.Notes {
		// A merged profile's note quotes them.
		if what, _, ok := strings.Cut(n, ": "); ok && what == "command lines differ" {
			out.Notes[i] = what
		}
	}
	return &out, err
}

type pullFlags struct {
	output, referrer, platform string
	force                      bool
}

func newProfilePull(stdout, stderr io.Writer) *cobra.Command {
	var f pullFlags
	cmd := &cobra.Command{
		Use:   "pull [flags] REF",
		Short: "Fetch the profiles that are attached to an image in its registry",
		Long: `Fetch the profiles that are attached to an image in its registry, and keep them for
leastcap run, which finds them by the image's digest. Of several for the same
command and user the newest is taken. One that was learned here stays, without
--force.

This trusts those who can push to the image's repository: what their profiles
recommend is what leastcap run then gives. It is printed, and leastcap run --explain
says where it came from. Digests are verified; a profile of another image, of another
version or that is not proven is left out, with a warning. At most 100 are read, of
at most 1 MiB each. The credentials are those of docker login and podman login.

Exit status:
  0  pulled
  1  none is attached, or one of those that are could not be taken
  2  wrong usage
  3  the registry could not be asked, or a profile cannot be written`,
		Example: `  leastcap profile pull registry.example.com/web:1.4
  leastcap profile pull --output - registry.example.com/web:1.4 | leastcap profile show -`,
		DisableFlagsInUseLine: true,
		Args:                  oneRef("leastcap profile pull REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), stdout, stderr, args[0], cmd.Flags().Changed("output"))
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.output, "output", "", "write the profile to this file, - for standard output, and do not keep it")
	fl.StringVar(&f.referrer, "referrer", "", "take only the one with this digest (or its beginning)")
	platformFlag(cmd, &f.platform)
	fl.BoolVar(&f.force, "force", false, "take also what is not proven or of another image, and replace what was learned here")
	return cmd
}

func (f *pullFlags) run(ctx context.Context, stdout, stderr io.Writer, ref string, toFile bool) error {
	if err := checkPlatform(f.platform); err != nil {
		return err
	}
	if toFile && f.output != "-" {
		if err := (&learnFlags{profile: f.output}).validateProfile(); err != nil {
			var use *usageError
			if errors.As(err, &use) {
				return &usageError{errors.New(strings.Replace(use.Error(), "--profile", "--output", 1)), use.hint}
			}
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	found, whole, err := f.fetch(ctx, stderr, ref)
	if err != nil {
		return err
	}
	switch {
	case len(found) == 0 && f.referrer != "":
		say(stderr, "no profile with the digest %s is attached to %s", f.referrer, ref)
		return status(exitFindings)
	case len(found) == 0 && whole:
		say(stderr, "no profile is attached to %s", ref)
		return status(exitFindings)
	case len(found) == 0:
		return status(exitFindings) // it has been said
	case toFile && len(found) > 1:
		var list []string
		for _, p := range found {
			list = append(list, fmt.Sprintf("%.19s: %s", p.Origin.Digest, workload(p.Profile)))
		}
		return &usageError{fmt.Errorf("%d profiles are attached to %s:\n  %s", len(found), ref, strings.Join(list, "\n  ")), "name one with --referrer, or leave --output out to keep them all"}
	case toFile && f.output == "-":
		err = report.JSON(stdout, found[0].Profile)
	case toFile:
		err = writeFile(f.output, found[0].Profile)
	default:
		var kept []stored
		if kept, err = keep(stderr, found, f.force); err == nil {
			err = listText(stdout, kept)
		}
	}
	if err == nil && !whole {
		return status(exitFindings)
	}
	return err
}

// fetched is a profile that was attached to an image.
type fetched struct {
	*usage.Profile
	line *cli.Line
	ids  []string // of the image it is kept for, the configuration's first
}

// fetch gives the newest profile of each command and user. whole is false if
// something was left out, which has been said then.
func (f *pullFlags) fetch(ctx context.Context, stderr io.Writer, ref string) (out []fetched, whole bool, err error) {
	m, err := image.Resolve(ctx, ref, f.platform)
	if err != nil {
		return nil, false, err
	}
	list, unread, err := m.Attached(ctx, artifactType)
	if err != nil {
		return nil, false, err
	}
	for _, u := range unread {
		say(stderr, "warning: %.19s is left out: %v", u.Digest, u.Err)
	}
	left := len(unread)
	type candidate struct {
		fetched
		created time.Time
	}
	newest := map[string]candidate{}
	var order []string
	for _, a := range list {
		if !strings.HasPrefix(a.Digest, f.referrer) && !strings.HasPrefix(a.Digest, "sha256:"+f.referrer) {
			continue
		}
		p, err := f.take(m, a)
		if err != nil {
			say(stderr, "warning: %.19s is left out: %v", a.Digest, err)
			left++
			continue
		}
		c := candidate{*p, p.Created}
		if t, err := time.Parse(time.RFC3339, a.Annotations[annotationCreated]); err == nil {
			c.created = t
		}
		key := storeFile("", p.ids[0], p.line)
		old, ok := newest[key]
		if !ok {
			order = append(order, key)
			newest[key] = c
			continue
		}
		if c.created.After(old.created) {
			c, old = old, c
			newest[key] = old
		}
		say(stderr, "%.19s (%s) is older than %.19s (%s) of the same command and user; the newer one is taken", c.Origin.Digest, c.created.UTC().Format(time.DateTime), old.Origin.Digest, old.created.UTC().Format(time.DateTime))
	}
	for _, key := range order {
		out = append(out, newest[key].fetched)
	}
	return out, left == 0, nil
}

// take reads one. It is a stranger's: nothing that it names is run or opened.
func (f *pullFlags) take(m *image.Remote, a image.Attachment) (*fetched, error) {
	p, err := usage.Parse(a.Data)
	if err != nil {
		return nil, err
	}
	if p.Subject.Kind != "container" {
		return nil, errors.New("it is not a container's profile")
	}
	line, err := storedLine(p.Subject.Command)
	if err != nil {
		return nil, fmt.Errorf("its command line: %w", err)
	}
	target := a.Image
	own := fitting(m, p)
	if a.Image.Digest == m.Digest && own != nil {
		target = *own // it refers to the index
	}
	fits := own != nil && own.Digest == target.Digest
	switch {
	case f.force:
	case !fits:
		return nil, fmt.Errorf("it was learned from another image (%s, id %.19s) than this one (id %.19s); --force takes it", p.Subject.Image, p.Subject.ImageID, target.ID)
	case !p.Proven || !p.Complete:
		return nil, errors.New("it is not proven, or not complete; --force takes it")
	}
	ids := []string{target.ID, target.Digest}
	if target.Digest != m.Digest {
		ids = append(ids, m.Digest)
	}
	p.Origin = &usage.Origin{Reference: m.Ref, Digest: a.Digest, Pulled: time.Now().UTC().Truncate(time.Second)}
	if fits {
		p.Origin.Images = ids
	}
	return &fetched{p, line, ids}, nil
}

// keep puts profiles into the store, and gives what is there then.
func keep(stderr io.Writer, found []fetched, force bool) ([]stored, error) {
	dir, err := storeDir()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	var out []stored
	for _, p := range found {
		file := storeFile(dir, p.ids[0], p.line)
		if old := localOnly(dir, p); old != "" && !force {
			say(stderr, "%s (%s) was learned here and stays; --force replaces it", old, workload(p.Profile))
			continue
		}
		if err := writeFile(file, p.Profile); err != nil {
			return nil, err
		}
		for _, id := range p.ids[1:] {
			if err := alias(file, storeFile(dir, id, p.line)); err != nil {
				return nil, err
			}
		}
		extra, err := beyondDefault(p.Profile)
		if err != nil {
			return nil, err
		}
		if extra != "" {
			say(stderr, "warning: %.19s (%s) gives %s, which an engine does not by default", p.Origin.Digest, workload(p.Profile), extra)
		}
		out = append(out, stored{ID: storeID(file), File: file, Profile: p.Profile})
	}
	return out, nil
}

// localOnly names the file of the same workload if it was learned here.
func localOnly(dir string, p fetched) string {
	for _, id := range p.ids {
		file := storeFile(dir, id, p.line)
		if old, err := readProfile(nil, file); err == nil && old.Origin == nil {
			return file
		}
	}
	return ""
}

// alias makes a profile known by another of its image's ids.
func alias(file, name string) error {
	err := os.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Symlink(filepath.Base(file), name)
	}
	if err != nil {
		return fmt.Errorf("keep the profile: %w", err)
	}
	return nil
}

// beyondDefault names what Docker does not give by itself.
func beyondDefault(p *usage.Profile) (string, error) {
	docker, err := rules.For("docker")
	if err != nil {
		return "", err
	}
	result, err := docker.Apply(rules.Request{})
	if err != nil {
		return "", err
	}
	if extra := p.Recommended.Minus(result.Set); !extra.Empty() {
		return extra.String(), nil
	}
	return "", nil
}

// pullForRun looks for a profile in the registry of a local image, if none is kept.
func pullForRun(ctx context.Context, stderr io.Writer, line *cli.Line, img *localImage) error {
	if file, err := saved(img.ID, line); err != nil || file != "" {
		return err
	}
	ref := fromRegistry(line.Image, img.RepoDigests)
	if ref == "" {
		say(stderr, "warning: no profile is pulled: image %s came from no registry", line.Image)
		return nil
	}
	var f pullFlags
	if img.Os != "" && img.Architecture != "" {
		f.platform = img.Os + "/" + img.Architecture
	}
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	found, _, err := f.fetch(ctx, stderr, ref)
	if err != nil {
		return err
	}
	kept, err := keep(stderr, found, false)
	if err != nil {
		return err
	}
	file, err := saved(img.ID, line)
	switch {
	case err != nil:
		return err
	case file == "":
		say(stderr, "the registry of %s has no profile for this command and user (pulled for others: %d)", ref, len(kept))
	}
	for _, k := range kept {
		if k.File == file {
			say(stderr, "pulled from the registry of %s: gives %s", ref, k.Recommended)
		}
	}
	return nil
}

// fromRegistry chooses among NAME@DIGEST the one that the user named.
func fromRegistry(named string, digests []string) string {
	for _, d := range digests {
		if repo, _, ok := strings.Cut(d, "@"); ok && (named == repo || strings.HasPrefix(named, repo+":") || strings.HasPrefix(named, repo+"@")) {
			return d
		}
	}
	if len(digests) > 0 {
		return digests[0]
	}
	return ""
}
