// Package docker runs containers through the Docker Engine API: of a Docker Engine,
// or of Podman's compatible socket. No command of the engine is needed, and the engine
// may be another than the command would take.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/docker/cli/cli/config"
	ctxdocker "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/moby/moby/client"

	"github.com/leastcap/leastcap/engine"
)

// Options say which engine.
type Options struct {
	// Host is the engine's address as in DOCKER_HOST, Context one of docker's contexts.
	// Without either they are, in this order: $DOCKER_HOST, $DOCKER_CONTEXT, the context
	// that docker uses, and the default socket (docker/cli cli/command/cli.go).
	Host, Context string
	// Progress is told what is pulled; nil for nobody.
	Progress io.Writer
}

// Engine is an engine that answers.
type Engine struct {
	api      *client.Client
	host     string // its address
	podman   bool
	progress io.Writer
}

// Connect finds the engine and asks it whether it is there. Errors are [*engine.Error].
func Connect(ctx context.Context, o Options) (*Engine, error) {
	opts, err := endpoint(o)
	if err != nil {
		return nil, err
	}
	api, err := client.New(opts...)
	if err != nil {
		return nil, &engine.Error{Problem: "the engine's address cannot be used", Reason: err.Error(), Hint: "look at DOCKER_HOST and at docker context ls"}
	}
	e := &Engine{api: api, host: api.DaemonHost(), progress: o.Progress}
	if e.progress == nil {
		e.progress = io.Discard
	}
	v, err := api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return nil, errors.Join(e.explain(err, ""), api.Close())
	}
	for _, c := range v.Components {
		e.podman = e.podman || c.Name == "Podman Engine"
	}
	return e, nil
}

// Close ends the connection.
func (e *Engine) Close() error { return e.api.Close() }

func endpoint(o Options) ([]client.Opt, error) {
	name := o.Context
	switch {
	case o.Host != "":
		return []client.Opt{client.WithHost(o.Host)}, nil
	case name != "":
	case os.Getenv("DOCKER_HOST") != "":
		return []client.Opt{client.FromEnv}, nil
	default:
		if name = os.Getenv("DOCKER_CONTEXT"); name == "" {
			file, err := config.Load("")
			if err != nil {
				return nil, &engine.Error{Problem: "docker's configuration cannot be read", Reason: err.Error(), Hint: "mend it, or name the engine in DOCKER_HOST"}
			}
			name = file.CurrentContext
		}
	}
	if name == "" || name == "default" {
		return []client.Opt{client.FromEnv}, nil
	}
	contexts := store.New(filepath.Join(config.Dir(), "contexts"), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(ctxdocker.DockerEndpoint, func() any { return &ctxdocker.EndpointMeta{} }),
	))
	problem := func(err error) error {
		return &engine.Error{Problem: fmt.Sprintf("docker's context %q cannot be used", name), Reason: err.Error(), Hint: "docker context ls lists them; docker context use default goes back"}
	}
	meta, err := contexts.GetMetadata(name)
	if err != nil {
		return nil, problem(err)
	}
	ep, err := ctxdocker.EndpointFromContext(meta)
	if err != nil {
		return nil, problem(err)
	}
	full, err := ctxdocker.WithTLSData(contexts, name, ep)
	if err != nil {
		return nil, problem(err)
	}
	opts, err := full.ClientOpts()
	if err != nil {
		return nil, problem(err)
	}
	return opts, nil
}
