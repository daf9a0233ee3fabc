//go:build unix

package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Leastcap returns the path of the leastcap command, built from this tree.
//
// It is built into bin/test, which git ignores, and not into a temporary
// directory: nobody would remove that at the end of the test process, and the
// processes of "go test ./..." share one link step this way.
func Leastcap(t testing.TB) string {
	t.Helper()
	path, err := leastcap()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var leastcap = sync.OnceValues(func() (string, error) { return command("leastcap", "leastcap") })

// Verifier is the path of leastcap-verifier. It is not beside leastcap, where that would
// find it without being told.
var Verifier = sync.OnceValues(func() (string, error) {
	if path, ok := Prebuilt("leastcap-verifier"); ok {
		return path, nil
	}
	return command("leastcap-verifier", "verifier/leastcap-verifier")
})

// command builds a command of this tree as a file in bin/test.
func command(name, file string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return build(root, "./cmd/"+name, filepath.Join(root, "bin", "test", file))
}

// build builds the command pkg of the module in root as the file out. Processes
// take turns, so none runs a file that another is still writing; the second
// finds the file up to date and leaves it alone.
//
// The flags and tags are those of the tests and of .ci/run: others, such as -trimpath,
// would have all that is imported compiled once more.
func build(root, pkg, out string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(out+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // which unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "netgo osusergo", "-o", out, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, bytes.TrimSpace(msg))
	}
	return out, nil
}

// moduleRoot is the directory of go.mod: a test runs in its package's directory.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	file := string(bytes.TrimSpace(out))
	if file == "" || file == os.DevNull {
		return "", fmt.Errorf("go env GOMOD: not in a module")
	}
	return filepath.Dir(file), nil
}
