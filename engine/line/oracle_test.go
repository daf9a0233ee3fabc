package line

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastcap/leastcap/internal/testenv"
)

// The installed engines are the oracle. Nothing here starts a container: every
// line lacks an image or has a flag that no engine knows, so that the engine
// only parses it; docker has no daemon to ask anyway.

// oracles are the engines that the tests' machine has. Debian has no nerdctl.
var oracles = []string{"docker", "podman"}

// installed returns a function that runs the engine and returns what it prints.
func installed(t *testing.T, engine string) func(args ...string) string {
	t.Helper()
	testenv.Need(t, testenv.Command(engine))
	program, err := exec.LookPath(engine)
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix:///nonexistent/leastcap.sock")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // that it fails is the point; what it says is looked at
		return out.String()
	}
	version := strings.TrimSpace(run("--version"))
	if !strings.HasPrefix(strings.ToLower(version), engine+" version") {
		t.Skipf("%s is not %s itself: %s", program, engine, version)
	}
	t.Log(version)
	return run
}

// parallel calls f for each item, a few at a time.
func parallel[T any](items []T, f func(T)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(item)
		})
	}
	wg.Wait()
}

const (
	needsValue  = "flag needs an argument"
	unknownFlag = "unknown flag"
)

// Each flag of the table is given to the engine as the last word: the engine
// says whether it wanted a value, or that it does not have the flag.
func TestOracleFlags(t *testing.T) {
	for _, engine := range oracles {
		t.Run(engine, func(t *testing.T) {
			run := installed(t, engine)
			table, err := TableFor(engine)
			if err != nil {
				t.Fatal(err)
			}
			for verb, list := range map[string][]FlagSpec{"run": table.Run, "create": table.Create} {
				parallel(list, func(f FlagSpec) {
					if f.Name == helpSpec.Name {
						return
					}
					out := run(verb, "--"+f.Name)
					if strings.Contains(out, unknownFlag) {
						return // of another version
					}
					if got, want := strings.Contains(out, needsValue), f.NoOpt == ""; got != want {
						t.Errorf("%s %s --%s: takes a value is %v in the table; the engine says: %s", engine, verb, f.Name, want, out)
					}
					if f.Short == "" {
						return
					}
					out = run(verb, "-"+f.Short)
					if strings.Contains(out, "unknown shorthand") {
						return
					}
					if got, want := strings.Contains(out, needsValue), f.NoOpt == ""; got != want {
						t.Errorf("%s %s -%s: takes a value is %v in the table; the engine says: %s", engine, verb, f.Short, want, out)
					}
				})
			}
		})
	}
}

// Each flag of the engine's help is in the table, and the same.
func TestOracleHelp(t *testing.T) {
	for _, engine := range oracles {
		t.Run(engine, func(t *testing.T) {
			run := installed(t, engine)
			table, err := TableFor(engine)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []struct {
				args []string
				list []FlagSpec
			}{
				{[]string{"--help"}, table.Global},
				{[]string{"run", "--help"}, table.Run},
				{[]string{"create", "--help"}, table.Create},
			} {
				seen := ParseHelp(run(part.args...))
				if len(seen) < 10 {
					t.Fatalf("%s %q: only %d flags", engine, part.args, len(seen))
				}
				for _, f := range seen {
					i := slices.IndexFunc(part.list, func(g FlagSpec) bool { return g.Name == f.Name })
					if i < 0 {
						t.Errorf("%s %q: the table has no --%s", engine, part.args, f.Name)
						continue
					}
					if g := part.list[i]; g.NoOpt != f.NoOpt || g.Short != f.Short {
						t.Errorf("%s %q: --%s is %+v in the table and %+v in the engine's help", engine, part.args, f.Name, g, f)
					}
				}
			}
		})
	}
}

// A flag that no engine has is put in front of the image of every line. The
// engine complains of it only if it agrees that all before it are flags.
func TestOracleImage(t *testing.T) {
	const bogus = "--leastcap-bogus"
	for _, engine := range oracles {
		t.Run(engine, func(t *testing.T) {
			run := installed(t, engine)
			all := lines(t)
			var older atomic.Int32
			defer func() {
				if n := int(older.Load()); n > len(all)/10 {
					t.Errorf("%d of %d lines have flags that this engine does not know", n, len(all))
				}
			}()
			parallel(all, func(line string) {
				l := mustParse(t, line)
				if l.Engine != engine {
					return
				}
				args := []string{l.Verb}
				for _, g := range l.groups {
					args = append(args, g.words...)
				}
				args = append(append(args, bogus, l.Image), l.Command...)
				out := run(args...)
				if strings.Contains(out, "unknown shorthand") || strings.Contains(out, unknownFlag) && !strings.Contains(out, bogus) {
					older.Add(1) // the installed engine is older than a flag of the line
					return
				}
				if !strings.Contains(out, unknownFlag+": "+bogus) {
					t.Errorf("%s: the engine does not see %s before the image: %s", line, bogus, out)
				}
			})
		})
	}
}

// What docker and podman refuse while parsing, we refuse.
func TestOracleErrors(t *testing.T) {
	lines := []struct{ args, says string }{
		{"run --bogus x", unknownFlag},
		{"run -Z x", "unknown shorthand"},
		{"run -itZ x", "unknown shorthand"},
		{"run -name x y", "unknown shorthand"},
		{"run --name", needsValue},
		{"run -itp", needsValue},
		{"run -it= x", "unknown shorthand"},
		{"run --rm=maybe x", "invalid argument"},
		{"run -itd=maybe x", "invalid argument"},
		{"run --stop-timeout ten x", "invalid argument"},
		{"run --cpu-period ten x", "invalid argument"},
		{"run --=x y", "bad flag syntax"},
		{"run --- x", "bad flag syntax"},
		{"run", "requires at least 1 arg"},
		{"run -d --", "requires at least 1 arg"},
		{"run -p nginx", "requires at least 1 arg"},
		{"container run -d -p nginx", "requires at least 1 arg"},
		{"create --detach x", unknownFlag},
	}
	for _, engine := range engines[:2] {
		t.Run(engine, func(t *testing.T) {
			run := installed(t, engine)
			for _, line := range lines {
				args := strings.Fields(line.args)
				if out := run(args...); !strings.Contains(out, line.says) {
					t.Errorf("%s %s: expected of the engine: %s; it says: %s", engine, line.args, line.says, out)
				}
				if l, err := Parse(append([]string{engine}, args...)); err == nil {
					t.Errorf("%s %s: no error from us: %+v", engine, line.args, l)
				}
			}
		})
	}
}
