package cli

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// ImageIDs asks one of the engines for the ids of its containers' images
// ("sha256:…"), by the containers'. What it does not know is left out.
func ImageIDs(ctx context.Context, engine string, ids []string) map[string]string {
	found := map[string]string{}
	if _, err := TableFor(engine); err != nil || len(ids) == 0 {
		return found
	}
	cmd := exec.CommandContext(ctx, engine, slices.Concat([]string{"container", "inspect", "--format", "{{.Id}} {{.Image}}"}, ids)...)
	cmd.WaitDelay = 100 * time.Millisecond
	out, _ := cmd.Output() // prints those that it knows, and then fails
	for line := range strings.Lines(string(out)) {
		if id, image, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			found[id] = image
		}
	}
	return found
}
