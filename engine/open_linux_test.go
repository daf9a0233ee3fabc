package engine_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/engine"
)

// TestOpensFilesOnly: what is no regular file is not even opened, by whatever name.
func TestOpensFilesOnly(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	id := "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
	bundle := filepath.Join(dir, "run/containerd/io.containerd.runtime.v2.task/default", id)
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{filepath.Join(dir, "link"), filepath.Join(bundle, "config.json")} {
		if err := os.Symlink(fifo, link); err != nil {
			t.Fatal(err)
		}
	}
	events, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(events)
	if _, err := unix.InotifyAddWatch(events, fifo, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{dir, "/"} {
		name := "/fifo"
		if root == "/" {
			name = filepath.Join(dir, "link")
		}
		if _, err := (engine.Tree{Root: root}).Read(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was read: %v", name, err)
		}
	}
	records := engine.Records{Root: dir}
	if found := records.Find(t.Context(), []string{id}); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	if n, err := unix.Read(events, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("it was opened: %d bytes of events, %v", n, err)
	}
}
