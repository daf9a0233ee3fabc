package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/docker"
	"github.com/leastcap/leastcap/usage"
)

// engineAPI is the name of the Docker Engine API among the engines.
const engineAPI = "api"

// apiWorkload prepares to learn a line through the Engine API. done is to be called
// when all is over.
func apiWorkload(ctx context.Context, stderr io.Writer, line *cli.Line) (w engine.Workload, done func() error, err error) {
	for i := range line.Flags {
		if f := &line.Flags[i]; f.Global && !slices.Contains([]string{"host", "context", "debug", "log-level"}, f.Name) {
			return nil, nil, &cli.LineError{Word: f.Typed, At: f.Word, Err: cli.ErrUnsupported,
				Reason: fmt.Sprintf("%s cannot be heeded without the %s command", f.Typed, line.Engine),
				Hint:   "say it by DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH or DOCKER_CONFIG, or leave --engine api out"}
		}
	}
	c, err := cli.Container(line, nil)
	if err != nil {
		return nil, nil, err
	}
	e, err := docker.Connect(ctx, docker.Options{Host: line.GlobalValue("host"), Context: line.GlobalValue("context"), Progress: stderr})
	if err != nil {
		return nil, nil, err
	}
	// Nobody is attached.
	c.Stdin, c.TTY = false, false
	w, err = e.Workload(docker.Request{
		Container: c, Entrypoint: entrypoint(line), CapAdd: line.CapAdd(), CapDrop: line.CapDrop(),
		Subject: usage.Subject{Kind: "container", Engine: engineAPI, Command: line.Words(), Image: line.Image, User: line.User()},
		Use: func(set caps.Set, unconfined bool) usage.Use {
			return usage.Use{Command: line.Recommend(set, unconfined), Flags: exactFlags(set)}
		},
	})
	return w, e.Close, err
}

// exactFlags are docker's for exactly a set.
func exactFlags(set caps.Set) []string {
	flags := []string{"--cap-drop=ALL"}
	for _, name := range set.Docker() {
		flags = append(flags, "--cap-add="+name)
	}
	return flags
}
