package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
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
