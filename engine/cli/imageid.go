package cli

import (
	"context"
	"os/exec"
	"slices"
	"strings"
)

// ImageIDs asks one of the engines for the ids of its containers' images
// ("sha256:…"), by the containers'. What it does not know is left out.
func ImageIDs(ctx context.Context, engine string, ids []string) map[string]string {
	found := map[string]string{}
	if _, err := TableFor(engine); err != nil || len(ids) == 0 {
		return found
	}
	cmd := exec.CommandContext(ctx, engine, slices.Concat([]string{"container", "inspect", "--format", "{{.Id}} {{.Image}}"}, ids)...)
	cmd.WaitDelay = waitDelay
	out, _ := cmd.Output() // prints those that it knows, and then fails
	byName := map[string]string{}
	for line := range strings.Lines(string(out)) {
		id, image, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if !isImageID(image) {
			name := image
			if image, ok = byName[name]; !ok {
				image = ImageID(ctx, engine, name)
				byName[name] = image
			}
		}
		if image != "" {
			found[id] = image
		}
	}
	return found
}

// ImageID is the id of what an engine says that a container's image is: most say the id,
// nerdctl the name (pkg/inspecttypes/dockercompat, ContainerFromNative). It is empty if the
// engine has no such image any more.
func ImageID(ctx context.Context, engine, image string) string {
	if image == "" || isImageID(image) {
		return image
	}
	cmd := exec.CommandContext(ctx, engine, "image", "inspect", "--format", "{{.ID}}", image)
	cmd.WaitDelay = waitDelay
	out, err := cmd.Output()
	if id := strings.TrimSpace(string(out)); err == nil && isImageID(id) {
		return id
	}
	return ""
}

// isImageID: Podman leaves the algorithm out.
func isImageID(s string) bool {
	return containerID().MatchString(strings.TrimPrefix(s, "sha256:"))
}
