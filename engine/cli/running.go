package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/line"
)

// Describe asks the installed engines about containers by their ids, all engines at
// once. An engine that does not know an id says nothing of it; one that has not
// answered when ctx ends, or whose daemon failed, is named in the error, beside what the
// others said.
func Describe(ctx context.Context, ids []string) (map[string]engine.Running, error) {
	found := make(map[string]engine.Running)
	if len(ids) == 0 {
		return found, nil
	}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		errs []error
	)
	for _, name := range line.Engines() {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		wg.Go(func() {
			list, err := describe(ctx, name, ids)
			mu.Lock()
			defer mu.Unlock()
			for _, r := range list {
				// Docker's client may speak with Podman, which then answers twice.
				if _, known := found[r.ID]; !known || r.Engine == "podman" {
					found[r.ID] = r
				}
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s inspect: %w", name, err))
			}
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

// waitDelay is how long what an engine printed is waited for after its end. Nothing but a child
// of its that lives on takes as long, and a machine that stands still just then: what would be
// lost is the answer.
const waitDelay = time.Second

// describe: docker inspect, and the others', which follow it, exit with an error if
// one of several is not theirs, and print those that are.
func describe(ctx context.Context, name string, ids []string) ([]engine.Running, error) {
	cmd := exec.CommandContext(ctx, name, slices.Concat([]string{"container", "inspect"}, ids)...)
	cmd.WaitDelay = waitDelay
	out, failed := cmd.Output()
	if ctx.Err() != nil {
		return nil, errors.New("no answer in time")
	}
	var err error
	if exit := (*exec.ExitError)(nil); errors.As(failed, &exit) {
		err = daemonError(string(exit.Stderr))
	}
	var answer []struct {
		ID        string `json:"Id"`
		Name      string
		Image     string // an id; nerdctl's is the name
		ImageName string // Podman's; there Image is an id in Config too
		Config    struct {
			Image string
			User  string
		}
		HostConfig struct {
			CapAdd     json.RawMessage // nerdctl has nothing of capabilities here
			CapDrop    []string
			Privileged bool
		}
	}
	if len(out) == 0 || json.Unmarshal(out, &answer) != nil {
		return nil, err // without one the engine does not run, or it is another engine's
	}
	var list []engine.Running
	for _, a := range answer {
		image := cmp.Or(a.ImageName, a.Config.Image)
		if image == "" && !isImageID(a.Image) {
			image = a.Image
		}
		r := engine.Running{Engine: name, ID: a.ID, Name: strings.TrimPrefix(a.Name, "/"), Image: image, User: a.Config.User}
		if a.ImageName != "" { // which only Podman has (libpod/define/container_inspect.go): docker is a name for it here
			r.Engine = "podman"
		}
		if add := a.HostConfig.CapAdd; add != nil {
			r.Told = json.Unmarshal(add, &r.CapAdd) == nil
			r.CapDrop, r.Privileged = a.HostConfig.CapDrop, a.HostConfig.Privileged
		}
		list = append(list, r)
	}
	return list, err
}

// daemonError is what Docker's client, which says why for each container, quotes its daemon
// with (moby client/request.go), unless that only says that it has no such container.
func daemonError(stderr string) error {
	for line := range strings.Lines(stderr) {
		if _, says, ok := strings.Cut(line, "Error response from daemon: "); ok && !strings.Contains(strings.ToLower(says), "no such ") {
			return errors.New(strings.TrimSpace(says))
		}
	}
	return nil
}
