package catalog_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

func TestComplete(t *testing.T) {
	entries := catalog.All()
	var set caps.Set
	for i, e := range entries {
		if e.Number != i || e.Cap != caps.Cap(i) {
			t.Errorf("entry %d is number %d, %v", i, e.Number, e.Cap)
		}
		set = set.With(e.Cap)
		if diff := cmp.Diff(e, catalog.Get(e.Cap)); diff != "" {
			t.Errorf("%v: Get differs from All:\n%s", e.Cap, diff)
		}
	}
	if set != caps.All() || len(entries) != set.Len() {
		t.Errorf("%d entries for %v", len(entries), set)
	}
}

func TestEntries(t *testing.T) {
	kernelVersion := regexp.MustCompile(`^(2\.2|2\.4|2\.6\.\d+|[3-9]\.\d+)$`)
	clause := regexp.MustCompile(`^[a-z].*[^. ]$`)
	for _, e := range catalog.All() {
		if !kernelVersion.MatchString(e.Since) {
			t.Errorf("%v: since %q is no kernel version", e.Cap, e.Since)
		}
		if !clause.MatchString(e.Grants) {
			t.Errorf("%v: grants %q is no clause", e.Cap, e.Grants)
		}
		if e.Danger.Means() == "" {
			t.Errorf("%v: danger %v", e.Cap, e.Danger)
		}
		if !slices.Contains(e.Sources, "capabilities(7)") {
			t.Errorf("%v: the manual page is not among its sources %q", e.Cap, e.Sources)
		}
		if !slices.ContainsFunc(e.Sources, isKernelPlace) {
			t.Errorf("%v: no kernel place among its sources %q", e.Cap, e.Sources)
		}
	}
}

// isKernelPlace reports whether source has the form "file:function", or
// several of these with commas between them.
func isKernelPlace(source string) bool {
	place := regexp.MustCompile(`^[a-z0-9_/]+\.[ch]:[a-z0-9_]+$`)
	for one := range strings.SplitSeq(source, ", ") {
		if !place.MatchString(one) {
			return false
		}
	}
	return true
}

func TestRanks(t *testing.T) {
	entries := catalog.All()
	slices.SortFunc(entries, func(a, b catalog.Entry) int { return a.Rank - b.Rank })
	level := catalog.Host
	for i, e := range entries {
		if e.Rank != i+1 {
			t.Fatalf("rank %d of %v, want %d: ranks must be 1 to %d, each once", e.Rank, e.Cap, i+1, len(entries))
		}
		// Levels go down with ranks; what jumps says why, and only that.
		if e.RankException == "" {
			if e.Danger > level {
				t.Errorf("%v (%v) ranks behind the level %v, without rank_exception", e.Cap, e.Danger, level)
			}
			level = e.Danger
		} else if i > 0 && i+1 < len(entries) && entries[i-1].Danger >= e.Danger && e.Danger >= entries[i+1].Danger {
			t.Errorf("%v has a rank_exception and is none", e.Cap)
		}
	}
}

func TestNarrower(t *testing.T) {
	for _, e := range catalog.All() {
		last := len(catalog.All()) + 1
		for _, n := range e.Narrower {
			sub := catalog.Get(n.Cap)
			if sub.Rank >= last {
				t.Errorf("%v: narrower %v is not in order, the weakest first, or there twice", e.Cap, n.Cap)
			}
			last = sub.Rank
			if n.Container && sub.Rank <= e.Rank {
				t.Errorf("%v: %v (rank %d) is no reduction in a container (rank %d)", e.Cap, n.Cap, sub.Rank, e.Rank)
			}
			if n.For == "" || !isKernelPlace(n.Source) {
				t.Errorf("%v: narrower %v: for %q, source %q", e.Cap, n.Cap, n.For, n.Source)
			}
		}
	}

	find := func(of, sub caps.Cap) *catalog.Narrower {
		for _, n := range catalog.Get(of).Narrower {
			if n.Cap == sub {
				return &n
			}
		}
		t.Errorf("%v is not among what can stand in for %v", sub, of)
		return &catalog.Narrower{}
	}
	if find(caps.DacOverride, caps.DacReadSearch).Container {
		t.Error("dac_read_search counts as weaker than dac_override in a container")
	}
	if !find(caps.NetAdmin, caps.NetRaw).Container || !find(caps.SysAdmin, caps.SysNice).Container {
		t.Error("a substitute that is a reduction everywhere is not marked so")
	}
}

// Leaving container out would silently mean false.
func TestNarrowerSaysContainer(t *testing.T) {
	data, err := os.ReadFile("catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Capabilities []struct {
			Name     string
			Narrower []map[string]any
		}
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Capabilities {
		for _, n := range e.Narrower {
			if _, ok := n["container"].(bool); !ok {
				t.Errorf("%s: narrower %v does not say container: true or false", e.Name, n["cap"])
			}
		}
	}
}

func TestDefaultSets(t *testing.T) {
	docker, _ := catalog.DefaultSet("docker")
	if want := caps.Set(0xa80425fb); docker != want {
		t.Errorf("docker: %v, want %v", docker, want)
	}
	for engine, want := range map[string]int{"docker": 14, "containerd": 14, "podman": 11, "crio": 9, "runc": 3} {
		set, ok := catalog.DefaultSet(engine)
		if !ok || set.Len() != want {
			t.Errorf("%s: %v, %v; want %d capabilities", engine, set, ok, want)
		}
		if !set.SubsetOf(docker) {
			t.Errorf("%s has %v, which Docker has not", engine, set.Minus(docker))
		}
	}
	podman, _ := catalog.DefaultSet("podman")
	if got, want := docker.Minus(podman), caps.Of(caps.NetRaw, caps.Mknod, caps.AuditWrite); got != want {
		t.Errorf("docker without podman: %v, want %v", got, want)
	}
	if set, ok := catalog.DefaultSet("nonesuch"); ok || set != 0 {
		t.Errorf("got %v, %v", set, ok)
	}
	seen := make(map[string]bool)
	for _, d := range catalog.DefaultSets() {
		if seen[d.Engine] || d.Source == "" || d.Caps.Empty() {
			t.Errorf("%+v: there twice, or without source, or empty", d)
		}
		seen[d.Engine] = true
		if set, ok := catalog.DefaultSet(d.Engine); ok == d.Allows || set != d.Caps {
			t.Errorf("%s: DefaultSet differs from DefaultSets", d.Engine)
		}
	}
}

func TestByDanger(t *testing.T) {
	set := caps.Of(caps.NetBindService, caps.SysAdmin, caps.Setgid, caps.Setuid, 47, caps.Chown)
	want := []caps.Cap{47, caps.SysAdmin, caps.Chown, caps.Setuid, caps.Setgid, caps.NetBindService}
	if diff := cmp.Diff(want, catalog.ByDanger(set)); diff != "" {
		t.Error(diff)
	}
}

func TestGetUnknown(t *testing.T) {
	if diff := cmp.Diff(catalog.Entry{Cap: 47, Number: 47}, catalog.Get(47)); diff != "" {
		t.Error(diff)
	}
}

// What a caller does to an entry stays with the caller.
func TestEntriesAreCopies(t *testing.T) {
	want := catalog.Get(caps.SysAdmin)
	got := catalog.Get(caps.SysAdmin)
	got.Narrower[0].For, got.Sources[0] = "changed", "changed"
	all := catalog.All()
	all[caps.SysAdmin].Narrower[0].For = "changed"
	all[caps.SysAdmin].Rank = 0
	if diff := cmp.Diff(want, catalog.Get(caps.SysAdmin)); diff != "" {
		t.Error(diff)
	}
}

func TestLevel(t *testing.T) {
	for l := catalog.Unknown; l <= catalog.Host; l++ {
		data, err := json.Marshal(l)
		if err != nil || string(data) != `"`+l.String()+`"` {
			t.Errorf("%v: %s, %v", l, data, err)
		}
		var back catalog.Level
		if err := json.Unmarshal(data, &back); err != nil || back != l {
			t.Errorf("%s: %v, %v", data, back, err)
		}
		if (l.Means() == "") != (l == catalog.Unknown) {
			t.Errorf("%v means %q", l, l.Means())
		}
	}
	if err := new(catalog.Level).UnmarshalText([]byte("severe")); err == nil {
		t.Error("an unknown level was read")
	}
	if _, err := catalog.Level(99).MarshalText(); err == nil {
		t.Error("an unknown level was written")
	}
}

// TestDangerOf: the short ways give what the entry says.
func TestDangerOf(t *testing.T) {
	for _, e := range catalog.All() {
		if catalog.DangerOf(e.Cap) != e.Danger || catalog.RankOf(e.Cap) != e.Rank {
			t.Errorf("%v: %v %d, the entry says %v %d", e.Cap, catalog.DangerOf(e.Cap), catalog.RankOf(e.Cap), e.Danger, e.Rank)
		}
	}
	if catalog.DangerOf(60) != catalog.Unknown || catalog.RankOf(60) != 0 {
		t.Error("a capability without a name has a danger")
	}
}
