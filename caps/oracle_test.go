package caps_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// These tests ask others than ourselves: libcap's tools and the running
// kernel. Elsewhere than on Linux they skip; on Linux the tools must be there.

func linuxOnly(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
}

// tool returns the path of a program from libcap's package, which some
// distributions keep out of the PATH of users.
func tool(t *testing.T, name string) string {
	t.Helper()
	linuxOnly(t)
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing: install the package libcap2-bin", name)
	return ""
}

// output runs a tool and returns its standard output.
func output(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s %q: %v: %s", path, args, err, bytes.TrimSpace(exit.Stderr))
		}
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func TestDecode(t *testing.T) {
	capsh := tool(t, "capsh")
	sets := []caps.Set{0, caps.All(), ^caps.Set(0), docker}
	for c := range caps.Cap(64) {
		sets = append(sets, caps.Of(c))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		sets = append(sets, caps.Set(rng.Uint64()), caps.Set(rng.Uint64()).Intersect(caps.All()))
	}
	for _, set := range sets {
		want := "0x" + set.Hex() + "=" + strings.ToLower(strings.Join(set.Names(), ","))
		got := output(t, capsh, "--decode="+set.Hex())
		if got != want {
			t.Errorf("capsh --decode=%s:\n%s\nwant\n%s", set.Hex(), got, want)
		}
		_, list, _ := strings.Cut(got, "=")
		if parsed, err := caps.ParseSet(list); err != nil || parsed != set {
			t.Errorf("ParseSet(%q) = %v, %v; want %v", list, parsed, err, set)
		}
	}
}

// When this fails, the kernel has learnt a new capability: give it a name, and
// an entry in the catalog.
func TestKernelHasNoMore(t *testing.T) {
	linuxOnly(t)
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Fatal(err)
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if last > int(caps.Last) {
		t.Errorf("this kernel's last capability is %d, the table ends at %d (%v): give it a name in caps/cap.go and an entry in caps/catalog/catalog.yaml", last, caps.Last, caps.Last)
	}
}

// TestSetcap lets setcap write attributes from our texts, reads the raw bytes,
// and compares our reading with getcap's.
func TestSetcap(t *testing.T) {
	setcap, getcap := tool(t, "setcap"), tool(t, "getcap")
	if !effective(t).Has(caps.Setfcap) {
		t.Skip("needs setfcap")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ rootID, text string }{
		{"", "cap_net_raw=ep"},
		{"", "cap_net_raw=p"},
		{"", "cap_net_raw=ei cap_chown=eip"},
		{"", "="},
		{"", "=ep"},
		{"", "=eip cap_sys_admin-eip"},
		{"", "all=p cap_chown-p 0x2f+i"},
		{"", "cap_bpf,cap_checkpoint_restore+ep"},
		{"1000", "cap_setuid,cap_setgid=ep"},
		{"2147483647", "=p"},
	} {
		args := []string{"-q", test.text, path}
		if test.rootID != "" {
			args = append([]string{"-n", test.rootID}, args...)
		}
		output(t, setcap, args...)
		xattr := securityCapability(t, path)
		got, err := caps.ParseFileCaps(xattr)
		if err != nil {
			t.Errorf("setcap %q wrote %x: %v", test.text, xattr, err)
			continue
		}
		if want, err := caps.ParseText(test.text); err != nil || got.Text() != want {
			t.Errorf("setcap %q wrote %+v, we read the text as %+v, %v", test.text, got, want, err)
		}
		if want := path + " " + got.String(); output(t, getcap, "-n", path) != want {
			t.Errorf("setcap %q: getcap shows %q, want %q", test.text, output(t, getcap, "-n", path), want)
		}
		if back, err := got.Marshal(); err != nil || !bytes.Equal(back, xattr) {
			t.Errorf("setcap %q wrote %x, we write %x, %v", test.text, xattr, back, err)
		}
	}
}

// effective returns the test's own effective set.
func effective(t *testing.T) caps.Set {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatal("/proc is not mounted")
	} else if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			set, err := caps.ParseSet(value)
			if err != nil {
				t.Fatal(err)
			}
			return set
		}
	}
	t.Fatal("/proc/self/status has no CapEff")
	return 0
}
