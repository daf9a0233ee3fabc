package main

import (
	"bytes"
	"io"
	"log"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/leastcap/leastcap/internal/testenv"
)

// kills is how often each verb is killed, at moments of no choice.
const kills = 20

// TestKilledAnywhere: whenever SIGKILL comes, the next start leaves no container, mount,
// cgroup, interface, half an image or temporary file, and does what it is asked for.
func TestKilledAnywhere(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Image("leastcap-test/tiny"), testenv.Image("leastcap-test/services"))
	dir := t.TempDir()
	// This program, as the scripts have it: with the embedded runtime.
	bin := filepath.Join(dir, "leastcap")
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, bin)
	}
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) *killed {
		k := &killed{t: t, bin: bin, dir: filepath.Join(dir, name)}
		for _, d := range []string{"tmp", "profiles", "images"} {
			if err := os.MkdirAll(k.path(d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		return k
	}
	k := at("common")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	k.do("docker", "save", "-o", k.path("tiny.tar"), "leastcap-test/tiny")
	k.do("docker", "save", "-o", k.path("services.tar"), "leastcap-test/services")
	k.do("cp", k.path("tiny.tar"), k.path("declared.tar"))
	k.do(k.bin, "learn", "-q", "--profile", k.path("p.json"), "--image", k.path("tiny.tar"), "--", "chown", "33", "/tmp")
	k.do(k.bin, "image", "label", "docker-archive:"+k.path("declared.tar"), "--profile", k.path("p.json"), "--write")
	k.do("docker", "tag", "leastcap-test/tiny", host+"/tiny:1")
	t.Cleanup(func() { k.do("docker", "rmi", host+"/tiny:1") })
	k.do("docker", "push", "-q", host+"/tiny:1")
	k.do(k.bin, "profile", "push", host+"/tiny:1", "--profile", k.path("p.json"))

	if left := k.left(nil); len(left) > 0 {
		t.Fatalf("what was not killed left\n%s", strings.Join(left, "\n"))
	}
	tiny, services, declared := k.path("tiny.tar"), k.path("services.tar"), k.path("declared.tar")
	next := []string{"run", "--engine", "embedded", "-q", "--network", "none", tiny, "true"}
	// What has a network of its own is in one directory, one after the other. What unpacks or
	// writes goes on beside it, in another.
	for name, verbs := range map[string][]killedVerb{
		"containers": {
			{"run", false, []string{"run", "--engine", "embedded", "-q", "-v", "/data", "-v", "named:/etc", tiny, "sleep", "0.1"}, next},
			{"learn", false, []string{"learn", "-q", "--no-save", "--image", tiny, "--", "chown", "33", "/tmp"}, next},
			{"verify", false, []string{"image", "verify", "-q", declared, "chown", "33", "/tmp"}, next},
		},
		"files": {
			{"unpack", true, []string{"run", "--engine", "embedded", "-q", "--network", "none", services, "true"}, next},
			{"unpack an engine's", true, []string{"run", "--engine", "embedded", "-q", "--network", "none", "leastcap-test/tiny", "true"}, next},
			{"profile pull", false, []string{"profile", "pull", host + "/tiny:1"}, nil},
			{"spec", false, []string{"spec", "--bundle", filepath.Join(dir, "files/bundle"), tiny, "true"}, nil},
		},
	} {
		k := at(name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, v := range verbs {
				t.Run(v.verb, func(t *testing.T) { k.anywhere(t, v) })
			}
		})
	}
}

// killedVerb is what is killed.
type killedVerb struct {
	verb  string
	fresh bool // with an empty cache
	args  []string
	next  []string
}

func (k *killed) anywhere(t *testing.T, v killedVerb) {
	k.t = t
	begin := func() {
		if v.fresh {
			k.do(k.bin, "image", "prune", "--all")
		}
		_ = os.RemoveAll(k.path("volumes"))
		_ = os.RemoveAll(k.path("bundle"))
	}
	begin()
	began := time.Now()
	k.do(k.bin, v.args...)
	whole := time.Since(began)
	seen := false
	for range kills {
		begin()
		after := rand.N(whole)
		cmd := k.command(k.bin, v.args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		ids := k.containers()
		seen = seen || len(k.left(nil)) > 0
		if v.next == nil {
			_ = os.RemoveAll(k.path("bundle"))
			k.do(k.bin, v.args...)
		} else {
			k.do(k.bin, v.next...)
		}
		if left := k.left(ids); len(left) > 0 {
			t.Fatalf("killed after %v: left is\n%s", after, strings.Join(left, "\n"))
		}
	}
	if !seen && v.next != nil { // the others are seldom in the middle of it
		t.Error("nothing was ever left, so that the next start has shown nothing")
	}
}

type killed struct {
	t        *testing.T
	bin, dir string
}

func (k *killed) path(name string) string { return filepath.Join(k.dir, name) }

func (k *killed) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LEASTCAP_ROOT="+k.dir, "LEASTCAP_IMAGES="+k.path("images"), storeVariable+"="+k.path("profiles"), "TMPDIR="+k.path("tmp"))
	return cmd
}

func (k *killed) do(name string, args ...string) {
	k.t.Helper()
	var out bytes.Buffer
	cmd := k.command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		k.t.Fatalf("%s %v: %v: %s", filepath.Base(name), args, err, out.String())
	}
}

var containerID = regexp.MustCompile(`[0-9a-f]{64}`)

// containers are those that are on disk, by their ids.
func (k *killed) containers() []string {
	var ids []string
	for _, dir := range []string{"containers", "run"} {
		entries, _ := os.ReadDir(k.path(dir))
		for _, e := range entries {
			if id := containerID.FindString(e.Name()); id != "" {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// left is what should not be there any more. ids are of containers that were there.
func (k *killed) left(ids []string) (left []string) {
	found := func(pattern string, but ...string) {
		names, _ := filepath.Glob(pattern)
		for _, n := range names {
			if len(but) == 0 || filepath.Base(n) != but[0] {
				left = append(left, n)
			}
		}
	}
	found(k.path("containers/*"))
	found(k.path("run/*"), "network.lock")
	found(k.path("volumes/.*"))
	found(k.path("images/*.tmp"))
	found(k.path("profiles/.*"))
	found(k.path("tmp/*"))
	found(k.path(".leastcap-*"))
	locks, _ := filepath.Glob(k.path("images/*.lock"))
	for _, l := range locks {
		if _, err := os.Stat(strings.TrimSuffix(l, ".lock")); err != nil {
			left = append(left, l+" of nothing")
		}
	}
	for _, id := range ids {
		found("/sys/fs/cgroup/leastcap-" + id)
		found("/sys/fs/cgroup/*/leastcap-" + id)
		// The network namespace, and with it the interface, goes a little later.
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat("/sys/class/net/lc" + id[:12]); err != nil {
				break
			}
		}
		found("/sys/class/net/lc" + id[:12])
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		k.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, k.dir) {
			left = append(left, "mount "+line)
		}
	}
	return left
}
