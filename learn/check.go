package learn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// CheckError says that a check command could not be run at all.
type CheckError struct {
	Command string
	Err     error
}

func (e *CheckError) Error() string {
	return fmt.Sprintf("cannot run the check %q: %v", e.Command, e.Err)
}
func (e *CheckError) Unwrap() error { return e.Err }

// checkOutput is how much of a check's output is kept.
const checkOutput = 4 << 10

// runCheck runs a check command with sh -c on the host. A non-nil error other
// than [*CheckError] means that it did not pass.
func runCheck(ctx context.Context, command string, env []string) (output string, err error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), env...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	group(cmd)
	// A child of the check that keeps its output open must not hold us up.
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	text := out.String()
	if over := len(text) - checkOutput; over > 0 {
		text = "…" + text[over:]
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil && !errors.Is(err, exec.ErrWaitDelay) {
		return text, &CheckError{command, err}
	}
	return strings.TrimSpace(text), err
}
