package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
)

// What engines print, word for word, and what is made of it.
func TestExplain(t *testing.T) {
	w, err := New(t.Context(), []string{"docker", "run", "--name", "web", "nginx:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, problem, reason, hint string }{
		{
			"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
			"docker is not running", "Cannot connect to the Docker daemon", "systemctl start docker",
		},
		{
			"docker: permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: …\n\nRun 'docker run --help' for more information\n",
			"docker does not let this user in", "permission denied", "sudo",
		},
		{
			"Unable to find image 'nginx:1' locally\nError response from daemon: pull access denied for nginx, repository does not exist or may require 'docker login'\n",
			`image "nginx:1" was not found`, "pull access denied", "docker pull nginx:1",
		},
		{
			"Error response from daemon: Conflict. The container name \"/web\" is already in use by container \"0f\". You have to remove (or rename) that container to be able to reuse that name.\n",
			`a container named "web" exists already`, "Conflict.", "docker rm web",
		},
		{
			"Error response from daemon: driver failed programming external connectivity on endpoint web: Bind for 0.0.0.0:80 failed: port is already allocated\nError: failed to start containers: 0f\n",
			"a published port is taken", "port is already allocated", "LEASTCAP_IP",
		},
		{
			"WARNING: something\nError response from daemon: failed to create shim task: OCI runtime create failed: unable to apply caps: operation not permitted: unknown\nError: failed to start containers: afaf4219b85a\n",
			"docker failed", "unable to apply caps: operation not permitted", "",
		},
		{
			"label 'a b' contains whitespaces\n\nUsage:  docker create [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'docker create --help' for more information\n",
			"docker failed", "label 'a b' contains whitespaces", "takes the line by itself",
		},
		{"", "docker failed", "exit status 1", "takes the line by itself"},
		{
			"error during connect: Get \"http://%2Frun%2Fdocker.sock/v1.41/info\": EOF\n",
			"docker failed", "error during connect", "docker info says",
		},
	} {
		err := w.explain(c.text, errors.New("exit status 1"))
		var e *engine.Error
		if !errors.As(err, &e) || !strings.Contains(e.Problem, c.problem) || !strings.Contains(e.Reason, c.reason) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%q:\n%#v", c.text, err)
		}
		if e != nil && strings.Contains(e.Reason, "0f") && !strings.Contains(c.text, "Conflict") {
			t.Errorf("the reason is only an id: %q", e.Reason)
		}
	}
}

// What nerdctl 2.0.5 printed, word for word but for the ids.
func TestExplainNerdctl(t *testing.T) {
	w, err := New(t.Context(), []string{"nerdctl", "run", "--name", "web", "nginx:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text, problem, reason, hint string
		status                      int // of the entry point, in docker's terms
	}{
		{
			text:    `time="2026-11-27T18:42:54Z" level=fatal msg="cannot access containerd socket \"/run/containerd/containerd.sock\" (hint: try running with ` + "`--address /var/run/docker/containerd/containerd.sock`" + ` to connect to Docker-managed containerd): no such file or directory"`,
			problem: "nerdctl is not running", reason: `cannot access containerd socket "/run/containerd/containerd.sock" (hint`, hint: "start containerd",
		},
		{
			text: `time="2026-11-27T18:42:40Z" level=info msg="fetch failed" error="failed to do request: Head \"https://registry-1.docker.io/v2/nope/none/manifests/1\": dial tcp: lookup registry-1.docker.io: no such host" host=registry-1.docker.io
time="2026-11-27T18:42:40Z" level=fatal msg="failed to resolve reference \"docker.io/nope/none:1\": failed to do request: Head \"https://registry-1.docker.io/v2/nope/none/manifests/1\": dial tcp: lookup registry-1.docker.io: no such host"`,
			problem: `image "nginx:1" was not found`, reason: `failed to resolve reference "docker.io/nope/none:1"`, hint: "nerdctl pull nginx:1",
		},
		{
			text:    `time="2026-11-27T18:42:52Z" level=fatal msg="name-store error\nname \"web\" is already used by ID \"ba56ea\""`,
			problem: `a container named "web" exists already`, reason: `name-store error: name "web" is already used by ID "ba56ea"`, hint: "nerdctl rm web",
		},
		{
			text:    `time="2026-11-27T18:44:36Z" level=fatal msg="1 errors:\nfailed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/opt/p/tr\": stat /opt/p/tr: permission denied: unknown"`,
			problem: "nerdctl failed", reason: `failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/opt/p/tr": stat /opt/p/tr: permission denied: unknown`,
			status: 126,
		},
		{
			text:    `time="2026-11-27T18:42:55Z" level=fatal msg="1 errors:\nfailed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/nope\": stat /nope: no such file or directory: unknown"`,
			problem: "nerdctl failed", reason: "failed to create shim task", status: 127,
		},
		{
			text:    `time="2026-11-27T18:44:36Z" level=fatal msg="1 errors:\nfailed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: unable to apply caps: operation not permitted: unknown"`,
			problem: "nerdctl failed", reason: "failed to create shim task",
		},
	} {
		err := w.explain(c.text, errors.New("exit status 1"))
		var e *engine.Error
		if !errors.As(err, &e) || !strings.Contains(e.Problem, c.problem) || !strings.HasPrefix(e.Reason, c.reason) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%q:\n%#v", c.text, err)
			continue
		}
		if got := engine.Unexecuted(e.Reason); got != c.status {
			t.Errorf("%q: status %d, want %d", e.Reason, got, c.status)
		}
	}
}

func TestUse(t *testing.T) {
	w, err := New(t.Context(), []string{"sudo", "docker", "run", "-d", "--cap-drop", "chown", "nginx"})
	if err != nil {
		t.Fatal(err)
	}
	use := w.Use(caps.Of(caps.Setuid, caps.Chown), false)
	if got, want := Quote(use.Command), "sudo docker run -d --cap-drop=ALL --cap-add=CHOWN --cap-add=SETUID nginx"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	if got, want := strings.Join(use.Flags, " "), "--cap-drop=ALL --cap-add=CHOWN --cap-add=SETUID"; got != want {
		t.Errorf("flags %q, want %q", got, want)
	}
}
