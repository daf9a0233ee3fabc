package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// otherUser owns what is not the operating user's: files, processes, memory.
const otherUser = 1000

// otherProgram is this program, set-user-id and set-group-id to the other user: the way
// to act as somebody else that asks for no capability.
const otherProgram = "/other"

// otherVariable tells the program that it is to act as the other user.
const otherVariable = "OPERATE_AS_OTHER"

// asOther has the other user do something, and returns a word that it printed first.
// Its process ends with this one.
func asOther(args ...string) (word string, pid int, err error) {
	cmd := exec.Command(otherProgram, args...)
	cmd.Env = []string{otherVariable + "=1"}
	cmd.Stderr = os.Stderr
	// The pipe stays open as long as this process lives.
	if _, err := cmd.StdinPipe(); err != nil {
		return "", 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	word, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", 0, fmt.Errorf("%s %v: %w", otherProgram, args, err)
	}
	return strings.TrimSpace(word), cmd.Process.Pid, nil
}

// other is what the other user does. Its ids become the other user's altogether, which
// needs no capability: the effective and the saved ones are already
// (kernel/sys.c:__sys_setresuid).
func other(args []string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "other:", err)
		return 1
	}
	if err := syscall.Setresgid(otherUser, otherUser, otherUser); err != nil {
		return fail(err)
	}
	if err := syscall.Setresuid(otherUser, otherUser, otherUser); err != nil {
		return fail(err)
	}
	word := "ready"
	switch args[0] {
	case "file": // PATH MODE
		mode, err := strconv.ParseUint(args[2], 8, 32)
		if err != nil {
			return fail(err)
		}
		if err := os.WriteFile(args[1], []byte("theirs\n"), 0o600); err != nil {
			return fail(err)
		}
		if err := unix.Chmod(args[1], uint32(mode)); err != nil {
			return fail(err)
		}
	case "memory":
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
		if err != nil {
			return fail(err)
		}
		word = strconv.Itoa(id)
	case "live":
	}
	fmt.Println(word)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// process makes a process of the other user's, that lives as long as this one.
func process(s scene) error {
	_, pid, err := asOther("live")
	s["pid"] = strconv.Itoa(pid)
	return err
}
