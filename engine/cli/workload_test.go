package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRemoveWhatGoes: a container that somebody else removes meanwhile is waited for, and one
// that is gone is no error.
func TestRemoveWhatGoes(t *testing.T) {
	dir := t.TempDir()
	script := `#!/bin/sh
[ "$1 $2 $3 $4" = "rm -f -v x" ] || exit 9
echo >>"$0.calls"
case $(wc -l <"$0.calls") in
1) echo 'Error response from daemon: removal of container x is already in progress' >&2 ;;
2) echo 'Error response from daemon: No such container: x' >&2 ;;
*) echo 'Error response from daemon: a device is busy' >&2 ;;
esac
exit 1
`
	bin := filepath.Join(dir, "docker")
	if err := os.WriteFile(bin, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := Parse([]string{bin, "run", "image"})
	if err != nil {
		t.Fatal(err)
	}
	w := &Workload{line: l}
	if err := w.remove(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if calls, err := os.ReadFile(bin + ".calls"); string(calls) != "\n\n" {
		t.Errorf("asked %q, %v; want twice", calls, err)
	}
	if err := w.remove(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "a device is busy") {
		t.Errorf("got %v", err)
	}
}

// TestUnexecuted: that an entry point cannot be reached is the run's end, and nothing else that
// fails at the start is, also where the engine keeps no status of it (Podman 4.3.1, with runc
// and with crun).
func TestUnexecuted(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "podman")
	l, err := Parse([]string{bin, "run", "image"})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		`unable to start container "3b62": runc: runc create failed: unable to start container process: exec: "/opt/x/tool": stat /opt/x/tool: permission denied: OCI permission denied`:                                126,
		`unable to start container "3b62": runc: runc create failed: unable to start container process: exec: "tool": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found`: 127,
		"unable to start container \"3b62\": crun: executable file `tool` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found":                                  127,
		"OCI runtime error: crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2":                                                                                                             0,
	} {
		script := "#!/bin/sh\n" + `[ "$1" = inspect ] && { echo '[{"State":{"Status":"created","ExitCode":0}}]'; exit; }` + "\ncat >&2 <<'EOF'\nError: " + text + "\nEOF\nexit 125\n"
		if err := os.WriteFile(bin, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		i := &instance{w: &Workload{line: l}, id: "x", exited: make(chan struct{})}
		err := i.Start(t.Context())
		if exit := i.Exit(); (err == nil) != (want != 0) || exit.Code != want || want != 0 && exit.Message != text {
			t.Errorf("%s: %v, %+v; want status %d", text, err, exit, want)
		}
	}
}

func TestPersistentAndExclusive(t *testing.T) {
	for _, c := range []struct {
		flags         []string
		stays, always bool
		exclusive     bool
	}{
		{flags: nil},
		{flags: []string{"-v", "/anon"}},
		{flags: []string{"-v", "data:/d"}, stays: true},
		{flags: []string{"--mount", "src=data,dst=/d"}, stays: true},
		{flags: []string{"--mount", "type=tmpfs,dst=/d"}},
		{flags: []string{"-v", "/host:/d"}, stays: true, always: true},
		{flags: []string{"--mount", "type=bind,src=/host,dst=/d"}, stays: true, always: true},
		{flags: []string{"--volumes-from", "other"}, stays: true, always: true},
		{flags: []string{"--name", "web"}, exclusive: true},
		{flags: []string{"-p", "80"}},
		{flags: []string{"-p", "127.0.0.1::80"}},
		{flags: []string{"-p", "8080:80"}, exclusive: true},
		{flags: []string{"-p", "127.0.0.1:8080:80"}, exclusive: true},
		{flags: []string{"--net", "host"}, exclusive: true},
		{flags: []string{"--network=container:db"}, exclusive: true},
		{flags: []string{"--network", "backend"}},
		{flags: []string{"--ip", "10.0.0.2"}, exclusive: true},
	} {
		l, err := Parse(slices.Concat([]string{"docker", "run"}, c.flags, []string{"x"}))
		if err != nil {
			t.Fatal(err)
		}
		w := &Workload{line: l}
		if w.Persistent(false) != c.stays || w.Persistent(true) != c.always {
			t.Errorf("%q: stays %v, also with fresh volumes %v", c.flags, w.Persistent(false), w.Persistent(true))
		}
		if (w.Exclusive() != "") != c.exclusive {
			t.Errorf("%q: exclusive: %q", c.flags, w.Exclusive())
		}
	}
}
