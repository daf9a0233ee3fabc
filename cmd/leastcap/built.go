package main

import (
	"context"
	"os/exec"
	"path/filepath"

	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/compose"
)

// imagesOf are the names of a container's image: the one that its definition says, else those
// under which docker compose and docker-compose 1 keep what they build for a service
// (compose pkg/api GetImageNameOrDefault(): project, separator, service).
func (d *definition) imagesOf(c *manifest.Container) []string {
	if image, ok := c.Image.Get(); ok {
		return []string{image}
	}
	if !composeBuilds(c) || c.Image.State != manifest.Unset {
		return nil
	}
	if d.project == nil {
		name := ""
		if dir, err := filepath.Abs(filepath.Dir(d.source.Name)); err == nil && !onceOnly(d.source.Name) {
			name = compose.ProjectName(d.source, dir)
		}
		d.project = &name
	}
	if *d.project == "" {
		return nil
	}
	return []string{*d.project + "-" + c.Name, *d.project + "_" + c.Name}
}

// composeBuilds says that a container is a Compose service whose image is built.
func composeBuilds(c *manifest.Container) bool {
	return c.Format == compose.Format.Name && c.Kind == "service" && c.Build.State != manifest.Unset
}

// buildLine is the command that builds a service's image.
func (d *definition) buildLine(c *manifest.Container) string {
	return cli.Quote(append(compose.Command(d.source), "build", c.Name))
}

// hasImage says whether docker has an image here. Who has no docker is not asked.
func hasImage(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, "docker", "image", "inspect", name).Run() == nil
}

// An unbuiltError is an image that has to be built first.
type unbuiltError struct {
	reason string
	build  string // the command, "" if it is not known
}

func (e *unbuiltError) Error() string { return e.reason }

// imageHere is the name of a container's image: of one that is built that which docker has.
// It is "" if the definition names none.
func (d *definitions) imageHere(ctx context.Context, c *manifest.Container) (string, error) {
	if c.Build.State == manifest.Unset {
		image, _ := c.Image.Get()
		return image, nil
	}
	file := d.of[c]
	if !composeBuilds(c) || file == nil {
		return "", &unbuiltError{"its image is built, and under which name is not said", ""}
	}
	names := file.imagesOf(c)
	for _, name := range names {
		if hasImage(ctx, name) {
			return name, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case len(names) == 0:
		return "", &unbuiltError{"its image is built, and under which name cannot be known", file.buildLine(c)}
	}
	return "", &unbuiltError{"its image " + names[0] + " has yet to be built", file.buildLine(c)}
}
