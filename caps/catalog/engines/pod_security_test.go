package engines

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/kube"
)

// evaluator says which of some checks a pod fails, by Pod Security Admission itself.
func evaluator(checks ...policy.Check) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		for _, c := range checks {
			newest := c.Versions[len(c.Versions)-1]
			if !newest.CheckPod(&pod.ObjectMeta, &pod.Spec).Allowed {
				return true
			}
		}
		return false
	}
}

var (
	failsBaseline   = evaluator(policy.CheckCapabilitiesBaseline(), policy.CheckPrivileged(), policy.CheckHostNamespaces())
	failsRestricted = evaluator(policy.CheckCapabilitiesRestricted(), policy.CheckAllowPrivilegeEscalation())
)

// agree compares leastcap's rules with the evaluator on a manifest.
func agree(t *testing.T, name string, data []byte) {
	t.Helper()
	var pod corev1.Pod
	if err := yaml.Unmarshal(data, &pod); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	list, err := kube.Parse(manifest.Source{Name: name, Data: data})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var subjects []audit.Subject
	for _, c := range list {
		subjects = append(subjects, audit.Subject{Container: c})
	}
	found := map[string]bool{}
	for _, f := range audit.Audit(subjects) {
		found[f.Rule.ID] = true
	}
	for rule, fails := range map[string]bool{"pod-security-baseline": failsBaseline(&pod), "pod-security-restricted": failsRestricted(&pod)} {
		if found[rule] != fails {
			t.Errorf("%s: %s: leastcap says %v, Pod Security Admission %v\n%s", name, rule, found[rule], fails, data)
		}
	}
}

// TestPodSecurityData goes through all of Pod Security Admission's own test data.
func TestPodSecurityData(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "test/testdata/*/v*/*/*.yaml"))
	if err != nil || len(files) < 1000 {
		t.Fatalf("%d files of test data, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, strings.Join(strings.Split(file, string(filepath.Separator))[len(strings.Split(file, string(filepath.Separator)))-4:], "/"), data)
	}
}

// TestPodSecurityGenerated compares on lists and settings that nobody thought of.
func TestPodSecurityGenerated(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 5))
	words := []string{"ALL", "all", "All", "NET_BIND_SERVICE", "net_bind_service", "CAP_NET_BIND_SERVICE", "CHOWN", "chown", "CAP_CHOWN",
		"NET_RAW", "SYS_ADMIN", "KILL", "AUDIT_WRITE", "NONSENSE", "cap_all"}
	list := func(key string) string {
		n := random.IntN(5) - 1
		if n < 0 {
			return ""
		}
		var picked []string
		for range n {
			picked = append(picked, words[random.IntN(len(words))])
		}
		return fmt.Sprintf("%s: [%s]", key, strings.Join(picked, ", "))
	}
	bool3 := func(key string) string {
		return []string{"", key + ": true", key + ": false"}[random.IntN(3)]
	}
	security := func() string {
		caps := join(list("drop"), list("add"))
		parts := []string{bool3("allowPrivilegeEscalation")}
		if random.IntN(5) > 0 {
			parts = append(parts, "capabilities: {"+caps+"}")
		}
		if random.IntN(6) == 0 {
			parts = append(parts, bool3("privileged"))
		}
		if s := join(parts...); s != "" || random.IntN(2) == 0 {
			return ", securityContext: {" + s + "}"
		}
		return ""
	}
	for i := range 2000 {
		var spec []string
		for _, kind := range []string{"containers", "initContainers", "ephemeralContainers"} {
			if kind != "containers" && random.IntN(3) > 0 {
				continue
			}
			var list []string
			for n := range 1 + random.IntN(2) {
				list = append(list, fmt.Sprintf("{name: %c%d, image: i%s}", kind[0], n, security()))
			}
			spec = append(spec, kind+": ["+strings.Join(list, ", ")+"]")
		}
		for _, host := range []string{"hostPID", "hostNetwork", "hostIPC"} {
			if random.IntN(10) == 0 {
				spec = append(spec, bool3(host))
			}
		}
		if random.IntN(10) == 0 {
			spec = append(spec, "os: {name: windows}")
		}
		agree(t, fmt.Sprintf("generated %d", i), []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {"+join(spec...)+"}\n"))
		if t.Failed() {
			return
		}
	}
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}
