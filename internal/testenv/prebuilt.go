package testenv

import (
	"fmt"
	"os"
	"path/filepath"
)

// PrebuiltVar names the directory that holds what tests make for themselves
// elsewhere: in a guest of internal/kerneltest there is no compiler and no Docker.
const PrebuiltVar = "LEASTCAP_TEST_PREBUILT"

// HookVar names the way in to the kernel's checks that the tests are to use; empty
// for the one that leastcap chooses.
const HookVar = "LEASTCAP_TEST_HOOK"

// Prebuilt is the path of something that was made beforehand: a program, or a
// directory. It is not ok where tests have to make it.
func Prebuilt(name string) (path string, ok bool) {
	dir := os.Getenv(PrebuiltVar)
	if dir == "" {
		return "", false
	}
	path = filepath.Join(dir, name)
	_, err := os.Stat(path)
	return path, err == nil
}

// MadeBy is the command that makes what was not made beforehand.
func MadeBy(command, what string) Requirement {
	return Requirement{"command " + command, func() error {
		if _, ok := Prebuilt(what); ok {
			return nil
		}
		if err := Command(command).check(); err != nil {
			return fmt.Errorf("to make %s: %w", what, err)
		}
		return nil
	}}
}

// Guest says whether this is a guest of internal/kerneltest, which is the test's alone.
func Guest() bool { return os.Getenv(PrebuiltVar) != "" }
