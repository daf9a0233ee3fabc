package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/proc"
)

// engineFound is a container engine, and whether it answers.
type engineFound struct {
	name      string
	installed bool
	version   string
	kernel    string // that its containers run on
	system    string
	elsewhere bool // not this one
	err       error
	hint      string
}

func (e engineFound) text() string {
	switch {
	case !e.installed:
		return "not installed"
	case e.err != nil:
		return fmt.Sprintf("does not answer: %v", e.err)
	case e.elsewhere:
		return fmt.Sprintf("%s, but its containers run on another kernel (%s, %s): nothing of them is seen", e.version, e.kernel, e.system)
	}
	return e.version + ", answers"
}

// engineCommands asks each engine for its version and its kernel: docker-info(1),
// podman-info(1), and nerdctl's info, which is docker's.
var engineCommands = []struct {
	name   string
	format string
	hint   string
}{
	{"docker", "{{.ServerVersion}}\t{{.KernelVersion}}\t{{.OperatingSystem}}", "start dockerd (systemctl start docker), or join the group docker"},
	{"podman", "{{.Version.Version}}\t{{.Host.Kernel}}\t{{.Host.Distribution.Distribution}}", "podman info says why"},
	{"nerdctl", "{{.ServerVersion}}\t{{.KernelVersion}}\t{{.OperatingSystem}}", "start containerd, or run leastcap as root"},
}

// answerTimeout is how long an engine may take to answer.
const answerTimeout = 10 * time.Second

func engines(ctx context.Context) []engineFound {
	found := make([]engineFound, len(engineCommands))
	var wg sync.WaitGroup
	for i, c := range engineCommands {
		wg.Go(func() {
			found[i] = engineFound{name: c.name, hint: c.hint}
			path, err := exec.LookPath(c.name)
			if err != nil {
				found[i].err = err
				return
			}
			found[i].installed = true
			found[i].ask(ctx, path, c.format)
		})
	}
	wg.Wait()
	return found
}

func (e *engineFound) ask(ctx context.Context, path, format string) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "info", "--format", format)
	cmd.WaitDelay = time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	f := strings.Split(strings.TrimSpace(string(out)), "\t")
	// docker info exits 0 without a server (until 23.0), and says so on stderr.
	if err == nil && (len(f) != 3 || f[0] == "") {
		err = errors.New("no answer")
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("not within %v", answerTimeout)
		} else if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); lines[len(lines)-1] != "" {
			err = errors.New(strings.TrimPrefix(lines[len(lines)-1], "ERROR: ")) // warnings come first
		}
		e.err = err
		if os.Geteuid() != 0 && strings.Contains(stderr.String(), "permission denied") {
			e.hint = "join its group, or run leastcap as root"
		}
		return
	}
	e.version, e.kernel, e.system = f[0], f[1], f[2]
	e.elsewhere = e.kernel != proc.Kernel()
}
