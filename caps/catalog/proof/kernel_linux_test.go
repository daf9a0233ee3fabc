//go:build otherkernel

package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog/proof"
)

var (
	kernelFile = flag.String("kernel", "", "the image of the kernel to measure on")
	lacks      = flag.String("lacks", "smack", "features that it lacks, with commas between them")
	only       = flag.String("only", "", "the experiments to make, with commas between them; empty for all")
)

// TestOtherKernel makes the experiments under another kernel, in QEMU:
//
//	go test -tags otherkernel -run TestOtherKernel ./caps/catalog/proof -kernel /boot/vmlinuz-…
//
// There is no container in it, and no capability that the machine withholds.
func TestOtherKernel(t *testing.T) {
	if *kernelFile == "" {
		t.Fatal("name a kernel with -kernel")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	build(t, dir, root)
	var lines bytes.Buffer
	type asked struct {
		e proof.Experiment
		run
	}
	all := map[string]asked{}
	for _, e := range proof.All() {
		lack := slices.ContainsFunc(e.Needs, func(n string) bool { return slices.Contains(strings.Split(*lacks, ","), n) })
		if lack || *only != "" && !slices.Contains(strings.Split(*only, ","), e.Name) {
			continue
		}
		rs, _ := runs(e, caps.All())
		for _, r := range rs {
			if strings.Contains(r.what, "Docker") {
				continue
			}
			line := fmt.Sprintf("drop %x %s", uint64(r.set), strings.Join(r.way, " "))
			all[line] = asked{e, r}
			fmt.Fprintln(&lines, line)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "lines"), lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	pack := exec.Command("sh", "-c", "ln -s operate init && find . | cpio --quiet -o -H newc >../initramfs")
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	// TCG: the processor is emulated, which works on every machine.
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "qemu64,-cx16", "-m", "512", "-nographic", "-no-reboot",
		"-net", "none", "-kernel", *kernelFile, "-initrd", filepath.Join(dir, "initramfs"), "-append", "console=ttyS0 panic=-1 quiet").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, release, _ := strings.Cut(string(out), "RESULT KERNEL ")
	kernel := version(release)
	if kernel[0] == 0 {
		t.Fatalf("it did not start: %s", out)
	}
	count := 0
	for line := range strings.Lines(string(out)) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "RESULT drop")
		if !ok {
			continue
		}
		what, text, _ := strings.Cut("drop"+rest, " {")
		a, ok := all[what]
		if !ok {
			t.Errorf("nobody asked for %q", line)
			continue
		}
		count++
		if older(kernel, a.e.Since) {
			continue
		}
		text, _, _ = strings.Cut("{"+text, "} ")
		var r struct {
			Outcome proof.Outcome
			Error   string
		}
		if err := json.Unmarshal([]byte(text+"}"), &r); err != nil {
			t.Errorf("%v: %s", err, line)
		} else if r.Error != "" {
			t.Errorf("%s: %s: %s", a.e.Name, a.what, r.Error)
		} else if r.Outcome != a.want {
			t.Errorf("%s: %s: %s, want %s", a.e.Name, a.what, r.Outcome, a.want)
		}
	}
	t.Logf("Linux %d.%d, %d runs", kernel[0], kernel[1], count)
	if count < len(all) {
		t.Errorf("%d of %d runs came to an end: %s", count, len(all), out)
	}
}
