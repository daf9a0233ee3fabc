//go:build cgo

package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	commands["slack"] = func() {
		ns, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil {
			panic(err)
		}
		fmt.Print(ns)
	}
}

// What only looks is woken less; the timers of what is run by the others stay as they are.
func TestTimerSlack(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	slack := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(self)
		cmd.Args = append([]string{"slack"}, args...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return string(out)
	}
	own := slack()
	for _, v := range verbs {
		want := own
		if v.looks {
			want = "1000000"
		}
		if got := slack(v.name); got != want {
			t.Errorf("timer slack of leastcap %s: %s ns, want %s", v.name, got, want)
		}
	}
}
