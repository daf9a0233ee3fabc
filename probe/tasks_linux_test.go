package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
)

// kinds starts processes of all kinds that there are, and returns their numbers once they
// are what they are meant to be: with fewer capabilities, ambient ones, other users,
// namespaces of their own, threads with other sets, a zombie, strange names.
func kinds(t testing.TB) []int {
	t.Helper()
	const python = `
import ctypes, os, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def thread():
    libc.prctl(15, b"a\\b c\n", 0, 0, 0)   # PR_SET_NAME
    libc.prctl(47, 4, 0, 0, 0)
    hdr = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(0x20, 0x20, 0, 0, 0, 0)
    assert libc.capset(hdr, data) == 0
    ready.set()
    time.sleep(1000)
ready = threading.Event()
threading.Thread(target=thread, daemon=True).start()
ready.wait()
zombie = os.fork()
if zombie == 0:
    os._exit(0)
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
libc.prctl(15, b" \xff\\n z ", 0, 0, 0)
libc.prctl(38, 1, 0, 0, 0)                  # PR_SET_NO_NEW_PRIVS
print(zombie, flush=True)
time.sleep(1000)
`
	var pids []int
	for _, argv := range [][]string{
		{"python3", "-c", python},
		{"sleep", "1000"},
		{"setpriv", "--reuid", "12345", "--clear-groups", "--inh-caps", "+chown", "--ambient-caps", "+chown", "sleep", "1000"},
		{"setpriv", "--bounding-set", "-net_raw", "--securebits", "+noroot", "sleep", "1000"},
		{"setpriv", "--reuid", "12346", "--clear-groups", "--no-new-privs", "sleep", "1000"},
		{"unshare", "--user", "--map-root-user", "sleep", "1000"},
		{"unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "sh", "-c", "sleep 1000 & sleep 1000"},
		{"unshare", "--user", "--map-root-user", "--fork", "--kill-child", "--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup", "sleep", "1000"},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		pids = append(pids, cmd.Process.Pid)
		if argv[0] == "python3" {
			var zombie int
			if _, err := fmt.Fscan(bufio.NewReader(out), &zombie); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, zombie)
		}
	}
	waiting := func(pid int) bool {
		switch comm := read(pid, "comm"); {
		case comm == "unshare": // on behalf of a child that has executed, or else not yet done
			child, _ := strconv.Atoi(read(pid, fmt.Sprintf("task/%d/children", pid)))
			return child == 0 || read(child, "comm") == "unshare"
		default:
			return comm == "setpriv"
		}
	}
	for end := time.Now().Add(time.Minute); slices.ContainsFunc(pids, waiting); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not all of these are settled after a minute: %v", pids)
		}
	}
	return pids
}

// read gives a file of a process, "" if it has none or has ended.
func read(pid int, name string) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return strings.TrimSpace(string(data))
}

// workerOf is a kernel worker's own name, without the work that it does or did last
// (kernel/workqueue.c, wq_worker_comm).
func workerOf(comm string) string {
	if i := strings.IndexAny(comm, "-+"); i > 0 && strings.HasPrefix(comm, "kworker/") {
		return comm[:i]
	}
	return comm
}

// TestTasks: what the iterator says is what /proc says, of every process that is the same
// before and after.
func TestTasks(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Command("setpriv"), testenv.Command("unshare"), testenv.Command("python3"))
	started := kinds(t)
	for _, kernel := range []bool{true, false} {
		// Names of kernel workers change with their work, and others come and go: what stays
		// the same twice is compared.
		stable := map[int]proc.Process{}
		var tasks, fewer map[int]proc.Process
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			before := byPID(t, listed(kernel))
			tasks = byPID(t, func() ([]proc.Process, error) { return Tasks(TaskOptions{Kernel: kernel, All: true}) })
			fewer = byPID(t, func() ([]proc.Process, error) { return Tasks(TaskOptions{Kernel: kernel}) })
			after := byPID(t, listed(kernel))
			clear(stable)
			for pid, p := range before {
				if gocmp.Equal(p, after[pid]) {
					stable[pid] = p
				}
			}
			if !slices.ContainsFunc(started, func(pid int) bool { return stable[pid].PID == 0 }) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the test's processes are never the same twice: %v", started)
			}
		}
		namespaces, kthreads, threads, zombies := 0, 0, 0, 0
		for pid, want := range stable {
			got, ok := tasks[pid]
			if !ok {
				t.Errorf("%d (%s) is missing", pid, want.Comm)
				continue
			}
			if pid != 1 && (got.Namespaces[proc.NSUser] == 0 || got.Securebits < 0) {
				t.Errorf("%d (%s): %+v", pid, want.Comm, got)
			}
			// What /proc shows only on request.
			confined := proc.Confined("/proc", &proc.Process{PID: pid})
			for i, ns := range confined.Namespaces {
				if ns != 0 && ns != got.Namespaces[i] {
					t.Errorf("%d (%s): namespace %s is %d, want %d", pid, want.Comm, proc.NamespaceKinds[i], got.Namespaces[i], ns)
				}
			}
			if want.Kernel {
				kthreads++
			}
			if got.Namespaces[proc.NSNet] == 0 {
				zombies++
			}
			if got.Namespaces[proc.NSUser] != tasks[os.Getpid()].Namespaces[proc.NSUser] {
				namespaces++
			}
			threads += len(got.Threads)
			less := fewer[pid]
			// A worker takes up and leaves other work between any two looks.
			if want.Kernel && workerOf(want.Comm) == workerOf(got.Comm) && workerOf(want.Comm) == workerOf(less.Comm) {
				got.Comm, less.Comm = want.Comm, want.Comm
			}
			user := got.Namespaces[proc.NSUser]
			got.Namespaces, got.Securebits = want.Namespaces, want.Securebits
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%d (%s), -/proc +iterator:\n%s", pid, want.Comm, diff)
			}
			if pid != 1 && less.Namespaces != (proc.Namespaces{proc.NSUser: user}) {
				t.Errorf("%d (%s): namespaces %v, want the user namespace %d", pid, want.Comm, less.Namespaces, user)
			}
			less.Namespaces = want.Namespaces
			if diff := gocmp.Diff(want, less); diff != "" {
				t.Errorf("%d (%s), -/proc +iterator, the shorter one:\n%s", pid, want.Comm, diff)
			}
		}
		if namespaces < 2 || threads < 1 || zombies < 1 || kernel != (kthreads > 0) {
			t.Errorf("compared %d in other user namespaces, %d threads, %d zombies, %d of the kernel", namespaces, threads, zombies, kthreads)
		}
		for pid := range tasks {
			if _, ok := stable[pid]; !ok && slices.Contains(started, pid) {
				t.Errorf("%d is not in /proc", pid)
			}
		}
	}
	noroot := 0
	for _, p := range byPID(t, func() ([]proc.Process, error) { return Tasks(TaskOptions{All: true}) }) {
		if p.Securebits == 1 && slices.Contains(started, p.PID) {
			noroot++
		}
	}
	if noroot != 1 {
		t.Errorf("%d processes with the securebit noroot, want one", noroot)
	}
}

func listed(kernel bool) func() ([]proc.Process, error) {
	return func() ([]proc.Process, error) {
		list, _, err := proc.List("/proc", proc.ListOptions{Kernel: kernel, Containers: proc.Each})
		return list, err
	}
}

func byPID(t *testing.T, list func() ([]proc.Process, error)) map[int]proc.Process {
	t.Helper()
	all, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(all, func(a, b proc.Process) int { return cmp.Compare(a.PID, b.PID) }) {
		t.Error("not in order")
	}
	m := make(map[int]proc.Process, len(all))
	for _, p := range all {
		if _, twice := m[p.PID]; twice {
			t.Errorf("%d is there twice", p.PID)
		}
		m[p.PID] = p
	}
	return m
}

// TestTasksOwn: the same of the test's own process, on kernels where there is nothing to
// start others with.
func TestTasksOwn(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF)
	want, err := proc.Read("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want.Namespaces = proc.Confined("/proc", want).Namespaces
	got, ok := byPID(t, func() ([]proc.Process, error) { return Tasks(TaskOptions{All: true}) })[os.Getpid()]
	if !ok || got.Securebits != 0 {
		t.Fatalf("%v, %+v", ok, got)
	}
	got.Securebits = want.Securebits
	if diff := gocmp.Diff(*want, got); diff != "" {
		t.Errorf("-/proc +iterator:\n%s", diff)
	}
}

// TestTasksElsewhere: in a pid namespace of its own numbers would be others'.
func TestTasksElsewhere(t *testing.T) {
	if os.Getenv("LEASTCAP_TEST_ELSEWHERE") != "" {
		_, err := Tasks(TaskOptions{})
		fmt.Println(err)
		os.Exit(0)
	}
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Command("unshare"))
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "/proc/self/exe", "-test.run=^TestTasksElsewhere$")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[4] = exe
	cmd.Env = append(os.Environ(), "LEASTCAP_TEST_ELSEWHERE=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "not in the machine's first pid") {
		t.Errorf("%s %v", out, err)
	}
}

// TestReduceTypes: what is relocated against the reduced types is what is relocated
// against all of the kernel's.
func TestReduceTypes(t *testing.T) {
	testenv.Need(t, testenv.BPF)
	spec, err := loadTasks()
	if err != nil {
		t.Fatal(err)
	}
	reduced, target, err := kernelTypes(spec.Types, "bpf_iter_task")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var f *btf.Func
	if err := whole.TypeByName("bpf_iter_task", &f); err != nil {
		t.Fatal(err)
	}
	if id, err := whole.TypeID(f); err != nil || id != target {
		t.Errorf("bpf_iter_task is %d, %v; want %d", target, id, err)
	}
	code := func(types *btf.Spec) []byte {
		p := spec.Programs[tasksProgListTasks].Copy()
		if err := relocate(p, types); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := p.Instructions.Marshal(&b, p.ByteOrder); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if !bytes.Equal(code(reduced), code(whole)) {
		t.Error("the programs differ")
	}
	if _, _, err := kernelTypes(spec.Types, "bpf_iter_nonesuch"); !errors.Is(err, btf.ErrNotFound) {
		t.Error(err)
	}
}

// FuzzReduceTypes: what is not the kernel's own is an error, and no crash.
func FuzzReduceTypes(f *testing.F) {
	spec, err := loadTasks()
	if err != nil {
		f.Fatal(err)
	}
	b, err := btf.NewBuilder(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	for typ, err := range spec.Types.All() {
		if err != nil {
			f.Fatal(err)
		}
		if _, err := b.Add(typ); err != nil {
			f.Fatal(err)
		}
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	r := rand.New(rand.NewSource(1))
	for range 20 {
		bad := slices.Clone(raw)
		binary.LittleEndian.PutUint32(bad[24+r.Intn(len(bad)-28):], r.Uint32())
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		reduced, _, err := reduceTypes(raw, spec.Types, "list_tasks")
		if err == nil && reduced == nil {
			t.Error("neither types nor an error")
		}
	})
}

// BenchmarkList compares the two ways: what it takes to load the iterator, to read it
// once it is loaded, and to read /proc. More processes make the latter two longer.
func BenchmarkList(b *testing.B) {
	testenv.Need(b, testenv.Root, testenv.BPF)
	for name, list := range map[string]func() (int, error){
		"iterator": func() (int, error) {
			l, err := Tasks(TaskOptions{})
			return len(l), err
		},
		"proc": func() (int, error) {
			l, _, err := proc.List("/proc", proc.ListOptions{Containers: proc.Each, UserNamespaces: proc.Each})
			return len(l), err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				var err error
				if n, err = list(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "processes")
		})
	}
	b.Run("loaded", func(b *testing.B) {
		it, err := openTasks(false)
		if err != nil {
			b.Fatal(err)
		}
		defer it.Close()
		for b.Loop() {
			entries, err := it.read()
			if err != nil && !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
			processes(entries, TaskOptions{})
		}
	})
}
