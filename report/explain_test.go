package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

func explain(t testing.TB, x Explanation, o ExplainOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := Explain(&b, &x, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func entries(cs ...caps.Cap) Explanation {
	var x Explanation
	for _, c := range cs {
		x.Capabilities = append(x.Capabilities, NewExplainedCapability(c))
	}
	return x
}

func defaultOf(t testing.TB, name string) ExplainedSet {
	t.Helper()
	d, ok := catalog.FindDefault(name)
	if !ok {
		t.Fatalf("no default set %s", name)
	}
	s := NewExplainedSet(d.Engine, "what "+d.Title+" gives by default", d.Caps)
	s.Default = &d
	return s
}

func explanations(t testing.TB) map[string]Explanation {
	podman, docker := defaultOf(t, "podman"), defaultOf(t, "docker")
	line := NewExplainedSet("docker run …", "what this docker line gives", caps.Of(caps.NetAdmin, caps.Kill, caps.SysTime, 45))
	line.Shared = []catalog.Sharing{catalog.SharesNothing, catalog.SharesPID, catalog.SharesBridge}
	line.Origin = map[caps.Cap]string{caps.NetAdmin: "--cap-add NET_ADMIN", caps.Kill: "docker's default"}
	line.Facts = []string{"--pid=host: the host's processes can be seen."}
	rootless := NewExplainedSet("4242", "process 4242 (sh\x1b[2J), user root", caps.Of(caps.Mknod, caps.Chown, caps.SysAdmin))
	rootless.UserNamespace, rootless.Shared = true, []catalog.Sharing{catalog.SharesNothing, catalog.SharesBridge}
	hostile := NewExplainedSet("x", "process 1 (a\nb\x1b]0;c\x07), user \u202eroot", 0)
	hostile.Facts = []string{"It is \x1b[31mred\x1b[0m.\r\n"}
	return map[string]Explanation{
		"one":      entries(caps.NetRaw),
		"newer":    entries(47),
		"columns":  entries(caps.Chown, caps.SysPtrace),
		"many":     entries(caps.Chown, caps.SysPtrace, caps.Bpf, caps.Kill),
		"docker":   {Sets: []ExplainedSet{docker}},
		"line":     {Sets: []ExplainedSet{line}},
		"rootless": {Sets: []ExplainedSet{rootless}},
		"hostile":  {Sets: []ExplainedSet{hostile}},
		"diff": {Sets: []ExplainedSet{podman, docker}, Diff: &SetDiff{
			A: "podman", B: "docker", OnlyA: podman.Caps.Minus(docker.Caps), OnlyB: docker.Caps.Minus(podman.Caps), Both: docker.Caps.Intersect(podman.Caps),
		}},
		"same":    {Sets: []ExplainedSet{docker, docker}, Diff: &SetDiff{A: "docker", B: "moby", Both: docker.Caps}},
		"call":    {Asked: &ExplainedChecks{Call: "openat", Family: "open", Errno: "EPERM", Checks: catalog.Find("open", "EPERM")}},
		"seccomp": {Asked: &ExplainedChecks{Call: "syslog", Checks: catalog.Find("syslog", ""), Opened: catalog.Opened("syslog")}},
		"errno":   {Asked: &ExplainedChecks{Errno: "EAGAIN", Checks: catalog.Find("", "EAGAIN")}},
		"nothing": {Asked: &ExplainedChecks{Call: "getpid"}},
	}
}

func TestExplainGolden(t *testing.T) {
	for name, x := range explanations(t) {
		golden(t, "explain-"+name+".txt", explain(t, x, ExplainOptions{}))
	}
	golden(t, "explain-one-long.txt", explain(t, entries(caps.SysAdmin), ExplainOptions{Long: true}))
	golden(t, "explain-one-color.txt", explain(t, entries(caps.NetRaw), ExplainOptions{Style: Style{Color: true}}))
}

// One capability is a screenful of 80 by 24, with what a person decides by.
func TestScreenful(t *testing.T) {
	for c := range caps.All().Values() {
		page := explain(t, entries(c), ExplainOptions{})
		if n := strings.Count(page, "\n"); n > 23 {
			t.Errorf("%v: %d lines, want at most 23: shorten its texts in catalog.yaml\n%s", c, n, page)
		}
		for _, label := range []string{"danger ", "namespaced? ", "without it ", "measured ", "needed by ", "instead ", "given by "} {
			if !strings.Contains(page, "\n"+label) {
				t.Errorf("%v: no %q on its page", c, label)
			}
		}
	}
}

// Pages are as wide as they may be, hold printed characters only, and say the same in
// colour.
func TestExplainPages(t *testing.T) {
	pages := explanations(t)
	for c := range caps.All().Values() {
		pages[c.String()] = entries(c)
	}
	for name, x := range pages {
		for _, width := range []int{40, 80, 120} {
			for _, long := range []bool{false, true} {
				out := explain(t, x, ExplainOptions{Style: Style{Width: width}, Long: long})
				for line := range strings.Lines(out) {
					if w := ansi.StringWidth(strings.TrimRight(line, "\n")); w > width {
						t.Errorf("%s at width %d, long %v: %d columns: %s", name, width, long, w, line)
					}
				}
				printed(t, fmt.Sprint(name, width), out)
				color := explain(t, x, ExplainOptions{Style: Style{Width: width, Color: true}, Long: long})
				if ansi.Strip(color) != out {
					t.Errorf("%s at width %d: in colour it says something else", name, width)
				}
			}
		}
	}
}

func TestExplanationJSON(t *testing.T) {
	for name, x := range explanations(t) {
		var b bytes.Buffer
		if err := ExplanationJSON(&b, &x); err != nil {
			t.Fatal(err)
		}
		var back Explanation
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if back.Version != "leastcap.explain/v1" || len(back.Sets) != len(x.Sets) || len(back.Capabilities) != len(x.Capabilities) {
			t.Errorf("%s: %s", name, b.String())
		}
	}
	x := entries(caps.Chown, 47)
	if len(x.Capabilities[0].Measured) == 0 || len(x.Capabilities[1].Measured) != 0 {
		t.Errorf("measured %v of chown, %v of a capability without a name", x.Capabilities[0].Measured, x.Capabilities[1].Measured)
	}
	x = explanations(t)["line"]
	var b bytes.Buffer
	if err := ExplanationJSON(&b, &x); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"CAP_KILL": "host"`, `"CAP_NET_ADMIN": "disturb"`, `"45": "unknown"`, `"mask": "0000200002001020"`, `"shared": [
        "nothing",
        "pid",`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}
