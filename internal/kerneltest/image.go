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
	"strings"

	"github.com/leastcap/leastcap/internal/debian"
)

// Image is a kernel that was fetched.
type Image struct {
	Kernel
	Version string // of the package
	Release string // as uname -r says
	Vmlinuz string // path
	modules string // directory
}

// Fetch downloads a kernel, or finds it in the cache.
func (k Kernel) Fetch(ctx context.Context) (*Image, error) {
	suite, err := debian.Open(ctx, k.Suite)
	if err != nil {
		return nil, err
	}
	defer suite.Close()
	names, version, err := packages(ctx, suite)
	if err != nil {
		return nil, err
	}
	dir, err := suite.Unpack(ctx, version, names...)
	if err != nil {
		return nil, err
	}
	return imageIn(k, dir, version)
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

// packages are those that hold the suite's kernel: the image first, and since
// Linux 7 those that it was divided into.
func packages(ctx context.Context, suite *debian.Suite) (names []string, version string, err error) {
	meta, err := suite.Show(ctx, metaPackage)
	if err != nil {
		return nil, "", err
	}
	image := regexp.MustCompile(`linux-image-[0-9][^ ,(]*`).FindString(meta.Field("Depends"))
	if image == "" {
		return nil, "", fmt.Errorf("%s depends on no kernel:\n%s", metaPackage, meta)
	}
	about, err := suite.Show(ctx, image)
	if err != nil {
		return nil, "", err
	}
	if version = about.Field("Version"); version == "" {
		return nil, "", fmt.Errorf("%s has no version:\n%s", image, about)
	}
	names = []string{image}
	release := strings.TrimPrefix(image, "linux-image-")
	for d := range strings.SplitSeq(about.Field("Depends"), ", ") {
		if name, _, _ := strings.Cut(d, " "); strings.HasPrefix(name, "linux-") && strings.HasSuffix(name, "-"+release) {
			names = append(names, name)
		}
	}
	return names, version, nil
}

func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, e.Stderr)
	}
	return string(out), err
}
