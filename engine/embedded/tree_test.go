//go:build linux

package embedded

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestTree: a file is looked for where the container's mounts have it.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"root/bin/app", "root/data/hidden", "data/file", "data/in/hidden", "inner/file", "app"} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	i := &instance{c: &Container{rootfs: filepath.Join(dir, "root"), spec: &specs.Spec{Mounts: []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/data", Type: "bind", Source: filepath.Join(dir, "data")},
		{Destination: "/data/in", Type: "bind", Source: filepath.Join(dir, "inner")},
		{Destination: "/usr/bin/app", Type: "bind", Source: filepath.Join(dir, "app")},
	}}}}
	for name, want := range map[string]string{
		"/bin/app": "root/bin/app", "/data/file": "data/file", "/data/in/file": "inner/file", "/usr/bin/app": "app",
		"/data/hidden": "", "/data/in/hidden": "", "/data/../bin/app": "root/bin/app",
	} {
		f, err := i.Read(t.Context(), name)
		if err != nil && want == "" {
			continue
		}
		if err != nil || string(f.Content) != want {
			t.Errorf("%s: %v, %v; want %q", name, f, err, want)
		}
	}
}
