//go:build linux

package kerneltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"
)

// heartbeat is what init.sh prints on the console every ten seconds.
const heartbeat = "@@ alive"

// heartless is how long a guest may be without a heartbeat. One that has none for so
// long has stopped as a whole: that is QEMU, not the test.
const heartless = time.Minute

// machine is a QEMU that runs: the files that it writes, its monitor's socket, and
// its console's keyboard.
type machine struct {
	console, results, monitor string
	keys                      *os.File
}

// stall is a guest that hung.
type stall struct {
	silent time.Duration
	alive  bool     // the kernel was: its heart beat
	tests  []string // that were running
	state  string   // of the processors
}

func (s *stall) Error() string {
	what := "the guest hung: nothing came for " + s.silent.Round(time.Second).String()
	if s.alive {
		what = "a test in the guest hung: it printed nothing for " + s.silent.Round(time.Second).String()
	}
	return fmt.Sprintf("%s; running: %s; processors:\n%s", what, strings.Join(s.tests, ", "), s.state)
}

// watch stops a guest that hangs: one whose heart does not beat, or one without a
// result for so long.
func (m *machine) watch(ctx context.Context, silence time.Duration, stop context.CancelCauseFunc) {
	type output struct {
		size int64
		at   time.Time
	}
	outputs := map[string]*output{m.console: {at: time.Now()}, m.results: {at: time.Now()}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		for path, o := range outputs {
			if st, err := os.Stat(path); err == nil && st.Size() != o.size {
				o.size, o.at = st.Size(), time.Now()
			}
		}
		beat, result := time.Since(outputs[m.console].at), time.Since(outputs[m.results].at)
		switch {
		case min(beat, result) > heartless:
			stop(&stall{silent: min(beat, result), state: m.ask()})
			return
		case result > silence:
			stop(&stall{silent: result, alive: beat < heartless/2, state: m.ask()})
			return
		}
	}
}

// ask makes a guest that hangs say where: QEMU the processors' registers, and the
// kernel, if it still can, on its console what the processors and waiting tasks are at
// (Documentation/admin-guide/sysrq.rst).
func (m *machine) ask() string {
	conn, err := net.DialTimeout("unix", m.monitor, time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	qmp := json.NewDecoder(conn)
	execute := func(command string, arguments map[string]string) string {
		json.NewEncoder(conn).Encode(map[string]any{"execute": command, "arguments": arguments})
		for {
			var answer struct {
				Return json.RawMessage
				Error  *struct{ Desc string }
			}
			if err := qmp.Decode(&answer); err != nil {
				return err.Error()
			}
			if answer.Error != nil {
				return answer.Error.Desc
			}
			var text string
			if answer.Return != nil { // the rest are a greeting and events
				json.Unmarshal(answer.Return, &text) // others give an object, of no interest
				return text
			}
		}
	}
	human := func(line string) string {
		return execute("human-monitor-command", map[string]string{"command-line": line})
	}
	if refused := execute("qmp_capabilities", map[string]string{}); refused != "" {
		return refused
	}
	var state strings.Builder
	for line := range strings.Lines(human("info registers -a")) {
		if regexp.MustCompile(`^(CPU|R|CR)`).MatchString(line) {
			state.WriteString(line)
		}
	}
	state.WriteString(human("info lapic"))
	for _, key := range "lw" {
		state.WriteString(human("chardev-send-break console"))
		fmt.Fprintf(m.keys, "%c", key)
		time.Sleep(3 * time.Second)
	}
	return strings.ReplaceAll(state.String(), "\r", "")
}

// running are the tests whose beginning is the last that was printed of them: those
// that a guest that hung was at, the innermost last.
func running(results []byte) []string {
	var at []string
	for line := range bytes.Lines(results) {
		text := strings.TrimLeft(strings.TrimRight(string(line), "\r\n"), "\x16 ")
		if name, ok := strings.CutPrefix(text, beginMark); ok {
			at = append(at[:0], name)
		} else if name, ok := strings.CutPrefix(text, "=== RUN   "); ok {
			at = append(at, name)
		} else if strings.HasPrefix(text, doneMark) {
			at = at[:0]
		} else if f := strings.Fields(text); len(f) > 2 && f[0] == "---" {
			for i, name := range at {
				if name == f[2] {
					at = append(at[:i], at[i+1:]...)
					break
				}
			}
		}
	}
	return at
}

// patience is how often a guest that hangs is booted again.
const patience = 2

// Run boots the guest until each step has its results, and gives these and what the
// guests printed.
func (g *Guest) Run(ctx context.Context, logf func(format string, args ...any)) (runs []Run, printed []byte, err error) {
	return repeat(ctx, g.Steps, g.boot, logf)
}

// repeat boots until each step has its results. A guest that hangs is QEMU's doing until
// it hangs in the same test again: it is logged, and the next one goes on with the step
// that has no result. What a guest reported is never tried again, also if it hung then.
func repeat(ctx context.Context, steps []Step, boot func(context.Context, []Step) ([]byte, error), logf func(string, ...any)) (runs []Run, printed []byte, err error) {
	before := ""
	for again := 0; ; again++ {
		results, err := boot(ctx, steps)
		printed = append(printed, results...)
		got, perr := Parse(ctx, results)
		hung := (*stall)(nil)
		if !errors.As(err, &hung) || perr != nil {
			return append(runs, got...), printed, errors.Join(err, perr)
		}
		done := len(got)
		if done > 0 && got[done-1].Status < 0 && !got[done-1].failed() {
			done--
		}
		at := strings.Join(hung.tests, ", ")
		if done == len(steps) || again == patience || at != "" && at == before {
			return append(runs, got...), printed, err
		}
		runs, steps, before = append(runs, got[:done]...), steps[done:], at
		logf("%d steps have no result, so the guest is booted again: %v", len(steps), err)
	}
}
