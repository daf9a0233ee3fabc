package learn_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/learn"
)

// rooted is an instance whose files are in a directory.
type rooted struct {
	engine.Tree
	entry engine.Entry
}

func (r rooted) Entry(context.Context) (engine.Entry, error) { return r.entry, nil }

// TestClues reads the files of a small root file system: an entry point that is a script,
// what it executes, what that executes, and what nothing names.
func TestClues(t *testing.T) {
	testenv.Need(t, testenv.Command("gcc"))
	root := t.TempDir()
	put := func(name, text string, mode fs.FileMode) {
		t.Helper()
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at, mode); err != nil {
			t.Fatal(err)
		}
	}
	compile := func(name, text string) {
		t.Helper()
		put(name+".c", text, 0o644)
		at := filepath.Join(root, name)
		if out, err := exec.Command("gcc", "-w", "-o", at, at+".c").CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	put("entry.sh", "#!/bin/sh\n# starts it\nchown -R app /data\nexec gosu app server\n", 0o755)
	compile("usr/bin/server", `int main(void) { chroot("/"); execlp("server-helper", "server-helper", 0); }`)
	compile("usr/bin/server-helper", `int main(void) { return setpriority(0, 0, 1); }`)
	compile("usr/bin/other", `int main(void) { return ptrace(0); }`)
	put("usr/bin/suid", "#!/bin/sh\n", 0o755|fs.ModeSetuid)
	if err := os.Chmod(filepath.Join(root, "usr/bin/server-helper"), 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}

	env := []string{"PATH=/usr/bin"}
	read := func(e engine.Entry, helpers ...string) *advise.Clues {
		t.Helper()
		e.Env = env
		c, err := learn.Clues(t.Context(), rooted{engine.Tree{Root: root}, e}, helpers)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := read(engine.Entry{Args: []string{"/entry.sh"}})
	for k, want := range map[caps.Cap]advise.Clue{
		caps.Chown: advise.Called, caps.SysChroot: advise.Helped, caps.SysNice: advise.Helped, caps.SysPtrace: advise.NoClue, caps.NetRaw: advise.NoClue,
	} {
		if c.Of[k] != want {
			t.Errorf("%v: clue %d (%s), want %d", k, c.Of[k], c.From[k], want)
		}
	}
	if !c.Root || c.Mute {
		t.Errorf("root %t, mute %t", c.Root, c.Mute)
	}
	if got := read(engine.Entry{Args: []string{"server"}}).Of[caps.SysChroot]; got != advise.Called {
		t.Errorf("the program itself calls chroot: clue %d", got)
	}
	if c = read(engine.Entry{Args: []string{"other"}, User: "1000"}, "suid"); !c.Root && os.Geteuid() == 0 {
		t.Error("a helper is set-uid root's, and that does not show")
	}
	if c = read(engine.Entry{Args: []string{"other"}, User: "1000:1000"}); c.Root {
		t.Error("it starts as another user than root, and that does not show")
	}
	if c = read(engine.Entry{Args: []string{"/bin/python3", "-c"}}); !c.Mute {
		t.Error("an interpreter alone suggests nothing, and that does not show")
	}
}
