package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// tree makes a root file system with this program in it, once as itself and once as the
// other user's, and with files of both.
func tree(dir string) error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	for _, d := range []string{"dev", "proc", "sys", "tmp", "mnt", "etc", "shared"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	return errorsOf(
		file{"operate", self, 0, 0, 0o755}.make(dir),
		file{otherProgram, self, otherUser, otherUser, 0o6755}.make(dir),
		content(dir))
}

// content makes what operations work on and change.
func content(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, "files")); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o755); err != nil {
		return err
	}
	return errorsOf(
		file{own, []byte("own\n"), 0, 0, 0o644}.make(dir),
		file{theirs, []byte("theirs\n"), otherUser, otherUser, 0o600}.make(dir),
		file{theirGroup, []byte("own\n"), 0, otherUser, 0o755}.make(dir),
		file{labelled, []byte("own\n"), 0, 0, 0o644}.make(dir),
		smack(filepath.Join(dir, labelled)))
}

// smack gives a file a label that no process has and no rule names, where there is Smack.
func smack(path string) error {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(known), "smackfs") {
		return err
	}
	return unix.Setxattr(path, "security.SMACK64", []byte("leastcap-proof"), 0)
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type file struct {
	name         string
	data         []byte
	owner, group int
	mode         uint32
}

func (f file) make(dir string) error {
	path := filepath.Join(dir, f.name)
	if err := os.WriteFile(path, f.data, 0o600); err != nil {
		return err
	}
	if err := os.Chown(path, f.owner, f.group); err != nil {
		return err
	}
	// The raw call: os.FileMode has the set-id bits elsewhere.
	return unix.Chmod(path, f.mode)
}

// secret is a file in a directory, which only a handle leads to from where that directory
// is not mounted. The handle is put into a file of another directory.
func secret(dir, shared string) error {
	path := filepath.Join(dir, "secret")
	if err := os.WriteFile(path, []byte("secret of the host\n"), 0o600); err != nil {
		return err
	}
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return fmt.Errorf("no file handles in %s: %w", dir, err)
	}
	text := fmt.Sprintf("%d %s\n", handle.Type(), base64.StdEncoding.EncodeToString(handle.Bytes()))
	return os.WriteFile(filepath.Join(shared, "handle"), []byte(text), 0o644)
}

// boot is what this program does as the first process of a virtual machine, on the tree
// that it made.
func boot() {
	for _, m := range []struct{ kind, at string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"securityfs", "/sys/kernel/security"},
		{"tmpfs", "/tmp"}, {"tmpfs", "/shared"},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			fmt.Printf("mount %s: %v\n", m.at, err)
		}
	}
	if err := secret("/shared", "/shared"); err != nil {
		fmt.Println(err)
	}
	// Debian's kernels begin with 3, which is their own and refuses all but sys_admin.
	if err := os.WriteFile("/proc/sys/kernel/perf_event_paranoid", []byte("2"), 0); err != nil {
		fmt.Println(err)
	}
	lines("/lines")
	// qemu -no-reboot ends with that, also where the kernel cannot power off.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// lines makes what stands in a file, one line of words after the other, in the root file
// system that this program made. Each line finds the files as they were.
func lines(path string) {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fmt.Printf("\nRESULT KERNEL %s\n", release)
	f, err := os.Open(path)
	if err != nil {
		fmt.Println(err)
	}
	for in := bufio.NewScanner(f); in.Scan(); {
		r := result{}
		if err := content("/"); err != nil {
			r.Error = err.Error()
		} else {
			r = output(exec.Command("/operate", strings.Fields(in.Text())...))
		}
		data, err := json.Marshal(r)
		fmt.Printf("\nRESULT %s %s %v\n", in.Text(), data, err)
	}
	fmt.Println("RESULT END")
}
