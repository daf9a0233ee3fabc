package rules_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/internal/testenv"
)

// TestDocker compares the rules with what the installed Docker Engine does, by the
// five sets that the kernel shows.
func TestDocker(t *testing.T) {
	testenv.Need(t, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	version, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	// What dockerd itself has, as a privileged container shows it; this machine's
	// own limit.
	available := read(t, "/proc/self/status", nil).Bounding
	docker, err := rules.For("docker")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		add, drop []string
		user      string
	}{
		{},
		{drop: []string{"ALL"}},
		{drop: []string{"all"}, add: []string{"CaP_kill"}},
		{drop: []string{"NET_RAW"}, add: []string{"NET_RAW"}},
		{drop: []string{"net_raw", "CAP_NET_RAW"}},
		{add: []string{"net_admin", "NET_ADMIN"}},
		{add: []string{"sys_chroot"}, drop: []string{"ALL"}, user: "root"},
		{user: "1000"},
		{user: "1000:1000", add: []string{"net_admin"}},
		{user: "0:5", drop: []string{"ALL"}, add: []string{"setuid", "setgid"}},
		{user: "nobody", drop: []string{"ALL"}, add: []string{"net_bind_service"}},
		{add: []string{"FOO"}},
		{drop: []string{"FOO"}},
	} {
		name := fmt.Sprintf("add %v drop %v user %s", tt.add, tt.drop, tt.user)
		t.Run(name, func(t *testing.T) {
			result, refused := docker.Apply(rules.Request{Add: tt.add, Drop: tt.drop, User: tt.user,
				Available: &available, Version: strings.TrimSpace(string(version))})
			args := []string{"run", "--rm"}
			for _, c := range tt.add {
				args = append(args, "--cap-add", c)
			}
			for _, c := range tt.drop {
				args = append(args, "--cap-drop", c)
			}
			if tt.user != "" {
				args = append(args, "--user", tt.user)
			}
			args = append(args, "leastcap-test/tiny", "cat", "/proc/self/status")
			if refused != nil {
				if out, err := exec.Command("docker", args...).CombinedOutput(); err == nil {
					t.Errorf("the rules say %v, Docker ran it: %s", refused, out)
				}
				return
			}
			name, _, _ := strings.Cut(tt.user, ":")
			root := name == "" || name == "0" || name == "root"
			if got, want := read(t, "docker", args), rules.AfterExec(result.Runtime, root); got != want {
				t.Errorf("Docker gives %+v, the rules say %+v", got, want)
			}
		})
	}
}

// read returns the sets in a /proc/PID/status: a file, or what a command prints.
func read(t *testing.T, name string, args []string) caps.State {
	t.Helper()
	if args == nil {
		name, args = "cat", []string{name}
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	var s caps.State
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(line, ":")
		for k, set := range map[string]*caps.Set{"CapInh": &s.Inheritable, "CapPrm": &s.Permitted, "CapEff": &s.Effective, "CapBnd": &s.Bounding, "CapAmb": &s.Ambient} {
			if k == key {
				if _, err := fmt.Sscanf(strings.TrimSpace(value), "%x", (*uint64)(set)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return s
}
