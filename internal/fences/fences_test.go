package fences

import (
	"go/build/constraint"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTree(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	found, err := check(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func TestFences(t *testing.T) {
	own := func(pkg string) string { return `import _ "` + module + "/" + pkg + `"` }
	for _, tt := range []struct {
		name, file, src string
		want            string // part of the one finding; "" for none
	}{
		{"upwards", "advise/a.go", own("caps"), ""},
		{"downwards", "caps/a.go", own("advise"), "it is below in the table"},
		{"downwards, a subpackage", "caps/a.go", own("caps/catalog"), "it is below in the table"},
		{"sideways", "manifest/kube/a.go", own("manifest/compose"), "of one rank"},
		{"upwards, from a subpackage", "manifest/kube/a.go", own("manifest"), ""},
		{"an interface does not know what implements it", "engine/a.go", own("engine/cli"), "it is below"},
		{"learn wires", "learn/a.go", own("engine/cli"), ""},
		{"the command wires", "cmd/leastcap/a.go", own("learn"), ""},
		{"downwards, in a test", "caps/a_test.go", own("advise"), ""},
		{"test support, in a test", "caps/a_test.go", own("internal/testenv"), ""},
		{"test support, shipped", "caps/a.go", own("internal/testenv"), "only tests may"},
		{"test support wires", "internal/kerneltest/a.go", own("learn"), ""},

		{"a pattern before main", "audit/a.go", "import \"regexp\"\nvar x = []*regexp.Regexp{regexp.MustCompile(`a`)}", "at every start"},
		{"a pattern at its first use", "audit/a.go", "import \"regexp\"\nvar x = f(func() *regexp.Regexp { return regexp.MustCompile(`a`) })", ""},
		{"a pattern in a test", "audit/a_test.go", "import \"regexp\"\nvar x = regexp.MustCompile(`a`)", ""},

		{"unknown package", "surprise/a.go", "", "not in the table"},
		{"unknown subpackage", "caps/surprise/a.go", "", "not in the table"},
		{"unknown package, only tests", "surprise/a_test.go", "", "not in the table"},
		{"bad directory", "pkg/caps/a.go", "", "says nothing"},

		{"ebpf in probe", "probe/a.go", `import _ "github.com/cilium/ebpf/link"`, ""},
		{"ebpf elsewhere", "proc/a.go", `import _ "github.com/cilium/ebpf"`, "stays in probe"},
		{"a path that only begins alike", "proc/a.go", `import _ "github.com/cilium/ebpf-go"`, ""},
		{"client in image", "image/a.go", `import _ "github.com/google/go-containerregistry/pkg/v1"`, ""},
		{"client below engine", "engine/docker/a.go", `import _ "github.com/moby/moby/api/types/container"`, ""},
		{"moby's client", "engine/docker/a.go", `import _ "github.com/moby/moby/client"`, "only tests may"},
		{"moby's client, in a test", "engine/docker/a_test.go", `import _ "github.com/moby/moby/client"`, ""},
		{"its versions", "engine/docker/a.go", `import _ "github.com/moby/moby/client/pkg/versions"`, ""},
		{"its versions elsewhere", "engine/cli/a.go", `import _ "github.com/moby/moby/client/pkg/versions"`, "stays in engine/docker"},
		{"client in learn", "learn/a.go", `import _ "github.com/docker/docker/client"`, "stays in engine, image"},
		{"client in the command", "cmd/leastcap/a.go", `import _ "github.com/containers/image/v5"`, "stays in engine, image"},
		{"Dockerfile parser", "manifest/dockerfile/a.go", `import _ "github.com/moby/buildkit/frontend/dockerfile/parser"`, ""},
		{"Dockerfile parser elsewhere", "audit/a.go", `import _ "github.com/moby/buildkit/frontend/dockerfile/parser"`, "stays in manifest/dockerfile"},
		{"other buildkit", "manifest/dockerfile/a.go", `import _ "github.com/moby/buildkit/client"`, "stays in engine, image"},
		{"Compose's variables", "manifest/compose/a.go", `import _ "github.com/compose-spec/compose-go/v2/template"`, ""},
		{"Compose's loader", "manifest/compose/a.go", `import _ "github.com/compose-spec/compose-go/v2/loader"`, "stays in cmd/leastcap-verifier"},
		{"Compose's loader in the command", "cmd/leastcap/a.go", `import _ "github.com/compose-spec/compose-go/v2/loader"`, "stays in cmd/leastcap-verifier"},
		{"Compose's loader in its program", "cmd/leastcap-verifier/a.go", `import _ "github.com/compose-spec/compose-go/v2/loader"`, ""},
		{"Kubernetes' types in the command", "cmd/leastcap/a.go", `import _ "k8s.io/api/core/v1"`, "stays in cmd/leastcap-verifier"},
		{"Kubernetes' types in its program", "cmd/leastcap-verifier/a.go", `import _ "k8s.io/api/core/v1"`, ""},
		{"Compose's loader, in a test", "manifest/compose/a_test.go", `import _ "github.com/compose-spec/compose-go/v2/loader"`, ""},
		{"libcontainer", "engine/embedded/a.go", `import _ "github.com/opencontainers/runc/libcontainer"`, ""},
		{"libcontainer elsewhere", "engine/cli/a.go", `import _ "github.com/opencontainers/runc/libcontainer"`, "stays in engine/embedded"},
		{"cgo", "engine/embedded/a.go", `import "C"`, ""},
		{"cgo elsewhere", "proc/a.go", `import "C"`, "stays in engine/embedded"},

		{"pure: exec", "manifest/shell/a.go", `import _ "os/exec"`, "pure package"},
		{"pure: x/sys", "caps/a.go", `import _ "golang.org/x/sys/unix"`, "pure package"},
		{"pure: http", "report/a.go", `import _ "net/http"`, "pure package"},
		{"pure: a test's oracle", "caps/a_test.go", `import _ "os/exec"`, ""},
		{"impure", "proc/a.go", `import _ "golang.org/x/sys/unix"`, ""},

		{"log", "learn/a.go", `import _ "log"`, "stays in cmd/leastcap"},
		{"slog", "learn/a.go", `import _ "log/slog"`, "stays in cmd/leastcap"},
		{"slog in the command", "cmd/leastcap/a.go", `import _ "log/slog"`, ""},
		{"exit", "learn/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", "uses os.Exit"},
		{"exit as a value", "learn/a.go", "import \"os\"\nvar f = os.Exit", "uses os.Exit"},
		{"exit under a name", "learn/a.go", "import x \"os\"\nfunc f() { x.Exit(1) }", "uses os.Exit"},
		{"exit by system call", "proc/a.go", "import \"syscall\"\nfunc f() { syscall.Exit(1) }", "uses syscall.Exit"},
		{"exit by dot", "learn/a.go", "import . \"os\"\nfunc f() { Exit(1) }", "by dot"},
		{"exit in the command", "cmd/leastcap/a.go", "import \"os\"\nfunc f() { os.Exit(1) }", ""},
		{"exit in a test", "learn/a_test.go", "import \"os\"\nfunc f() { os.Exit(1) }", ""},
		{"another Exit", "learn/a.go", "import _ \"os\"\nfunc f(os interface{ Exit(int) }) { os.Exit(1) }", ""},

		{"for another system", "proc/a_windows.go", `import _ "log"`, "stays in cmd/leastcap"},
		{"behind a tag", "proc/a.go", "//go:build odd\n" + `import _ "log"`, "stays in cmd/leastcap"},
		{"generator", "caps/gen.go", "//go:build ignore\n" + `import _ "os/exec"`, ""},
		{"fixture", "caps/testdata/a.go", `import _ "log"`, ""},
		{"hidden", ".git/a.go", `import _ "log"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := "package p\n" + tt.src + "\n"
			if tag, rest, ok := strings.Cut(tt.src, "\n"); ok && constraint.IsGoBuild(tag) {
				src = tag + "\n\npackage p\n" + rest + "\n"
			}
			found, err := check(fstest.MapFS{tt.file: {Data: []byte(src)}})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.want == "" && len(found) > 0:
				t.Errorf("found %q, want nothing", found)
			case tt.want != "" && !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, tt.want) }):
				t.Errorf("found %q, want %q", found, tt.want)
			}
		})
	}
}

func TestNestedModuleIsNotOurs(t *testing.T) {
	found, err := check(fstest.MapFS{
		"engine/line/flagsgen/go.mod":  {Data: []byte("module x\n")},
		"engine/line/flagsgen/main.go": {Data: []byte("package main\n\nimport _ \"log\"\n")},
	})
	if err != nil || len(found) > 0 {
		t.Errorf("found %q, %v; want nothing", found, err)
	}
}

// TestTables keeps the tables themselves from rotting.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range append(slices.Clone(order), testingPackages) {
		for _, p := range row {
			if seen[p] {
				t.Errorf("%s is in the tables twice", p)
			}
			seen[p] = true
		}
	}
	var fenced []string
	for _, f := range imports {
		fenced = append(fenced, f.in...)
	}
	for _, p := range slices.Concat(pure, fenced) {
		if !seen[p] {
			t.Errorf("a fence names %s, which is not in the table of packages", p)
		}
	}
}
