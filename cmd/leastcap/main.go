// Command leastcap finds the Linux capabilities that a program or a container
// really needs, proves it, and takes the rest away.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/report"
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
  3  could not look, or not say: no permission, no BPF, data lost, cut short,
     output that cannot be written
  4  the workload fails its check with today's capabilities already
  130  interrupted by a signal, after everything was removed`

func main() {
	if len(os.Args) == 3 && os.Args[1] == host.LaunchVerb {
		os.Exit(host.Launch(os.Args[2], os.Stderr))
	}
	if looksOnly(os.Args[1:]) {
		runtime.UnlockOSThread() // handing over to other threads and back takes longer than to look
	}
	ctx := context.Background()
	if !leavesNothing(os.Args[1:]) {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, append(hangup(), os.Interrupt, syscall.SIGTERM)...)
		defer stop()
		// A second signal ends leastcap at once; the next start removes what is left.
		context.AfterFunc(ctx, stop)
	}
	// Output that nobody reads any more must not end it before it has cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(ctx, os.Stdout, os.Stderr, os.Args[1:]))
}

// hangup is SIGHUP, if it is to be heeded: to ask for it would undo what nohup(1) did.
func hangup() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) {
		return nil
	}
	return []os.Signal{syscall.SIGHUP}
}

// looksOnly reports whether nothing is run by a call.
func looksOnly(args []string) bool {
	return len(args) == 0 || strings.HasPrefix(args[0], "-") || slices.ContainsFunc(verbs, func(v verb) bool { return v.looks && v.name == args[0] })
}

// leavesNothing reports whether a call makes nothing that has to be removed when a signal
// ends it. To wait for signals takes two threads and a twentieth of the time of leastcap ps.
func leavesNothing(args []string) bool {
	return len(args) == 0 || strings.HasPrefix(args[0], "-") || args[0] == "ps"
}

// status is an error that only carries an exit status: all has been said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// statusOf is nil for success.
func statusOf(code int) error {
	if code == 0 {
		return nil
	}
	return status(code)
}

// usageError is one in how leastcap was called.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func run(ctx context.Context, stdout, stderr io.Writer, args []string) int {
	root := newRoot(stdout, stderr, args...)
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
		if errors.Is(err, context.Canceled) && !errors.Is(err, learn.ErrLeftBehind) {
			say(stderr, "interrupted; everything that was started has been removed")
		} else {
			say(stderr, "interrupted: %v", err)
		}
		return exitInterrupted
	}
	text, hint, code := explain(err)
	if unread(err) {
		return code
	}
	say(stderr, "error: %s", text)
	if hint != "" {
		say(stderr, "hint: %s", hint)
	}
	return code
}

// unread says that whoever read the output has seen enough, as head(1): no fault to speak of.
func unread(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && path.Path == os.Stdout.Name() && errors.Is(path, syscall.EPIPE)
}

// say writes to standard error. What it says may quote a workload, which must
// not control the terminal.
func say(stderr io.Writer, format string, args ...any) {
	lines := strings.Split(fmt.Sprintf(format, args...), "\n")
	for i, line := range lines {
		trimmed := strings.TrimLeft(line, " ")
		lines[i] = line[:len(line)-len(trimmed)] + report.Clean(trimmed, 2000)
	}
	fmt.Fprintf(stderr, "leastcap: %s\n", strings.Join(lines, "\n"))
}

// explain gives an error's text, what to do about it, and the exit status.
func explain(err error) (text, hint string, code int) {
	if text, hint, code = sortOut(err); hint == "" {
		hint = machineHint(err)
	}
	return text, hint, code
}

// machineHint is for what this machine refused, whoever asked.
func machineHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room there, or write to another file system; LEASTCAP_IMAGES, LEASTCAP_ROOT, LEASTCAP_PROFILES and TMPDIR name leastcap's own directories"
	case errors.Is(err, syscall.EROFS):
		return "write to another file system; LEASTCAP_IMAGES, LEASTCAP_ROOT and LEASTCAP_PROFILES name leastcap's own directories"
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return "run leastcap as root, or name directories of your own in LEASTCAP_IMAGES, LEASTCAP_ROOT and LEASTCAP_PROFILES"
	}
	return ""
}

func sortOut(err error) (text, hint string, code int) {
	var (
		line     *cli.LineError
		eng      *engine.Error
		img      *image.Error
		unseen   *unseenImage
		nothing  *undeclared
		neither  *neitherError
		feature  *probe.FeatureError
		baseline *learn.BaselineError
		check    *learn.CheckError
		use      *usageError
	)
	text = err.Error()
	switch {
	case errors.As(err, &neither):
		return text, neither.hint(), exitBlind
	case errors.As(err, &use):
		return text, use.hint, exitUsage
	case errors.As(err, &line):
		return text, line.Hint, exitUsage
	case errors.As(err, &feature):
		return text, feature.Hint + "; what works without: leastcap ps, explain and audit, and learning a container's set by trials alone", exitBlind
	case errors.As(err, &baseline):
		return baselineText(baseline), "make the line and the check work first; leastcap only takes away, it cannot mend", exitBaseline
	case errors.As(err, &check):
		return text, "checks are run with sh -c on this host", exitUsage
	case errors.Is(err, image.ErrReference) && errors.As(err, &img):
		return text, img.Hint, exitUsage
	case errors.As(err, &nothing):
		return text, "leastcap image label writes what was learned into the image", exitFindings
	case errors.As(err, &img):
		return text, img.Hint, exitBlind
	case errors.As(err, &unseen):
		return text, unseen.Hint, exitBlind
	case errors.As(err, &eng):
		return text, eng.Hint, exitUsage
	case errors.Is(err, learn.ErrNeedsCheck):
		return text, "give a --check that tells whether it works", exitUsage
	case errors.Is(err, learn.ErrUnseen):
		return text, "leastcap has to run on the machine (and in the virtual machine, with Docker Desktop) that runs the containers", exitBlind
	case errors.Is(err, learn.ErrTimeLimit):
		return text, "give it more --timeout", exitBlind
	case errors.Is(err, learn.ErrNoLaunch):
		return text, "use runc or crun as the engine's runtime", exitBlind
	case errors.Is(err, probe.ErrUnavailable):
		return text, "", exitBlind
	}
	// What nobody foresaw (output that cannot be written, say) is no wrong usage.
	return text, "", exitBlind
}

// maxLines is how much of an output an error quotes.
const maxLines = 10

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
		lines := strings.Split(strings.TrimRight(part.text, "\r\n"), "\n")
		for _, line := range lines[max(0, len(lines)-maxLines):] {
			fmt.Fprintf(&b, "\n    %s", strings.TrimRight(line, "\r"))
		}
	}
	return b.String()
}
