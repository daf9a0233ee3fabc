package caps_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
)

// The kernel is asked what it makes of a program, by running copies of cat.
func TestProgramAsTheKernel(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.Command("setpriv"))
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	raw, two := caps.Of(caps.NetRaw), caps.Of(caps.NetRaw, caps.Kill)
	var programs []caps.Program
	for _, mode := range []uint32{0o755, 0o4755, 0o2755, 0o2745, 0o6755} {
		for _, uid := range []uint32{0, 33} {
			for _, c := range []*caps.FileCaps{
				nil, {Permitted: raw, Effective: true}, {Permitted: two, Effective: true}, {Permitted: two},
				{Inheritable: two, Effective: true}, {Permitted: raw, Effective: true, RootID: 12345},
			} {
				programs = append(programs, caps.Program{Mode: mode, UID: uid, GID: 44, Caps: c})
			}
		}
	}
	for i, p := range programs {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, binary, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, int(p.UID), int(p.GID)); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(file, p.Mode); err != nil {
			t.Fatal(err)
		}
		if p.Caps != nil {
			x, err := p.Caps.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Setxattr(file, "security.capability", x, 0); err != nil {
				t.Fatal(err)
			}
		}
		for _, bounding := range []caps.Set{0, raw, two, two.With(caps.Chown)} {
			name := fmt.Sprintf("mode %o uid %d caps %v under %s", p.Mode, p.UID, p.Caps, bounding)
			want, ok := p.Gains(bounding)
			got, uid, gid, err := try(file, bounding)
			if (err == nil) != ok {
				t.Errorf("%s: exec: %v, want success %t", name, err, ok)
				continue
			}
			if !ok {
				continue
			}
			wantUID, wantGID := "65534", "65534"
			if p.SetUID() {
				wantUID = fmt.Sprint(p.UID)
			}
			if p.SetGID() {
				wantGID = fmt.Sprint(p.GID)
			}
			if got != want || uid != wantUID || gid != wantGID {
				t.Errorf("%s: permitted %s, uid %s, gid %s; want %s, %s, %s", name, got, uid, gid, want, wantUID, wantGID)
			}
			got, uid, gid, err = try(file, bounding, "--no-new-privs")
			if err != nil || got != 0 || uid != "65534" || gid != "65534" {
				t.Errorf("%s, no_new_privs: permitted %s, uid %s, gid %s, %v", name, got, uid, gid, err)
			}
		}
	}
}

// try executes a copy of cat as nobody, through env, since setpriv itself keeps its
// permitted set until the first exec. It gives its permitted set and effective ids.
func try(file string, bounding caps.Set, more ...string) (permitted caps.Set, uid, gid string, err error) {
	set := "-all"
	for c := range bounding.Values() {
		set += ",+" + strings.ToLower(c.Docker())
	}
	cmd := exec.Command("setpriv", append(more, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set="+set,
		"env", file, "/proc/self/status")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, "", "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 2 && f[0] == "Uid:":
			uid = f[2]
		case len(f) > 2 && f[0] == "Gid:":
			gid = f[2]
		case len(f) > 1 && f[0] == "CapPrm:":
			var n uint64
			_, err = fmt.Sscanf(f[1], "%x", &n)
			permitted = caps.Set(n)
		}
	}
	return permitted, uid, gid, err
}
