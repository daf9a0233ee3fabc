//go:build linux

package kerneltest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

//go:embed init.sh
var initScript []byte

// Cgroups is how a guest mounts the cgroup hierarchies.
type Cgroups string

const (
	V2     Cgroups = "v2"     // one tree
	Hybrid Cgroups = "hybrid" // every controller as v1, and a v2 tree without any beside them
)

// Root is the root file system of guests: a directory that becomes an initramfs.
type Root struct{ Dir string }

// Guest is one machine.
type Guest struct {
	*Image
	Cgroups Cgroups
	Root    *Root
	Modules []string // loaded in this order
	Setup   string   // what runs first, by busybox's sh
	Steps   []Step
	MiB     int           // of memory
	Silence time.Duration // without a result, after which the guest hangs
}

// Step is a program that runs in a guest, by busybox's sh.
type Step struct{ Name, Command string }

// script is what the guest runs: the steps between marks.
func (g *Guest) script(steps []Step) string {
	var b strings.Builder
	b.WriteString(g.Setup)
	for _, s := range steps {
		fmt.Fprintf(&b, "echo '%s%s'; %s; echo \"%s$?\"\n", beginMark, s.Name, s.Command, doneMark)
	}
	return b.String() + "echo '" + endMark + "'\n"
}

// boot runs steps in the guest to its end, and gives what they printed. An error
// carries the end of what the kernel said; it is a *stall if the guest hung.
func (g *Guest) boot(ctx context.Context, steps []Step) (results []byte, err error) {
	dir, err := os.MkdirTemp("", "leastcap-guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := g.initrd(ctx, dir, initrd, g.script(steps)); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	m := &machine{console: filepath.Join(dir, "console"), results: filepath.Join(dir, "results"), monitor: filepath.Join(dir, "monitor")}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		// One thread for all processors: with several, QEMU before 8.1 goes on executing the
		// breakpoints that Linux puts into its code while it changes it, as it does for
		// each probe, and the guest dies of an int3 or hangs (QEMU commit deba78709ae8;
		// lore.kernel.org/all/20230808072835.GT7636@redhat.com).
		// The plain model, not "max": what Linux makes of the newest features (five levels of
		// page tables, and more) costs a quarter of the time in emulation, and QEMU 7.2's
		// cmpxchg16b sends Linux 6.12 into a double fault.
		"-accel", "tcg,thread=single", "-cpu", "qemu64,-cx16", "-smp", "2", "-m", fmt.Sprint(g.MiB),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console", "-serial", "file:"+m.results,
		"-qmp", "unix:"+m.monitor+",server=on,wait=off",
		"-kernel", g.Vmlinuz, "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 oops=panic sysrq_always_enabled quiet loglevel=5 rdinit=/init CGROUP="+string(g.Cgroups))
	console, err := os.Create(m.console)
	if err != nil {
		return nil, err
	}
	defer console.Close()
	keys, typed, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	defer typed.Close()
	m.keys = typed
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = keys, console, &said
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		m.watch(ctx, g.Silence, stop)
	}()
	err = cmd.Run()
	ended := context.Cause(ctx)
	stop(nil)
	<-watched
	results, rerr := os.ReadFile(m.results)
	switch hung := (*stall)(nil); {
	case errors.As(ended, &hung):
		hung.tests = running(results)
		err = hung
	case ended != nil:
		err = fmt.Errorf("the guest did not end in time: %w; running: %s", ended, strings.Join(running(results), ", "))
	case err != nil:
		err = fmt.Errorf("qemu: %w\n%s", err, said.Bytes())
	case rerr != nil:
		err = rerr
	case !bytes.HasSuffix(results, []byte(endMark+"\n")):
		err = errors.New("the guest ended before its script did")
	}
	if err != nil {
		printed, _ := os.ReadFile(m.console)
		err = fmt.Errorf("%w; the guest's console:\n%s", err, tail(printed, 8000))
	}
	return bytes.TrimSuffix(results, []byte(endMark+"\n")), err
}

// endMark is the last line of the results.
const endMark = "@@ all done"

func tail(b []byte, n int) []byte {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r"), nil), []byte(heartbeat+"\n"), nil)
	return bytes.ToValidUTF8(b, []byte("?"))
}

// initrd makes the initial file system: the root's archive, which guests share,
// and then the guest's own files. The kernel unpacks one archive after the other.
func (g *Guest) initrd(ctx context.Context, dir, to, script string) error {
	base, err := g.Root.archive(ctx)
	if err != nil {
		return err
	}
	own := filepath.Join(dir, "own")
	if err := os.MkdirAll(filepath.Join(own, "modules"), 0o755); err != nil {
		return err
	}
	for i, name := range g.Modules {
		file, err := g.module(name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.HasSuffix(file, ".xz") {
			cmd := exec.CommandContext(ctx, "xz", "-dc", file)
			text, err := output(cmd)
			if err != nil {
				return err
			}
			data = []byte(text)
		}
		if err := os.WriteFile(filepath.Join(own, "modules", fmt.Sprintf("%02d-%s.ko", i, name)), data, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(own, "init"), initScript, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(own, "run.sh"), []byte(script), 0o755); err != nil {
		return err
	}
	extra := filepath.Join(dir, "own.cpio")
	if err := archive(ctx, own, extra); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, part := range []string{base, extra} {
		data, err := os.ReadFile(part)
		if err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return f.Close()
}

func (r *Root) archive(ctx context.Context) (string, error) {
	file := strings.TrimSuffix(r.Dir, "/") + ".cpio"
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	return file, archive(ctx, r.Dir, file)
}

// archive makes a cpio archive of a directory. Not compressed: to unpack costs
// an emulated processor more time than the bytes do.
func archive(ctx context.Context, dir, to string) error {
	var names bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir {
			names.WriteString(strings.TrimPrefix(path, dir+"/") + "\x00")
		}
		return err
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0", "-O", to)
	cmd.Dir, cmd.Stdin = dir, &names
	_, err = output(cmd)
	return err
}

// Write puts a file into the root file system.
func (r *Root) Write(path string, mode fs.FileMode, data []byte) error {
	to := filepath.Join(r.Dir, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, data, mode); err != nil {
		return err
	}
	return os.Chmod(to, mode)
}

// Copy puts a file of this machine into the root file system, and what a program
// is linked with.
func (r *Root) Copy(from, to string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := r.Write(to, st.Mode().Perm(), data); err != nil {
		return err
	}
	if !bytes.HasPrefix(data, []byte("\x7fELF")) {
		return nil
	}
	out, err := exec.Command("ldd", from).Output()
	if err != nil {
		return nil // statically linked: ldd says that by its exit status
	}
	for _, lib := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllStringSubmatch(string(out), -1) {
		if _, err := os.Stat(filepath.Join(r.Dir, lib[1])); err == nil {
			continue
		}
		if err := r.Copy(lib[1], lib[1]); err != nil {
			return err
		}
	}
	return nil
}
