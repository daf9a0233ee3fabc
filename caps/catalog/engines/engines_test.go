package engines

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	mobycaps "github.com/moby/moby/v2/daemon/pkg/oci/caps"
	"github.com/opencontainers/runc/libcontainer/specconv"
	_ "github.com/opencontainers/runtime-tools/error" // keeps the module, see TestRuntimeTools
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// compare holds the catalog's default set of an engine against what it says itself.
func compare(t *testing.T, name string, theirs []string) {
	t.Helper()
	set, _, err := caps.ParseList(theirs)
	if err != nil {
		t.Fatalf("%s: %v: give it a name in caps/cap.go and an entry in caps/catalog/catalog.yaml", name, err)
	}
	d, ok := catalog.FindDefault(name)
	if !ok {
		t.Fatalf("%s is not among default_sets in caps/catalog/catalog.yaml", name)
	}
	if set != d.Caps {
		t.Errorf("%s: its module has %v more and %v less than the catalog: update default_sets (with history) in caps/catalog/catalog.yaml",
			name, set.Minus(d.Caps), d.Caps.Minus(set))
	}
}

// What the catalog calls checked is what is compared here.
func TestVersions(t *testing.T) {
	for name, module := range map[string]string{
		"docker": "github.com/moby/moby/v2", "containerd": "github.com/containerd/containerd/v2",
		"runc": "github.com/opencontainers/runc", "oci-runtime-tool": "github.com/opencontainers/runtime-tools",
		"pss-baseline": "k8s.io/pod-security-admission", "pss-restricted": "k8s.io/pod-security-admission",
	} {
		version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
		if err != nil {
			t.Fatal(err)
		}
		d, _ := catalog.FindDefault(name)
		if want := strings.TrimSpace(string(version)); !slices.Contains(strings.Fields(d.Checked), want) {
			t.Errorf("%s: compared with %s %s, the catalog says %q: update checked in caps/catalog/catalog.yaml", name, module, want, d.Checked)
		}
	}
}

func TestContainerd(t *testing.T) {
	ctx := namespaces.WithNamespace(context.Background(), "test")
	spec, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "containerd", spec.Process.Capabilities.Bounding)
	compare(t, "containerd", spec.Process.Capabilities.Permitted)
}

func TestMoby(t *testing.T) {
	compare(t, "docker", mobycaps.DefaultCapabilities())
}

func TestRunc(t *testing.T) {
	c := specconv.Example().Process.Capabilities
	compare(t, "runc", c.Bounding)
	if len(c.Inheritable) > 0 {
		t.Errorf("runc spec writes inheritable %v again: update the note in caps/catalog/catalog.yaml", c.Inheritable)
	}
}

// The generator does not compile with the runtime specification of today, so that its
// source is read: in every set of the template the same names stand.
func TestRuntimeTools(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-tools").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(strings.TrimSpace(string(dir)), "generate", "generate.go")
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sets := 0
	ast.Inspect(parsed, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		list, ok := pair.Value.(*ast.CompositeLit)
		if key, isName := pair.Key.(*ast.Ident); !ok || !isName || !slices.Contains([]string{"Bounding", "Permitted", "Effective", "Inheritable", "Ambient"}, key.Name) {
			return true
		}
		var names []string
		for _, element := range list.Elts {
			if text, ok := element.(*ast.BasicLit); ok && strings.HasPrefix(text.Value, `"CAP_`) {
				names = append(names, strings.Trim(text.Value, `"`))
			}
		}
		sets++
		compare(t, "oci-runtime-tool", names)
		return true
	})
	if sets != 5 {
		t.Errorf("%d sets were found in %s, want 5: mend the test", sets, file)
	}
}

// Pod Security's own evaluator is asked about every capability.
func TestPodSecurity(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, level := range map[string]api.Level{"pss-baseline": api.LevelBaseline, "pss-restricted": api.LevelRestricted} {
		allows := func(c caps.Cap) bool {
			no, yes, user := false, true, int64(1000)
			pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, RunAsNonRoot: &yes, RunAsUser: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				Capabilities:   &corev1.Capabilities{Add: []corev1.Capability{corev1.Capability(c.Docker())}, Drop: []corev1.Capability{"ALL"}},
			}}}}
			results := evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &metav1.ObjectMeta{}, &pod)
			return policy.AggregateCheckResults(results).Allowed
		}
		var allowed []string
		for c := range caps.All().Values() {
			if allows(c) {
				allowed = append(allowed, c.Name())
			}
		}
		if len(allowed) == 0 {
			t.Fatalf("%s allows nothing at all: mend the pod in this test", name)
		}
		compare(t, name, allowed)
	}
}
