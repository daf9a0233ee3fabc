//go:build linux && cgo

package learn_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/usage"
)

// The embedded runtime gives the truths that Docker gives, and has every feature of
// learning.
func TestEmbedded(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image(servicesImage))
	img, err := image.Open(t.Context(), "docker-daemon:"+servicesImage, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	dir := t.TempDir()
	t.Setenv("LEASTCAP_ROOT", filepath.Join(dir, "state"))
	root := filepath.Join(dir, "root")
	if err := image.Unpack(t.Context(), img, root, image.Limits{}); err != nil {
		t.Fatal(err)
	}
	docker, err := rules.For("docker")
	if err != nil {
		t.Fatal(err)
	}
	p := openProbe(t)
	truth := func(name string) (command []string, want caps.Set) {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
		return workloads[i].command, workloads[i].want
	}
	named := func(name string, opts learn.Options, c bundle.Container) (string, learn.Options, bundle.Container, caps.Set) {
		command, want := truth(name)
		c.Args = command
		return name, opts, c, want
	}
	health := func(test ...string) *bundle.Health { return &bundle.Health{Test: test, Interval: time.Second} }
	try := func(name string, opts learn.Options, c bundle.Container, want caps.Set) *usage.Profile {
		var got *usage.Profile
		t.Run(name, func(t *testing.T) {
			c.Env, c.StopTimeout = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, -1
			result, err := docker.Apply(rules.Request{User: c.User})
			if err != nil {
				t.Fatal(err)
			}
			w, err := embedded.New(embedded.Request{
				Container: &c, RootFS: root, Baseline: result.Runtime,
				Subject: usage.Subject{Kind: "container", Engine: "embedded", Command: c.Args},
				Use:     func(caps.Set, bool) usage.Use { return usage.Use{} },
			})
			if err != nil {
				t.Fatal(err)
			}
			opts.Settle = 300 * time.Millisecond
			if got, err = learn.Run(t.Context(), w, observer{p}, opts, nil); err != nil {
				t.Fatal(err)
			}
			if got.Required != want || !got.Proven || !got.Complete {
				t.Errorf("learned %v, want %v; proven %v complete %v lost %v notes %q", got.Required, want, got.Proven, got.Complete, got.Lost, got.Notes)
				for _, tr := range got.Trials {
					t.Logf("%+v", tr)
				}
			}
			t.Logf("%v in %d runs, %.1f s", got.Required, len(got.Trials), got.Seconds)
		})
		return got
	}
	try(named("nginx", learn.Options{Checks: checks(http)}, bundle.Container{}))
	try(named("apache2", learn.Options{Checks: checks(http), Parallel: 2}, bundle.Container{}))
	try(named("redis", learn.Options{Keep: learn.KeepRequired}, bundle.Container{Health: health("redis-cli", "ping")}))
	try(named("ping", learn.Options{}, bundle.Container{}))
	try(named("sudo", learn.Options{}, bundle.Container{}))
	try(named("chrony", learn.Options{Keep: learn.KeepRequired}, bundle.Container{Health: health("chronyc", "-h", "127.0.0.1", "-n", "tracking")}))
	try("a user", learn.Options{}, bundle.Container{Args: []string{"ping", "-c1", "127.0.0.1"}, User: "www-data"}, caps.Of(caps.NetRaw))
	// sleep as the first process heeds no signal.
	try("a helper", learn.Options{Checks: checks("true"), Exec: checks("touch /tmp/x && chown 33 /tmp/x"), StopTimeout: 200 * time.Millisecond},
		bundle.Container{Args: []string{"sleep", "600"}}, caps.Of(caps.Chown))
	try("a second start", learn.Options{Starts: 2}, bundle.Container{
		Args:   []string{"sh", "-c", "if [ -e /data/x ]; then echo more >> /data/x; else touch /data/x; chmod 600 /data/x; chown 33 /data/x; fi"},
		Mounts: []bundle.Mount{{Type: bundle.Volume, Source: "data", Target: "/data"}},
	}, caps.Of(caps.Chown, caps.DacOverride))
	left, err := filepath.Glob(filepath.Join(dir, "state", "*", "*"))
	if err != nil || len(left) > 1 { // the lock of the network's addresses
		t.Errorf("left behind: %q %v", left, err)
	}
}
