//go:build linux

package kerneltest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/image"
	"github.com/leastcap/leastcap/internal/debian"
	"github.com/leastcap/leastcap/internal/testenv"
)

var (
	which  = flag.String("kernels", "short", "the kernels to test: short (one, the core of the tests), all, or names such as 5.10,6.12")
	keep   = flag.String("guest-output", "", "a directory that gets what the guests print")
	saved  = flag.String("results", "", "a directory for what the corpus gave, of this run and others")
	table  = flag.String("table", "", "a file that gets the page of all that is in -results")
	onlyBy = flag.String("guest-ways", "", "only these ways in, such as kprobe/cap_capable,fexit/cap_capable")
	limit  = flag.Duration("guest-timeout", 40*time.Minute, "how long a kernel's guests may run; in the short form it is less")
	onlyIn = flag.String("guest-run", "", "only the tests in guests that match this")
	costly = flag.Bool("guest-cost", false, "measure what the ways in cost, and nothing else")
)

// row is a guest and the ways in that its kernel has: one that is missing there
// is a failure.
type row struct {
	kernel  string
	cgroups Cgroups
	ways    []string // the one that leastcap prefers first
	// preempts: the kernel preempts itself, so that all ways but the first may miss
	// checks, which they count. They run the corpus only, which makes a run again that
	// is incomplete.
	preempts bool
	brief    bool // the corpus only, by the preferred way
}

// name is the kernel's, with what tells it from the kernel's whole row.
func (r row) name() string {
	if r.brief {
		return r.kernel + "-" + string(r.cgroups)
	}
	return r.kernel
}

var (
	before614 = []string{"fexit/cap_capable", "fexit/security_capable", "kprobe/cap_capable"}
	since70   = []string{"kprobe/cap_capable", "tp_btf/cap_capable", "fexit/cap_capable", "fexit/security_capable"}
)

// Debian's 6.12 and later have no memory and cpuset controllers for v1 (MEMCG_V1,
// CPUSETS_V1): on a hybrid host those two are nowhere.
var matrix = []row{
	{kernel: "5.10", cgroups: Hybrid, ways: before614},
	{kernel: "6.1", cgroups: V2, ways: before614},
	{kernel: "6.1", cgroups: Hybrid, ways: before614, brief: true},
	{kernel: "6.12", cgroups: V2, ways: before614},
	{kernel: "6.12", cgroups: Hybrid, ways: before614, brief: true},
	{kernel: "7", cgroups: V2, ways: since70, preempts: true},
	{kernel: "7", cgroups: Hybrid, ways: since70, preempts: true, brief: true},
}

// program is a test program that runs in guests.
type program struct {
	pkg  string
	cgo  bool
	long bool   // not in the short form, and with the preferred way in only
	run  string // the tests; all if empty
	core string // those that depend on the way in
	few  string // those of the short form; core if empty
}

var programs = []program{
	{pkg: "internal/kerneltest", cgo: true, run: "^(TestSets|TestPrivileged)$", core: "^TestSets$",
		few: "^TestSets$/./^(drops_root|child_and_thread|is_in_a_closed_directory|keeps_one_by_capset|inherits_beyond_what_it_has|filters_system_calls)$"},
	{pkg: "probe", core: "^(TestCounted|TestEvidence|TestMemoryAccounting|TestUserNamespace|TestBeyond|TestCapset|TestFileCaps|TestThreads|TestPhases|TestAdopt|TestRefusals|TestTasksOwn)$"},
	{pkg: "engine/embedded", cgo: true, long: true},
	{pkg: "learn", cgo: true, long: true},
}

// Guests cannot have these; nothing else may be skipped in them.
var excused = []string{"this test needs Docker", "this test needs command python3", "this test needs command gcc", "this test needs command go", "this test needs image ", "this is the inner run"}

func TestKernels(t *testing.T) {
	testenv.Need(t, testenv.Command("qemu-system-x86_64"), testenv.Command("cpio"), testenv.Command("busybox"),
		testenv.Command("apt-get"), testenv.Command("gcc"), testenv.Command("xz"), testenv.Command("runc"), testenv.Command("crun"))
	short := *which == "short"
	root := guestRoot(t, short)
	for _, r := range matrix {
		if *costly && r.brief || !short && *which != "all" && !slices.Contains(strings.Split(*which, ","), r.kernel) || short && r.name() != "6.1" {
			continue
		}
		t.Run(r.name(), func(t *testing.T) { r.test(t, root, short) })
	}
	if !short {
		t.Run("stall", func(t *testing.T) { stalls(t, root) })
	}
	if *table != "" {
		writeTable(t)
	}
}

// stalls: a guest whose program hangs is stopped, and says where it hangs.
func stalls(t *testing.T, root *Root) {
	img, err := Kernels[1].Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := &Guest{Image: img, Cgroups: V2, Root: root, MiB: 1536, Silence: 20 * time.Second,
		Steps: []Step{{"first", "echo here"}, {"second", "sleep 1000"}}}
	booted := 0
	runs, _, err := g.Run(t.Context(), func(string, ...any) { booted++ })
	if err == nil || booted < 1 || len(runs) != 2 || runs[0].Status != 0 || runs[1].Status != -1 {
		t.Fatalf("booted again %d times: %+v, %v", booted, runs, err)
	}
	// QEMU's words, then the kernel's.
	for _, want := range []string{"second", "RIP=", "NMI backtrace for cpu", "Show Blocked State"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in what is said of a guest that hangs:\n%v", want, err)
		}
	}
}

func writeTable(t *testing.T) {
	cells, err := Load(*saved)
	if err != nil {
		t.Fatal(err)
	}
	costs, err := LoadCosts(*saved)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(*table)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Table(f, cells, costs, []string{"host", "embedded", "runc", "crun"}); err != nil {
		t.Error(err)
	}
}

func (r row) test(t *testing.T, root *Root, short bool) {
	i := slices.IndexFunc(Kernels, func(k Kernel) bool { return k.Name == r.kernel })
	img, err := Kernels[i].Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Linux %s (%s), cgroups %s", img.Release, img.Version, r.cgroups)
	// A guest that hangs is silent; one on a busy machine takes long.
	programLimit := 15 * time.Minute
	if short {
		programLimit = 5 * time.Minute
	}
	var steps []Step
	for _, p := range programs {
		if *costly || r.brief && p.pkg != programs[0].pkg {
			break
		}
		for _, way := range r.ways {
			once := p.long || short || r.brief || r.preempts && p.pkg == "probe"
			if p.long && short || once && way != r.ways[0] || *onlyBy != "" && !slices.Contains(strings.Split(*onlyBy, ","), way) {
				continue
			}
			run := p.run
			if short || way != r.ways[0] {
				run = p.core
			}
			if short && p.few != "" {
				run = p.few
			}
			if *onlyIn != "" {
				run = *onlyIn
			}
			name := filepath.Base(p.pkg)
			steps = append(steps, Step{p.pkg + " " + way, fmt.Sprintf("cd /src/%s && %s=%s /tests/%s.test -test.v=test2json -test.timeout=%v -test.run='%s'",
				p.pkg, testenv.HookVar, way, name, programLimit, run)})
		}
	}
	const cost = "internal/kerneltest cost"
	if *costly || !short && !r.brief && *onlyBy == "" && *onlyIn == "" {
		steps = append(steps, Step{cost, "cd /src/internal/kerneltest && /tests/kerneltest.test -test.timeout=20m -test.run='^$' -test.bench='^BenchmarkWays$' -test.benchtime=1x"})
	}
	g := &Guest{Image: img, Cgroups: r.cgroups, Root: root, Modules: []string{"overlay", "veth"}, Steps: steps, MiB: 1536,
		// A router, as a machine with Docker is.
		Setup: fmt.Sprintf("export %s=/prebuilt LEASTCAP_TEST=0\necho 1 >/proc/sys/net/ipv4/ip_forward\n", testenv.PrebuiltVar), Silence: 3 * time.Minute}
	if r.preempts {
		g.Setup += "export " + preemptsVar + "=1\n"
	}
	limit := *limit
	if short {
		limit, g.Silence = min(limit, 5*time.Minute), 100*time.Second
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("%v are over", limit))
	defer cancel()
	began := time.Now()
	runs, results, err := g.Run(ctx, t.Logf)
	if *keep != "" {
		if err := os.WriteFile(filepath.Join(*keep, r.name()+".txt"), results, 0o644); err != nil {
			t.Error(err)
		}
	}
	if err != nil {
		t.Error(err)
	}
	if len(runs) != len(steps) {
		t.Errorf("%d programs ran, want %d", len(runs), len(steps))
	}
	t.Logf("%d programs in %.1f s", len(runs), time.Since(began).Seconds())
	if i := slices.IndexFunc(runs, func(r Run) bool { return r.Name == cost }); i >= 0 {
		costs, err := CostsOf(runs[i])
		if err != nil || runs[i].Status != 0 {
			t.Errorf("exit status %d, %v", runs[i].Status, err)
		} else if *saved != "" {
			if err := SaveCosts(*saved, Costs{r.kernel, img.Release, costs}); err != nil {
				t.Error(err)
			}
		}
		t.Logf("costs: %+v", costs)
		runs = slices.Delete(runs, i, i+1)
	}
	var cells []Cell
	for _, run := range runs {
		if exact, of, ok := CellOf(run); ok {
			_, way, _ := strings.Cut(run.Name, " ")
			cells = append(cells, Cell{r.kernel, img.Release, img.Version, r.cgroups, way, exact, of})
		}
	}
	if *saved != "" {
		if err := Save(*saved, r.name(), cells); err != nil {
			t.Error(err)
		}
	}
	for _, run := range runs {
		t.Run(run.Name, func(t *testing.T) { report(t, run) })
	}
	if !short && !r.brief && !*costly && *onlyBy == "" && *onlyIn == "" {
		t.Run("caps/catalog/proof", func(t *testing.T) { measureCatalog(t, img) })
	}
}

// measureCatalog makes the catalog's experiments under a kernel: their test has a guest
// of its own, in which the experiments' program is all that there is.
func measureCatalog(t *testing.T, img *Image) {
	cmd := exec.Command("go", "test", "-count=1", "-tags", "otherkernel", "-run", "^TestOtherKernel$", "-v", "./caps/catalog/proof", "-kernel", img.Vmlinuz)
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// report makes a test program's tests in the guest subtests of this test.
func report(t *testing.T, run Run) {
	failed := 0
	for _, test := range run.Tests {
		t.Run(test.Name, func(t *testing.T) {
			if test.Result != "pass" && test.Result != "skip" {
				failed++
				t.Errorf("in the guest: %s\n%s", test.Result, test.Output)
			}
			for _, s := range test.Skipped {
				if !slices.ContainsFunc(excused, func(reason string) bool { return strings.Contains(s.Output, reason) }) {
					t.Errorf("in the guest %s was skipped, which nothing excuses:\n%s", s.Name, s.Output)
				}
			}
		})
	}
	if len(run.Tests) == 0 && *onlyIn == "" || run.Status != 0 && failed == 0 {
		t.Errorf("%d tests ran, exit status %d:\n%s", len(run.Tests), run.Status, run.Output)
	}
}

// guestRoot makes the root file system that all guests share.
func guestRoot(t *testing.T, short bool) *Root {
	t.Helper()
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	top := strings.TrimSpace(string(module))
	dir := t.TempDir()
	r := &Root{Dir: filepath.Join(dir, "root")}
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := exec.LookPath("busybox")
	try(err)
	for _, d := range []string{"bin", "mnt", "proc", "sys", "dev", "tmp", "run", "root", "etc", "var", "tests"} {
		try(os.MkdirAll(filepath.Join(r.Dir, d), 0o755))
	}
	try(r.Copy(busybox, "/bin/busybox"))
	try(r.Write("/etc/passwd", 0o644, []byte("root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")))
	try(r.Write("/etc/group", 0o644, []byte("root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n")))
	for _, name := range []string{"workload", "exit"} {
		buildStatic(t, filepath.Join(top, "probe/testdata", name+".c"), filepath.Join(dir, name))
		try(r.Copy(filepath.Join(dir, name), "/prebuilt/"+name))
	}
	for _, name := range []string{"runc", "crun", "setpriv", "unshare"} {
		path, err := exec.LookPath(name)
		try(err)
		try(r.Copy(path, "/usr/bin/"+name))
	}
	if !short {
		fillRoot(t, r, top)
	}
	for _, p := range programs {
		if p.long && short {
			continue
		}
		out := filepath.Join(dir, filepath.Base(p.pkg)+".test")
		args := []string{"test", "-c", "-o", out, "-tags", "netgo osusergo seccomp"} // as all tests
		env := "CGO_ENABLED=0"
		if p.cgo {
			args = append(args, "-ldflags", "-linkmode external -extldflags -static")
			env = "CGO_ENABLED=1"
		}
		cmd := exec.Command("go", append(args, "./"+p.pkg)...)
		cmd.Dir, cmd.Env = top, append(os.Environ(), env)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		try(r.Copy(out, "/tests/"+filepath.Base(out)))
		try(os.MkdirAll(filepath.Join(r.Dir, "src", p.pkg), 0o755))
	}
	return r
}

// fillRoot puts there what the tests of the long form make for themselves, or have from
// Docker and the machine.
func fillRoot(t *testing.T, r *Root, top string) {
	t.Helper()
	testenv.Need(t, testenv.Image("leastcap-test/tiny"), testenv.Command("perl"))
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	img, err := image.Open(t.Context(), "docker-daemon:leastcap-test/tiny", image.Options{})
	try(err)
	defer img.Close()
	try(image.Unpack(t.Context(), img, filepath.Join(r.Dir, "prebuilt/tiny"), image.Limits{}))
	build := exec.Command("go", "build", "-tags", "netgo osusergo", "-o", filepath.Join(r.Dir, "prebuilt/regain"), "./engine/embedded/testdata/regain")
	build.Dir, build.Env = top, append(os.Environ(), "CGO_ENABLED=0")
	_, err = output(build)
	try(err)
	try(r.Copy("/usr/bin/perl", "/usr/bin/perl"))
	suite, err := debian.Open(t.Context(), "bookworm")
	try(err)
	defer suite.Close()
	const tools = "libbpf-tools"
	about, err := suite.Show(t.Context(), tools)
	try(err)
	dir, err := suite.Unpack(t.Context(), about.Field("Version"), tools)
	try(err)
	try(r.Copy(filepath.Join(dir, "usr/sbin/capable"), "/usr/bin/capable"))
	const modules = "/usr/lib/x86_64-linux-gnu/perl-base"
	try(os.CopyFS(filepath.Join(r.Dir, modules), os.DirFS(modules)))
}

// buildStatic compiles one of the probe's test programs, so that it runs anywhere.
func buildStatic(t testing.TB, from, to string) {
	t.Helper()
	args := []string{"-static", "-O1", "-o", to, from, "-pthread"}
	if filepath.Base(from) == "exit.c" {
		args = []string{"-static", "-O1", "-o", to, from, "-nostdlib"}
	}
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
