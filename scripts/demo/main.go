// Command demo is the service that `make demo` learns: as root it opens a log in a
// directory of another user's, binds port 80, and then becomes that user, as many
// services do.
//
//	service              serve
//	service image DIR    make the rest of its root file system
//	service check URL    exit 0 if it answers
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	user = 33
	logs = "/var/log/service"
)

func main() {
	err := serve
	switch {
	case len(os.Args) == 3 && os.Args[1] == "image":
		err = func() error { return makeImage(os.Args[2]) }
	case len(os.Args) == 3 && os.Args[1] == "check":
		err = func() error { return check(os.Args[2]) }
	}
	if err := err(); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func serve() error {
	log, err := os.OpenFile(filepath.Join(logs, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if err := log.Chown(user, user); err != nil {
		return err
	}
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	// In this order: who is nobody special may not change groups.
	if err := syscall.Setgroups([]int{user}); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(user); err != nil {
		return fmt.Errorf("setgid: %w", err)
	}
	if err := syscall.Setuid(user); err != nil {
		return fmt.Errorf("setuid: %w", err)
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(log, r.RemoteAddr, r.URL.Path)
		fmt.Fprintln(w, "hello")
	}))
}

func makeImage(root string) error {
	dir := filepath.Join(root, logs)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		return err
	}
	if err := os.Chown(dir, user, user); err != nil {
		return fmt.Errorf("%w (the demo needs root)", err)
	}
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/:/\nservice:x:33:33::/:/\n"), 0o644)
}

func check(url string) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{}} // and no proxy
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello\n" {
		return fmt.Errorf("it says %q: %v", body, err)
	}
	return nil
}
