// Package images builds the images of the truth bench from Debian's packages.
//go:build unix

package images

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/leastcap/leastcap/bench/truth"
)

// suite is Debian's, and always what every image has beside the workloads'
// packages.
const suite = "bookworm"

var always = []string{"curl", "procps", "libcap2-bin", "iproute2"}

// options leave manuals out: half the files, a third of the time.
var options = []string{
	"--variant=minbase",
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
}

const recipeLabel = "leastcap-test.recipe"

// Build makes the shared image, with the packages of the whole corpus, and
// those of the given workloads, as far as they are missing or out of date.
func Build(ctx context.Context, ws []*truth.Workload, progress io.Writer) error {
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	all, err := truth.Workloads()
	if err != nil {
		return err
	}
	packages := slices.Clone(always)
	for _, w := range all {
		packages = append(packages, w.Packages...)
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	b := &builder{progress: progress}
	if err := b.shared(ctx, packages); err != nil {
		return fmt.Errorf("image %s: %w", truth.SharedImage, err)
	}
	for _, w := range ws {
		if w.Image() == truth.SharedImage {
			continue
		}
		if err := b.workload(ctx, w); err != nil {
			return fmt.Errorf("image of the workload %s: %w", w.Name, err)
		}
	}
	return nil
}

// lock keeps two builds from doing the work twice.
func lock() (unlock func(), err error) {
	dir := filepath.Join(cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), "/run"), "leastcap-test") // scripts/test-image.sh's, too
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("only root can build the images: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "truth.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

type builder struct{ progress io.Writer }

// current says whether an image is there and was made by this recipe.
func (b *builder) current(ctx context.Context, image, recipe string) bool {
	out, err := exec.CommandContext(ctx, "docker", "image", "inspect", "-f", fmt.Sprintf("{{index .Config.Labels %q}}", recipeLabel), image).Output()
	return err == nil && strings.TrimSpace(string(out)) == recipe
}

func hash(parts ...string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, "\x00"))))[:16]
}

func (b *builder) shared(ctx context.Context, packages []string) error {
	recipe := hash(slices.Concat([]string{"2", suite}, packages, options)...)
	if b.current(ctx, truth.SharedImage, recipe) {
		return nil
	}
	began := time.Now()
	fmt.Fprintf(b.progress, "truth: building %s: %d packages and what they need\n", truth.SharedImage, len(packages))
	work, err := os.MkdirTemp("", "leastcap-truth-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil { // mmdebstrap and apt drop root within it
		return err
	}
	tar := filepath.Join(work, "shared.tar")
	// In a mount namespace of its own: a build that is killed leaves a directory, but none
	// of the machine's file systems mounted in it for an rm -r to go through.
	args := slices.Concat([]string{"--mount", "--propagation", "private", "mmdebstrap", "--quiet"}, options, []string{"--include=" + strings.Join(packages, ","), suite, tar}, sources(ctx))
	if err := run(ctx, "unshare", args...); err != nil {
		return err
	}
	if err := run(ctx, "docker", "import", "--change", "LABEL "+recipeLabel+"="+recipe, tar, truth.SharedImage); err != nil {
		return err
	}
	fmt.Fprintf(b.progress, "truth: built %s in %v\n", truth.SharedImage, time.Since(began).Round(time.Second))
	return nil
}

var debLine = regexp.MustCompile(`^(deb \S+ ` + suite + `[a-z-]* main) \| Debian$`)

// sources are this machine's own lines of sources.list for the suite, so that
// its mirror is used; nil, which leaves it to mmdebstrap, if it has none.
func sources(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format",
		"deb $(REPO_URI) $(RELEASE) $(COMPONENT) | $(ORIGIN)", "Created-By: Packages").Output()
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if m := debLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil && !slices.Contains(lines, m[1]) {
			lines = append(lines, m[1])
		}
	}
	// Updates without the suite itself are of no use.
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, " "+suite+" main") }) {
		return nil
	}
	return lines
}

// buildCaps are what a build may need beyond Docker's default.
var buildCaps = []string{"--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN"}

func (b *builder) workload(ctx context.Context, w *truth.Workload) (err error) {
	id, err := exec.CommandContext(ctx, "docker", "image", "inspect", "-f", "{{.Id}}", truth.SharedImage).Output()
	if err != nil {
		return err
	}
	recipe := hash(slices.Concat([]string{"3", string(id), w.Build}, w.Changes)...)
	if b.current(ctx, w.Image(), recipe) {
		return nil
	}
	name := fmt.Sprintf("leastcap-truth-build-%d", os.Getpid())
	args := slices.Concat([]string{"create", "--name", name}, buildCaps, []string{truth.SharedImage, "sh", "-e", "-c", w.Build})
	if err := run(ctx, "docker", args...); err != nil {
		return err
	}
	defer func() {
		if rerr := run(context.WithoutCancel(ctx), "docker", "rm", "-f", "-v", name); err == nil {
			err = rerr
		}
	}()
	if err := run(ctx, "docker", "start", "-a", name); err != nil {
		return err
	}
	commit := []string{"commit", "--change", "CMD []", "--change", "LABEL " + recipeLabel + "=" + recipe}
	for _, c := range w.Changes {
		commit = append(commit, "--change", c)
	}
	return run(ctx, "docker", append(commit, name, w.Image())...)
}

// run says what the command printed last if it fails.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("%s: %w\n%s", name, err, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return nil
}
