package main

import (
	"bytes"
	"context"
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
	_ = cmd.Wait() // a reader who leaves early is no error
	return nil
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
	if _, err := exec.LookPath("less"); err != nil {
		return nil
	}
	return []string{"less"}
}
