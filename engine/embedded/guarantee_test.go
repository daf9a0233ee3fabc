//go:build linux && cgo

package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/bundle"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/internal/testenv"
)

// regained is what testdata/regain prints: a state for each way.
type regained map[string]map[string]string

// regainDir builds the program, and makes the copies that have more rights.
func regainDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	made, ok := testenv.Prebuilt("regain")
	if !ok {
		made = filepath.Join(dir, "made")
		build := exec.Command("go", "build", "-tags", "netgo osusergo", "-o", made, "./testdata/regain")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	program, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("regain", 0o755)
	put("suid", 0o4755|os.ModeSetuid)
	// linux/capability.h vfs_cap_data, revision 2; the lowest bit of magic is the
	// effective one.
	all := uint64(caps.All())
	for name, magic := range map[string]uint32{"filecaps": 0x02000001, "filecaps-permitted": 0x02000000} {
		var b bytes.Buffer
		for _, v := range []uint32{magic, uint32(all), 0, uint32(all >> 32), 0} {
			b.Write([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)})
		}
		if err := unix.Setxattr(put(name, 0o755), "security.capability", b.Bytes(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if info, err := os.Stat(d); err == nil && strings.HasPrefix(d, os.TempDir()+"/") && info.Mode()&0o001 == 0 {
			if err := os.Chmod(d, info.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// TestGuarantee: what is not in the set cannot come back, in either engine, for root
// and for others, in the container's own processes and in those that are executed in
// it, and both engines say the same.
func TestGuarantee(t *testing.T) {
	rootfs := testRoot(t)
	dir := regainDir(t)
	docker, err := rules.For("docker")
	if err != nil {
		t.Fatal(err)
	}
	turns := make(chan struct{}, 2)
	for _, user := range []string{"", "1000"} {
		for _, set := range []caps.Set{0, caps.Of(caps.Setuid, caps.Setgid), caps.Of(caps.NetRaw), docker.Default} {
			for _, security := range []string{"", "seccomp=unconfined", "no-new-privileges"} {
				name := fmt.Sprintf("user=%s/%s/%s", user, strings.Join(set.Docker(), "+"), security)
				if set == docker.Default {
					name = fmt.Sprintf("user=%s/default/%s", user, security)
				}
				t.Run(name, func(t *testing.T) {
					if !testenv.Guest() { // which is slow enough
						t.Parallel()
						turns <- struct{}{}
						defer func() { <-turns }()
					}
					result, err := docker.Apply(rules.Request{Drop: []string{"ALL"}, Add: set.Docker(), User: user})
					if err != nil {
						t.Fatal(err)
					}
					c := &bundle.Container{
						Args: []string{"sleep", "60"}, Env: []string{"PATH=/bin"}, User: user, State: result.Runtime, StopTimeout: 0,
						Mounts:          []bundle.Mount{{Type: bundle.Bind, Source: dir, Target: "/regain"}, {Type: bundle.Tmpfs, Target: "/tmp", Options: []string{"mode=1777"}}},
						NoNewPrivileges: security == "no-new-privileges",
					}
					if security == "seccomp=unconfined" {
						c.Seccomp = "unconfined"
					}
					own := fromEmbedded(t, c, rootfs)
					args := []string{"--cap-drop=ALL", "-v", dir + ":/regain", "--tmpfs", "/tmp:mode=1777"}
					for _, n := range set.Docker() {
						args = append(args, "--cap-add="+n)
					}
					if user != "" {
						args = append(args, "--user", user)
					}
					if security != "" {
						args = append(args, "--security-opt", security)
					}
					all := map[string]regained{"embedded, first process": own[0], "embedded, exec": own[1]}
					if _, guest := testenv.Prebuilt("tiny"); !guest { // where there is no Docker
						theirs := fromDocker(t, args)
						if diff := cmp.Diff(theirs, own); diff != "" {
							t.Errorf("the engines differ (-docker +embedded):\n%s", diff)
						}
						all["docker, first process"], all["docker, exec"] = theirs[0], theirs[1]
					}
					for what, r := range all {
						holds(t, what, r, set, security)
					}
				})
			}
		}
	}
}

// holds checks that no way led to more than the set.
func holds(t *testing.T, what string, r regained, set caps.Set, security string) {
	t.Helper()
	if len(r) != 6 {
		t.Fatalf("%s: %d ways were tried, want 6: %v", what, len(r), r)
	}
	does := map[string]caps.Cap{"does chown": caps.Chown, "does mknod": caps.Mknod, "does sethostname": caps.SysAdmin, "does raw socket": caps.NetRaw}
	for way, s := range r {
		if e := s["error"]; e != "" {
			// The kernel refuses to execute what needs more than the bounding set has
			// (fs/binprm, security/commoncap.c: EPERM), seccomp refuses user namespaces.
			if way != "filecaps" && way != "userns" {
				t.Errorf("%s, %s: %s", what, way, e)
			}
			continue
		}
		if way != "userns" { // there the process has all, over that namespace only
			for _, field := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
				n, err := strconv.ParseUint(s[field], 16, 64)
				if err != nil || !caps.Set(n).SubsetOf(set) {
					t.Errorf("%s, %s: %s is %s (%v), want nothing beyond %v", what, way, field, s[field], err, set)
				}
			}
		} else if security != "seccomp=unconfined" {
			t.Errorf("%s: Docker's seccomp profile lets it make a user namespace", what)
		}
		for name, c := range does {
			if s[name] == "yes" && !set.Has(c) {
				t.Errorf("%s, %s: %s without %v", what, way, name, c)
			}
			if s[name] == "" {
				t.Errorf("%s, %s: %s was not tried", what, way, name)
			}
		}
	}
}

func parseRegained(t *testing.T, out string) regained {
	t.Helper()
	var r regained
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// fromEmbedded runs it as the first process, and executed in a container.
func fromEmbedded(t *testing.T, c *bundle.Container, rootfs string) [2]regained {
	t.Helper()
	first := *c
	first.Args = []string{"/regain/regain"}
	var out, errOut bytes.Buffer
	k, err := Run(context.Background(), Options{Container: &first, RootFS: rootfs, Stdout: &out, Stderr: &errOut})
	if err != nil {
		t.Fatal(err)
	}
	exit := k.Wait()
	if err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if exit.Code != 0 {
		t.Fatalf("%v: %s", exit, errOut.String())
	}
	k, err = Run(context.Background(), Options{Container: c, RootFS: rootfs})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.Remove(); err != nil {
			t.Error(err)
		}
	}()
	text, code, err := k.Exec(context.Background(), []string{"/regain/regain"})
	if err != nil || code != 0 {
		t.Fatalf("exec: %d, %v: %s", code, err, text)
	}
	return [2]regained{parseRegained(t, out.String()), parseRegained(t, text)}
}

func fromDocker(t *testing.T, args []string) [2]regained {
	t.Helper()
	docker := func(args ...string) string {
		t.Helper()
		var errOut bytes.Buffer
		cmd := exec.Command("docker", args...)
		cmd.Stderr = &errOut
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("docker %v: %v: %s", args, err, errOut.String())
		}
		return strings.TrimSpace(string(out))
	}
	const image = "leastcap-test/tiny"
	id := docker(append(append([]string{"run", "-d", "-e", "PATH=/bin"}, args...), image, "sleep", "60")...)
	defer docker("rm", "-f", id)
	executed := docker("exec", id, "/regain/regain")
	first := docker(append(append([]string{"run", "--rm", "-e", "PATH=/bin"}, args...), image, "/regain/regain")...)
	return [2]regained{parseRegained(t, first), parseRegained(t, executed)}
}
