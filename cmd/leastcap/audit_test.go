package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastcap/leastcap/manifest"
)

// TestSARIF has a report with all that it can hold read against SARIF's own schema: fixes,
// an exception, a file that cannot be read, a name that no URI may have.
func TestSARIF(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"compose.yaml":   "services:\n  w:\n    image: i\n    cap_drop: [ALL, kill]\n    cap_add: [SYS_ADMIN, CHOWN, chown] # leastcap: allow adds-capability SYS_ADMIN until 2999-01-01: a test\n",
		"a b%\x1b\n.yml": "services: {a: {image: a, privileged: true}}\n",
		"bad.yaml":       "services: {a: {image: [}}\n",
		"Dockerfile":     "FROM a\nRUN chmod u+s /x\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if code := run(t.Context(), &out, io.Discard, []string{"audit", "--no-store", "-o", "sarif", dir}); code != exitBlind {
		t.Error("exit status", code)
	}
	schema, err := jsonschema.NewCompiler().Compile("testdata/sarif-schema-2.1.0.json") // OASIS's own
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(raw); err != nil {
		t.Errorf("%v\n%s", err, out.Bytes())
	}
	var doc struct {
		Runs []struct {
			Results []struct{ Fixes, Suppressions []any }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	fixes, suppressed := 0, 0
	for _, r := range doc.Runs[0].Results {
		fixes += len(r.Fixes)
		suppressed += len(r.Suppressions)
	}
	if fixes < 2 || suppressed != 1 {
		t.Errorf("%d fixes and %d suppressions", fixes, suppressed)
	}
}

// A manual shows definitions and a script writes them: neither is one, whatever it quotes.
func TestQuoted(t *testing.T) {
	quoted := map[string]string{
		"compose":    "services:\n  web:\n    image: x\n",
		"kubernetes": "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: x}]}\n",
		"dockerfile": "FROM x\nRUN y\n",
		"unit":       "[Unit]\nDescription=x\n[Service]\nExecStart=/x\n",
		"quadlet":    "[Container]\nImage=x\n",
		"actions":    "on: push\njobs:\n  a:\n    runs-on: x\n    steps: []\n",
		"ecs":        "\"family\": \"x\", \"containerDefinitions\": [{\"name\": \"x\", \"image\": \"y\"}]\n",
		"nomad":      "job \"x\" {\n  group \"g\" {\n    task \"t\" {}\n  }\n}\n",
	}
	for _, host := range []struct{ name, before, after, want string }{
		{"README.md", "# Read me\n\n```\n", "```\n", "markdown"},
		{"<stdin>", "# Read me\n\n```yaml\n", "```\n", "markdown"},
		{"<stdin>", "---\nservices:\n  web: {image: x}\n---\n# Read me\n\n```\n", "```\n", "markdown"},
		{"<stdin>", "---\ntitle: x\n---\n\n# Read me\r\n\r\nThis shows it.\r\n\r\n", "", "markdown"},
		{"README", "+++\ntitle = \"x\"\n+++\nAs follows\n\n", "", "markdown"},
		{"<stdin>", "", "\n~~~ sh\ndocker run x\n~~~\n", "markdown"},
		{"Makefile", "define FILE\n", "endef\n", "makefile"},
		{"docker.Makefile", "define FILE\n", "endef\n", "makefile"},
		{"rules.mk", "define FILE\n", "endef\n", "makefile"},
		{"deploy.sh", "cat >file <<EOF\n", "EOF\n", "shell"},
		{"deploy", "#!/bin/sh -e\ncat >file <<EOF\n", "EOF\n", "shell"},
		{"<stdin>", "\ufeff#!/usr/bin/env bash\ncat >file <<EOF\n", "EOF\n", "shell"},
	} {
		if host.name == "<stdin>" || host.name == "README" {
			// One that is taken for Markdown only by what it quotes would be taken for that.
			if f := manifest.Recognise(formats, host.name, []byte(host.before+host.after)); f == nil || f.Name != host.want {
				t.Errorf("%q: %v, want %s", host.before+host.after, f, host.want)
			}
		}
		for what, text := range quoted {
			if f := manifest.Recognise(formats, host.name, []byte(host.before+text+host.after)); f == nil || f.Name != host.want {
				t.Errorf("%s with %s: %v, want %s", host.name, what, f, host.want)
			}
		}
	}
}

// TestUnread: of no format is anything passed over that stands behind a definition's root.
func TestUnread(t *testing.T) {
	const pod = `{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": "x"}]}}`
	for _, tt := range []struct{ name, format, text, line string }{
		{"compose.json", "compose", `{"services": {"web": {"image": "x"}}}` + "\n{\"services\": {}}\n", ":2:1: "},
		{"compose.yaml", "compose", "services: {web: {image: x}}\r---\rservices: {db: {image: y, privileged: true}}\r", ":1:"},
		{"compose.yaml", "compose", "{services: {web: {image: x}}} volumes\n", ":1:31: "},
		{"pod.json", "kubernetes", pod + "\ngarbage\n", ":2:1: "},
		{"pod.yaml", "kubernetes", "---\n" + pod + "\n" + pod, ":3:1: "},
		{"pod.yaml", "kubernetes", "{apiVersion: v1, kind: Pod} image\n", ":1:29: "},
		{"task.json", "ecs", `{"family": "x", "containerDefinitions": [{"name": "x", "image": "y"}]}` + "\n\n  {}", ":3:3: "},
		{"devcontainer.json", "devcontainer", "{\"image\": \"x\", // one\n}\n// two\n{\"privileged\": true}\n", ":4:1: "},
		{"config.json", "oci", `{"ociVersion": "1", "process": {}, "root": {}} {}`, ":1:48: "},
		{"<stdin>", "actions", "{on: push, jobs: {a: {runs-on: x, container: y, steps: []}}}\n[]\n", ":2:1: "},
		{".github/workflows/a.yaml", "actions", "on: push\njobs: {}\n---\non: push\n", ":3:1: "},
		{"<stdin>", "inspect", `[{"Id": "x", "HostConfig": {}, "Config": {}}]` + "\n[]\n", ":2:1: "},
	} {
		f := formats[slices.IndexFunc(formats, func(f *manifest.Format) bool { return f.Name == tt.format })]
		_, err := f.Parse(manifest.Source{Name: tt.name, Data: []byte(tt.text)})
		if err == nil || !strings.HasPrefix(err.Error(), tt.name+tt.line) {
			t.Errorf("%s: %v, want %s%s", tt.format, err, tt.name, tt.line)
		} else if manifest.Errors(err)[0].Hint == "" {
			t.Errorf("%s: no next step: %v", tt.format, err)
		}
	}
}

// TestUnquoted: what only looks like a text for people is what it is, where the name says
// nothing.
func TestUnquoted(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: x\n"
	for _, tt := range []struct{ text, want string }{
		{"---\n" + pod + "---\n# The second\n\n# ```sh\n" + pod, "kubernetes"},
		{"# Title\n---\n# ```\n" + pod, "kubernetes"},
		{"---\n" + pod + "---\n# nothing\n", "kubernetes"},
		{"---\n" + pod + "---\n# a list\n- a\n- b\n", "kubernetes"},
		{"---\n" + pod + "---\n{\"apiVersion\": \"v1\"}\n", "kubernetes"},
		{"---\n" + pod + "---\n\"quoted\": key\n", "kubernetes"},
		{"---\n" + pod + "---\na key of words: x\n", "kubernetes"},
		{pod + "    args:\n    - |\n      ```sh\n      docker run x\n      ```\n", "kubernetes"},
		{pod + "    args:\n    - |\n     # Title\n\n     ~~~\n     docker run x\n", "kubernetes"},
		{"services:\n  web:\n    image: x\n    labels:\n      about: \"\n        ```\n        x\"\n", "compose"},
		{"services:\n  web:\n    image: x # ```\n", "compose"},
		{"FROM x\nCOPY <<EOF /README.md\n# Read me\n```sh\nls\n```\nEOF\n", "dockerfile"},
		{"#!/bin/sh\necho '\n```\n'\ndocker run x\n", "shell"},
		{"docker run x\ncat <<'EOF'\n```\nEOF\n", "shell"},
		{"job \"x\" {\n  group \"g\" {\n    task \"t\" {\n      template {\n        data = <<EOH\n```\nEOH\n      }\n    }\n  }\n}\n", "nomad"},
	} {
		if f := manifest.Recognise(formats, stdinName, []byte(tt.text)); f == nil || f.Name != tt.want {
			t.Errorf("%q: %v, want %s", tt.text, f, tt.want)
		}
	}
}
