package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/report"
)

func TestProcesses(t *testing.T) {
	docker := caps.Set(0xa80425fb)
	rows := []report.Process{
		{PID: 1, User: "root", Command: "init", Effective: caps.All(), Permitted: caps.All()},
		{PID: 20, PPID: 1, User: "root", Command: "nginx", Container: &report.ProcContainer{ID: strings.Repeat("ab", 32)}, Effective: docker, Permitted: docker},
		{PID: 21, PPID: 1, User: "root", Command: "vpn", Effective: docker.With(caps.NetAdmin), Permitted: docker.With(caps.NetAdmin)},
		{PID: 25, PPID: 1, User: "root", Command: "odd", Effective: docker.Minus(caps.Of(caps.Chown, caps.Kill)).With(caps.NetAdmin), Permitted: docker.Minus(caps.Of(caps.Chown, caps.Kill)).With(caps.NetAdmin)},
		{PID: 22, PPID: 1, User: "1000", Command: "a\x1b[2Jb", Effective: caps.Of(caps.Setuid), Permitted: caps.Of(caps.Setuid, caps.Setgid)},
		{PID: 23, PPID: 1, User: "1000", Command: "sh", Zombie: true},
		{PID: 24, PPID: 1, User: "root", Command: "dockerd", Effective: caps.All().Without(caps.SysResource), Permitted: caps.All().Without(caps.SysResource)},
	}
	var b strings.Builder
	if err := report.Processes(&b, rows, report.ProcessOptions{Full: caps.All()}); err != nil {
		t.Fatal(err)
	}
	want := `PID  PPID  USER  COMMAND       CONTAINER     CAPABILITIES
1    0     root  init          -             full
20   1     root  nginx         abababababab  docker default
21   1     root  vpn           -             docker default + net_admin
25   1     root  odd           -             docker default + net_admin - chown, kill
22   1     1000  a\x1b[2Jb     -             setuid; permitted: setgid, setuid
23   1     1000  sh <defunct>  -             none
24   1     root  dockerd       -             all but sys_resource
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	b.Reset()
	if err := report.ProcessesJSON(&b, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("%q %v", b.String(), err)
	}
	// Row by row it is the same document.
	whole, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if err := report.ProcessesJSON(&b, rows); err != nil || b.String() != string(whole)+"\n" {
		t.Errorf("%s %v", b.String(), err)
	}
}

// What a process could have and its container was not given is said, and a thread with
// other sets has its own line; colour adds nothing to the words.
func TestProcessesWide(t *testing.T) {
	docker := caps.Set(0xa80425fb)
	c := &report.ProcContainer{ID: strings.Repeat("ab", 32), Engine: "docker", Name: "web", Image: "nginx", Asked: &report.ProcAsked{Set: docker}}
	rows := []report.Process{
		{PID: 9, User: "root", Command: "nginx", Args: []string{"nginx", "-g", "daemon\noff"}, Container: c, Effective: docker, Permitted: docker, Bounding: docker,
			Namespaces: []string{"net", "mnt"}, Seccomp: 2, NoNewPrivs: true, LSM: "docker-default (enforce)", SetUID: true, Securebits: new(uint32(1)), NamespaceIDs: map[string]uint32{"net": 5, "mnt": 6, "user": 7, "uts": 8},
			Threads: []report.ProcThread{{TID: 10, Command: "pool", Bounding: docker}, {TID: 12, Command: "pool", Effective: docker, Permitted: docker, Bounding: docker.With(caps.NetAdmin)}}},
		{PID: 11, User: "root", Command: "sh", Container: c, Bounding: caps.All(), Namespaces: []string{}},
		{PID: 13, User: "root", Command: "sh", Container: c, Inheritable: caps.Of(caps.Chown), Bounding: caps.All().Without(caps.SysResource), Namespaces: []string{}},
		{PID: 14, User: "root", Command: "sh", Container: c, Bounding: docker.With(caps.NetAdmin), Namespaces: []string{}},
	}
	want := `PID  PPID    USER  COMMAND               CONTAINER  IMAGE  ASKED    CONFINED BY                                                                                                          CAPABILITIES
9    0       root  nginx -g daemon\noff  web        nginx  default  own net,mnt; host's user; seccomp; no_new_privs; lsm docker-default (enforce); securebits noroot; (set-uid program)  docker default
10   thread        pool                                                                                                                                                                  none
12   thread        pool                                                                                                                                                                  docker default; bounding: docker default + net_admin
11   0       root  sh                    web        nginx  default  host's namespaces                                                                                                    none; bounding: full; NOT AS DOCKER SAYS, could also have all others
13   0       root  sh                    web        nginx  default  host's namespaces                                                                                                    none; inheritable: chown; bounding: all but sys_resource; NOT AS DOCKER SAYS, could also have all others but sys_resource
14   0       root  sh                    web        nginx  default  host's namespaces                                                                                                    none; bounding: docker default + net_admin; NOT AS DOCKER SAYS, could also have net_admin
`
	var b strings.Builder
	if err := report.Processes(&b, rows, report.ProcessOptions{Full: caps.All(), Wide: true}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	plain := b.String()
	b.Reset()
	if err := report.Processes(&b, rows, report.ProcessOptions{Style: report.Style{Color: true}, Full: caps.All(), Wide: true}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got == plain || ansi.Strip(got) != plain {
		t.Errorf("colour changes the text:\n%s", got)
	}
}

// What the engine gave and the kernel did not is said, and so is a user namespace; a
// thread that differs only in what it could have has that shown.
func TestProcessesDiffer(t *testing.T) {
	docker := caps.Set(0xa80425fb)
	few := caps.Of(caps.Chown, caps.Kill)
	asked := &report.ProcContainer{ID: strings.Repeat("ab", 32), Engine: "docker", Name: "web", Asked: &report.ProcAsked{CapAdd: []string{"CAP_KILL", "chown"}, CapDrop: []string{"ALL"}, Set: few}}
	rows := []report.Process{
		{PID: 9, User: "root", Command: "a", Container: asked, Effective: caps.Of(caps.Chown), Permitted: caps.Of(caps.Chown), Bounding: caps.Of(caps.Chown)},
		{PID: 10, User: "u", Command: "b", Effective: caps.All(), Permitted: caps.All(), OwnUser: true},
		{PID: 11, User: "u", Command: "c", Effective: docker, Permitted: docker, Threads: []report.ProcThread{{TID: 12, Command: "t", Effective: docker, Permitted: docker, Bounding: few}}},
		{PID: 13, User: "u", Command: "d", Unreadable: []string{"namespaces", "program"}, Seccomp: -1},
	}
	want := `PID  PPID    USER  COMMAND  CONTAINER  IMAGE  ASKED                                          CONFINED BY                           CAPABILITIES
9    0       root  a        web        -      --cap-drop=ALL --cap-add=KILL --cap-add=CHOWN  -                                     chown; NOT AS DOCKER SAYS, without kill
10   0       u     b        -          -      -                                              -                                     full (in its own user namespace); bounding: none
11   0       u     c        -          -      -                                              -                                     docker default; bounding: none
12   thread        t                                                                                                               docker default; bounding: chown, kill
13   0       u     d        -          -      -                                              may not be read: namespaces, program  none
`
	var b strings.Builder
	if err := report.Processes(&b, rows, report.ProcessOptions{Full: caps.All(), Wide: true}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	report.ByRisk(rows)
	for i, pid := range []int{11, 9, 10, 13} {
		if rows[i].PID != pid {
			t.Errorf("place %d: %d, want %d", i, rows[i].PID, pid)
		}
	}
}

func TestTree(t *testing.T) {
	rows := []report.Process{
		{PID: 30, PPID: 10, Command: "f"}, {PID: 1, Command: "a"}, {PID: 10, PPID: 1, Command: "b"}, {PID: 11, PPID: 10, Command: "c"},
		{PID: 20, PPID: 1, Command: "d"}, {PID: 21, PPID: 20, Command: "e"}, {PID: 99, PPID: 77, Command: "orphan"}, {PID: 100, PPID: 100, Command: "own parent"},
	}
	var b strings.Builder
	if err := report.Processes(&b, report.Tree(rows), report.ProcessOptions{Full: caps.All(), Tree: true}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(b.String(), "\n")[1:] {
		if line != "" {
			got = append(got, strings.TrimRight(line[11:strings.Index(line, " -")], " "))
		}
	}
	want := []string{"      a", "      ├─b", "      │ ├─c", "      │ └─f", "      └─d", "        └─e", "      orphan", "      own parent"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestByRisk(t *testing.T) {
	rows := []report.Process{
		{PID: 1, Effective: caps.Of(caps.Chown)}, {PID: 2, Effective: caps.All()}, {PID: 3}, {PID: 4, Effective: caps.Of(caps.SysAdmin)},
		{PID: 5, Permitted: caps.Of(caps.SysAdmin, caps.Chown)},
	}
	report.ByRisk(rows)
	for i, pid := range []int{2, 5, 4, 1, 3} {
		if rows[i].PID != pid {
			t.Errorf("place %d: %d, want %d", i, rows[i].PID, pid)
		}
	}
}

func TestPscap(t *testing.T) {
	one := caps.Of(caps.Setgid, caps.Setuid)
	rows := []report.PscapRow{
		{Process: &report.Process{PID: 1, User: "root", Command: "init", Effective: caps.All(), Permitted: caps.All(), Bounding: caps.All()}},
		{Process: &report.Process{PID: 2, PPID: 1, User: "1000", Command: "a\x1bb", Effective: caps.Of(caps.Setuid), Permitted: one, Ambient: one, Bounding: one}, OtherUser: true},
		{Process: &report.Process{PID: 3, PPID: 1, User: "root", Command: "hidden", Permitted: one}},
	}
	for _, tt := range []struct {
		layout report.PscapLayout
		all    bool
		want   string
	}{
		{report.Pscap08, false, "ppid  pid   name        command             capabilities\n1     2     1000        a\\x1Bb *            setgid, setuid @ +\n"},
		{report.Pscap08, true, "ppid  pid   name        command             capabilities\n0     1     root        init                full +\n1     2     1000        a\\x1Bb *            setgid, setuid @ +\n"},
		{report.Pscap09, false, "ppid    pid     uid              command         capabilities\n0       1       root             init            full +\n1       2       1000             a\\x1Bb *        setgid, setuid @ +\n"},
	} {
		var b strings.Builder
		if err := report.Pscap(&b, tt.layout, rows, caps.All(), tt.all); err != nil || b.String() != tt.want {
			t.Errorf("%v got\n%swant\n%s", err, b.String(), tt.want)
		}
	}
	var b strings.Builder
	if err := report.Pscap(&b, report.Pscap08, rows[2:], caps.All(), true); err != nil || b.String() != "" {
		t.Errorf("%q %v", b.String(), err)
	}
}
