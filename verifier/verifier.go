// Package verifier asks the formats' own tools what they read of an edited file: by
// leastcap-verifier, which has Compose's loader and Kubernetes' types and evaluator in it, or
// by docker compose.
package verifier

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/leastcap/leastcap/manifest/reading"
	"github.com/leastcap/leastcap/proc"
)

// Program is the name of the other program.
const Program = "leastcap-verifier"

// startTime is how long it may take to say hello.
var startTime = 10 * time.Second

const (
	// askTime is how long a question may take, and a second more for so many bytes of it. What
	// it takes is a millisecond or two.
	askTime   = 10 * time.Second
	askFactor = 256 << 10
	// maxQuestion and maxAnswer are in bytes; the other side takes a longer question.
	maxQuestion = 64 << 20
	maxAnswer   = 32 << 20
	// maxFailures is how often it is started anew for files that ended it.
	maxFailures = 10
)

// ErrAbsent says that the program is not there.
var ErrAbsent = errors.New(Program + " is not installed")

// Find is where the program is: beside this one, in its libexec, or in PATH. It is never
// taken from the current directory, which may be a stranger's.
func Find() (string, error) {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		dirs = besides(exe)
	}
	if path, ok := look(Program, append(dirs, filepath.SplitList(os.Getenv("PATH"))...)); ok {
		return path, nil
	}
	return "", ErrAbsent
}

// besides are the directories that are searched first: not one in which everybody may put a
// program of that name, as in /tmp.
func besides(exe string) []string {
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	dir := filepath.Dir(exe)
	return slices.DeleteFunc([]string{dir, filepath.Join(dir, "..", "libexec", "leastcap")}, func(dir string) bool {
		fi, err := os.Stat(dir)
		return err != nil || fi.Mode()&0o002 != 0
	})
}

// look finds a program in directories; relative ones are left out.
func look(name string, dirs []string) (path string, ok bool) {
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return path, true
		}
	}
	return "", false
}

// A SkewError is a program of another version, which is as good as none.
type SkewError struct {
	Path        string
	Version     string
	Have, Needs int
}

func (e *SkewError) Error() string {
	return fmt.Sprintf("%s (%s) speaks version %d of the protocol, and this leastcap %d", e.Path, e.Version, e.Have, e.Needs)
}

// A Verifier is the program, running. It is for use by several goroutines.
type Verifier struct {
	Path string
	dir  string
	// Tools are what it has, by format.
	Tools map[string]string
	// AskTime is how long a small question may take.
	AskTime time.Duration

	// alone is held for writing by a question that is asked alone.
	alone    sync.RWMutex
	mu       sync.Mutex
	process  *process
	failures int
	nextID   int
}

// Open starts the program; the context is for the start alone.
func Open(ctx context.Context, path string) (*Verifier, error) {
	v := &Verifier{Path: path, AskTime: askTime}
	proc.SweepTemp(os.TempDir()) // what a killed one left
	var err error
	if v.dir, err = os.MkdirTemp("", proc.TempPattern()); err != nil { // where it keeps copies
		return nil, err
	}
	p, err := v.running(ctx)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(v.dir))
	}
	v.Tools = p.hello.Tools
	return v, nil
}

// Close ends the program, and removes what it left.
func (v *Verifier) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.process != nil {
		v.process.end()
	}
	return os.RemoveAll(v.dir)
}

// running is the process, started anew if there is none.
func (v *Verifier) running(ctx context.Context) (*process, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.process != nil && v.process.alive() {
		return v.process, nil
	}
	if v.failures >= maxFailures {
		return nil, fmt.Errorf("it failed %d times and is not started again", v.failures)
	}
	if v.process != nil {
		v.process.end()
	}
	p, err := start(ctx, v.Path, v.dir)
	if err != nil {
		return nil, err
	}
	v.process = p
	return p, nil
}

// Ask asks a question. Its error says that there is no answer, and concerns this question
// alone.
func (v *Verifier) Ask(ctx context.Context, req reading.Request) (*reading.Answer, error) {
	v.alone.RLock()
	a, err := v.try(ctx, req)
	v.alone.RUnlock()
	if err == nil || ctx.Err() != nil {
		return given(a, err)
	}
	// Others were asked at the same time: whose fault it is shows when it is asked alone.
	v.alone.Lock()
	defer v.alone.Unlock()
	if a, err = v.try(ctx, req); err != nil && ctx.Err() == nil {
		v.mu.Lock()
		v.failures++
		v.mu.Unlock()
	}
	return given(a, err)
}

// given makes an error of an answer that is one.
func given(a *reading.Answer, err error) (*reading.Answer, error) {
	if err == nil && a.Err != "" {
		return nil, errors.New(a.Err)
	}
	return a, err
}

func (v *Verifier) try(ctx context.Context, req reading.Request) (*reading.Answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := v.running(ctx)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.nextID++
	req.ID = v.nextID
	v.mu.Unlock()
	return p.ask(ctx, &req, v.AskTime)
}
