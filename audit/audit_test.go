package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/kube"
	"github.com/leastcap/leastcap/usage"
)

// at makes a place of its own for each call.
var line int

func at() manifest.Pos {
	line++
	return manifest.Pos{File: "f", Start: line * 10, End: line*10 + 3, Line: line, Column: 1}
}

// pod is one of Kubernetes', and so on.
func pod(words ...string) *manifest.Container {
	c := container(words...)
	c.Format = "kubernetes"
	return c
}

func label(words ...string) *manifest.Container {
	c := container(words...)
	c.Format, c.Kind, c.Name = "dockerfile", "label", "label RUN"
	return c
}

// dockerfile has facts, and labels behind "label:".
func dockerfile(facts ...string) *manifest.Container {
	c := container()
	c.Format, c.Kind, c.Name = "dockerfile", "image", "image"
	for _, f := range facts {
		key, value, _ := strings.Cut(f, "=")
		if key, ok := strings.CutPrefix(key, "label:"); ok {
			c.Labels = append(c.Labels, manifest.Pair{Key: key, Value: text(value)})
			continue
		}
		c.Facts = append(c.Facts, manifest.Pair{Key: key, Value: text(value)})
	}
	return c
}

func unit(bounding caps.Set, user string, words ...string) *manifest.Container {
	state := caps.State{Bounding: bounding, Permitted: bounding, Effective: bounding}
	c := &manifest.Container{Format: "systemd", Kind: "unit", Name: "x.service", At: at(), Target: manifest.Target{Engines: []string{"systemd"}}, Stated: &state}
	if user != "" {
		c.User = text(user)
		state.Permitted, state.Effective = 0, 0
	}
	for _, w := range words {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "nnp":
			c.NoNewPrivs = manifest.Of(true, "true", at())
		case "drop-in":
			c.CapsWhy = "it is a drop-in"
		default:
			c.Facts = append(c.Facts, manifest.Pair{Key: key, Value: text(value)})
		}
	}
	return c
}

func text(s string) manifest.Text { return manifest.Of(s, s, at()) }

// container is one of Docker's: words to add and, with a minus, to drop; "privileged",
// "nnp", "user=x", "pid=host", "mount=/x", "device=/dev/x", "engine=x", "sysctl=k=v".
func container(words ...string) *manifest.Container {
	c := &manifest.Container{Format: "compose", Path: "services.web", Name: "web", At: at(), Target: manifest.Target{Engines: []string{"docker", "podman"}, Chosen: true}}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case w == "privileged":
			c.Privileged = manifest.Of(true, "true", at())
		case w == "nnp":
			c.NoNewPrivs = manifest.Of(true, "true", at())
		case w == "either":
			c.Target.Chosen = false
		case key == "user":
			c.User = text(value)
		case key == "userns":
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: "user", With: text(value)})
		case key == "pid", key == "net", key == "ipc":
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: key, With: text(value)})
		case key == "mount":
			c.Mounts = append(c.Mounts, manifest.Mount{Type: "bind", Source: text(value), At: at()})
		case key == "device":
			c.Devices = append(c.Devices, manifest.Device{Host: text(value), At: at()})
		case key == "sysctl":
			k, v, _ := strings.Cut(value, "=")
			c.Sysctls = append(c.Sysctls, manifest.Pair{Key: k, Value: text(v)})
		case w == "nomad":
			d := caps.Of(caps.Chown, caps.Kill)
			c.Format, c.Target = "nomad", manifest.Target{Engines: []string{"docker"}, Default: &d}
		case key == "engine":
			c.Target.Engines = []string{value}
		case strings.HasPrefix(w, "-"):
			c.Caps = append(c.Caps, manifest.Request{Action: manifest.Drop, Word: text(w[1:])})
		case w == "${X}":
			c.Caps = append(c.Caps, manifest.Request{Word: manifest.NotKnown[string](w, "the variable X has no value", at())})
		default:
			c.Caps = append(c.Caps, manifest.Request{Word: text(w)})
		}
	}
	return c
}

// profile is proven: the first set is required, the second was had.
func profile(required, baseline string) *usage.Profile {
	r, b := set(required), set(baseline)
	return &usage.Profile{
		Complete: true, Proven: true, Required: r, Recommended: r, Baseline: b, Unused: b.Minus(r),
		Subject:    usage.Subject{Engine: "docker"},
		Identities: []usage.Identity{{Exe: "/bin/x"}},
	}
}

func set(s string) caps.Set {
	set, _, err := caps.ParseList(strings.Fields(s))
	if err != nil {
		panic(err)
	}
	return set
}

const fourteen = "chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap setpcap net_bind_service sys_chroot kill audit_write"

func brief(list []*audit.Finding) []string {
	var out []string
	for _, f := range list {
		s := fmt.Sprintf("%s %s", f.Severity, f.Rule.ID)
		if f.Word != "" {
			s += " " + f.Word
		}
		switch {
		case f.Want == nil:
		case f.Want.Exactly != nil:
			s += " exactly:" + f.Want.Exactly.String()
		case f.Want.NoNewPrivs:
			s += " nnp"
		case len(f.Want.Remove) > 0:
			s += " remove"
		case len(f.Want.Correct) > 0:
			s += " correct:" + f.Want.Correct[0].Word
		}
		out = append(out, s)
	}
	return out
}

func TestRules(t *testing.T) {
	nginx := profile("chown dac_override setgid setuid", fourteen)
	none := profile("", fourteen)
	suid := &audit.Image{Programs: []audit.Program{{Path: "/bin/su", SetID: true}}}
	plain := &audit.Image{}
	for _, test := range []struct {
		name  string
		in    audit.Subject
		wants []string
	}{
		{"nothing said", audit.Subject{Container: container()}, []string{"medium keeps-default"}},
		{"locked", audit.Subject{Container: container("-ALL", "chown", "nnp")}, nil},
		{"some dropped", audit.Subject{Container: container("-net_raw", "-mknod")}, []string{"medium keeps-default"}},
		{"learned", audit.Subject{Container: container(), Profile: nginx}, []string{"medium keeps-default exactly:chown,dac_override,setgid,setuid"}},
		{"learned, and so written", audit.Subject{Container: container("-ALL", "chown", "dac_override", "setgid", "setuid"), Profile: nginx}, nil},
		{"learned, too little", audit.Subject{Container: container("-ALL", "chown"), Profile: nginx},
			[]string{"high missing-capability exactly:chown,dac_override,setgid,setuid"}},
		{"learned, too much", audit.Subject{Container: container("-ALL", "chown", "dac_override", "setgid", "setuid", "net_raw"), Profile: nginx},
			[]string{"medium unneeded-capability exactly:chown,dac_override,setgid,setuid"}},
		{"privileged", audit.Subject{Container: container("privileged", "-net_raw", "kill"), Profile: nginx},
			[]string{"critical privileged exactly:chown,dac_override,setgid,setuid", "high void-entry net_raw", "low void-entry kill"}},
		{"no capability is needed", audit.Subject{Container: container("-ALL"), Profile: none}, []string{"low needless-root"}},
		{"nor a user", audit.Subject{Container: container("-ALL", "user=1000"), Profile: none}, nil},
		{"sys_admin", audit.Subject{Container: container("-ALL", "SYS_ADMIN")}, []string{"critical adds-capability SYS_ADMIN"}},
		{"what is needed is a note", audit.Subject{Container: container("-ALL", "net_admin"), Profile: profile("net_admin", "net_admin")},
			[]string{"note adds-capability net_admin"}},
		{"all and all, Docker", audit.Subject{Container: container("all", "-ALL")}, []string{"critical adds-all all", "high void-entry ALL remove"}},
		{"all and all, CRI", audit.Subject{Container: container("all", "-ALL", "engine=crio")}, []string{"low void-entry all remove"}},
		{"both, Docker", audit.Subject{Container: container("-ALL", "kill", "-kill")}, []string{"high void-entry kill remove"}},
		{"both, CRI", audit.Subject{Container: container("-ALL", "kill", "-kill", "engine=crio")}, []string{"low void-entry kill remove"}},
		{"both, Podman refuses", audit.Subject{Container: container("-net_raw", "kill", "-kill", "engine=podman")},
			[]string{`medium not-known kill cannot be dropped and added`}},
		{"engines", audit.Subject{Container: container("all", "-ALL", "either")},
			[]string{"critical adds-all all", "high void-entry ALL remove", "medium engines-disagree docker/podman"}},
		{"misspelt", audit.Subject{Container: container("-ALL", "net_rwa")}, []string{"medium unknown-capability net_rwa"}},
		{"several in one", audit.Subject{Container: container("-ALL", "net_rwa,chown")}, []string{"medium unknown-capability net_rwa,chown"}},
		{"misspelt drop under containerd", audit.Subject{Container: container("-ALL", "-net_rwa", "engine=containerd")}, []string{"medium unknown-capability net_rwa"}},
		{"misspelt drop under containerd, not beside ALL", audit.Subject{Container: container("-net_rwa", "engine=containerd")},
			[]string{"high unknown-capability net_rwa", "medium keeps-default"}},
		{"twice", audit.Subject{Container: container("-ALL", "kill", "CAP_KILL", "-chown")},
			[]string{"note duplicate-entry CAP_KILL remove", "note duplicate-entry chown remove"}},
		{"inert", audit.Subject{Container: container("-ALL", "chown", "user=1000", "nnp")}, []string{"low inert-add chown remove"}},
		{"inert, by the image", audit.Subject{Container: container("-ALL", "chown", "user=1000"), Image: plain}, []string{"low inert-add chown remove", "note no-new-privileges nnp"}},
		{"ambient in Podman", audit.Subject{Container: container("-ALL", "chown", "user=1000", "nnp", "engine=podman")}, nil},
		{"low ports in Docker", audit.Subject{Container: container("-ALL", "net_bind_service")}, []string{"note inert-add net_bind_service"}},
		{"low ports in Docker, the host's network", audit.Subject{Container: container("-ALL", "net_bind_service", "net=host")}, []string{"medium adds-capability net_bind_service"}},
		{"low ports, by sysctl", audit.Subject{Container: container("-ALL", "net_bind_service", "sysctl=net.ipv4.ip_unprivileged_port_start=1024")}, nil},
		{"user namespace", audit.Subject{Container: container("-ALL", "sys_module", "userns=auto")},
			[]string{"low inert-add sys_module remove"}},
		{"user namespace, and what counts in it", audit.Subject{Container: container("-ALL", "sys_admin", "net=host", "userns=keep-id:uid=5")}, nil},
		{"user namespace, the bridge", audit.Subject{Container: container("-ALL", "net_raw", "userns=auto")}, []string{"medium adds-capability net_raw"}},
		{"the host's user namespace", audit.Subject{Container: container("-ALL", "sys_module", "userns=host")}, []string{"critical adds-capability sys_module"}},
		{"set-id programs", audit.Subject{Container: container("-ALL", "chown", "user=9"), Image: suid}, []string{"medium set-id-programs"}},
		{"set-id programs, nnp", audit.Subject{Container: container("-ALL", "nnp"), Image: suid}, nil},
		{"host pid", audit.Subject{Container: container("-ALL", "sys_ptrace", "pid=host")},
			[]string{"critical adds-capability sys_ptrace", "critical dangerous-combination pid"}},
		{"Nomad's own default", audit.Subject{Container: container("nomad")}, []string{"low keeps-default"}},
		{"more than Nomad's clients allow", audit.Subject{Container: container("nomad", "-ALL", "CHOWN", "SYS_ADMIN")},
			[]string{"critical adds-capability SYS_ADMIN", "note engines-disagree allow_caps SYS_ADMIN"}},
		{"host network and the default", audit.Subject{Container: container("net=host")}, []string{"high dangerous-combination network", "medium keeps-default"}},
		{"Docker's socket", audit.Subject{Container: container("-ALL", "mount=/var/run/docker.sock")}, []string{"critical engine-socket /var/run/docker.sock"}},
		{"learned, not proven, too little", audit.Subject{Container: container("-ALL"), Profile: &usage.Profile{Complete: true, Required: caps.Of(caps.Chown)}},
			[]string{"medium missing-capability"}},
		{"CAP_ for CRI-O alone", audit.Subject{Container: pod("-ALL", "CAP_CHOWN", "engine=crio", "nnp")},
			[]string{"low name-spelling CAP_CHOWN correct:CHOWN", "medium pod-security-baseline adds CAP_CHOWN", "note pod-security-restricted adds CAP_CHOWN"}},
		{"unit", audit.Subject{Container: unit(caps.All(), "")}, []string{"medium adds-all"}},
		{"unit of a user", audit.Subject{Container: unit(caps.All(), "www")}, []string{"low adds-all"}},
		{"unit of a user, nnp", audit.Subject{Container: unit(caps.All(), "www", "nnp")}, nil},
		{"unit, limited", audit.Subject{Container: unit(caps.Of(caps.NetAdmin, caps.Setuid), "")}, []string{"medium adds-capability", "low adds-capability"}},
		{"unit, limited, in a user namespace", audit.Subject{Container: unit(caps.Of(caps.SysModule), "", "PrivateUsers=yes")}, nil},
		{"unit, learned", audit.Subject{Container: unit(caps.Of(caps.Setuid, caps.Kill), ""), Profile: profile("setuid", "setuid kill")},
			[]string{"medium unneeded-capability exactly:setuid", "note adds-capability"}},
		{"drop-in", audit.Subject{Container: unit(caps.All(), "", "drop-in")}, []string{"note not-known the capabilities of x.service cannot be known: it is a drop-in"}},
		{"Dockerfile", audit.Subject{Container: dockerfile()}, nil},
		{"Dockerfile, learned", audit.Subject{Container: dockerfile(), Profile: nginx}, []string{"low keeps-default io.containers.capabilities exactly:chown,dac_override,setgid,setuid"}},
		{"Dockerfile that says so", audit.Subject{Container: dockerfile("label:io.containers.capabilities=CHOWN,SETUID,setgid,dac_override"), Profile: nginx}, nil},
		{"Dockerfile with privilege", audit.Subject{Container: dockerfile("setcap=cap_sys_admin,cap_chown+ep /bin/x", "set-uid=u+s /bin/y", "run --security=insecure")},
			[]string{"medium gives-privilege cap_sys_admin,cap_chown+ep /bin/x", "low gives-privilege u+s /bin/y", "high insecure-build RUN --security=insecure"}},
		{"label", audit.Subject{Container: label("-ALL", "sys_module", "setuid", "pid=host", "mount=/srv")},
			[]string{"critical adds-capability sys_module", "critical label-asks --cap-add sys_module; the host's pid namespace"}},
		{"label that asks for nothing", audit.Subject{Container: label("-ALL", "setuid")}, nil},
		{"variable", audit.Subject{Container: container("-ALL", "${X}")}, []string{"note not-known a capability of web cannot be known: the variable X has no value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.ProfileName = "the profile"
			got := brief(audit.Audit([]audit.Subject{test.in}))
			slices.Sort(got)
			slices.Sort(test.wants)
			if diff := cmp.Diff(test.wants, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKubernetes(t *testing.T) {
	for _, test := range []struct{ security, wants string }{
		{"", "keeps-default pod-security-restricted"},
		{"{capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false}", ""},
		{"{capabilities: {drop: [all]}, allowPrivilegeEscalation: false}", "name-spelling pod-security-restricted"},
		{"{capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, allowPrivilegeEscalation: false}", ""},
		{"{capabilities: {drop: [ALL], add: [CAP_CHOWN]}, allowPrivilegeEscalation: false}", "engines-disagree name-spelling pod-security-baseline pod-security-restricted"},
		{"{capabilities: {drop: [CAP_NET_RAW]}, allowPrivilegeEscalation: false}", "engines-disagree keeps-default name-spelling pod-security-restricted"},
		{"{capabilities: {drop: [ALL], add: [SYS_TIME]}, allowPrivilegeEscalation: false}", "adds-capability pod-security-baseline pod-security-restricted"},
		{"{privileged: true}", "pod-security-baseline pod-security-restricted privileged"},
	} {
		doc := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    image: i\n"
		if test.security != "" {
			doc += "    securityContext: " + test.security + "\n"
		}
		list, err := kube.Parse(manifest.Source{Name: "p.yaml", Data: []byte(doc)})
		if err != nil || len(list) != 1 {
			t.Fatal(err, list)
		}
		var got []string
		for _, f := range audit.Audit([]audit.Subject{{Container: list[0]}}) {
			got = append(got, f.Rule.ID)
			if f.At.IsZero() || f.Message == "" || f.Mend == "" {
				t.Errorf("%s: %+v lacks something", test.security, f)
			}
		}
		slices.Sort(got)
		if s := strings.Join(slices.Compact(got), " "); s != test.wants {
			t.Errorf("%s:\n got %s\nwant %s", test.security, s, test.wants)
		}
	}
}

func TestExceptions(t *testing.T) {
	day := time.Date(2026, 11, 27, 15, 0, 0, 0, time.UTC)
	find := func() []*audit.Finding {
		return audit.Audit([]audit.Subject{{Container: container("-ALL", "SYS_ADMIN", "NET_ADMIN")}})
	}
	config := func(s string) []*audit.Exception {
		c, err := audit.ParseConfig(".leastcap.yaml", []byte("exceptions:\n- "+strings.ReplaceAll(s, "\n", "\n  ")))
		if err != nil {
			t.Fatal(err)
		}
		return c.Exceptions
	}
	open := func(e []*audit.Exception) (open []string) {
		for _, f := range audit.Except(find(), e, day, nil) {
			if f.Exception == nil {
				open = append(open, f.Rule.ID+" "+f.Word)
			}
		}
		return open
	}
	for _, test := range []struct {
		config string
		open   []string
	}{
		{"rule: adds-capability\ncontainer: web\ncapability: SYS_ADMIN\nreason: why\nexpires: 2026-11-27", []string{"adds-capability NET_ADMIN"}},
		{"rule: adds-capability\nreason: why\nexpires: 2027-01-01", nil},
		{"rule: adds-capability\ncapability: SYS_ADMIN\nreason: why\nexpires: 2026-11-26", []string{"adds-capability SYS_ADMIN", "adds-capability NET_ADMIN", "exception-expired adds-capability "}},
		{"rule: adds-capability\ncontainer: db\nreason: why\nexpires: 2027-01-01", []string{"adds-capability SYS_ADMIN", "adds-capability NET_ADMIN", "exception-unused adds-capability db"}},
		{"rule: adds-capability\nfile: 'other*'\nreason: why\nexpires: 2027-01-01", []string{"adds-capability SYS_ADMIN", "adds-capability NET_ADMIN", "exception-unused adds-capability "}},
	} {
		if diff := cmp.Diff(test.open, open(config(test.config))); diff != "" {
			t.Errorf("%s\n%s", test.config, diff)
		}
	}
	for bad, at := range map[string]string{
		"ignore: [x]\n\n\nexceptoins: []\n": "c:4:1", "ignore:\n\n  - {}\n": "c:3:1", "ignore: [x]\nfail-on: often\n": "c:2:10", "fail-on: [low]\n": "c:1:10",
	} {
		_, err := audit.ParseConfig("c", []byte(bad))
		if errs := manifest.Errors(err); len(errs) != 1 || errs[0].At.String() != at {
			t.Errorf("%q: %v, want it at %s", bad, err, at)
		}
	}
	for text, want := range map[string]string{
		"fail-on: high\n---\nignore: [x]\n":        "c:3:1: this is a second document",
		"---\n# none\n---\n---\n  fail-on: high\n": "c:5:3: this is a second document",
		"fail-on: high\n---\nignore: [x\n":         "c:",
		"fail-on: high\n...\n---\n\n---\n# none\n": "",
	} {
		c, err := audit.ParseConfig("c", []byte(text))
		if want == "" {
			if err != nil || c.FailOn != "high" {
				t.Errorf("%q: %+v, %v", text, c, err)
			}
			continue
		}
		if errs := manifest.Errors(err); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) || errs[0].Hint == "" {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	_, err := audit.ParseConfig("c", []byte("foo: 1\n\nbar: 2\n"))
	if errs := manifest.Errors(err); len(errs) != 2 || errs[0].Reason != "field foo not found" || errs[1].At.String() != "c:3:1" {
		t.Errorf("two unknown fields: %v", err)
	}
	for good, want := range map[string]string{"": "", "fail-on: ~\n": "", "fail-on:\n": "", "fail-on: low\n": "low", "ignore: [&x high]\nfail-on: *x\n": "high"} {
		if c, err := audit.ParseConfig("c", []byte(good)); err != nil || c.FailOn != want {
			t.Errorf("%q: %v, %v", good, c, err)
		}
	}
	for _, bad := range []string{
		"rule: adds-capabilty\nreason: why\nexpires: 2027-01-01", "rule: adds-capability\nexpires: 2027-01-01",
		"rule: adds-capability\nreason: why", "rule: adds-capability\nreason: why\nexpires: soon",
		"rule: adds-capability\nreason: why\nexpires: 2027-01-01\nowner: me", "rule: adds-capability\ncapability: SYS_ADMN\nreason: why\nexpires: 2027-01-01",
		"rule: adds-capability\nfile: '[a'\nreason: why\nexpires: 2027-01-01", "rule: exception-unused\nreason: why\nexpires: 2027-01-01",
	} {
		if _, err := audit.ParseConfig("c", []byte("exceptions:\n- "+strings.ReplaceAll(bad, "\n", "\n  "))); err == nil {
			t.Errorf("%s: no error", bad)
		} else if errs := manifest.Errors(err); errs[0].At.Line != 2 {
			t.Errorf("%v: wrong place", err)
		}
	}
}

func TestCommentsMeant(t *testing.T) {
	for text, wrong := range map[string]bool{
		"build and test. \"make help\" lists the targets.": false, "see docs/leastcap.md": false, "": false,
		"allow": true, "ignore": true, "Disable: privileged": true, "privileged is fine": true, "alow x until 2030-01-01: y": true,
	} {
		if list, err := audit.Comments("Makefile", []byte("# leastcap: "+text+"\n")); (err != nil) != wrong || len(list) > 0 {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
}

func TestComments(t *testing.T) {
	doc := `apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  # leastcap: allow pod-security-restricted until 2030-01-01: a router
  - name: c
    image: i
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop: [ALL]
        add:
        - NET_ADMIN # leastcap: allow adds-capability NET_ADMIN until 2030-01-01: it makes routes
        # leastcap: allow pod-security-baseline SYS_TIME until 2030-01-01: no
        # leastcap: alow adds-capability until 2030-01-01: misspelt
`
	exceptions, err := audit.Comments("p.yaml", []byte(doc))
	if err == nil || len(manifest.Errors(err)) != 1 || manifest.Errors(err)[0].At.Line != 16 {
		t.Errorf("%v", err)
	}
	list, err := kube.Parse(manifest.Source{Name: "p.yaml", Data: []byte(doc)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range audit.Except(audit.Audit([]audit.Subject{{Container: list[0]}}), exceptions, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), nil) {
		got = append(got, fmt.Sprintf("%s %v", f.Rule.ID, f.Exception != nil))
	}
	slices.Sort(got)
	want := []string{"adds-capability true", "exception-unused false", "pod-security-baseline false", "pod-security-restricted true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBaseline(t *testing.T) {
	one := audit.Audit([]audit.Subject{{Container: container("-ALL", "SYS_ADMIN")}})
	two := audit.Audit([]audit.Subject{{Container: container("-ALL", "SYS_ADMIN", "NET_ADMIN")}})
	b := audit.Baseline{}
	for _, f := range one {
		b[f.Fingerprint()]++
	}
	if diff := cmp.Diff([]string{"medium adds-capability NET_ADMIN"}, brief(b.New(two))); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "{}", `{"version":"leastcap.audit/v1"}`, `{"version":"leastcap.audit/v2","findings":[]}`} {
		if _, err := audit.ParseBaseline([]byte(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	if b, err := audit.ParseBaseline([]byte(`{"version":"leastcap.audit/v1","findings":[{"fingerprint":"x"}]}`)); err != nil || b["x"] != 1 {
		t.Error(b, err)
	}
}

// Of several capabilities in one entry none is meant by itself.
func TestSeveralInOne(t *testing.T) {
	list := audit.Audit([]audit.Subject{{Container: container("-ALL", "NET_ADMIN,SYS_FOO")}})
	if len(list) != 1 || strings.Contains(list[0].Message, "did you mean") || list[0].Mend != "Write each capability by itself: an entry is one." {
		t.Errorf("%+v", list)
	}
}
