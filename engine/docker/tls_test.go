package docker

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config"

	"github.com/leastcap/leastcap/engine"
)

// An engine behind TLS, by a context of docker's and by the environment.
func TestTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.44")
		fmt.Fprint(w, `{"Components":[{"Name":"Podman Engine"}]}`)
	}))
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	files := map[string][]byte{"ca.pem": cert, "cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})}
	dir := t.TempDir()
	write := func(name string, text []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	host := "tcp://" + s.Listener.Addr().String()
	add := func(name string, skip bool, certs ...string) {
		id := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
		write("contexts/meta/"+id+"/meta.json", fmt.Appendf(nil, `{"Name":%q,"Metadata":{},"Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":%v}}}`, name, host, skip))
		for _, file := range certs {
			write("contexts/tls/"+id+"/docker/"+file, files[file])
		}
	}
	add("all", false, "ca.pem", "cert.pem", "key.pem")
	add("strange", false, "cert.pem", "key.pem")
	add("blind", true)
	for name, text := range files {
		write("certs/"+name, text)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Server{Handler: s.Config.Handler}
	go func() { _ = plain.Serve(l) }()
	defer plain.Close()
	host = "unix://" + socket
	add("socket", true, "ca.pem")
	host = "tcp://" + s.Listener.Addr().String()
	write("ca.pem", cert) // where docker looks if nothing else is said
	before := config.Dir()
	config.SetDir(dir)
	defer config.SetDir(before)
	for _, c := range []struct {
		o       Options
		env     map[string]string
		problem string
	}{
		{Options{Context: "all"}, nil, ""},
		{Options{Context: "blind"}, nil, ""},
		{Options{Context: "strange"}, nil, "certificate"},
		{Options{Context: "nosuch"}, nil, "cannot be used"},
		{Options{Context: "socket"}, nil, ""},
		{Options{Host: host}, nil, "HTTP"},
		{Options{Host: host}, map[string]string{"DOCKER_TLS_VERIFY": "1"}, ""},
		{Options{Host: host}, map[string]string{"DOCKER_CERT_PATH": filepath.Join(dir, "certs")}, ""},
		{Options{}, map[string]string{"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1"}, ""},
		{Options{}, map[string]string{"DOCKER_HOST": "unix://" + socket, "DOCKER_CERT_PATH": filepath.Join(dir, "certs")}, ""},
		{Options{}, map[string]string{"DOCKER_HOST": host, "DOCKER_CERT_PATH": filepath.Join(dir, "certs"), "DOCKER_TLS_VERIFY": "1"}, ""},
		{Options{}, map[string]string{"DOCKER_HOST": host, "DOCKER_CERT_PATH": filepath.Join(dir, "certs")}, ""},
		{Options{}, map[string]string{"DOCKER_HOST": host, "DOCKER_CERT_PATH": dir}, "DOCKER_CERT_PATH"},
	} {
		t.Run(fmt.Sprintf("%+v %v", c.o, c.env), func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			e, err := Connect(t.Context(), c.o)
			problem := (*engine.Error)(nil)
			switch {
			case c.problem == "":
				if err != nil || !e.podman {
					t.Fatal(err)
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			case !errors.As(err, &problem) || !strings.Contains(problem.Problem+problem.Reason, c.problem):
				t.Errorf("%v", err)
			}
		})
	}
}
