package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"

	"github.com/leastcap/leastcap/engine"
)

// of is the path of a container's call.
func of(id string, call ...string) string {
	return "/containers/" + strings.Join(append([]string{id}, call...), "/")
}

// create makes a container; a name that is "" is the engine's choice.
func (a *api) create(ctx context.Context, name string, r *container.CreateRequest) (id string, err error) {
	host := *r.HostConfig
	host.CapAdd, host.CapDrop = apiCaps(host.CapAdd), apiCaps(host.CapDrop)
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	var made container.CreateResponse
	err = a.call(ctx, http.MethodPost, "/containers/create", query, container.CreateRequest{Config: r.Config, HostConfig: &host}, &made)
	if err == nil && made.ID == "" {
		err = errors.New("the engine names no container that it made")
	}
	return made.ID, err
}

// apiCaps are capabilities as clients write them: moby client/container_create.go.
func apiCaps(list []string) []string {
	out := slices.Clone(list)
	for i, c := range out {
		if c = strings.ToUpper(c); c != "ALL" && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		out[i] = c
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *api) rename(ctx context.Context, id, name string) error {
	return a.call(ctx, http.MethodPost, of(id, "rename"), url.Values{"name": {name}}, nil, nil)
}

func (a *api) start(ctx context.Context, id string) error {
	return a.call(ctx, http.MethodPost, of(id, "start"), nil, nil, nil)
}

// stop gives it this long; a negative time is the container's own.
func (a *api) stop(ctx context.Context, id string, timeout time.Duration) error {
	query := url.Values{}
	if timeout >= 0 {
		query.Set("t", strconv.Itoa(int(timeout.Round(time.Second)/time.Second)))
	}
	return a.call(ctx, http.MethodPost, of(id, "stop"), query, nil, nil)
}

// wait waits until it does not run, and returns its exit status.
func (a *api) wait(ctx context.Context, id string) (code int, err error) {
	var r container.WaitResponse
	err = a.call(ctx, http.MethodPost, of(id, "wait"), url.Values{"condition": {string(container.WaitConditionNotRunning)}}, nil, &r)
	return int(r.StatusCode), err
}

// remove removes it with its volumes, also if it runs. It waits for who removes it already, as
// the engine does not (moby daemon/delete.go): its name is taken until then.
func (a *api) remove(ctx context.Context, id string) error {
	return engine.WhileBusy(ctx, func() (busy bool, err error) {
		err = a.call(ctx, http.MethodDelete, of(id), url.Values{"v": {"1"}, "force": {"1"}}, nil, nil)
		return refusedWith(err, http.StatusConflict) && strings.Contains(err.Error(), "already in progress"), err
	})
}

func (a *api) inspect(ctx context.Context, id string) (*container.InspectResponse, error) {
	var r container.InspectResponse
	err := a.call(ctx, http.MethodGet, of(id, "json"), nil, nil, &r)
	return &r, err
}

// labelled are all containers with a label.
func (a *api) labelled(ctx context.Context, label string) (list []container.Summary, err error) {
	filters, err := json.Marshal(map[string]map[string]bool{"label": {label: true}})
	if err != nil {
		return nil, err
	}
	err = a.call(ctx, http.MethodGet, "/containers/json", url.Values{"all": {"1"}, "filters": {string(filters)}}, nil, &list)
	return list, err
}

// logs are the last lines of its output, as stdcopy reads them.
func (a *api) logs(ctx context.Context, id string, lines int) (io.ReadCloser, error) {
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {strconv.Itoa(lines)}}
	resp, err := a.send(ctx, http.MethodGet, of(id, "logs"), query, nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// archive is a tar archive of a file or directory, and what it is.
func (a *api) archive(ctx context.Context, id, path string) (io.ReadCloser, *container.PathStat, error) {
	resp, err := a.send(ctx, http.MethodGet, of(id, "archive"), url.Values{"path": {path}}, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	var stat container.PathStat
	text, err := base64.StdEncoding.DecodeString(resp.Header.Get("X-Docker-Container-Path-Stat"))
	if err == nil {
		err = json.Unmarshal(text, &stat)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("what the engine says of %s: %w", path, err), resp.Body.Close())
	}
	return resp.Body, &stat, nil
}

// exec prepares to execute a command in it.
func (a *api) exec(ctx context.Context, id string, argv ...string) (exec string, err error) {
	var made container.ExecCreateResponse
	r := container.ExecCreateRequest{Cmd: argv, AttachStdout: true, AttachStderr: true}
	err = a.call(ctx, http.MethodPost, of(id, "exec"), nil, r, &made)
	return made.ID, err
}

// execCode is the exit status of what was executed.
func (a *api) execCode(ctx context.Context, exec string) (int, error) {
	var r container.ExecInspectResponse
	err := a.call(ctx, http.MethodGet, "/exec/"+exec+"/json", nil, nil, &r)
	if err != nil || r.ExitCode == nil {
		return 0, err
	}
	return *r.ExitCode, nil
}

// imageInfo is what is read of an image.
type imageInfo struct {
	RepoDigests []string
	Config      struct{ Volumes map[string]struct{} }
}

func (a *api) inspectImage(ctx context.Context, name string) (*imageInfo, error) {
	var r imageInfo
	err := a.call(ctx, http.MethodGet, "/images/"+name+"/json", nil, nil, &r)
	return &r, err
}

// pull fetches an image; auth is what lets one in at its registry, "" for nothing.
func (a *api) pull(ctx context.Context, name, version, auth string) error {
	header := http.Header{}
	if auth != "" {
		header.Set(registry.AuthHeader, auth)
	}
	resp, err := a.send(ctx, http.MethodPost, "/images/create", url.Values{"fromImage": {name}, "tag": {version}}, header, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; { // what failed is told in between
		var m jsonstream.Message
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("the engine's answer while it pulls: %w", err)
		case m.Error != nil:
			return m.Error
		}
	}
}
