// Package docker runs containers through the Docker Engine API: of a Docker Engine,
// or of Podman's compatible socket. No command of the engine is needed, and the engine
// may be another than the command would take.
package docker

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	dcontext "github.com/docker/cli/cli/context"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/go-connections/tlsconfig"

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
	api      *api
	host     string // its address
	podman   bool
	progress io.Writer
}

// Connect finds the engine and asks it whether it is there. Errors are [*engine.Error].
func Connect(ctx context.Context, o Options) (*Engine, error) {
	where, err := findEndpoint(o)
	if err != nil {
		return nil, err
	}
	api, err := newAPI(where)
	if err != nil {
		return nil, &engine.Error{Problem: "the engine's address cannot be used", Reason: err.Error(), Hint: "look at DOCKER_HOST and at docker context ls"}
	}
	e := &Engine{api: api, host: api.host, progress: o.Progress}
	if e.progress == nil {
		e.progress = io.Discard
	}
	var v struct{ Components []struct{ Name string } }
	if err = api.negotiate(ctx); err == nil {
		err = api.call(ctx, http.MethodGet, "/version", nil, nil, &v)
	}
	if err != nil {
		return nil, errors.Join(e.explain(err, ""), api.close())
	}
	for _, c := range v.Components {
		e.podman = e.podman || c.Name == "Podman Engine"
	}
	return e, nil
}

// Close ends the connection.
func (e *Engine) Close() error { return e.api.close() }

// defaultHost is where an engine is that nobody says anything about.
func defaultHost() string {
	if runtime.GOOS == "windows" {
		return "npipe:////./pipe/docker_engine"
	}
	return "unix:///var/run/docker.sock"
}

func findEndpoint(o Options) (endpoint, error) {
	name := o.Context
	switch {
	case o.Host != "":
		return environment(o.Host)
	case name != "":
	case os.Getenv("DOCKER_HOST") != "":
		return environment("")
	default:
		if name = os.Getenv("DOCKER_CONTEXT"); name == "" {
			file, err := config.Load("")
			if err != nil {
				return endpoint{}, &engine.Error{Problem: "docker's configuration cannot be read", Reason: err.Error(), Hint: "mend it, or name the engine in DOCKER_HOST"}
			}
			name = file.CurrentContext
		}
	}
	if name == "" || name == "default" {
		return environment("")
	}
	e, err := contextEndpoint(name)
	if err != nil {
		return endpoint{}, &engine.Error{Problem: fmt.Sprintf("docker's context %q cannot be used", name), Reason: err.Error(), Hint: "docker context ls lists them; docker context use default goes back"}
	}
	return e, nil
}

// environment is docker's (docker(1), environment variables), with another address than
// DOCKER_HOST's if that is not "".
func environment(host string) (endpoint, error) {
	e := endpoint{host: defaultHost(), version: os.Getenv("DOCKER_API_VERSION")}
	if host = cmp.Or(host, os.Getenv("DOCKER_HOST")); host != "" {
		e.host = address(host)
	}
	if known, err := e.helped(); known || err != nil || isSocket(e.host) {
		if err != nil {
			return e, &engine.Error{Problem: fmt.Sprintf("the engine's address %q cannot be used", e.host), Reason: err.Error(), Hint: "name one such as ssh://user@host in DOCKER_HOST"}
		}
		return e, nil
	}
	certs, verify := os.Getenv("DOCKER_CERT_PATH"), os.Getenv("DOCKER_TLS_VERIFY") != ""
	if certs == "" && !verify && os.Getenv("DOCKER_TLS") == "" {
		return e, nil
	}
	dir := cmp.Or(certs, config.Dir())
	o := tlsconfig.Options{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		InsecureSkipVerify: !verify, MinVersion: tls.VersionTLS12,
	}
	if certs == "" { // then these need not be there: docker/cli cli/flags/options.go
		for _, file := range []*string{&o.CertFile, &o.KeyFile} {
			if _, err := os.Stat(*file); errors.Is(err, fs.ErrNotExist) {
				*file = ""
			}
		}
	}
	conf, err := tlsconfig.Client(o)
	if err != nil {
		return endpoint{}, &engine.Error{Problem: "the certificates in DOCKER_CERT_PATH, or else " + config.Dir() + ", cannot be used", Reason: err.Error(), Hint: "name a directory with ca.pem, cert.pem and key.pem in it"}
	}
	e.transport = &http.Transport{TLSClientConfig: conf}
	return e, nil
}

// address completes what is left out of one: docker/cli opts/hosts.go, ParseHost.
func address(host string) string {
	host = strings.TrimSpace(host)
	if !strings.Contains(host, "://") {
		host = "tcp://" + host
	}
	u, err := url.Parse(host)
	if err != nil || u.Scheme != "tcp" || u.Host == "" { // not to be completed, or no address
		return host
	}
	if u.Port() == "" {
		u.Host = strings.TrimSuffix(u.Host, ":") + ":2375"
	}
	if u.Hostname() == "" {
		u.Host = "localhost" + u.Host
	}
	return u.String()
}

// isSocket says that an address is a file's, where nothing is encrypted.
func isSocket(host string) bool {
	proto, _, _ := strings.Cut(host, "://")
	return proto == "unix" || proto == "npipe"
}

// helped says whether something else than a connection leads to the engine: ssh.
func (e *endpoint) helped() (bool, error) {
	helper, err := connhelper.GetConnectionHelper(e.host)
	if helper == nil || err != nil {
		return false, err
	}
	e.dial = helper.Dialer
	return true, nil
}

// dockerEndpoint is the name that docker's contexts have for the engine: docker/cli
// cli/context/docker.
const dockerEndpoint = "docker"

func contextEndpoint(name string) (endpoint, error) {
	contexts := store.New(filepath.Join(config.Dir(), "contexts"), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(dockerEndpoint, func() any { return &dcontext.EndpointMetaBase{} }),
	))
	meta, err := contexts.GetMetadata(name)
	if err != nil {
		return endpoint{}, err
	}
	found, ok := meta.Endpoints[dockerEndpoint].(dcontext.EndpointMetaBase)
	if !ok {
		return endpoint{}, errors.New("it names no engine of Docker's")
	}
	e := endpoint{host: cmp.Or(found.Host, defaultHost()), version: os.Getenv("DOCKER_API_VERSION")}
	if known, err := e.helped(); known || err != nil || isSocket(e.host) {
		return e, err
	}
	certs, err := dcontext.LoadTLSData(contexts, name, dockerEndpoint)
	if err != nil || certs == nil && !found.SkipTLSVerify {
		return e, err
	}
	conf := tlsconfig.ClientDefault()
	conf.InsecureSkipVerify = found.SkipTLSVerify
	if certs != nil && certs.CA != nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(certs.CA) {
			return endpoint{}, errors.New("its ca.pem has no certificate in it")
		}
	}
	if certs != nil && certs.Key != nil && certs.Cert != nil {
		pair, err := tls.X509KeyPair(certs.Cert, certs.Key)
		if err != nil {
			return endpoint{}, fmt.Errorf("its cert.pem and key.pem: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	e.transport = &http.Transport{TLSClientConfig: conf}
	return e, nil
}
