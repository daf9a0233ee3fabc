package rules_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/internal/testenv"
)

// ask is one request and the container's user.
type ask struct {
	add, drop  []string
	user       string
	privileged bool
}

// TestDocker compares the rules with what the installed Docker Engine does, by the
// five sets that the kernel shows.
func TestDocker(t *testing.T) {
	testenv.Need(t, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	version, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "docker", strings.TrimSpace(string(version)), []string{"docker", "run", "--rm"}, []ask{
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
	})
}

// TestDockerGenerated compares over requests that nobody thought of: names in every
// spelling, in one list, in both, twice, ALL among them, and users.
func TestDockerGenerated(t *testing.T) {
	testenv.Need(t, testenv.Docker, testenv.Image("leastcap-test/tiny"))
	version, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	const requests = 200
	random := rand.New(rand.NewPCG(7, 11)) // always the same ones
	available := read(t, []string{"cat", "/proc/self/status"}).Bounding
	names := available.Caps()
	word := func() string {
		if random.IntN(8) == 0 {
			return []string{"ALL", "all"}[random.IntN(2)]
		}
		c := names[random.IntN(len(names))]
		if random.IntN(3) > 0 { // more often one that is given by default
			c = []caps.Cap{caps.Chown, caps.NetRaw, caps.Kill, caps.Setuid, caps.SysChroot}[random.IntN(5)]
		}
		return []string{c.Name(), c.Docker(), c.String(), "Cap_" + c.String()}[random.IntN(4)]
	}
	list := func() (words []string) {
		for range random.IntN(4) {
			words = append(words, word())
		}
		return words
	}
	var asks []ask
	seen := map[string]bool{}
	for len(asks) < requests {
		a := ask{list(), list(), []string{"", "", "root", "1000", "1000:0", "nobody"}[random.IntN(6)], random.IntN(20) == 0}
		if key := fmt.Sprint(a); !seen[key] {
			seen[key] = true
			asks = append(asks, a)
		}
	}
	// Several at a time: most of a start is waiting.
	gate := make(chan bool, 4)
	t.Run("all", func(t *testing.T) {
		for _, a := range asks {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				gate <- true
				defer func() { <-gate }()
				compare(t, "docker", strings.TrimSpace(string(version)), []string{"docker", "run", "--rm", "--network", "none"}, []ask{a})
			})
		}
	})
}

// TestPodman does the same with the installed Podman.
func TestPodman(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Docker, testenv.Image("leastcap-test/tiny"), testenv.Command("podman"), testenv.Command("runc"))
	testenv.LoadImage(t, "leastcap-test/tiny", "podman")
	t.Cleanup(func() { _ = exec.Command("podman", "rmi", "-f", "leastcap-test/tiny").Run() })
	// The limits let podman work where CAP_SYS_RESOURCE is missing.
	line := []string{"podman", "--runtime", "runc", "run", "--rm", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"}
	compare(t, "podman", "", line, []ask{
		{},
		{drop: []string{"ALL"}},
		{drop: []string{"all"}, add: []string{"CaP_kill,net_raw"}},
		{drop: []string{"NET_RAW"}, add: []string{"NET_RAW"}},
		{drop: []string{"ALL"}, add: []string{"ALL"}},
		{drop: []string{"setfcap"}, add: []string{"net_raw"}},
		{drop: []string{"ALL", "KILL"}, add: []string{"KILL"}},
		{user: "1000", add: []string{"ALL"}},
		{add: []string{"12"}},
		{user: "1000"},
		{user: "1000", add: []string{"net_bind_service"}},
		{user: "1000:1000", drop: []string{"ALL"}, add: []string{"net_raw"}},
		{user: "root", add: []string{"net_raw"}},
		{add: []string{"FOO"}},
	})
}

func compare(t *testing.T, engine, version string, line []string, asks []ask) {
	// What the engine itself has is what this test has.
	available := read(t, []string{"cat", "/proc/self/status"}).Bounding
	e, err := rules.For(engine)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range asks {
		t.Run(fmt.Sprintf("add %v drop %v user %s privileged %v", a.add, a.drop, a.user, a.privileged), func(t *testing.T) {
			result, refused := e.Apply(rules.Request{Add: a.add, Drop: a.drop, User: a.user, Privileged: a.privileged, Available: &available, Version: version})
			argv := slices.Clone(line)
			for _, c := range a.add {
				argv = append(argv, "--cap-add", c)
			}
			for _, c := range a.drop {
				argv = append(argv, "--cap-drop", c)
			}
			if a.privileged {
				argv = append(argv, "--privileged")
			}
			if a.user != "" {
				argv = append(argv, "--user", a.user)
			}
			argv = append(argv, "leastcap-test/tiny", "cat", "/proc/self/status")
			if refused != nil {
				if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err == nil {
					t.Errorf("the rules say %v, it ran: %s", refused, out)
				}
				return
			}
			name, _, _ := strings.Cut(a.user, ":")
			root := name == "" || name == "0" || name == "root"
			if got, want := read(t, argv), rules.AfterExec(result.Runtime, root); got != want {
				t.Errorf("it gives %+v, the rules say %+v", got, want)
			}
		})
	}
}

// read returns the sets in the /proc/PID/status that a command prints.
func read(t *testing.T, argv []string) caps.State {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
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
