package learn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/engine"
)

// Command is one for a shell, with or without a name.
type Command struct{ Name, Command string }

var named = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z0-9_-]+):\s+(\S[\s\S]*)$`)
})

// ParseCommand reads "NAME: COMMAND" or "COMMAND".
func ParseCommand(text string) Command {
	if m := named().FindStringSubmatch(text); m != nil {
		return Command{m[1], m[2]}
	}
	return Command{Command: text}
}

// String is what [ParseCommand] reads.
func (c Command) String() string {
	if c.Name == "" {
		return c.Command
	}
	return c.Name + ": " + c.Command
}

func commandTexts(cs []Command) []string {
	var texts []string
	for _, c := range cs {
		texts = append(texts, c.String())
	}
	return texts
}

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
	out := engine.Tail{Max: checkOutput}
	cmd.Stdout, cmd.Stderr = &out, &out
	engine.Group(cmd)
	err = cmd.Run()
	engine.EndGroup(cmd)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it passed, and left a child that kept its output open
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return out.String(), &CheckError{command, err}
	}
	return strings.TrimSpace(out.String()), err
}
