package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

const (
	yamlFile  = "../../caps/catalog/catalog.yaml"
	goFile    = "../../caps/catalog/data.go"
	proofFile = "../../caps/catalog/proof/proofs.yaml"
	proofGo   = "../../caps/catalog/proof/data.go"
	docFile   = "../../docs/capabilities.md"
	again     = "run go generate ./caps/catalog and commit the result"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	for _, f := range []struct {
		yaml, compiled string
		compile        func([]byte) ([]byte, error)
	}{{yamlFile, goFile, catalogSource}, {proofFile, proofGo, proofSource}} {
		src, err := f.compile(read(t, f.yaml))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(src, read(t, f.compiled)) {
			t.Errorf("%s is not what %s makes: %s", f.compiled, f.yaml, again)
		}
	}
	var b bytes.Buffer
	page(&b)
	if !bytes.Equal(b.Bytes(), read(t, docFile)) {
		t.Errorf("%s is not what the YAML files make: %s", docFile, again)
	}
}

// Every capability has a section, and every link leads to one.
func TestPageLinks(t *testing.T) {
	var b bytes.Buffer
	page(&b)
	text := b.String()
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		anchor := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		anchors[strings.NewReplacer(":", "", "'", "").Replace(anchor)] = true
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		if !anchors[m[1]] {
			t.Errorf("a link to #%s, which is nowhere", m[1])
		}
	}
	for c := range caps.All().Values() {
		if !anchors[c.String()] {
			t.Errorf("no section about %v", c)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	whole := string(read(t, yamlFile))
	for name, change := range map[string][2]string{
		"field grant not found":     {"    grants: make device files", "    grant: make device files"},
		"40 capabilities, want 41":  {"  - number: 40\n", "    number: 40\n"},
		"entry 4 is number 44":      {"  - number: 4\n", "  - number: 44\n"},
		"unknown capability":        {"    name: mknod\n", "    name: mknot\n"},
		"unknown danger level":      {"    danger: host\n", "    danger: severe\n"},
		"unknown class":             {"class: near\n", "class: far\n"},
		"unknown namespace":         {"in: mount,", "in: mound,"},
		"unknown effect":            {"effect: useless", "effect: none"},
		"unknown sharing":           {"shared: pid,", "shared: pit,"},
		"a capability is there":     {"    caps: [net_bind_service]\n", "    caps: [net_bind_service, net_bind_service]\n"},
		"in the families of chown":  {"[chown, fchown, lchown, fchownat]", "[chown, fchown, lchown, fchmodat]"},
		"cannot unmarshal":          {"    rank: 14\n", "    rank: high\n"},
		"mapping values are not al": {"name: net_raw\n", "name: net_raw: x\n"},
	} {
		if !strings.Contains(whole, change[0]) {
			t.Fatalf("the catalog has no %q any more", change[0])
		}
		broken := strings.Replace(whole, change[0], change[1], 1)
		if name == "40 capabilities, want 41" {
			broken = whole[:strings.Index(whole, "  - number: 40\n")]
		}
		if _, err := parse([]byte(broken)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestParseProofsRefuses(t *testing.T) {
	whole := string(read(t, proofFile))
	for name, change := range map[string][2]string{
		"field operations not found": {"    operation: chown(2)", "    operations: chown(2)"},
		"unknown capability":         {"    cap: mknod\n", "    cap: mknot\n"},
		"no such kernel":             {"    since: \"6.12\"\n", "    since: \"6.13\"\n"},
	} {
		if !strings.Contains(whole, change[0]) {
			t.Fatalf("the experiments have no %q any more", change[0])
		}
		if _, err := parseProofs([]byte(strings.Replace(whole, change[0], change[1], 1))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}
