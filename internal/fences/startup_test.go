package fences

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// heavy are packages that must not come back into the program, with what they do before
// main, at every start: Go initialises all that is linked, whatever is called. Times are
// of a start that takes 6 ms.
var heavy = []struct{ path, why, instead string }{
	{"github.com/xeipuuv/gojsonschema", "compiles patterns, 0.2 ms", "report/sarif.go has the objects that are written"},
	{"github.com/santhosh-tekuri/jsonschema", "compiles patterns", "only tests hold documents against schemas"},
	{"github.com/russross/blackfriday", "compiles patterns and makes tables, 0.3 ms", "cmd/leastcap/man.go writes roff"},
	{"github.com/spf13/cobra/doc", "brings blackfriday", "cmd/leastcap/man.go"},
	{"github.com/go-git/go-git", "brings encoding/gob", "cmd/leastcap/audit_ignore.go"},
	{"encoding/gob", "makes its types by reflection, 0.2 ms", "encoding/json"},
	{"github.com/elastic/go-seccomp-bpf", "makes maps of all architectures' system calls, 0.3 ms", "probe/calls_data.go"},
	{"github.com/compose-spec/compose-go/v2/loader", "compiles a schema's patterns, 2 ms", "manifest/compose; cmd/leastcap-verifier asks it"},
	{"k8s.io", "registers all kinds of objects", "manifest/kube; cmd/leastcap-verifier asks it"},
	{"github.com/distribution/reference", "compiles patterns, 0.6 ms", "imageName of engine/docker"},
	{"github.com/moby/moby/client", "brings distribution/reference and OpenTelemetry", "engine/docker/api.go"},
	{"github.com/docker/cli/opts", "brings moby/client", "engine/cli/mount.go"},
	{"github.com/docker/cli/cli/context/docker", "brings moby/client", "engine/docker/connect.go"},
	{"go.opentelemetry.io", "registers itself, and is half a megabyte", "nothing is traced"},
	{"testing", "is for tests", "a file of tests"},
}

// light are packages below heavy ones that do nothing before main, nor does what they bring.
var light = []string{"github.com/moby/moby/client/pkg/versions"}

// TestStartUp holds what the program links. It lists what there is for this system, with
// the tags of a release.
func TestStartUp(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-tags", "netgo osusergo seccomp", "./cmd/leastcap")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"/audit") {
		t.Fatalf("%v lists %d packages, and audit is none of them", cmd, len(deps))
	}
	for _, dep := range deps {
		for _, h := range heavy {
			if within(dep, []string{h.path}) && !slices.Contains(light, dep) {
				t.Errorf("cmd/leastcap links %s, which %s; instead: %s", dep, h.why, h.instead)
			}
		}
	}
}
