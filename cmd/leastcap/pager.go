package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/charmbracelet/x/term"
)

// heightOf is how many lines a terminal has; 0 if it is none.
func heightOf(w io.Writer) int {
	if file, ok := w.(*os.File); ok && term.IsTerminal(file.Fd()) {
		if _, height, err := term.GetSize(file.Fd()); err == nil {
			return height
		}
	}
	return 0
}

// write writes a page, through a pager if it is longer than the terminal.
func (f *explainFlags) write(ctx context.Context, stdout io.Writer, page []byte) error {
	height := heightOf(stdout)
	if height == 0 || f.noPager || bytes.Count(page, []byte("\n")) < height {
		_, err := stdout.Write(page)
		return err
	}
	argv := pager()
	if argv == nil {
		_, err := stdout.Write(page)
		return err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(page), stdout, os.Stderr
	cmd.Env = os.Environ()
	if _, ok := os.LookupEnv("LESS"); !ok {
		cmd.Env = append(cmd.Env, "LESS=FRX") // colours, and no screen of its own: git's
	}
	if err := cmd.Start(); err != nil {
		_, err := stdout.Write(page)
		return err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) && (exit.ExitCode() == 126 || exit.ExitCode() == 127) {
		_, err := stdout.Write(page) // sh(1): it is not there, or cannot be executed
		return err
	}
	return nil // a reader who leaves early is no error
}

// pager is the command to read long pages with: the first that is set of
// LEASTCAP_PAGER and PAGER, else less if it is there; nil is none. As everywhere, an
// empty value and "cat" mean none.
func pager() []string {
	for _, name := range []string{"LEASTCAP_PAGER", "PAGER"} {
		value, ok := os.LookupEnv(name)
		if !ok {
			continue
		}
		switch value = strings.TrimSpace(value); value {
		case "", "cat":
			return nil
		}
		return []string{"sh", "-c", value}
	}
	if _, err := exec.LookPath("less"); err != nil || os.Getenv("TERM") == "dumb" {
		return nil // less asks whether to go on on a dumb terminal
	}
	return []string{"less"}
}
