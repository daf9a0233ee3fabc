package engine

import "strings"

// Unexecuted gives docker's exit status for what a runtime says of an entry point that it
// could not execute (moby daemon/errors.go, setExitCodeFromError), 0 for another failure.
// runc begins it with exec:, crun calls it executable.
func Unexecuted(text string) int {
	text = strings.ToLower(text)
	switch {
	case !strings.Contains(text, "exec: ") && !strings.Contains(text, "executable"):
		return 0
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return 127
	case strings.Contains(text, "permission denied"), strings.Contains(text, "operation not permitted"), strings.Contains(text, "not a directory"), strings.Contains(text, "exec format error"):
		return 126
	}
	return 0
}
