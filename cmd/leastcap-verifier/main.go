// Command leastcap-verifier reads definitions of containers as what will run them does: with
// Compose's own loader (compose-go), Kubernetes' own types, and Pod Security Admission's own
// evaluator. `leastcap fix` starts it and asks it, before it writes a file, what these read
// before and after the edit.
//
// It is a program of its own because of what these packages do before main, which would be
// half of the time that leastcap takes to audit a file.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/sirupsen/logrus"
)

// version is set by the build (-ldflags -X).
var version = "devel"

const usage = `usage: leastcap-verifier

leastcap fix starts it by itself, and asks it what Compose and Kubernetes read of a file
before and after an edit: JSON, a line for a question, on standard input and output. It
reads no file but those that are in a question, and writes none but copies of these below
the directory that it is started in.
`

func main() {
	switch {
	case len(os.Args) == 1:
	case len(os.Args) == 2 && os.Args[1] == "--version":
		fmt.Println("leastcap-verifier", version)
		return
	case len(os.Args) == 2 && (os.Args[1] == "--help" || os.Args[1] == "-h"):
		fmt.Print(usage)
		return
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	// Who asks ends it by closing its input, also where both get a terminal's signal.
	signal.Ignore(os.Interrupt, syscall.SIGHUP)
	logrus.SetOutput(io.Discard) // compose-go's warnings: what matters comes as an error
	debug.SetMaxStack(64 << 20)
	debug.SetGCPercent(400) // it lives shortly
	debug.SetMemoryLimit(maxMemory / 2)
	if err := confine("."); err != nil {
		fmt.Fprintln(os.Stderr, "leastcap-verifier:", err)
		os.Exit(1)
	}
	if err := serve(readers, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "leastcap-verifier:", err)
		os.Exit(1)
	}
}
