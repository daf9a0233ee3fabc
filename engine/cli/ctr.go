package cli

import (
	"context"
	"os/exec"
	"path"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/engine"
)

// NameImages asks containerds, by ctr, for the images of their containers that lack them:
// a bundle has an image's name only from Kubernetes. What cannot be had is left out.
func NameImages(ctx context.Context, found map[string]engine.Running) {
	type place struct{ address, namespace string }
	lack := make(map[place][]string)
	for id, r := range found {
		if r.Image == "" && r.Namespace != "" && r.Address != "" {
			at := place{r.Address, r.Namespace}
			lack[at] = append(lack[at], id)
		}
	}
	if _, err := exec.LookPath("ctr"); err != nil {
		return
	}
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for at, ids := range lack {
		wg.Go(func() {
			cmd := exec.CommandContext(ctx, "ctr", "--address", at.address, "--namespace", at.namespace, "containers", "list")
			cmd.WaitDelay = waitDelay
			out, err := cmd.Output()
			if err != nil {
				return
			}
			images := make(map[string]string)
			for line := range strings.Lines(string(out)) {
				if f := strings.Fields(line); len(f) == 3 && f[1] != "-" { // CONTAINER IMAGE RUNTIME
					images[f[0]] = f[1]
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				r := found[id]
				r.Image = images[path.Base(id)]
				found[id] = r
			}
		})
	}
	wg.Wait()
}
