// Command leastcap finds the Linux capabilities that a program or a container
// really needs, proves it, and takes the rest away.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/probe"
)

// version is set by the build (-ldflags -X).
var version = "devel"

// The exit statuses, which are a contract.
const (
	exitOK          = 0
	exitFindings    = 1 // findings, or a need not met
	exitUsage       = 2 // wrong usage
	exitBlind       = 3 // could not look
	exitBaseline    = 4 // the baseline itself fails its check
	exitInterrupted = 130
)

const exitHelp = `Exit status:
  0  done and clean
  1  findings, or the result could not be proven
  2  wrong usage, or the workload could not be run as written
  3  could not look: no permission, no BPF, data lost, or cut short
  4  the workload fails its check with today's capabilities already`

func main() {
	if len(os.Args) == 3 && os.Args[1] == host.LaunchVerb {
		os.Exit(host.Launch(os.Args[2], os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Stdout, os.Stderr, os.Args[1:]))
}

// status is an error that only carries an exit status: all has been said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is one in how leastcap was called.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func run(ctx context.Context, stdout, stderr io.Writer, args []string) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var s status
	if errors.As(err, &s) {
		return int(s)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "leastcap: interrupted; everything that was started has been removed")
		return exitInterrupted
	}
	text, hint, code := explain(err)
	fmt.Fprintf(stderr, "leastcap: error: %s\n", text)
	if hint != "" {
		fmt.Fprintf(stderr, "leastcap: hint: %s\n", hint)
	}
	return code
}

// explain gives an error's text, what to do about it, and the exit status.
func explain(err error) (text, hint string, code int) {
	var (
		line     *cli.LineError
		eng      *engine.Error
		feature  *probe.FeatureError
		baseline *learn.BaselineError
		check    *learn.CheckError
		use      *usageError
	)
	text = err.Error()
	switch {
	case errors.As(err, &use):
		return text, use.hint, exitUsage
	case errors.As(err, &line):
		return text, line.Hint, exitUsage
	case errors.As(err, &feature):
		return text, feature.Hint, exitBlind
	case errors.As(err, &baseline):
		return baselineText(baseline), "make the line and the check work first; leastcap only takes away, it cannot mend", exitBaseline
	case errors.As(err, &check):
		return text, "checks are run with sh -c on this host", exitUsage
	case errors.As(err, &eng):
		return text, eng.Hint, exitUsage
	case errors.Is(err, learn.ErrUnseen):
		return text, "leastcap has to run on the machine (and in the virtual machine, with Docker Desktop) that runs the containers", exitBlind
	case errors.Is(err, learn.ErrNoLaunch):
		return text, "use runc or crun as the engine's runtime", exitBlind
	case errors.Is(err, probe.ErrUnavailable):
		return text, "", exitBlind
	}
	return text, "", exitUsage
}

func baselineText(e *learn.BaselineError) string {
	var b strings.Builder
	b.WriteString(e.Error())
	for _, part := range []struct{ title, text string }{
		{"the check's output", e.CheckOutput}, {"the workload's last lines", e.Logs},
	} {
		if part.text == "" {
			continue
		}
		fmt.Fprintf(&b, "\n  %s:", part.title)
		for line := range strings.Lines(part.text) {
			fmt.Fprintf(&b, "\n    %s", printable(strings.TrimRight(line, "\r\n")))
		}
	}
	return b.String()
}

// printable keeps a workload's output from controlling the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) {
			return r
		}
		return '\uFFFD'
	}, s)
}
