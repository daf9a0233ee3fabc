package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-connections/sockets"
	"github.com/moby/moby/api/types/common"
	"github.com/moby/moby/client/pkg/versions"

	"github.com/leastcap/leastcap/engine"
)

// api speaks the Engine API (https://docs.docker.com/reference/api/engine/) as far as it is
// needed here, with moby's own types. Moby's client would bring image references and
// tracing, which take a tenth of every start of leastcap to initialise, whatever is called.
type api struct {
	host    string // as it was given
	base    url.URL
	version string // of the API, "" before it is negotiated
	http    *http.Client
}

// The versions that the types are of, and the oldest that the calls are in: moby client/client.go.
const (
	newestVersion = "1.56"
	oldestVersion = "1.40"
)

// endpoint is where an engine is.
type endpoint struct {
	host      string
	transport *http.Transport // nil for a plain one
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	version   string // of the API, "" to negotiate
}

// noHost stands in requests where the address is a file's.
const noHost = "api.moby.localhost"

func newAPI(e endpoint) (*api, error) {
	proto, addr, ok := strings.Cut(e.host, "://")
	if !ok || addr == "" {
		return nil, fmt.Errorf("%q is no address such as unix:///run/docker.sock or tcp://127.0.0.1:2375", e.host)
	}
	a := &api{host: e.host, version: strings.TrimPrefix(e.version, "v"), base: url.URL{Scheme: "http", Host: noHost}}
	if a.version != "" && !isVersion(a.version) {
		return nil, fmt.Errorf("%q is no version of the API such as %s", e.version, newestVersion)
	}
	t := e.transport
	if t == nil {
		t = &http.Transport{}
	}
	t.MaxIdleConns, t.IdleConnTimeout = 6, 30*time.Second
	switch {
	case e.dial != nil || isSocket(e.host):
	case proto == "tcp" || proto == "http":
		u, err := url.Parse(e.host)
		if err != nil {
			return nil, err
		}
		addr, a.base.Host, a.base.Path = u.Host, u.Host, u.Path
	default:
		return nil, fmt.Errorf("%q begins with none of unix://, npipe://, tcp:// and ssh://", e.host)
	}
	if e.dial != nil {
		t.DialContext = e.dial
	} else if err := sockets.ConfigureTransport(t, proto, addr); err != nil {
		return nil, err
	}
	if t.TLSClientConfig != nil {
		a.base.Scheme = "https"
	}
	a.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return a, nil
}

func (a *api) close() error {
	a.http.CloseIdleConnections()
	return nil
}

// negotiate agrees on a version: the engine's, if that is not newer than this one's.
func (a *api) negotiate(ctx context.Context) error {
	if a.version != "" {
		return nil
	}
	theirs, err := a.ping(ctx)
	switch {
	case err != nil:
		return err
	case !isVersion(theirs), versions.LessThan(newestVersion, theirs):
		a.version = newestVersion
	case versions.LessThan(theirs, oldestVersion):
		return &engine.Error{Problem: "the engine at " + a.host + " is too old", Reason: fmt.Sprintf("it speaks version %s of the API, at least %s is needed", theirs, oldestVersion), Hint: "update it"}
	default:
		a.version = theirs
	}
	return nil
}

func (a *api) ping(ctx context.Context) (version string, err error) {
	for _, method := range []string{http.MethodHead, http.MethodGet} { // the former since API 1.40, not everywhere
		var resp *http.Response
		if resp, err = a.send(ctx, method, "/_ping", nil, nil, nil); err != nil {
			if unreachable := (*connectError)(nil); errors.As(err, &unreachable) || ctx.Err() != nil {
				return "", err
			}
			continue
		}
		resp.Body.Close()
		return resp.Header.Get("Api-Version"), nil
	}
	return "", err
}

func isVersion(v string) bool {
	major, minor, ok := strings.Cut(v, ".")
	_, err := strconv.ParseUint(major, 10, 16)
	_, err2 := strconv.ParseUint(minor, 10, 16)
	return ok && err == nil && err2 == nil
}

// request makes one of a call; body is what becomes JSON, nil for none.
func (a *api) request(ctx context.Context, method, call string, query url.Values, header http.Header, body any) (*http.Request, error) {
	u := a.base
	if call != "/_ping" && a.version != "" {
		call = "/v" + a.version + call
	}
	u.Path, u.RawQuery = path.Join("/", u.Path, call), query.Encode()
	var data io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		data = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), data)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "leastcap")
	return req, nil
}

// send makes a call. What comes back is successful, and the caller's to close.
func (a *api) send(ctx context.Context, method, call string, query url.Values, header http.Header, body any) (*http.Response, error) {
	req, err := a.request(ctx, method, call, query, header, body)
	if err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, a.connectError(ctx, err)
	}
	// 304 is that it has started or stopped already. No engine redirects.
	if resp.StatusCode >= 200 && resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusalOf(resp)
}

// call makes a call whose answer is JSON, or nothing if into is nil.
func (a *api) call(ctx context.Context, method, call string, query url.Values, body, into any) error {
	resp, err := a.send(ctx, method, call, query, nil, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			return fmt.Errorf("the engine's answer to %s %s: %w", method, call, err)
		}
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 512) // so that the connection can be used again
	return nil
}

// refusal is an answer that is no success.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return "Error response from daemon: " + r.message }

func refusalOf(resp *http.Response) error {
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return err
	}
	r := &refusal{resp.StatusCode, strings.TrimSpace(string(text))}
	var said common.ErrorResponse
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && json.Unmarshal(text, &said) == nil {
		r.message = strings.TrimSpace(said.Message)
	}
	if r.message == "" {
		r.message = resp.Status + " without a reason, to " + resp.Request.Method + " " + resp.Request.URL.Path
	}
	return r
}

// refusedWith says that an error is an answer of this status.
func refusedWith(err error, status int) bool {
	r := (*refusal)(nil)
	return errors.As(err, &r) && r.status == status
}

// connectError is that there was no answer.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.err }

func (a *api) connectError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var network net.Error
	switch text := err.Error(); {
	case errors.Is(err, fs.ErrPermission):
		return &connectError{"permission denied while trying to connect to the docker API at " + a.host, err}
	case errors.As(err, &network) && network.Timeout(), strings.Contains(text, "connection refused"), strings.Contains(text, "dial unix"):
		return &connectError{fmt.Sprintf("Cannot connect to the Docker daemon at %s. Is the docker daemon running?", a.host), err}
	case a.base.Scheme == "http" && strings.Contains(text, "malformed HTTP response"):
		return &connectError{fmt.Sprintf("%v: perhaps it wants TLS", err), err}
	case a.base.Scheme == "https" && (strings.Contains(text, "bad certificate") || strings.Contains(text, "handshake failure")):
		return &connectError{fmt.Sprintf("%v: perhaps it wants a client's certificate", err), err}
	}
	return &connectError{fmt.Sprintf("error during connect: %v", err), err}
}

// hijack makes a call after which the connection carries something else.
func (a *api) hijack(ctx context.Context, call string, body any) (io.ReadCloser, error) {
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"tcp"}}
	req, err := a.request(ctx, http.MethodPost, call, nil, header, body)
	if err != nil {
		return nil, err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, a.connectError(ctx, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, refusalOf(resp)
	}
	return resp.Body, nil // the connection: net/http, Response.Body
}
