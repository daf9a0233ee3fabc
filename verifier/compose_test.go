package verifier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/sirupsen/logrus"

	"github.com/leastcap/leastcap/manifest/reading"
)

// fakeCompose is docker compose as far as it is asked, from the package that is its reader.
func fakeCompose(args []string) error {
	logrus.SetOutput(io.Discard)
	if args[0] == "compose" {
		args = args[1:]
	}
	if slices.Equal(args, []string{"version", "--short"}) {
		fmt.Println(os.Getenv(fakeVersionVar))
		return nil
	}
	var dir string
	var files []string
	resolve := true
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "--project-directory":
			i++
			dir = args[i]
		case "--file":
			i++
			files = append(files, args[i])
		case "--no-env-resolution":
			if os.Getenv(fakeVersionVar) == "v2.20.0" {
				return errors.New("unknown flag: --no-env-resolution")
			}
			resolve = false
		case "--no-interpolate":
			return errors.New("not in this fake")
		}
	}
	for _, v := range []string{"COMPOSE_EXPERIMENTAL_GIT_REMOTE", "COMPOSE_EXPERIMENTAL_OCI_REMOTE"} {
		if os.Getenv(v) != "false" {
			return errors.New("it would fetch")
		}
	}
	options := []cli.ProjectOptionsFn{cli.WithWorkingDirectory(dir), cli.WithOsEnv, cli.WithProfiles([]string{os.Getenv("COMPOSE_PROFILES")})}
	if !resolve {
		options = append(options, cli.WithoutEnvironmentResolution)
	}
	o, err := cli.NewProjectOptions(files, options...)
	if err != nil {
		return err
	}
	project, err := o.LoadProject(context.Background())
	if err != nil {
		return err
	}
	data, err := project.MarshalJSON()
	if err == nil {
		_, err = os.Stdout.Write(data)
	}
	return err
}

const fakeVersionVar = "LEASTCAP_TEST_FAKE_COMPOSE"

// composeCLI puts the fake into PATH under a name.
func composeCLI(t *testing.T, name, version string) (*ComposeCLI, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", ".:"+dir)
	t.Setenv(fakeVersionVar, version)
	return FindComposeCLI(t.Context())
}

func TestComposeCLI(t *testing.T) {
	for _, tt := range []struct{ program, version string }{{"docker", "2.40.3"}, {"docker-compose", "v2.20.0"}} {
		t.Run(tt.program, func(t *testing.T) {
			c, err := composeCLI(t, tt.program, tt.version)
			if err != nil || !strings.HasSuffix(c.Title, " "+strings.TrimPrefix(tt.version, "v")) {
				t.Fatalf("%+v, %v", c, err)
			}
			dir := t.TempDir()
			name := filepath.Join(dir, "compose.yaml")
			other := filepath.Join(dir, "compose.override.yaml")
			if err := os.WriteFile(other, []byte("services:\n  web: {cap_add: [KILL]}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			const text = "services:\n  web: {image: x, cap_add: [CHOWN, MKNOD], privileged: true, env_file: [{path: none, required: false}]}\n  db: {image: y, profiles: [p]}\n"
			req := reading.Request{Files: []reading.File{
				{Name: name, Role: reading.Main, Before: []byte(text), After: []byte(strings.Replace(text, ", MKNOD", "", 1))},
				{Name: other, Role: reading.Main, Same: true},
			}}
			a, err := c.Ask(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(a.Before.Containers[1].Add, a.After.Containers[1].Add, a.After.Containers[1].Privileged, a.Changed, a.Before.Problems, a.After.Containers[0].Path); got != "[CHOWN MKNOD KILL] [CHOWN KILL] true [] []services.db" {
				t.Error(got)
			}
			req.Files[0].After = []byte(strings.Replace(text, "image: y", "image: z", 1))
			if a, err = c.Ask(t.Context(), req); err != nil || !slices.Equal(a.Changed, []string{"services.db.image"}) {
				t.Errorf("%+v, %v", a, err)
			}
			req.Files[0].After = []byte("services: [")
			if a, err = c.Ask(t.Context(), req); err != nil || len(a.After.Problems) == 0 || len(a.Before.Problems) > 0 {
				t.Errorf("%+v, %v", a, err)
			}
			req.Files[0].Before = req.Files[0].After
			if a, err = c.Ask(t.Context(), req); err != nil || len(a.Before.Problems) == 0 {
				t.Errorf("%+v, %v", a, err)
			}
			req.Files[1].Same = false
			if _, err = c.Ask(t.Context(), req); !errors.Is(err, ErrNotAskable) {
				t.Error(err)
			}
		})
	}
	for _, version := range []string{"1.29.2", "", "docker: 'compose' is not a docker command"} {
		if c, err := composeCLI(t, "docker", version); err == nil {
			t.Errorf("%q is %+v", version, c)
		}
	}
}
