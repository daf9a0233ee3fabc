// Package fences holds the layout of the module: which package may import
// which, and where effects may be. ARCHITECTURE.md says why; the tables
// here are the same rules as data, and the test of this package holds them.
package fences

// order lists the packages of the module, by rank: a package imports only
// packages of a rank above its own, and none of its own rank. A package that
// is not here is a mistake, in the layout or in this table.
var order = [][]string{
	{"caps"},
	{"caps/catalog", "caps/catalog/proof"},
	{"engine/line", "engine/rules"},
	{"usage", "binary"},
	{"advise"},
	{"manifest"},
	{"manifest/reading", "manifest/words", "manifest/yaml"},
	{"manifest/flags", "manifest/label"},
	{
		"manifest/actions", "manifest/compose", "manifest/devcontainer", "manifest/dockerfile",
		"manifest/ecs", "manifest/helm", "manifest/inspect", "manifest/kube",
		"manifest/nomad", "manifest/oci", "manifest/shell", "manifest/systemd",
	},
	{"audit"},
	{"report"},
	{"proc"},
	{"probe"},
	{"image"},
	{"engine"},
	{"engine/bundle"},
	{"engine/cli", "engine/docker", "engine/embedded", "engine/host"},
	{"learn", "verifier", "watch"},
	{"cmd/leastcap", "cmd/leastcap-verifier"},
}

// testingPackages lists the packages that only tests import, and the programs that
// only the build runs. They may import any package.
var testingPackages = []string{
	"bench/stress",
	"bench/truth",
	"bench/truth/images",
	"bench/truth/oracle",
	"bench/truth/run",
	"bench/truth/table",
	"internal/debian",
	"internal/fences",
	"internal/formattest",
	"internal/kerneltest",
	"internal/testenv",
	"caps/catalog/proof/testdata/operate",
	"engine/embedded/testdata/regain",
	"scripts/catalog",
	"scripts/demo",
	"scripts/rules",
	"scripts/testsum",
	"scripts/truth",
}

// pure lists the packages whose functions have no effects; what is below such
// a directory is pure too.
var pure = []string{"caps", "engine/bundle", "engine/line", "engine/rules", "usage", "binary", "advise", "manifest", "audit", "report"}

// impure lists the imports, with what is below them, that a pure package does
// without.
var impure = []string{"os/exec", "net/http", "syscall", "golang.org/x/sys"}

// A fence keeps an import, with what is below it, in the named packages and
// what is below those; without any only tests may import it. Of several fences
// around one import the longest path holds.
type fence struct {
	path string
	in   []string
}

var imports = []fence{
	{"github.com/cilium/ebpf", []string{"probe"}},

	{"github.com/containers", []string{"engine", "image"}},
	{"github.com/docker", []string{"engine", "image"}},
	{"github.com/google/go-containerregistry", []string{"engine", "image"}},
	{"github.com/moby", []string{"engine", "image"}},
	// Only its comparison of versions does nothing before main (startup_test.go).
	{"github.com/moby/moby/client", nil},
	{"github.com/moby/moby/client/pkg/versions", []string{"engine/docker"}},
	// The Dockerfile parser is no container client.
	{"github.com/moby/buildkit/frontend/dockerfile", []string{"manifest/dockerfile"}},

	// Sizes in words are no container client.
	{"github.com/docker/go-units", []string{"cmd/leastcap", "engine", "image"}},
	// Docker's published seccomp profile is data.
	{"github.com/moby/profiles", []string{"engine/bundle"}},

	// Variables and .env files are read by compose-go. Its loader compiles a JSON schema's
	// regular expressions at every start of the program, for 2 ms and more, and Kubernetes'
	// packages register all kinds: a program of their own asks them.
	{"github.com/compose-spec/compose-go", []string{"cmd/leastcap-verifier"}},
	{"github.com/compose-spec/compose-go/v2/dotenv", []string{"manifest/compose", "cmd/leastcap-verifier"}},
	{"github.com/compose-spec/compose-go/v2/template", []string{"manifest/compose", "cmd/leastcap-verifier"}},
	{"k8s.io", []string{"cmd/leastcap-verifier"}},
	{"github.com/landlock-lsm/go-landlock", []string{"cmd/leastcap-verifier"}},

	{"github.com/opencontainers/runc", []string{"engine/embedded"}},
	{"github.com/opencontainers/cgroups", []string{"engine/embedded"}},
	{"C", []string{"engine/embedded"}},

	{"log", []string{"cmd/leastcap"}},
}

// exits lists where os.Exit may be called.
var exits = []string{"cmd/leastcap", "cmd/leastcap-verifier", "scripts"}

// badNames are names that say nothing about what a package does.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "pkg"}
