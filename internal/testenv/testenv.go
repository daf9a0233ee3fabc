// Package testenv says what a test needs from the machine, and gives tests the
// leastcap command.
//
// A test whose need is not met is skipped where that may be (a developer's
// laptop) and fails where everything should be there: with LEASTCAP_TEST=1, as
// in "make test", or on Linux with CI=true. So a skip cannot rot.
package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Requirement is one thing that a test may need.
type Requirement struct {
	name string
	// check returns nil, or why the requirement is not met and what to do.
	check func() error
}

// Root is user id 0.
var Root = Requirement{"root", func() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("user id is %d; run the test as root", os.Geteuid())
	}
	return nil
}}

// BPF is a kernel that describes its own types, and the right to load programs.
var BPF = Requirement{"BPF", func() error {
	if err := Root.check(); err != nil {
		return err
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return fmt.Errorf("the kernel has no BTF: %w", err)
	}
	return nil
}}

// Docker is a Docker Engine that answers.
var Docker = Requirement{"Docker", sync.OnceValue(func() error {
	if err := docker("info", "--format", "{{.ServerVersion}}"); err != nil {
		return fmt.Errorf("%w; run scripts/setup.sh and scripts/docker-up.sh", err)
	}
	return nil
})}

// Image is a Docker image that is there, such as "leastcap-test/services".
func Image(name string) Requirement {
	return Requirement{"image " + name, func() error {
		if err := Docker.check(); err != nil {
			return err
		}
		if err := docker("image", "inspect", "--format", "{{.Id}}", name); err != nil {
			return fmt.Errorf("%w; run scripts/test-image.sh %s", err, name)
		}
		return nil
	}}
}

// Command is a program in PATH, such as the outside tool that a test compares
// with.
func Command(name string) Requirement {
	return Requirement{"command " + name, func() error {
		_, err := exec.LookPath(name)
		return err
	}}
}

// Feature is something that a kernel or a machine may lack. check says what is missing.
func Feature(name string, check func() error) Requirement { return Requirement{name, check} }

// File is a file of the system that is there, such as a kernel header.
func File(name string) Requirement {
	return Requirement{"file " + name, func() error {
		_, err := os.Stat(name)
		return err
	}}
}

// Need skips or fails the test, as the package comment says, unless every
// requirement is met.
func Need(t testing.TB, what ...Requirement) {
	t.Helper()
	var missing []string
	for _, r := range what {
		if err := r.check(); err != nil {
			missing = append(missing, fmt.Sprintf("%s (%v)", r.name, err))
		}
	}
	if len(missing) == 0 {
		return
	}
	msg := "this test needs " + strings.Join(missing, ", ")
	if strict(runtime.GOOS, os.Getenv) {
		t.Fatalf("%s; nothing may be skipped here (LEASTCAP_TEST or CI is set)", msg)
	} else {
		t.Skip(msg)
	}
}

// LoadImage gives an image of the Docker Engine to another engine, whose command line is
// that of docker, such as "podman".
func LoadImage(t testing.TB, name string, engine ...string) {
	t.Helper()
	save := exec.Command("docker", "save", name)
	load := exec.Command(engine[0], append(slices.Clone(engine[1:]), "load")...)
	pipe, err := save.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	load.Stdin, load.Stdout, load.Stderr = pipe, &said, &said
	if err := errors.Join(save.Start(), load.Start()); err != nil {
		t.Fatal(err)
	}
	pipe.Close() // load has its own: a save that nobody reads has to end
	if err := errors.Join(load.Wait(), save.Wait()); err != nil {
		t.Fatalf("%v | %v: %v: %s", save, load, err, &said)
	}
}

// strict reports whether a missing requirement is a failure. LEASTCAP_TEST
// decides; unset, continuous integration on Linux has to have everything, and
// on another system it cannot.
func strict(goos string, getenv func(string) string) bool {
	switch getenv("LEASTCAP_TEST") {
	case "":
		return goos == "linux" && getenv("CI") == "true"
	case "0":
		return false
	default:
		return true
	}
}

// docker runs the client, and returns what it complains of.
func docker(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("docker does not answer within a minute")
	case stderr.Len() > 0:
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return errors.New(first)
	default:
		return fmt.Errorf("docker %s: %w", args[0], err)
	}
}
