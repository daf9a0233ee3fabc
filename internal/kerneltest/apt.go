//go:build linux

package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Image is a kernel that was fetched.
type Image struct {
	Kernel
	Version string // of the package
	Release string // as uname -r says
	Vmlinuz string // path
	modules string // directory
}

// stale is the age at which a suite's index is fetched again.
const stale = 7 * 24 * time.Hour

// Fetch downloads a kernel, or finds it in the cache. The index of its suite is
// looked at anew once a week.
//
// apt does it, with directories of its own: what the machine's apt knows and
// has is not touched. The source is the machine's own with another suite's name.
func (k Kernel) Fetch(ctx context.Context) (*Image, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(cache, k.Suite+".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	a, err := newApt(filepath.Join(cache, "apt", k.Suite), k.Suite)
	if err != nil {
		return nil, err
	}
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	names, version, err := a.packages(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, fmt.Sprintf("%s_%s", names[0], strings.ReplaceAll(version, ":", "%3a")))
	if _, err := os.Stat(dir); err != nil {
		if err := a.unpack(ctx, names, dir); err != nil {
			return nil, err
		}
	}
	return imageIn(k, dir, version)
}

// FetchTool downloads a package of the machine's own suite, which the machine does not
// have to have, and gives the path of a file of it.
func FetchTool(ctx context.Context, name, file string) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	const suite = "bookworm"
	unlock, err := lock(filepath.Join(cache, suite+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(cache, suite+"_"+name)
	if _, err := os.Stat(dir); err != nil {
		a, err := newApt(filepath.Join(cache, "apt", suite), suite)
		if err != nil {
			return "", err
		}
		if err := a.update(ctx); err != nil {
			return "", err
		}
		if err := a.unpack(ctx, []string{name}, dir); err != nil {
			return "", err
		}
	}
	path := filepath.Join(dir, file)
	_, err = os.Stat(path)
	return path, err
}

func imageIn(k Kernel, dir, version string) (*Image, error) {
	img := &Image{Kernel: k, Version: version}
	for _, pattern := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) == 1 {
			img.Vmlinuz = found[0]
		}
	}
	for _, pattern := range []string{"lib/modules/*", "usr/lib/modules/*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) == 1 {
			img.modules, img.Release = found[0], filepath.Base(found[0])
		}
	}
	if img.Vmlinuz == "" || img.modules == "" {
		return nil, fmt.Errorf("%s holds no kernel with its modules", dir)
	}
	return img, nil
}

// module finds a module's file, by its name without the ending.
func (i *Image) module(name string) (string, error) {
	file := regexp.MustCompile(`^` + regexp.QuoteMeta(name) + `\.ko(\.[a-z]+)?$`)
	var found string
	err := filepath.WalkDir(i.modules, func(path string, d os.DirEntry, err error) error {
		if err == nil && file.MatchString(d.Name()) {
			found = path
			return filepath.SkipAll
		}
		return err
	})
	if err == nil && found == "" {
		err = fmt.Errorf("kernel %s has no module %s", i.Release, name)
	}
	return found, err
}

// apt is apt-get with one source and its own state, in dir.
type apt struct {
	dir  string
	args []string
}

func newApt(dir, suite string) (*apt, error) {
	for _, d := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	uri, keyring, err := source()
	if err != nil {
		return nil, err
	}
	list := filepath.Join(dir, "sources.list")
	line := fmt.Sprintf("deb [%s] %s %s main\n", keyring, uri, suite)
	if old, err := os.ReadFile(list); err != nil || string(old) != line {
		if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
			return nil, err
		}
		// The index is another source's: as if it had never been fetched.
		if err := os.Remove(filepath.Join(dir, "updated")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	a := &apt{dir: dir}
	for _, o := range []string{
		"Dir::Etc::sourcelist=" + list, "Dir::Etc::sourceparts=-", "Dir::State::lists=" + filepath.Join(dir, "lists"),
		"Dir::Cache::archives=" + filepath.Join(dir, "archives"), "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=",
		"APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::Retries=3",
		// What is told to a desktop at an update is no business of ours.
		"APT::Update::Post-Invoke-Success::=true", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	} {
		a.args = append(a.args, "-o", o)
	}
	return a, nil
}

// source is where this machine has the main archive from, and the keyring.
func source() (uri, keyring string, err error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", "", err
	}
	m := regexp.MustCompile(`(?m)^VERSION_CODENAME="?([a-z]+)`).FindSubmatch(release)
	if m == nil || !regexp.MustCompile(`(?m)^ID=debian$`).Match(release) {
		return "", "", errors.New("kernels come from Debian's archive by apt, and this is not Debian")
	}
	out, err := output(exec.Command("apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"))
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == string(m[1]) && f[1] == "main" {
			return f[2], "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg", nil
		}
	}
	return "", "", fmt.Errorf("apt has no source with Debian's %s main", m[1])
}

func (a *apt) run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, slices.Concat(a.args, args)...)
	cmd.Dir = filepath.Join(a.dir, "archives")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return output(cmd)
}

func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, e.Stderr)
	}
	return string(out), err
}

func (a *apt) update(ctx context.Context) error {
	stamp := filepath.Join(a.dir, "updated")
	if st, err := os.Stat(stamp); err == nil && time.Since(st.ModTime()) < stale {
		return nil
	}
	if _, err := a.run(ctx, "apt-get", "-qq", "--error-on=any", "update"); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

var field = func(name string) *regexp.Regexp { return regexp.MustCompile(`(?m)^` + name + `: (.*)$`) }

// packages are those that hold the suite's kernel: the image first, and since
// Linux 7 those that it was divided into.
func (a *apt) packages(ctx context.Context) (names []string, version string, err error) {
	meta, err := a.run(ctx, "apt-cache", "--no-all-versions", "show", metaPackage)
	if err != nil {
		return nil, "", err
	}
	image := regexp.MustCompile(`linux-image-[0-9][^ ,(]*`).FindString(strings.Join(field("Depends").FindStringSubmatch(meta), " "))
	if image == "" {
		return nil, "", fmt.Errorf("%s depends on no kernel:\n%s", metaPackage, meta)
	}
	text, err := a.run(ctx, "apt-cache", "--no-all-versions", "show", image)
	if err != nil {
		return nil, "", err
	}
	v := field("Version").FindStringSubmatch(text)
	if v == nil {
		return nil, "", fmt.Errorf("%s has no version:\n%s", image, text)
	}
	names = []string{image}
	release := strings.TrimPrefix(image, "linux-image-")
	for _, d := range strings.Split(strings.Join(field("Depends").FindStringSubmatch(text)[1:], ""), ", ") {
		if name, _, _ := strings.Cut(d, " "); strings.HasPrefix(name, "linux-") && strings.HasSuffix(name, "-"+release) {
			names = append(names, name)
		}
	}
	return names, v[1], nil
}

// unpack fetches packages and puts their files into dir, all or nothing.
func (a *apt) unpack(ctx context.Context, names []string, dir string) error {
	if _, err := a.run(ctx, "apt-get", append([]string{"-qq", "download"}, names...)...); err != nil {
		return err
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "archives", "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := output(exec.CommandContext(ctx, "dpkg-deb", "-x", deb, part)); err != nil {
			return err
		}
		if err := os.Remove(deb); err != nil {
			return err
		}
	}
	return os.Rename(part, dir)
}

// lock keeps other processes away until unlock is called.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
