//go:build unix

// Package debian fetches packages of any of Debian's suites, and unpacks them without
// installing them.
//
// apt does it, with directories of its own: what the machine's apt knows and
// has is not touched. The source is the machine's own with another suite's name.
package debian

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

// stale is the age at which a suite's index is fetched again.
const stale = 7 * 24 * time.Hour

// CacheDir is where downloads stay: a package is fetched once for each build of it.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for downloaded packages: %w", err)
	}
	dir = filepath.Join(dir, "leastcap-test")
	return dir, os.MkdirAll(dir, 0o755)
}

// Suite is one of Debian's, with an index that is looked at anew once a week.
type Suite struct {
	cache string
	apt   *apt
	close func()
}

// Open prepares a suite for this process alone, until it is closed.
func Open(ctx context.Context, name string) (*Suite, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(cache, name+".lock"))
	if err != nil {
		return nil, err
	}
	a, err := newApt(filepath.Join(cache, "apt", name), name)
	if err == nil {
		err = a.update(ctx)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return &Suite{cache, a, unlock}, nil
}

// Close lets other processes have it.
func (s *Suite) Close() { s.close() }

// Show is what the suite's index says of a package.
func (s *Suite) Show(ctx context.Context, name string) (Description, error) {
	text, err := s.apt.run(ctx, "apt-cache", "--no-all-versions", "show", name)
	return Description(text), err
}

// Description is of one package: deb-control(5).
type Description string

// Field is what stands behind a name; "" if it is not there.
func (d Description) Field(name string) string {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `: (.*)$`).FindStringSubmatch(string(d))
	if m == nil {
		return ""
	}
	return m[1]
}

// Unpack fetches packages and gives the directory with the files of all of them. The
// first one's version tells one build from the other.
func (s *Suite) Unpack(ctx context.Context, version string, names ...string) (dir string, err error) {
	dir = filepath.Join(s.cache, fmt.Sprintf("%s_%s", names[0], strings.ReplaceAll(version, ":", "%3a")))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, s.apt.unpack(ctx, names, dir)
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
		return "", "", errors.New("packages come from Debian's archive by apt, and this is not Debian")
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
