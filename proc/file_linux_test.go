package proc

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/internal/testenv"
)

// TestLookDevice: a device is called as the host calls it, wherever its file is.
func TestLookDevice(t *testing.T) {
	testenv.Need(t, testenv.Root)
	dir := t.TempDir()
	if err := unix.Mknod(filepath.Join(dir, "d"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	f, err := LookIn(dir, "/d", 0, 0, false)
	if err != nil || f.Device != "c 1:3" || f.DeviceName != "/dev/null" {
		t.Errorf("%+v %v", f, err)
	}
	if number, name := Device(true, 4000, 7); number != "b 4000:7" || name != "" {
		t.Error(number, name)
	}
}

// TestLookImmutable: what cannot be removed says so, although it is the directory that would
// change.
func TestLookImmutable(t *testing.T) {
	testenv.Need(t, testenv.Root)
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const immutable = 0x10 // include/uapi/linux/fs.h: FS_IMMUTABLE_FL
	set := func(flags int) error { return unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, flags) }
	if err := set(immutable); errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the file system of temporary files has no such flag")
	} else if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set(0); err != nil {
			t.Error(err)
		}
	}()
	for _, inDir := range []bool{false, true} {
		f, err := LookIn(dir, "/file", 0, 0, inDir)
		if err != nil || !f.Immutable || !f.Exists || (f.Blocker != "") != inDir {
			t.Errorf("in its directory %v: %+v %v", inDir, f, err)
		}
	}
}

// TestLookShared: a file of somebody else in a directory like /tmp.
func TestLookShared(t *testing.T) {
	testenv.Need(t, testenv.Root)
	dir := t.TempDir()
	for _, c := range []struct {
		mode  os.FileMode
		owner int
		want  bool
	}{
		{os.ModeSticky | 0o777, 33, true}, {os.ModeSticky | 0o777, 0, false}, {0o777, 33, false}, {os.ModeSticky | 0o755, 33, false},
	} {
		name := filepath.Join(dir, "f")
		if err := errors.Join(os.Chmod(dir, c.mode), os.WriteFile(name, nil, 0o600), os.Chown(name, c.owner, 0)); err != nil {
			t.Fatal(err)
		}
		if f, err := LookIn(dir, "/f", 0, 0, false); err != nil || f.Shared != c.want {
			t.Errorf("%v, of user %d: %+v %v", c.mode, c.owner, f, err)
		}
	}
}
