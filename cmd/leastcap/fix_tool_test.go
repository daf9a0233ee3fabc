package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/reading"
	"github.com/leastcap/leastcap/manifest/systemd"
	"github.com/leastcap/leastcap/verifier"
)

// withVerifier makes the program that formats' own tools are in, and puts it into PATH.
func withVerifier(t *testing.T) string {
	t.Helper()
	testenv.Need(t, testenv.MadeBy("go", verifier.Program))
	path, err := testenv.Verifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(path)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return path
}

// oddTool is a directory with a program that is a script.
func oddTool(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// systemd itself is asked about what would be written, and believed.
func TestAskSystemd(t *testing.T) {
	testenv.Need(t, testenv.Command("systemd-analyze"))
	set := caps.Of(caps.Kill, caps.SysTime)
	source := func(text string) manifest.Source {
		return manifest.Source{Name: "d/a.service", Data: []byte("[Service]\nExecStart=/bin/true\n" + text),
			List: func(dir string) ([]string, error) { return map[string][]string{"d/a.service.d": {"1.conf"}}[dir], nil },
			Open: func(name string) ([]byte, error) { return []byte("[Service]\nProtectClock=no\n"), nil }}
	}
	after := source("CapabilityBoundingSet=CAP_KILL CAP_SYS_TIME\nProtectClock=yes\n")
	seen, asked, err := analyze(t.Context(), "systemd-analyze", after)
	if err != nil || seen != set || asked.Len() < 10 {
		t.Fatalf("%v of %v: %v", seen, asked, err)
	}
	list, err := systemd.Format.Parse(after)
	if err != nil {
		t.Fatal(err)
	}
	changes := []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: &set}}}
	if c, err := askSystemd(t.Context(), &systemd.Format, after, changes); err != nil || c.unasked != "" {
		t.Error(c, err)
	}
	// A parser that is wrong is found out.
	wrong := systemd.Format
	wrong.Parse = func(src manifest.Source) ([]*manifest.Container, error) {
		list, err := systemd.Format.Parse(src)
		list[0].Stated.Bounding = caps.Of(caps.Kill)
		return list, err
	}
	if _, err := askSystemd(t.Context(), &wrong, after, changes); err == nil || !strings.Contains(err.Error(), "systemd-analyze does not read sys_time as it is meant") {
		t.Error(err)
	}
	// What it cannot be asked is said.
	for name, want := range map[string]string{"d/a.socket": "reads services only", "d/b.service": "cannot read it"} {
		odd := after
		odd.Name = name
		if name == "d/b.service" {
			t.Setenv("PATH", oddTool(t, "systemd-analyze", "exit 1"))
		}
		if c, err := askSystemd(t.Context(), &systemd.Format, odd, changes); err != nil || !strings.Contains(c.unasked, want) {
			t.Error(name, c, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if c, err := askSystemd(t.Context(), &systemd.Format, after, changes); err != nil || !strings.Contains(c.unasked, "is not installed") {
		t.Error(c, err)
	}
}

// toolsFor are a format's own tools, and a definition to ask them about.
func toolsFor(t *testing.T, name, text string) (*ownTools, *definition) {
	t.Helper()
	dir := t.TempDir()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := define(t.Context(), foundFile{name, true}, nil, nil, "")
	if d.format == nil || len(d.containers) == 0 {
		t.Fatalf("%+v", d.errs)
	}
	tools := newOwnTools(t.Context(), toolsRequired, true)
	t.Cleanup(func() {
		if err := tools.close(); err != nil {
			t.Error(err)
		}
	})
	return tools, &d
}

const (
	composeText = "services:\n  web:\n    image: nginx\n    environment: {A: secret}\n    cap_drop: [KILL]\n  db: {image: postgres, cap_add: [SYS_TIME]}\n"
	kubeText    = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: web\n    image: nginx\n    securityContext: {runAsUser: 5, capabilities: {drop: [KILL]}}\n  - {name: db, image: postgres}\n"
	ociText     = `{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "hostname": "h", "linux": {"namespaces": [{"type": "user", "path": "/proc/1/ns/user"}, {"type": "mount"}]},
"process": {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "/", "noNewPrivileges": false,
"capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"]}}}`
)

// TestToolsDisagree hands tools files that are not what was wanted. Nothing but the tool
// could tell: what the edit should be is known, and the file is another.
func TestToolsDisagree(t *testing.T) {
	withVerifier(t)
	chown := caps.Of(caps.Chown)
	exactly := manifest.Want{Exactly: &chown}
	nnp := manifest.Want{NoNewPrivs: true}
	for _, tt := range []struct {
		name, file, before, after string
		want                      manifest.Want
		err                       string // "" where the tool agrees
	}{
		{"compose: right", "compose.yaml", composeText, "    cap_drop: [KILL]\n=>    cap_drop: [ALL]\n    cap_add: [CHOWN]\n", exactly, ""},
		{"compose: another capability", "compose.yaml", composeText, "    cap_drop: [KILL]\n=>    cap_drop: [ALL]\n    cap_add: [KILL]\n", exactly, "compose-go v[0-9.]+ reads add .KILL., drop .ALL. of web, where exactly chown was meant"},
		{"compose: not all dropped", "compose.yaml", composeText, "    cap_drop: [KILL]\n=>    cap_drop: [KILL]\n    cap_add: [CHOWN]\n", exactly, "where exactly chown was meant"},
		{"compose: nothing done", "compose.yaml", composeText, "A: secret=>A: secret ", exactly, "where exactly chown was meant"},
		{"compose: privileged, too", "compose.yaml", composeText, "    cap_drop: [KILL]\n=>    cap_drop: [ALL]\n    cap_add: [CHOWN]\n    privileged: true\n", exactly, "another privileged of web"},
		{"compose: no_new_privs, too", "compose.yaml", composeText, "    cap_drop: [KILL]\n=>    cap_drop: [ALL]\n    cap_add: [CHOWN]\n    security_opt: [no-new-privileges]\n", exactly, "another no_new_privs of web"},
		{"compose: another service, too", "compose.yaml", composeText, "cap_add: [SYS_TIME]=>cap_add: [SYS_TIME, KILL]", exactly, "another list of capabilities to add of db, which was not to change"},
		{"compose: a service less", "compose.yaml", composeText, "  db: {image: postgres, cap_add: [SYS_TIME]}\n=>", exactly, "reads"},
		{"compose: a secret, too", "compose.yaml", composeText, "A: secret=>A: other", exactly, "a change that was not meant: services.web.environment.A;"},
		{"compose: no Compose file", "compose.yaml", composeText, "    cap_drop: [KILL]\n=>    cap_drop: ALL\n", exactly, "would not take it any more"},
		{"compose: no_new_privs is not there", "compose.yaml", composeText, "cap_drop: [KILL]=>cap_drop: [KILL]\n    security_opt: [no-new-privileges:false]", nnp, "reads no no_new_privs of web"},
		{"compose: no_new_privs", "compose.yaml", composeText, "cap_drop: [KILL]=>cap_drop: [KILL]\n    security_opt: [no-new-privileges:true]", nnp, ""},
		{"compose: no_new_privs, and a capability", "compose.yaml", composeText, "cap_drop: [KILL]=>cap_drop: [KILL, CHOWN]\n    security_opt: [no-new-privileges:true]", nnp, "list of capabilities to drop of web, which was not to change"},

		{"kubernetes: right", "p.yaml", kubeText, "drop: [KILL]=>drop: [ALL], add: [CHOWN]", exactly, ""},
		{"kubernetes: a name that containerd does not take", "p.yaml", kubeText, "drop: [KILL]=>drop: [ALL], add: [KILL]", exactly, "where exactly chown was meant"},
		{"kubernetes: another user, too", "p.yaml", kubeText, "runAsUser: 5, capabilities: {drop: [KILL]=>runAsUser: 6, capabilities: {drop: [ALL], add: [CHOWN]", exactly, "a change that was not meant: document 1: 0.spec.containers.0.securityContext.runAsUser"},
		{"kubernetes: the other container, too", "p.yaml", kubeText, "drop: [KILL]}}\n  - {name: db, image: postgres}=>drop: [ALL], add: [CHOWN]}}\n  - {name: db, image: postgres, securityContext: {capabilities: {drop: [ALL]}}}", exactly, "another list of capabilities to drop of db"},
		{"kubernetes: a field that is none", "p.yaml", kubeText, "drop: [KILL]=>drop: [ALL], adds: [CHOWN]", exactly, `would not take it any more: document 1: unknown field "spec.containers\[0\].securityContext.capabilities.adds"`},
		{"kubernetes: a word for a list", "p.yaml", kubeText, "drop: [KILL]=>drop: ALL", exactly, "would not take it any more: document 1: .*cannot unmarshal string"},
		{"kubernetes: in the pod's context", "p.yaml", kubeText, "spec:\n=>spec:\n  securityContext: {capabilities: {drop: [ALL], add: [CHOWN]}}\n", exactly, "unknown field"},
		{"kubernetes: a document more", "p.yaml", kubeText, "- {name: db, image: postgres}\n=>- {name: db, image: postgres}\n---\na: b\n", exactly, "the number of documents"},

		{"oci: right", "config.json", ociText, `["CAP_CHOWN", "CAP_KILL"]=>["CAP_CHOWN"]`, exactly, ""},
		{"oci: one set is another", "config.json", ociText, `"effective": ["CAP_CHOWN", "CAP_KILL"]=>"effective": ["CAP_CHOWN"]`, exactly, "runc reads chown, kill of h, where chown was meant|runc reads .*chown.*kill"},
		{"oci: a name that runc does not know", "config.json", ociText, `["CAP_CHOWN", "CAP_KILL"]=>["chown"]`, exactly, "where chown was meant"},
		{"oci: another user, too", "config.json", ociText, `"uid": 0=>"uid": 7`, exactly, "a change that was not meant: process.user.uid"},
		{"oci: no_new_privs, too", "config.json", ociText, `"noNewPrivileges": false=>"noNewPrivileges": true`, exactly, "another no_new_privs"},
		{"oci: no configuration", "config.json", ociText, `"args": ["x"]=>"args": "x"`, exactly, "would not take it any more"},
		{"oci: a namespace twice", "config.json", ociText, `{"type": "mount"}=>{"type": "mount"}, {"type": "mount"}`, exactly, "would not take it any more: malformed spec file: duplicated ns"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tools, d := toolsFor(t, tt.file, tt.before)
			was, is, _ := strings.Cut(tt.after, "=>")
			after := strings.ReplaceAll(tt.before, was, is)
			if after == tt.before {
				t.Fatal("nothing changes")
			}
			files := []manifest.FileChange{{Name: d.source.Name, Before: d.source.Data, After: []byte(after)}}
			c, err := tools.ask(t.Context(), d, files, []manifest.Change{{Container: d.containers[0], Want: tt.want}})
			var disagrees *reading.Disagreement
			switch {
			case tt.err == "" && (err != nil || c.unasked != ""):
				t.Error(err, c)
			case tt.err != "" && (!errors.As(err, &disagrees) || !regexp.MustCompile(tt.err).MatchString(err.Error()+";")):
				t.Errorf("%v, want %s", err, tt.err)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Errorf("it says what is in the file: %v", err)
			}
		})
	}
}

// A parser of ours that is wrong is found out, too, where it is the only one that knows what
// was meant.
func TestToolsAgainstParser(t *testing.T) {
	withVerifier(t)
	for _, tt := range []struct{ file, before, was, is string }{
		{"compose.yaml", composeText, "[SYS_TIME]", "[SYS_TIME, CHOWN]"},
		{"p.yaml", kubeText, "image: postgres", "image: postgres, securityContext: {capabilities: {add: [CHOWN]}}"},
		{"config.json", ociText, `"ociVersion"`, `"annotations": {}, "ociVersion"`},
	} {
		t.Run(tt.file, func(t *testing.T) {
			tools, d := toolsFor(t, tt.file, tt.before)
			wrong := *d.format
			wrong.Parse = func(src manifest.Source) ([]*manifest.Container, error) {
				list, err := d.format.Parse(src)
				c := list[len(list)-1]
				if c.Stated != nil {
					c.Stated.Ambient = caps.Of(caps.Kill)
				} else {
					c.Caps = append(c.Caps, manifest.Request{Word: manifest.Of("MKNOD", "", c.At)})
				}
				return list, err
			}
			files := []manifest.FileChange{{Name: d.source.Name, Before: d.source.Data, After: []byte(strings.Replace(tt.before, tt.was, tt.is, 1))}}
			lied := *d
			lied.format = &wrong
			last := d.containers[len(d.containers)-1]
			// It is one that the file says nothing of: its requests are as they are.
			changes := []manifest.Change{{Container: last, Want: manifest.Want{Remove: []manifest.Pos{{Line: 1}}}}}
			_, err := tools.ask(t.Context(), &lied, files, changes)
			var disagrees *reading.Disagreement
			if !errors.As(err, &disagrees) || !strings.Contains(err.Error(), "was meant") {
				t.Error(err)
			}
		})
	}
}

// TestToolsCorpus makes the edits of all that people really wrote, and one mistake in each:
// a capability that is another one, a change somewhere else.
func TestToolsCorpus(t *testing.T) {
	withVerifier(t)
	dir := t.TempDir()
	for name, data := range testenv.Corpus(t, "*/*") {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tools := newOwnTools(t.Context(), toolsAuto, true)
	in, _ := corpusFix(t, dir, tools)
	defer func() {
		if err := tools.close(); err != nil {
			t.Error(err)
		}
	}()
	var wants []*audit.Finding
	for _, f := range in.audit(time.Now()).Findings {
		if f.Want != nil {
			wants = append(wants, f)
		}
	}
	changes := audit.Changes(wants)
	asked := map[string]int{}
	for i := range in.files {
		d := &in.files[i]
		own := slices.DeleteFunc(slices.Clone(changes), func(c manifest.Change) bool { return !slices.Contains(d.containers, c.Container) })
		if len(own) == 0 || d.format.Name != "compose" && d.format.Name != "kubernetes" {
			continue
		}
		files, refused, err := manifest.Rewrite(d.format, d.source, own)
		if err != nil || len(files) == 0 || len(refused) > 0 {
			continue
		}
		for _, mistake := range []struct{ what, was, is string }{
			{"another capability", "CHOWN", "KILL"},
			{"the default ones", "ALL", "MKNOD"},
			{"another image", "image: ", "image: other-"},
		} {
			wrong := files[0]
			if wrong.After = bytes.Replace(wrong.After, []byte(mistake.was), []byte(mistake.is), 1); bytes.Equal(wrong.After, files[0].After) || !bytes.Contains(wrong.Before, []byte("image: ")) {
				continue
			}
			c, err := tools.ask(t.Context(), d, []manifest.FileChange{wrong}, own)
			if strings.Contains(c.unasked, "as it is already") {
				continue
			}
			var disagrees *reading.Disagreement
			if asked[d.format.Name]++; !errors.As(err, &disagrees) {
				t.Errorf("%s: %s: %v\n%s", d.source.Name, mistake.what, err, unified(wrong))
			}
		}
	}
	t.Logf("mistakes that were found: %v", asked)
	if asked["compose"] < 50 || asked["kubernetes"] < 100 {
		t.Errorf("only %v were asked about", asked)
	}
}
