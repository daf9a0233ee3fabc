package manifest

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/leastcap/leastcap/caps"
)

func TestApply(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edits []Edit
		want  string // "" for an error
	}{
		{"none", nil, "0123456789"},
		{"in any order", []Edit{{Start: 8, End: 9, New: "x"}, {Start: 0, End: 2, New: "ab"}}, "ab234567x9"},
		{"insertions at the ends", []Edit{{Start: 10, End: 10, New: "z"}, {New: "a"}}, "a0123456789z"},
		{"neighbours", []Edit{{Start: 2, End: 4}, {Start: 4, End: 6, New: "-"}}, "01-6789"},
		{"twice the same", []Edit{{Start: 2, End: 4, New: "x"}, {Start: 2, End: 4, New: "x"}}, "01x456789"},
		{"overlapping", []Edit{{Start: 2, End: 5}, {Start: 4, End: 6}}, ""},
		{"one in another", []Edit{{Start: 2, End: 8}, {Start: 4, End: 4, New: "x"}}, ""},
		{"two insertions at one place", []Edit{{Start: 2, End: 2, New: "a"}, {Start: 2, End: 2, New: "b"}}, ""},
		{"insertion where another begins", []Edit{{Start: 2, End: 2, New: "a"}, {Start: 2, End: 3, New: "b"}}, ""},
		{"insertion where another ends", []Edit{{Start: 2, End: 3, New: "a"}, {Start: 3, End: 3, New: "b"}}, "01ab3456789"},
		{"outside", []Edit{{Start: 9, End: 11}}, ""},
		{"before", []Edit{{Start: -1, End: 1}}, ""},
		{"backwards", []Edit{{Start: 5, End: 4}}, ""},
		{"two files", []Edit{{File: "a", Start: 1, End: 2}, {File: "b", Start: 5, End: 6}}, ""},
	} {
		got, err := Apply([]byte("0123456789"), tt.edits)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: no error, but %q", tt.name, got)
			} else if string(got) != "0123456789" {
				t.Errorf("%s: an error, and the data became %q", tt.name, got)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte("hello world"), 0, 3, "x", 5, 5, "y")
	f.Fuzz(func(t *testing.T, data []byte, s1, e1 int, n1 string, s2, e2 int, n2 string) {
		a, b := Edit{Start: s1, End: e1, New: n1}, Edit{Start: s2, End: e2, New: n2}
		got, err := Apply(data, []Edit{a, b})
		back, err2 := Apply(data, []Edit{b, a})
		if (err == nil) != (err2 == nil) || string(got) != string(back) {
			t.Fatalf("order matters: %q, %v and %q, %v", got, err, back, err2)
		}
		if err != nil {
			return
		}
		// One after the other, from the end, must be the same.
		if a == b {
			b = Edit{Start: 0, End: 0}
		} else if a.Start > b.Start || a.Start == b.Start && a.End > b.End {
			a, b = b, a
		}
		if a.Start < b.Start || b.New != "" || b.Start != b.End {
			late, err := Apply(data, []Edit{b})
			if err != nil {
				t.Fatal(err)
			}
			both, err := Apply(late, []Edit{a})
			if err != nil || string(both) != string(got) {
				t.Fatalf("%q; one by one %q, %v", got, both, err)
			}
		}
	})
}

func TestLines(t *testing.T) {
	data := "\ufeffa: ä\r\n\tb: 漢x\n\nc"
	l := NewLines("f", []byte(data))
	for _, tt := range []struct {
		text      string
		line, col int
	}{{"a:", 1, 1}, {"ä", 1, 4}, {"b:", 2, 2}, {"x", 2, 6}, {"c", 4, 1}} {
		at := strings.Index(data, tt.text)
		if p := l.Pos(at, at+1); p.Line != tt.line || p.Column != tt.col {
			t.Errorf("%q: %v, want %d:%d", tt.text, p, tt.line, tt.col)
		}
	}
	if got := l.Start(2); data[got] != '\t' {
		t.Errorf("line 2 starts at %d", got)
	}
	if got := l.Start(9); got != len(data) {
		t.Errorf("line 9 starts at %d", got)
	}
}

func TestNewline(t *testing.T) {
	for _, tt := range []struct {
		data string
		at   int
		want string
	}{
		{"", 0, "\n"}, {"a", 1, "\n"}, {"a\r\nb", 0, "\r\n"}, {"a\r\nb", 4, "\r\n"}, {"a\nb\r\n", 0, "\n"},
		{"a\nb\r\n", 3, "\r\n"}, {"a\nb", 2, "\n"}, {"\n", 5, "\n"},
	} {
		if got := Newline([]byte(tt.data), tt.at); got != tt.want {
			t.Errorf("%q at %d: %q, want %q", tt.data, tt.at, got, tt.want)
		}
	}
}

func word(a Action, w string) Request { return Request{Action: a, Word: Of(w, w, Pos{})} }

// The engines' own differences are engine/rules' to test; here it is that the view says
// all of what they need.
func TestGiven(t *testing.T) {
	c := &Container{
		Name:   "web",
		Target: Target{Engines: []string{"docker", "containerd"}, Version: "20.10"},
		Caps:   []Request{word(Drop, "all"), word(Add, "CAP_CHOWN"), word(Add, "kill")},
	}
	both := caps.Of(caps.Chown, caps.Kill)
	if r, err := c.Given(""); err != nil || r.Set != both {
		t.Errorf("docker: %v, %v", r.Set, err)
	}
	if r, err := c.Given("containerd"); err != nil || r.Set != caps.Of(caps.Kill) || len(r.Warnings) != 1 {
		t.Errorf("containerd: %v, %v, %v", r.Set, r.Warnings, err)
	}
	c.User = Of("33", "33", Pos{})
	if r, _ := c.Given(""); !r.Runtime.Effective.Empty() {
		t.Errorf("Docker 20.10 gives another user %v", r.Runtime.Effective)
	}
	if r, _ := c.Given("containerd"); r.Runtime.Effective.Empty() {
		t.Error("the version of the first engine was used for the second")
	}
	c.Privileged = Of(true, "yes", Pos{})
	if r, err := c.Given(""); err != nil || r.Set != caps.UpTo(caps.AuditRead) { // 20.10 withholds what is newer
		t.Errorf("privileged: %v, %v", r.Set, err)
	}
	c.Privileged = NotKnown[bool]("${P}", "the variable P has no value", Pos{File: "f", Line: 3, Column: 4})
	if _, err := c.Given(""); err == nil || !strings.Contains(err.Error(), "f:3:4: privileged of web cannot be known: the variable P has no value") {
		t.Errorf("an unknown fact: %v", err)
	}
	if _, err := c.Given("rocket"); err == nil {
		t.Error("an unknown engine")
	}
	c.Stated = &caps.State{Bounding: both, Ambient: both}
	if r, err := c.Given(""); err != nil || r.Runtime != *c.Stated || r.Set != both {
		t.Errorf("stated: %+v, %v", r, err)
	}
}

func TestCapability(t *testing.T) {
	for _, tt := range []struct {
		word string
		cap  caps.Cap
		all  bool
		ok   bool
	}{
		{"NET_ADMIN", caps.NetAdmin, false, true}, {"Cap_Net_Admin", caps.NetAdmin, false, true}, {"all", 0, true, true},
		{"CAP_ALL", 0, true, true}, {"NETADMIN", 0, false, false}, {"CHOWN,KILL", 0, false, false}, {"", 0, false, false},
	} {
		r := word(Add, tt.word)
		c, all, err := r.Capability()
		if c != tt.cap || all != tt.all || (err == nil) != tt.ok {
			t.Errorf("%q: %v %v %v", tt.word, c, all, err)
		}
	}
}

func TestSensitivePath(t *testing.T) {
	for p, want := range map[string]string{
		"/": "all of", "/var/run/docker.sock": "Docker's socket", "/var/run": "docker.sock is in it", "/etc/": "accounts",
		"/etc/kubernetes/pki": "cluster's credentials", "/etc/localtime": "", "/srv/data": "", "data": "", "/proc/sys": "kernel settings",
		"/etcetera": "", "/var/lib/docker/volumes/x": "Docker's containers", "/var/lib/../..": "all of", "": "", "/dev/null": "",
		"/usr": "the host's programs", "/usr/lib/x": "the host's programs", "/usr/share/appdata/x": "",
		"/home": "people's homes", "/home/me": "somebody's home", "/home/me/.ssh/id": "somebody's keys", "/home/me/project": "",
		"/root": "root's home", "/root/.kube/config": "keys in root", "/root/go/src/x": "", "~/x": "",
	} {
		if got := SensitivePath(p); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", p, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	one := &Error{At: Pos{File: "a.yaml", Line: 2, Column: 3}, Reason: "bad"}
	if got := one.Error(); got != "a.yaml:2:3: bad" {
		t.Error(got)
	}
	if got := Errors(nil); got != nil {
		t.Error(got)
	}
	if got := Errors(joined{one, one}); len(got) != 2 {
		t.Error(got)
	}
}

type joined []error

func (j joined) Error() string   { return "many" }
func (j joined) Unwrap() []error { return j }

// The columns of a long line are those that counting from its beginning gives.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("aé€𝄞\xff", 3000)
	for _, data := range []string{long, "\ufeff" + long + "\n" + long + "\nshort\n" + long[:apart], strings.Repeat("\x80", 3*apart) + "\nx"} {
		l := NewLines("f", []byte(data))
		for at := 0; at <= len(data); at += 61 {
			from := strings.LastIndexByte(data[:at], '\n') + 1
			if from == 0 && at >= l.bom {
				from = l.bom
			}
			// A place within a rune is one more.
			want := utf8.RuneCountInString(data[from:at]) + 1
			if p := l.Pos(at, at); p.Column != want {
				t.Fatalf("offset %d: column %d, want %d", at, p.Column, want)
			}
		}
	}
}

// Of several changes of one path the first counts; what was refused was not made.
func TestChanges(t *testing.T) {
	a, b, again := &Container{Path: "a"}, &Container{Path: "b"}, &Container{Path: "a"}
	changes := []Change{{Container: a}, {Container: b}, {Container: again, Want: Want{NoNewPrivs: true}}}
	by := ByPath(changes)
	if len(by) != 2 || by["a"] != &changes[0] || by["b"] != &changes[1] || by["c"] != nil {
		t.Errorf("%+v", by)
	}
	made := Made(changes, []*Refusal{{Container: a}, {Container: nil}})
	if len(made) != 2 || made[0].Container != b || made[1].Container != again || len(changes) != 3 || changes[0].Container != a {
		t.Errorf("%+v of %+v", made, changes)
	}
	if made := Made(changes, nil); len(made) != 3 {
		t.Errorf("%+v", made)
	}
}
