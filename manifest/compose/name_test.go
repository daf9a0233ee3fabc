package compose_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/compose"
)

// compose-go is the oracle of a project's name.
func TestProjectName(t *testing.T) {
	const service = "services: {a: {build: .}}\n"
	for _, tt := range []struct {
		dir   string
		files map[string]string
		env   string
	}{
		{"My Project.1", map[string]string{"compose.yaml": service}, ""},
		{"_-x", map[string]string{"compose.yaml": service}, ""},
		{"x", map[string]string{"compose.yaml": "name: own-name\n" + service}, ""},
		{"x", map[string]string{"compose.yaml": "name: own\n" + service, "compose.override.yaml": "name: over\n"}, ""},
		{"x", map[string]string{"compose.yaml": "name: own-${N:-1}\n" + service, ".env": "N=2\n"}, ""},
		{"x", map[string]string{"compose.yaml": "name: own\n" + service, ".env": "COMPOSE_PROJECT_NAME=of-env\n"}, ""},
		{"x", map[string]string{"compose.yaml": "name: own\n" + service, ".env": "COMPOSE_PROJECT_NAME=of-env\n"}, "outer"},
	} {
		dir := filepath.Join(t.TempDir(), tt.dir)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var env []string
		if tt.env != "" {
			env = []string{"COMPOSE_PROJECT_NAME=" + tt.env}
		}
		o, err := cli.NewProjectOptions(nil, cli.WithWorkingDirectory(dir), cli.WithEnv(env), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithDefaultConfigPath)
		if err != nil {
			t.Fatal(err)
		}
		project, err := o.LoadProject(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "compose.yaml")
		got := compose.ProjectName(manifest.Source{Name: name, Data: []byte(tt.files["compose.yaml"]), Open: os.ReadFile, Env: func(key string) (string, bool) {
			return tt.env, key == "COMPOSE_PROJECT_NAME" && tt.env != ""
		}}, dir)
		if got != project.Name {
			t.Errorf("%q %v: %q, compose-go says %q", tt.dir, tt.files, got, project.Name)
		}
	}
	broken := manifest.Source{Name: "compose.yaml", Data: []byte("services: ["), Open: func(string) ([]byte, error) { return nil, errors.New("none") }}
	if got := compose.ProjectName(broken, "/x"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestCommand(t *testing.T) {
	there := func(names ...string) func(string) ([]byte, error) {
		return func(name string) ([]byte, error) {
			if slices.Contains(names, name) {
				return nil, nil
			}
			return nil, os.ErrNotExist
		}
	}
	for _, tt := range []struct {
		name string
		open func(string) ([]byte, error)
		want string
	}{
		{"compose.yaml", there("compose.override.yaml"), "docker compose"},
		{"stack.yml", there(), "docker compose -f stack.yml"},
		{"d/docker-compose.yml", there("d/compose.override.yml"), "docker compose -f d/docker-compose.yml -f d/compose.override.yml"},
		{"docker-compose.yml", there("compose.yaml"), "docker compose -f docker-compose.yml"},
		{"compose.yaml", there("docker-compose.yml"), "docker compose"},
		{"../compose.yaml", nil, "docker compose -f ../compose.yaml"},
	} {
		if got := strings.Join(compose.Command(manifest.Source{Name: tt.name, Open: tt.open}), " "); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
