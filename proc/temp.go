package proc

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
)

// TempPattern is for [os.CreateTemp] and [os.MkdirTemp]: what they make so is removed by
// [SweepTemp] when this process is dead.
func TempPattern() string { return tempPrefix + string(Self()) + ".*" }

const tempPrefix = ".leastcap-"

var tempName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\.leastcap-(` + OwnerPattern + `)\.\d+$`) })

// SweepTemp removes from a directory what killed processes were making in it. It does
// what it can: what it leaves is no reason to fail.
func SweepTemp(dir string) {
	if runtime.GOOS != "linux" {
		return // where nothing tells who is alive
	}
	names, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*")) // the pattern is well-formed but for odd directories
	for _, name := range names {
		if m := tempName().FindStringSubmatch(filepath.Base(name)); m != nil && !Owner(m[1]).Alive() {
			_ = os.RemoveAll(name)
		}
	}
}
