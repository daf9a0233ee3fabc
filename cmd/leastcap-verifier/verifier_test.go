package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/leastcap/leastcap/manifest/kube"
	"github.com/leastcap/leastcap/manifest/reading"
)

// asProgramVar makes the tests' program the program itself.
const asProgramVar = "LEASTCAP_TEST_AS_VERIFIER"

func TestMain(m *testing.M) {
	if os.Getenv(asProgramVar) != "" {
		main()
		return
	}
	logrus.SetOutput(io.Discard)
	m.Run()
}

// project is a request: a file is before and, behind a line of "=>", after; the first is the
// main one, those that have "override" in their name are put over it.
func project(files ...string) *reading.Request {
	req := &reading.Request{ID: 7, Format: "compose"}
	for i := 0; i < len(files); i += 2 {
		before, after, changed := strings.Cut(files[i+1], "\n=>\n")
		f := reading.File{Name: filepath.Join("/home/user/project", files[i]), Before: []byte(before), Role: reading.Other}
		if f.Same = !changed; changed {
			f.After = []byte(after)
		}
		switch {
		case i == 0, strings.Contains(files[i], "override"):
			f.Role = reading.Main
		case files[i] == ".env":
			f.Role = reading.Env
		}
		req.Files = append(req.Files, f)
	}
	return req
}

// render is an answer in a line, for comparison.
func render(a *reading.Answer) string {
	var parts []string
	side := func(name string, r reading.Reading) {
		for _, p := range r.Problems {
			parts = append(parts, fmt.Sprintf("%s: %s (unread: %v)", name, p, p.Unread))
		}
		for _, c := range r.Containers {
			text := fmt.Sprintf("%s: %s add %v drop %v", name, c.Path, c.Add, c.Drop)
			if c.Privileged {
				text += " privileged"
			}
			if c.NoNewPrivs {
				text += " nnp"
			}
			parts = append(parts, text)
		}
	}
	side("before", a.Before)
	side("after", a.After)
	if len(a.Changed) > 0 {
		parts = append(parts, fmt.Sprintf("changed: %v", a.Changed))
	}
	if a.Err != "" {
		parts = append(parts, "error: "+a.Err)
	}
	return strings.Join(parts, "; ")
}

func TestCompose(t *testing.T) {
	t.Setenv("FROM_OUTSIDE", "NET_RAW")
	for _, tt := range []struct {
		name string
		req  *reading.Request
		want string
	}{
		{"an edit", project("c.yaml", "services:\n  web: {image: x, cap_add: [KILL]}\n=>\nservices:\n  web: {image: x, cap_drop: [ALL], cap_add: [CHOWN], security_opt: ['no-new-privileges:true']}"),
			"before: services.web add [KILL] drop []; after: services.web add [CHOWN] drop [ALL] nnp"},
		{"more than an edit", project("c.yaml", "services:\n  web: {image: x, environment: {A: secret}}\n=>\nservices:\n  web: {image: x, environment: {A: other}}"),
			"before: services.web add [] drop []; after: services.web add [] drop []; changed: [services.web.environment.A]"},
		{"an override, and variables of both kinds", project("c.yaml", "services:\n  web: {image: x, cap_add: [\"${FROM_OUTSIDE}\"]}\n  db: {image: y, profiles: [p]}", "c.override.yaml",
			"services:\n  web: {cap_add: [\"$INSIDE\"]}\n=>\nservices:\n  web: {cap_add: !override [\"$INSIDE\"]}", ".env", "INSIDE=KILL\nFROM_OUTSIDE=CHOWN\n"),
			"before: services.db add [] drop []; before: services.web add [NET_RAW KILL] drop []; after: services.db add [] drop []; after: services.web add [KILL] drop []"},
		{"the edit is in an included file", project("c.yaml", "include: [lib/a.yaml, /home/user/common/b.yaml]\nservices:\n  web: {image: x, extends: {file: ../common/base.yaml, service: base}}",
			"lib/a.yaml", "services:\n  a: {image: y, cap_add: [KILL]}\n=>\nservices:\n  a: {image: y, cap_add: [CHOWN]}",
			"../common/b.yaml", "services:\n  b: {image: z, extends: {file: base.yaml, service: base}}",
			"../common/base.yaml", "services:\n  base: {image: w, cap_drop: [MKNOD]}"),
			"before: services.a add [KILL] drop []; before: services.b add [] drop [MKNOD]; before: services.web add [] drop [MKNOD]; " +
				"after: services.a add [CHOWN] drop []; after: services.b add [] drop [MKNOD]; after: services.web add [] drop [MKNOD]"},
		{"a variable that has to be set", project("c.yaml", "services:\n  web: {image: \"x:${TAG:?is needed}\", cap_add: [KILL]}\n=>\nservices:\n  web: {image: \"x:${TAG:?is needed}\"}"),
			"before: services.web add [KILL] drop []; after: services.web add [] drop []"},
		{"one that may not be blank", project("c.yaml", "services:\n  web: {image: x, ports: [\"${P}:${Q}\"], privileged: \"true\"}\n=>\nservices:\n  web: {image: x, ports: [\"${P}:${Q}\"]}"),
			"before: services.web add [] drop [] privileged; after: services.web add [] drop []"},
		{"what is no Compose file after the edit", project("c.yaml", "services:\n  web: {image: x}\n=>\nservices:\n  web: {image: x, cap_ad: [X]}"),
			"after: validating /home/user/project/c.yaml: services.web.cap_ad false schema (unread: true)"},
		{"and before it", project("c.yaml", "services:\n  web: {image: x, cap_ad: [X]}\n=>\nservices:\n  web: {image: x}"),
			"before: validating /home/user/project/c.yaml: services.web.cap_ad false schema (unread: true)"},

		// Files of strangers' choice. That of /etc/hostname would be read anywhere else.
		{"not a file of the project", project("c.yaml", "include: [/etc/hostname]\nservices:\n  web: {image: x}\n=>\n"),
			"before: open /etc/hostname: no such file or directory (unread: true)"},
		{"nor up to the root", project("c.yaml", "services:\n  web: {extends: {file: "+strings.Repeat("../", 30)+"etc/hostname, service: x}}\n=>\n"),
			"before: open DIR/etc/hostname: no such file or directory (unread: true)"},
		{"nor further", project("c.yaml", "services:\n  web: {extends: {file: "+strings.Repeat("../", 33)+"etc/hostname, service: x}}\n=>\n"),
			"before: " + strings.Repeat("../", 33) + "etc/hostname is not fetched (unread: true)"},
		{"nothing is fetched", project("c.yaml", "include: ['https://github.com/x/y.git']\nservices:\n  web: {image: x}\n=>\n"),
			"before: https://github.com/x/y.git is not fetched (unread: true)"},
		{"nor by ssh", project("c.yaml", "services:\n  web: {extends: {file: 'git@github.com:x/y', service: z}}\n=>\n"),
			"before: git@github.com:x/y is not fetched (unread: true)"},
		{"nor from a registry", project("c.yaml", "include: ['oci://registry/x']\nservices:\n  web: {image: x}\n=>\n"),
			"before: oci://registry/x is not fetched (unread: true)"},
		{"what a service would read", project("c.yaml", "services:\n  web: {image: x, env_file: [/dev/zero, /etc/shadow], label_file: /dev/zero}\nsecrets: {s: {file: /etc/shadow}}\n=>\nservices:\n  web: {image: x, cap_add: [KILL], env_file: [/dev/zero, /etc/shadow], label_file: /dev/zero}\nsecrets: {s: {file: /etc/shadow}}"),
			"before: services.web add [] drop []; after: services.web add [KILL] drop []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			a := answer(readers, tt.req)
			got := render(a)
			dir, _ := filepath.Abs(".")
			for d := dir; d != "/"; d = filepath.Dir(d) {
				got = strings.ReplaceAll(got, d+"/", "DIR/")
			}
			if i := strings.Index(got, "DIR/project"); i >= 0 {
				if j := strings.Index(got[i:], "/etc/"); j >= 0 {
					got = got[:i] + "DIR" + got[i+j:]
				}
			}
			if got != tt.want || a.ID != 7 {
				t.Errorf("got:  %s\nwant: %s", got, tt.want)
			}
			if left, _ := filepath.Glob("*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func manifestOf(before, after string) *reading.Request {
	return &reading.Request{Format: "kubernetes", Files: []reading.File{{Name: "/p.yaml", Role: reading.Main, Before: []byte(before), After: []byte(after)}}}
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      initContainers:
      - {name: init, image: i}
      containers:
      - {name: web, image: i, SC}
`

func jsonPod(name, add string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q}, "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"capabilities": {"add": [%q]}}}]}}`, name, add)
}

func TestKubernetes(t *testing.T) {
	with := func(sc string) string { return strings.ReplaceAll(deployment, ", SC", sc) }
	const pod = "spec.template.spec."
	for _, tt := range []struct {
		name, before, after string
		want                string
	}{
		{"an edit", with(""), with(", securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [KILL]}}"),
			"before: " + pod + "initContainers.0 add [] drop []; before: " + pod + "containers.0 add [] drop []; " +
				"after: " + pod + "initContainers.0 add [] drop []; after: " + pod + "containers.0 add [KILL] drop [ALL] nnp"},
		{"more than an edit", with(", securityContext: {runAsUser: 1}"), with(", securityContext: {runAsUser: 2, privileged: true}"),
			"before: " + pod + "initContainers.0 add [] drop []; before: " + pod + "containers.0 add [] drop []; " +
				"after: " + pod + "initContainers.0 add [] drop []; after: " + pod + "containers.0 add [] drop [] privileged; changed: [document 1: 0.spec.template.spec.containers.0.securityContext.runAsUser]"},
		{"a field that nobody knows", with(""), with(", securitycontext: {capabilities: {drop: [ALL]}}"),
			"before: " + pod + "initContainers.0 add [] drop []; before: " + pod + "containers.0 add [] drop []; " +
				"after: document 1: unknown field \"spec.template.spec.containers[0].securitycontext\" (unread: false); " +
				"after: " + pod + "initContainers.0 add [] drop []; after: " + pod + "containers.0 add [] drop []"},
		{"a wrong type", with(""), with(", securityContext: {capabilities: {drop: ALL}}"),
			"after: document 1: json: cannot unmarshal string into Go struct field Capabilities.spec.template.spec.containers.securityContext.capabilities.drop of type []v1.Capability (unread: true)"},
		{"a key twice", with(", securityContext: {}"), with(", securityContext: {}, image: j"),
			"before: " + pod + "initContainers.0 add [] drop []; before: " + pod + "containers.0 add [] drop []; " +
				"after: document 1: yaml: unmarshal errors: line 12: key \"image\" already set in map (unread: false); " +
				"after: " + pod + "initContainers.0 add [] drop []; after: " + pod + "containers.0 add [] drop []; changed: [document 1: 0.spec.template.spec.containers.0.image]"},
		{"documents that do not change, and strange ones", "a: [\n---\n" + with("") + "---\napiVersion: x/v1\nkind: Other\n", "a: [\n---\n" + with("") + "---\napiVersion: x/v1\nkind: Other\nz: 1\n", ""},
		{"another number of documents", with(""), with("") + "---\na: b\n", "changed: [the number of documents (1, and 2)]"},
		{"JSON behind JSON", jsonPod("a", "KILL") + jsonPod("b", "KILL") + "\n" + jsonPod("c", "KILL"), jsonPod("a", "KILL") + jsonPod("b", "CHOWN") + "\n" + jsonPod("c", "KILL"),
			"before: spec.containers.0 add [KILL] drop []; after: spec.containers.0 add [CHOWN] drop []"},
		{"more than an edit, in JSON behind JSON", jsonPod("a", "KILL") + jsonPod("b", "KILL"), jsonPod("a", "KILL") + strings.Replace(jsonPod("b", "CHOWN"), "image", "imagine", 1),
			"before: spec.containers.0 add [KILL] drop []; after: document 2: unknown field \"spec.containers[0].imagine\" (unread: false); after: spec.containers.0 add [CHOWN] drop []; changed: [document 2: 0.spec.containers.0.image]"},
		{"YAML behind JSON", jsonPod("a", "KILL") + "\n---\n" + with(""), jsonPod("a", "CHOWN") + "\n---\n" + with(""),
			"before: spec.containers.0 add [KILL] drop []; after: spec.containers.0 add [CHOWN] drop []"},
		{"what kubectl does not read", jsonPod("a", "KILL") + jsonPod("b", "KILL") + "\n---\n" + with(""), jsonPod("a", "CHOWN") + jsonPod("b", "KILL") + "\n---\n" + with(""),
			"before: behind 2 JSON values: invalid character '-' in numeric literal (unread: true)"},
		{"and not after the edit", jsonPod("a", "KILL") + jsonPod("b", "KILL"), jsonPod("a", "CHOWN") + jsonPod("b", "KILL") + ",",
			"after: behind 2 JSON values: invalid character ',' looking for beginning of value (unread: true)"},
		{"a list", "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c}]}}, {apiVersion: x/v1, kind: Other}]}",
			"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, securityContext: {capabilities: {drop: [ALL]}}}]}}, {apiVersion: x/v1, kind: Other}]}",
			"before: items.0.spec.containers.0 add [] drop []; after: items.0.spec.containers.0 add [] drop [ALL]"},
		{"a list of one kind", "{apiVersion: apps/v1, kind: DeploymentList, items: [{spec: {template: {spec: {containers: [{name: c}]}}}}]}",
			"{apiVersion: apps/v1, kind: DeploymentList, items: [{spec: {template: {spec: {containers: [{name: c, securityContext: {capabilities: {drop: [ALL]}}}]}}}}]}",
			"before: items.0.spec.template.spec.containers.0 add [] drop []; after: items.0.spec.template.spec.containers.0 add [] drop [ALL]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := render(answer(readers, manifestOf(tt.before, tt.after))); got != tt.want {
				t.Errorf("got:  %s\nwant: %s", got, tt.want)
			}
		})
	}
}

func TestPodSecurity(t *testing.T) {
	a := answer(readers, manifestOf(strings.ReplaceAll(deployment, ", SC", ""), strings.ReplaceAll(deployment, ", SC", ", securityContext: {privileged: true, capabilities: {add: [NET_RAW]}}")))
	was, is := a.Before.Containers[0].Refused, a.After.Containers[0].Refused
	for _, check := range []string{"restricted/capabilities_restricted", "restricted/allowPrivilegeEscalation", "restricted/runAsNonRoot", "restricted/seccompProfile_restricted"} {
		if !slices.Contains(was, check) {
			t.Errorf("before: %s is not refused by %v", check, was)
		}
	}
	for _, check := range []string{"baseline/capabilities_baseline", "baseline/privileged"} {
		if slices.Contains(was, check) || !slices.Contains(is, check) {
			t.Errorf("%s: before %v, after %v", check, was, is)
		}
	}
	if a.After.Containers[0].Owner != "Deployment/prod/web" {
		t.Errorf("%+v", a.After.Containers[0])
	}
}

// Alias bombs and deep nesting end in an answer.
func TestHostile(t *testing.T) {
	t.Chdir(t.TempDir())
	bomb := "x: &a0 [x]\n"
	for i := range 40 {
		bomb += fmt.Sprintf("x%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i+1, i, i, i, i, i, i, i, i, i)
	}
	deep := "services: {web: {image: " + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}}\n"
	for name, text := range map[string]string{"bomb": bomb + "services: {web: {image: x, command: *a40}}\n", "deep": deep, "nothing": "", "no mapping": "[]", "no UTF-8": "services: \xff\xfe"} {
		for _, format := range []string{"compose", "kubernetes"} {
			req := manifestOf("apiVersion: v1\nkind: Pod\n"+text, "apiVersion: v1\nkind: Pod\nz: 1\n"+text)
			if req.Format = format; format == "compose" {
				req.Files[0].Before, req.Files[0].After = []byte(text), []byte(text+"\n")
			}
			a := answer(readers, req)
			if unread := slices.ContainsFunc(a.Before.Problems, func(p reading.Problem) bool { return p.Unread }); !unread && name != "nothing" && (name != "no mapping" || format == "compose") {
				t.Errorf("%s as %s: %s", name, format, render(a))
			}
		}
	}
	if a := answer(readers, &reading.Request{ID: 3, Format: "toml"}); a.Err == "" || a.ID != 3 {
		t.Errorf("%+v", a)
	}
	if a := answer(readers, &reading.Request{Format: "compose", Files: []reading.File{{Name: "relative", Role: reading.Main}}}); a.Err == "" {
		t.Errorf("%+v", a)
	}
}

func TestServe(t *testing.T) {
	in, ask := io.Pipe()
	out, reply := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(readers, in, reply) }()
	go func() {
		enc := json.NewEncoder(ask)
		for i := range 20 {
			req := manifestOf("a: b", "a: c")
			req.ID = i + 1
			if err := enc.Encode(req); err != nil {
				t.Error(err)
			}
		}
	}()
	dec := json.NewDecoder(out)
	var hello reading.Hello
	if err := dec.Decode(&hello); err != nil || hello.Protocol != reading.Protocol || len(hello.Tools) != 2 {
		t.Errorf("%+v, %v", hello, err)
	}
	seen := map[int]bool{}
	for range 20 {
		var a reading.Answer
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		seen[a.ID] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d answers to 20 questions", len(seen))
	}
	_ = ask.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := serve(readers, strings.NewReader("nonsense\n"), io.Discard); err == nil {
		t.Error("nonsense was understood")
	}
}

// Who asks may end, however, while questions are thought about, as many as there can be.
func TestServeEnds(t *testing.T) {
	stop := make(chan struct{})
	slow := []reader{{&kube.Format, "slow", "", func(*reading.Request) (*reading.Answer, error) {
		<-stop
		return &reading.Answer{}, nil
	}}}
	in := strings.Repeat("{\"Format\": \"kubernetes\"}\n", runtime.GOMAXPROCS(0)+2)
	ended := make(chan error, 1)
	go func() { ended <- serve(slow, strings.NewReader(in), io.Discard) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it did not end")
	}
	close(stop)
}

func BenchmarkCompose(b *testing.B) {
	b.Chdir(b.TempDir())
	req := project("c.yaml", "services:\n  web: {image: x, cap_add: [KILL], ports: ['80:80'], environment: {A: b}}\n  db: {image: y}\n=>\nservices:\n  web: {image: x, ports: ['80:80'], environment: {A: b}}\n  db: {image: y}\n")
	for b.Loop() {
		answer(readers, req)
	}
}

func BenchmarkKubernetes(b *testing.B) {
	req := manifestOf(strings.ReplaceAll(deployment, ", SC", ""), strings.ReplaceAll(deployment, ", SC", ", securityContext: {capabilities: {drop: [ALL]}}"))
	for b.Loop() {
		answer(readers, req)
	}
}
