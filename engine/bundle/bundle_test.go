package bundle_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/internal/testenv"
)

const tiny = "leastcap-test/tiny"

// The specification is the one that Docker gives its runtime for the same flags,
// as far as both versions have the same.
func TestAsDocker(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image(tiny))
	docker, err := rules.For("docker")
	if err != nil {
		t.Fatal(err)
	}
	version := run(t, "docker", "version", "--format", "{{.Server.Version}}")
	for _, flags := range []string{
		"", "--cap-drop all --cap-add net_raw", "-u 1000:50 -w /tmp -e A=1 -e PATH=/bin --hostname here",
		"-v /tmp:/x:ro -v /usr:/y --tmpfs /t:size=1m --mount type=bind,src=/tmp,dst=/z",
		"--network host", "--ipc host --pid host --uts host", "--ipc none", "--network none --sysctl net.ipv4.ip_forward=1 --read-only",
		"--memory 64m --cpus 1.5 --pids-limit 100 --cpuset-cpus 0", "--memory 64m --memory-swap -1 --cpu-shares 100 --memory-reservation 32m",
		"--ulimit nofile=100:200 --oom-score-adj 100", "--security-opt no-new-privileges --security-opt seccomp=unconfined",
		"--security-opt systempaths=unconfined --shm-size 1m", "--device /dev/null:/dev/nothing:r --group-add 5",
	} {
		t.Run(flags, func(t *testing.T) {
			args := append(strings.Fields(flags), tiny, "sleep", "60")
			id := run(t, append([]string{"docker", "run", "-d"}, args...)...)
			defer run(t, "docker", "rm", "-f", id)
			found, err := filepath.Glob("/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/" + id + "/config.json")
			if err != nil || len(found) != 1 {
				t.Fatalf("Docker's config.json: %q %v", found, err)
			}
			data, err := os.ReadFile(found[0])
			if err != nil {
				t.Fatal(err)
			}
			var theirs specs.Spec
			if err := json.Unmarshal(data, &theirs); err != nil {
				t.Fatal(err)
			}
			line, err := cli.Parse(append([]string{"docker", "run"}, args...))
			if err != nil {
				t.Fatal(err)
			}
			c, err := cli.Container(line, nil)
			if err != nil {
				t.Fatal(err)
			}
			result, err := docker.Apply(rules.Request{Add: line.CapAdd(), Drop: line.CapDrop(), Privileged: line.Privileged(), User: line.User(), Version: version})
			if err != nil {
				t.Fatal(err)
			}
			c.State = result.Runtime
			if c.Hostname == "" {
				c.Hostname = theirs.Hostname
			}
			c.ReadOnlyBelow = slices.ContainsFunc(theirs.Mounts, func(m specs.Mount) bool { return slices.Contains(m.Options, "rro") })
			who := bundle.Process{UID: theirs.Process.User.UID, GID: theirs.Process.User.GID, Groups: theirs.Process.User.AdditionalGids, HostDevices: theirs.Linux.Devices}
			ours, err := bundle.Spec(c, who, "/root")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plain(t, &theirs), plain(t, ours)); diff != "" {
				t.Errorf("(-docker +bundle)\n%s", diff)
			}
		})
	}
}

// plain leaves out what differs by nature, or by Docker's version.
func plain(t *testing.T, s *specs.Spec) *specs.Spec {
	t.Helper()
	s.Version, s.Root.Path, s.Hooks, s.Annotations = "", "", nil, nil
	l := s.Linux
	l.CgroupsPath = ""
	// Newer versions mask more: moby 28.2 /proc/interrupts, 24 powercap.
	l.MaskedPaths = slices.DeleteFunc(l.MaskedPaths, func(p string) bool {
		return p == "/proc/interrupts" || p == "/sys/devices/virtual/powercap"
	})
	slices.Sort(l.MaskedPaths)
	slices.Sort(l.ReadonlyPaths)
	if len(l.MaskedPaths) == 0 {
		l.MaskedPaths, l.ReadonlyPaths = nil, nil
	}
	// The profiles' versions differ; that there is one, and what it does by default, not.
	if sc := l.Seccomp; sc != nil {
		l.Seccomp = &specs.LinuxSeccomp{DefaultAction: sc.DefaultAction}
		if len(sc.Syscalls) == 0 || runtime.GOARCH == "amd64" && len(sc.Architectures) != 3 {
			t.Errorf("a seccomp profile of %d rules for %q", len(sc.Syscalls), sc.Architectures)
		}
	}
	for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Effective, &s.Process.Capabilities.Permitted, &s.Process.Capabilities.Inheritable, &s.Process.Capabilities.Ambient} {
		slices.Sort(*set)
		if len(*set) == 0 {
			*set = nil
		}
	}
	slices.SortFunc(l.Namespaces, func(a, b specs.LinuxNamespace) int { return strings.Compare(string(a.Type), string(b.Type)) })
	// Named here and by the runtime anyway: the host's.
	l.Namespaces = slices.DeleteFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Path != "" })
	slices.Sort(s.Process.Env)
	if s.Hostname == "" { // the host's, which the caller names
		s.Process.Env = slices.DeleteFunc(s.Process.Env, func(e string) bool { return strings.HasPrefix(e, "HOSTNAME=") })
	}
	slices.SortFunc(s.Process.Rlimits, func(a, b specs.POSIXRlimit) int { return strings.Compare(a.Type, b.Type) })
	// /etc/hosts and its like are the engine's to make.
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/etc/") })
	for i := range s.Mounts {
		m := &s.Mounts[i]
		slices.Sort(m.Options)
		// A tmpfs has no propagation of its own, and size=64M is size=67108864.
		m.Options = slices.DeleteFunc(slices.Compact(m.Options), func(o string) bool { return o == "rprivate" && m.Type == "tmpfs" || o == "rw" })
	}
	slices.SortFunc(s.Mounts, func(a, b specs.Mount) int { return strings.Compare(a.Destination, b.Destination) })
	r := l.Resources
	// The rules for what every container has are runc's too.
	r.Devices = slices.DeleteFunc(r.Devices, func(d specs.LinuxDeviceCgroup) bool {
		return d.Major != nil && (*d.Major == 1 || *d.Major == 5 || *d.Major == 10)
	})
	r.BlockIO = nil
	if m := r.Memory; m != nil {
		m.DisableOOMKiller, m.Swappiness = nil, nil
		if *m == (specs.LinuxMemory{}) {
			r.Memory = nil
		}
	}
	if cpu := r.CPU; cpu != nil {
		if cpu.Shares != nil && *cpu.Shares == 0 {
			cpu.Shares = nil
		}
		if *cpu == (specs.LinuxCPU{}) {
			r.CPU = nil
		}
	}
	if s.Process.OOMScoreAdj != nil && *s.Process.OOMScoreAdj == 0 {
		s.Process.OOMScoreAdj = nil
	}
	if r.Pids != nil && r.Pids.Limit == nil {
		r.Pids = nil
	}
	l.Devices = nil // given by this test
	if len(l.Sysctl) == 0 {
		l.Sysctl = nil
	}
	s.Process.ApparmorProfile, s.Process.ConsoleSize = "", nil
	return s
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	var errOut bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, errOut.String())
	}
	return strings.TrimSpace(string(out))
}

// What the user leaves open is the image's.
func TestApply(t *testing.T) {
	img := &bundle.Image{
		Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"A=1", "B=2"}, Dir: "/srv", User: "web", Stop: "SIGQUIT",
		Volumes: []string{"/data", "/log/"}, Labels: map[string]string{"a": "image", "b": "image"}, Health: &bundle.Health{Test: []string{"true"}},
	}
	c := &bundle.Container{Env: []string{"B=3", "C", "A"}, Labels: map[string]string{"a": "user"}, Mounts: []bundle.Mount{{Type: bundle.Bind, Source: "/x", Target: "/log"}}}
	c.Apply(img, nil)
	want := &bundle.Container{
		Args: []string{"/entry", "serve"}, Env: []string{"B=3"}, Dir: "/srv", User: "web", Stop: "SIGQUIT", Health: img.Health,
		Labels: map[string]string{"a": "user", "b": "image"},
		Mounts: []bundle.Mount{{Type: bundle.Bind, Source: "/x", Target: "/log"}, {Type: bundle.Volume, Target: "/data"}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		command, entrypoint, want []string
	}{
		{[]string{"x"}, nil, []string{"/entry", "x"}},
		{nil, []string{"sh"}, []string{"sh"}},
		{[]string{"x"}, []string{"sh"}, []string{"sh", "x"}},
		{[]string{"x"}, []string{}, []string{"x"}},
	} {
		c := &bundle.Container{Args: tt.command}
		c.Apply(img, tt.entrypoint)
		if !slices.Equal(c.Args, tt.want) {
			t.Errorf("%q %q: %q, want %q", tt.entrypoint, tt.command, c.Args, tt.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, c := range map[string]*bundle.Container{
		"no command":         {},
		"not the root":       {Args: []string{"x"}, Mounts: []bundle.Mount{{Type: bundle.Bind, Source: "/x", Target: "/"}}},
		"must be an absolut": {Args: []string{"x"}, Mounts: []bundle.Mount{{Type: bundle.Bind, Source: "/x", Target: "x"}}},
		"no source":          {Args: []string{"x"}, Mounts: []bundle.Mount{{Type: bundle.Volume, Target: "/x"}}},
		"unknown type":       {Args: []string{"x"}, Mounts: []bundle.Mount{{Type: "odd", Target: "/x"}}},
	} {
		if _, err := bundle.Spec(c, bundle.Process{}, "/"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
