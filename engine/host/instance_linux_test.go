package host

import (
	"os"
	"slices"
	"testing"
)

// TestEntry: what is executed is told with the directory that relative arguments are of.
func TestEntry(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{spec: LaunchSpec{Path: []byte("/bin/sh"), Argv: [][]byte{[]byte("sh"), []byte("run.sh")}, HasUser: true, UID: 33}}
	e, err := i.Entry(t.Context())
	if err != nil || e.Dir != dir || e.User != "33" || !slices.Equal(e.Args, []string{"/bin/sh", "run.sh"}) {
		t.Errorf("%+v, %v; want the directory %s", e, err, dir)
	}
}
