package line

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTables(t *testing.T) {
	for _, engine := range engines {
		table, err := TableFor(engine)
		if err != nil {
			t.Fatal(err)
		}
		if table.Engine != engine || table.Source == "" {
			t.Errorf("%s: engine %q, source %q", engine, table.Engine, table.Source)
		}
		for part, list := range map[string][]FlagSpec{"global": table.Global, "run": table.Run, "create": table.Create} {
			names, letters := make(map[string]bool), make(map[string]bool)
			for _, f := range list {
				if names[f.Name] || f.Short != "" && letters[f.Short] || len(f.Short) > 1 {
					t.Errorf("%s %s: --%s or -%s is there twice", engine, part, f.Name, f.Short)
				}
				names[f.Name], letters[f.Short] = true, true
				if (f.Type == "bool") != (f.NoOpt == "true") {
					t.Errorf("%s %s: --%s: type %s, without value %q", engine, part, f.Name, f.Type, f.NoOpt)
				}
			}
			for _, f := range list {
				if f.AliasOf != "" && !names[f.AliasOf] {
					t.Errorf("%s %s: --%s is another name of --%s, which is not there", engine, part, f.Name, f.AliasOf)
				}
			}
			if part == "global" {
				continue
			}
			// What the package relies on by name.
			for _, name := range slices.Concat(capFlags, []string{
				"user", "network", "name", "interactive", "tty", "rm", "restart", "security-opt", "publish", "volume",
				"mount", "sysctl", "cgroup-parent", "cidfile", "entrypoint", "stop-signal", "stop-timeout", "health-cmd",
				"no-healthcheck", "pid", "userns", "label", "device-cgroup-rule",
			}) {
				if !names[name] {
					t.Errorf("%s %s has no --%s", engine, part, name)
				}
			}
		}
		if !table.runOnly()["detach"] || table.runOnly()["name"] {
			t.Errorf("%s: only run has %v", engine, table.runOnly())
		}
	}
	if _, err := TableFor("runc"); err == nil {
		t.Error("a table for runc")
	}
}

func TestParseHelp(t *testing.T) {
	got := ParseHelp(`Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]

Options:
      --add-host list                  Add a custom host-to-IP mapping
                                       (host:ip)
  -d, --detach                         Run container in background and
      --cloud string[="default"]       Use a cloud context
      --shm-size <number>[<unit>]      Size of /dev/shm
      --detach-keys [a-Z]              Override the key sequence
      --syslog
      --tls-verify[=maybe]   x
  stop        Stop one or more running containers
   --odd    not in a flag's column
`)
	want := []FlagSpec{
		{Name: "add-host", Type: "list", Repeat: true},
		{Name: "cloud", Type: "string", NoOpt: "default"},
		{Name: "detach", Short: "d", Type: "bool", NoOpt: "true"},
		{Name: "detach-keys", Type: "[a-Z]"},
		{Name: "shm-size", Type: "<number>[<unit>]"},
		{Name: "syslog", Type: "bool", NoOpt: "true"},
		{Name: "tls-verify", Type: "bool", NoOpt: "maybe"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
