package catalog_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/profiles/seccomp"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/internal/testenv"
)

// What the catalog says is compared here with what it is about, so that it
// cannot grow old unnoticed. Every failure says what to update. The default
// sets of engines that burden a build are compared in engines, a module of
// its own; the running kernel is asked in package caps.

const update = "give it a name in caps/cap.go and an entry in caps/catalog/catalog.yaml"

// header is the kernel's own, as Debian's linux-libc-dev ships it.
const header = "/usr/include/linux/capability.h"

func TestHeader(t *testing.T) {
	testenv.Need(t, testenv.File(header))
	data, err := os.ReadFile(header)
	if err != nil {
		t.Fatal(err)
	}
	define := regexp.MustCompile(`(?m)^#define\s+(CAP_[A-Z_]+)\s+(\d+)\s*$`)
	seen := 0
	for _, m := range define.FindAllStringSubmatch(string(data), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		seen++
		c, err := caps.ParseCap(m[1])
		if err != nil {
			t.Errorf("%s has %s, %d, which the catalog has not: %s", header, m[1], n, update)
			continue
		}
		if e := catalog.Get(c); e.Number != n {
			t.Errorf("%s says that %s is %d, the catalog %d: mend the catalog", header, m[1], n, e.Number)
		}
	}
	if seen < 38 { // AUDIT_READ, of Linux 3.16
		t.Errorf("%d capabilities were found in %s: mend the test's pattern", seen, header)
	}
}

func TestErrnoNumbers(t *testing.T) {
	for _, e := range catalog.Errnos() {
		number := unix.Errno(e.Number)
		if got := unix.ErrnoName(number); got != e.Name {
			t.Errorf("%d is %s, the catalog has %s: mend errnos in catalog.yaml", e.Number, got, e.Name)
		}
		if got := number.Error(); !strings.EqualFold(got, e.Text) {
			t.Errorf("%s reads %q, the catalog has %q: mend errnos in catalog.yaml", e.Name, got, e.Text)
		}
	}
}

// What Docker's published seccomp profile allows with a capability and not
// without is what the catalog says, call by call.
func TestSeccompProfile(t *testing.T) {
	opens := map[caps.Cap][]string{}
	free := map[string]bool{} // allowed without any capability, on kernels of today
	for _, call := range seccomp.DefaultProfile().Syscalls {
		if call.Action != "SCMP_ACT_ALLOW" {
			continue
		}
		if call.Includes == nil || len(call.Includes.Caps) == 0 {
			// An allowed call with a condition on arguments is no free one: clone is
			// allowed for all but new namespaces.
			if len(call.Args) == 0 && (call.Excludes == nil || len(call.Excludes.Caps) == 0) && (call.Includes == nil || len(call.Includes.Arches) == 0) {
				for _, name := range call.Names {
					free[name] = true
				}
			}
			continue
		}
		for _, name := range call.Includes.Caps {
			c, err := caps.ParseCap(name)
			if err != nil {
				t.Fatalf("the profile names %s: %s", name, update)
			}
			opens[c] = append(opens[c], call.Names...)
		}
	}
	if len(opens) < 10 {
		t.Fatalf("the profile depends on %d capabilities: mend the test", len(opens))
	}
	for _, e := range catalog.All() {
		want := slices.DeleteFunc(opens[e.Cap], func(name string) bool { return free[name] })
		got := e.Seccomp.Opens
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, slices.Compact(want)) {
			t.Errorf("%v: moby's profile opens %v, the catalog has %v: update seccomp.opens in catalog.yaml", e.Cap, want, got)
		}
		for _, call := range got {
			if !catalog.Opened(call).Has(e.Cap) {
				t.Errorf("Opened(%s) has not %v", call, e.Cap)
			}
		}
	}
	if got := catalog.Opened("read"); !got.Empty() {
		t.Errorf("Opened(read): %v", got)
	}
}

// Default sets have what a reader needs to check them.
func TestDefaultsCiteSources(t *testing.T) {
	for _, d := range catalog.DefaultSets() {
		if d.Title == "" || d.Source == "" || d.Checked == "" {
			t.Errorf("%s: no title, source, or version that was checked", d.Engine)
		}
		for _, name := range append(slices.Clone(d.Aliases), d.Engine) {
			if found, ok := catalog.FindDefault(name); !ok || found.Engine != d.Engine {
				t.Errorf("%s finds %q", name, found.Engine)
			}
			if _, err := caps.ParseCap(name); err == nil {
				t.Errorf("%s is the name of a capability, too", name)
			}
		}
		last := d.Caps
		for _, h := range slices.Backward(d.History) {
			if h.Caps == last || h.Since == "" || h.Why == "" {
				t.Errorf("%s: history %+v changes nothing, or does not say why", d.Engine, h)
			}
			last = h.Caps
		}
	}
	// Pod Security's baseline is Docker's default without net_raw.
	docker, _ := catalog.DefaultSet("docker")
	baseline, _ := catalog.FindDefault("pss-baseline")
	if want := docker.Without(caps.NetRaw); baseline.Caps != want {
		t.Errorf("baseline allows %v, want %v", baseline.Caps, want)
	}
	docker12, _ := catalog.FindDefault("moby")
	if n := docker12.History[0].Caps.Len(); n != 12 {
		t.Errorf("Docker 1.0 had %d, want 12", n)
	}
	if got := fmt.Sprint(catalog.GivenBy(caps.NetAdmin)); got != "[lxc]" {
		t.Errorf("net_admin is given by %s", got)
	}
}
