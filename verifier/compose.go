package verifier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/leastcap/leastcap/manifest/reading"
)

// ErrNotAskable says that docker compose cannot be shown a file before it is written: one
// that is not the project's first.
var ErrNotAskable = errors.New("it can be shown the first file of a project only")

// ComposeCLI is Docker's own command, whose reader is compose-go.
type ComposeCLI struct {
	words []string
	// Title is what it calls itself: "docker compose 2.32.4".
	Title string
}

const (
	cliTime = 10 * time.Second // for one reading; it takes a tenth of one
	maxCLI  = 32 << 20
)

// FindComposeCLI finds docker compose, or docker-compose of version 2 or later. Version 1 is
// another program, in Python.
func FindComposeCLI(ctx context.Context) (*ComposeCLI, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, c := range []struct {
		program string
		words   []string
	}{{"docker", []string{"compose"}}, {"docker-compose", nil}} {
		path, ok := look(c.program, dirs)
		if !ok {
			continue
		}
		cli := &ComposeCLI{words: append([]string{path}, c.words...)}
		out, err := cli.output(ctx, "", nil, "version", "--short")
		version := strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
		if err != nil || version == "" || strings.HasPrefix(version, "1.") || strings.ContainsAny(version, " \n") {
			continue
		}
		cli.Title = strings.TrimSpace(c.program+" "+strings.Join(c.words, " ")) + " " + version
		return cli, nil
	}
	return nil, errors.New("docker compose is not installed")
}

// output runs the command. What it says on standard error becomes the error.
func (c *ComposeCLI) output(ctx context.Context, dir string, in []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cliTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.words[0], append(c.words[1:len(c.words):len(c.words)], args...)...)
	cmd.Dir, cmd.Stdin, cmd.WaitDelay = dir, bytes.NewReader(in), time.Second
	// All services count, and nothing is fetched (docker/compose pkg/remote: git.go, oci.go).
	cmd.Env = append(os.Environ(), "COMPOSE_PROFILES=*", "COMPOSE_FILE=", "COMPOSE_EXPERIMENTAL_GIT_REMOTE=false", "COMPOSE_EXPERIMENTAL_OCI_REMOTE=false")
	var stderr beginning
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	data, rerr := io.ReadAll(io.LimitReader(out, maxCLI+1))
	if len(data) > maxCLI {
		cancel()
		rerr = errors.New("it says more than can be looked at")
	}
	err = cmd.Wait()
	switch {
	case rerr != nil:
		return nil, rerr
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it did not answer within %v", cliTime)
	case err != nil && stderr.line() != "":
		return nil, errors.New(stderr.line())
	}
	return data, err
}

// Ask has it read a project before and after an edit.
func (c *ComposeCLI) Ask(ctx context.Context, req reading.Request) (*reading.Answer, error) {
	var files []string
	var main *reading.File
	for i := range req.Files {
		f := &req.Files[i]
		switch {
		case f.Role == reading.Main && main == nil:
			main = f
			files = append(files, "--file", "-")
		case !f.Same:
			return nil, ErrNotAskable
		case f.Role == reading.Main:
			files = append(files, "--file", f.Name)
		}
	}
	if main == nil {
		return nil, errors.New("there is no main file")
	}
	dir := filepath.Dir(main.Name)
	args := append([]string{"--project-directory", dir}, files...)
	args = append(args, "config", "--format", "json")
	var before map[string]any
	var err error
	for _, more := range [][]string{
		{"--no-env-resolution"}, // what env_file names has in it is no part of the definition, and may be secret
		{},                      // older ones cannot leave it out
		{"--no-interpolate"},    // where blanks for variables without a value cannot be read
	} {
		if len(more) == 0 && !strings.Contains(err.Error(), "unknown flag") {
			continue
		}
		manner := append(args[:len(args):len(args)], more...)
		if before, err = c.config(ctx, dir, main.Data(false), manner); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		after, err := c.config(ctx, dir, main.Data(true), manner)
		if err != nil {
			return &reading.Answer{After: unread(err)}, nil
		}
		return reading.Compose(before, after), nil
	}
	return &reading.Answer{Before: unread(err)}, nil
}

func unread(err error) reading.Reading {
	return reading.Reading{Problems: []reading.Problem{{Text: err.Error(), Unread: true}}}
}

func (c *ComposeCLI) config(ctx context.Context, dir string, data []byte, args []string) (map[string]any, error) {
	out, err := c.output(ctx, dir, data, args...)
	if err != nil {
		return nil, err
	}
	var project map[string]any
	if err := json.Unmarshal(out, &project); err != nil {
		return nil, errors.New("what it says is no JSON")
	}
	return project, nil
}
