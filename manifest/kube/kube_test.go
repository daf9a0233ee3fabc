package kube

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/manifest"
)

func TestKinds(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"pod", "apiVersion: v1\nkind: Pod\nspec:\n  initContainers:\n  - {name: a, image: x}\n  - {name: b, image: x, restartPolicy: Always}\n  containers:\n  - {name: c, image: x}\n  ephemeralContainers:\n  - {name: d, image: x}\n",
			"init container a, sidecar container b, container c, ephemeral container d"},
		{"deployment", "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{name: a}]}}}\n", "container a"},
		{"cron job", "apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a}]}}}}}\n", "container a"},
		{"pod template", "apiVersion: v1\nkind: PodTemplate\ntemplate: {spec: {containers: [{name: a}]}}\n", "container a"},
		{"list of lists", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: PodList\n  items:\n  - {apiVersion: v1, kind: Pod, spec: {containers: [{name: a}]}}\n- {apiVersion: apps/v1, kind: DaemonSet, spec: {template: {spec: {containers: [{name: b}]}}}}\n",
			"container a, container b"},
		{"list of one kind, as the API answers", "apiVersion: v1\nkind: PodList\nitems:\n- {metadata: {name: p}, spec: {containers: [{name: a}]}}\n- {spec: {containers: [{name: b}]}}\n", "container a, container b"},
		{"json", `{"apiVersion":"apps/v1","kind":"StatefulSet","spec":{"template":{"spec":{"containers":[{"name":"a"}]}}}}`, "container a"},
		{"json behind json", jsonPod("a", "{}") + jsonPod("b", "{}") + "\n{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [" + jsonPod("c", "{}") + "]}\n", "container a, container b, container c"},
		{"json, and documents", jsonPod("a", "{}") + "\n---\n" + jsonPod("b", "{}") + "\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{name: c}]}\n", "container a, container b, container c"},
		{"yaml behind json", jsonPod("a", "{}") + "\napiVersion: v1\nkind: Pod\nspec: {containers: [{name: b}]}\n", "container a, container b"},
		{"json on a marker's line", "--- # c\n--- " + strings.ReplaceAll(jsonPod("a", "{}"), "{", "{\n  "), "container a"},
		{"json behind a marker", "# c\n---\n" + strings.ReplaceAll(jsonPod("a", "{}"), "{", "{\n  "), "container a"},
		{"documents", "# Source: c/templates/a.yaml\napiVersion: v1\nkind: Service\n---\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{name: a}]}\n--- # x\napiVersion: v1\nkind: Pod\nspec: {containers: [{name: b}]}\n", "container a, container b"},
		{"rollout", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {template: {spec: {containers: [{name: a, image: x}]}}}\n", "container a"},
		{"workflow", "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  templates:\n  - {name: t, container: {image: x}}\n  - {name: u, script: {image: y, source: z}, sidecars: [{name: s, image: q}]}\n", "container container, sidecar container s, container script"},
		{"tekton", "apiVersion: tekton.dev/v1\nkind: Task\nspec:\n  steps:\n  - {name: a, image: x}\n  - {name: b, ref: {name: c}}\n", "step a"},
		{"knative", "apiVersion: serving.knative.dev/v1\nkind: Service\nspec: {template: {spec: {containers: [{image: x}]}}}\n", "container 0"},
		{"a definition of a kind", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {versions: [{schema: {properties: {containers: {type: array, items: [{name: x, image: y}]}}}}]}\n", ""},
		{"a config map", "apiVersion: v1\nkind: ConfigMap\ndata:\n  containers: |\n    - name: x\n", ""},
		{"no containers", "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n", ""},
		{"merged", "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - &a {name: a, image: x}\n  - {<<: *a, name: b}\n  - *a\n", "container a, container b, container a"},
	} {
		src := manifest.Source{Name: "f", Data: []byte(tt.text)}
		containers, err := Parse(src)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var got []string
		paths := map[string]bool{}
		for _, c := range containers {
			got = append(got, c.Kind+" "+c.Name)
			if paths[c.Path] {
				t.Errorf("%s: two are %s", tt.name, c.Path)
			}
			paths[c.Path] = true
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s, tt.want)
		}
		if l := Recognise("f", src.Data); l < manifest.Likely {
			t.Errorf("%s: recognised as %v", tt.name, l)
		}
	}
}

func TestFacts(t *testing.T) {
	text := `# Source: chart/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod}
spec:
  template:
    metadata:
      labels: {app: web}
      annotations: {container.apparmor.security.beta.kubernetes.io/main: unconfined}
    spec:
      hostNetwork: yes
      hostPID: false
      hostIPC: true
      securityContext: {runAsUser: 33, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, sysctls: [{name: a.b, value: "1"}], capabilities: {drop: [ALL]}}
      volumes:
      - {name: s, hostPath: {path: /var/run/docker.sock}}
      - {name: e, emptyDir: {}}
      containers:
      - name: main
        image: nginx:1
        ports: [{containerPort: 80, hostIP: 1.2.3.4, protocol: UDP}]
        volumeMounts: [{name: s, mountPath: /s, readOnly: true}, {name: e, mountPath: /e}]
        securityContext:
          capabilities: {add: ["NET_ADMIN"], drop: [KILL]}
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          runAsUser: 0
          procMount: Unmasked
          seLinuxOptions: {type: spc_t}
          seccompProfile: {type: Localhost, localhostProfile: p.json}
      - name: other
        image: '{{ .Values.image }}'
        securityContext: {privileged: "true"}
`
	containers, err := Parse(manifest.Source{Name: "f", Data: []byte(text)})
	if err != nil || len(containers) != 2 {
		t.Fatal(err, len(containers))
	}
	c, o := containers[0], containers[1]
	at := func(p manifest.Pos) string { return fmt.Sprintf("%d:%d %s", p.Line, p.Column, text[p.Start:p.End]) }
	for _, tt := range []struct{ what, got, want string }{
		{"name", at(c.At), "19:15 main"},
		{"owner", c.Owner.Kind + " " + c.Owner.Namespace + "/" + c.Owner.Name + " " + c.Owner.Source, "Deployment prod/web chart/templates/web.yaml"},
		{"image", c.Image.V + " " + at(c.Image.At), "nginx:1 20:16 nginx:1"},
		{"add", c.Caps[1].Word.V + " " + at(c.Caps[1].Word.At), `NET_ADMIN 24:32 "NET_ADMIN"`},
		{"drop", c.Caps[0].Word.V + " " + at(c.Caps[0].List), `KILL 24:52 [KILL]`},
		{"no new privileges", fmt.Sprint(c.NoNewPrivs.V, " ", at(c.NoNewPrivs.At)), "true 25:37 false"},
		{"user", c.User.V + " " + at(c.User.At), "0 27:22 0"},
		{"inherited user", o.User.V + " " + at(o.User.At), "33 14:36 33"},
		{"non-root", fmt.Sprint(c.NonRoot.V, o.NonRoot.V), "true true"},
		{"seccomp", c.Seccomp.V + " " + o.Seccomp.V, "localhost/p.json RuntimeDefault"},
		{"apparmor", c.AppArmor.V + " " + fmt.Sprint(o.AppArmor.State), "unconfined 0"},
		{"selinux", c.SELinux.V, "spc_t"},
		{"proc", c.ProcMount.V, "Unmasked"},
		{"read-only root", fmt.Sprint(c.ReadOnlyRoot.V), "true"},
		{"host", fmt.Sprint(c.Shares("net"), c.Shares("pid"), c.Shares("ipc")), "true false true"},
		{"mount", fmt.Sprint(c.Mounts[0].Type, " ", c.Mounts[0].Source.V, " ", c.Mounts[0].Target.V, " ", c.Mounts[0].ReadOnly.V, " ", c.Mounts[1].Type), "hostPath /var/run/docker.sock /s true emptyDir"},
		{"sensitive", fmt.Sprint(len(c.Sensitive()), len(o.Sensitive())), "1 0"},
		{"port", fmt.Sprint(c.Ports[0].Container, c.Ports[0].Host, c.Ports[0].HostIP, c.Ports[0].Protocol), "80 801.2.3.4udp"},
		{"label", c.Labels[0].Key + "=" + c.Labels[0].Value.V, "app=web"},
		{"sysctl", c.Sysctls[0].Key + "=" + c.Sysctls[0].Value.V, "a.b=1"},
		{"template", fmt.Sprint(o.Image.State, o.Image.Why), "2it is a template that is not rendered"},
		{"a string is no boolean", fmt.Sprint(o.Privileged.State, o.Privileged.Why), "2it is neither true nor false"},
		{"a pod has no capabilities", c.Facts[0].Key, "pod.capabilities"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"one of three documents", podOf("image: x\n") + "---\napiVersion: v1\nkind: Pod\nspec:\n  containers: [\n---\n" + podOf("image: y\n"), "1 f:"},
		{"containers", "apiVersion: v1\nkind: Pod\nspec:\n  containers: nginx\n", "0 f:4:15: containers: a list is needed"},
		{"a container", "apiVersion: v1\nkind: Pod\nspec:\n  containers: [nginx]\n", "0 f:4:16: containers: a mapping is needed"},
		{"spec", "apiVersion: v1\nkind: Pod\nspec: [containers]\n", "0 f:3:7: spec of Pod: a mapping is needed"},
		{"a list of capabilities", podOf("image: x\nsecurityContext:\n  capabilities:\n    add: NET_ADMIN\n"), "1 f:11:14: capabilities.add: a list is needed"},
		{"capabilities", podOf("image: x\nsecurityContext:\n  capabilities: [NET_ADMIN]\n"), "1 f:10:21: capabilities: a mapping with add and drop is needed"},
		{"a document that would not be read", "---\n" + jsonPod("a", "{}") + "\n" + jsonPod("b", "{}") + "\n---\n" + jsonPod("c", "{}"), "1 f:3:1: the document ends before this"},
		{"flow behind flow", "{apiVersion: v1, kind: Pod, spec: {containers: [{name: a}]}} {kind: Pod}", "0 f:1:62: the document ends before this"},
		{"json and garbage", jsonPod("a", "{}") + "\ngarbage\n", "1 f:2:1: no object, behind a JSON object"},
		{"json that is cut off", jsonPod("a", "{}") + "\n" + jsonPod("b", "{}") + "\n{\"apiVersion\"", "2 f:3:13: not JSON, behind several JSON objects"},
		{"a marker behind json objects", jsonPod("a", "{}") + "\n" + jsonPod("b", "{}") + "\n---\n" + jsonPod("c", "{}"), "2 f:3:1: a line of \"---\" behind several JSON objects"},
		{"deep", "apiVersion: v1\nkind: Pod\nspec:\n  containers: " + strings.Repeat("[", 5000) + "\n", "0 f:"},
	} {
		list, err := Parse(manifest.Source{Name: "f", Data: []byte(tt.text)})
		want := tt.want
		got := fmt.Sprint(len(list), " ", err)
		if tt.name == "one of three documents" {
			want = "2 f:"
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", tt.name, got, want)
		}
		for _, c := range list {
			if strings.Contains(tt.name, "capabilities") && c.CapsWhy == "" {
				t.Errorf("%s: its capabilities pass for known", tt.name)
			}
		}
	}
}

// TestBombs: what is made to cost more than it looks like costs little.
func TestBombs(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: x/v1\nkind: Bomb\na0: &a0 {name: x, image: y}\n")
	for i := range 30 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	b.WriteString("containers: *a1\n")
	src := manifest.Source{Name: "f", Data: []byte(b.String())}
	list, err := Parse(src)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	_, refused, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: set()}}})
	if len(refused) != 1 {
		t.Error(refused, err)
	}

	merges := "apiVersion: v1\nkind: Pod\nspec: &s\n  <<: [*s, *s, *s, *s]\n  containers: [{name: a, <<: *s}]\n"
	if _, err := Parse(manifest.Source{Name: "f", Data: []byte(merges)}); err != nil {
		t.Log(err)
	}
}

// TestHostile: files that are made to break a parser, or to keep it busy, get an error of
// their own or are read, and no container of theirs is made up.
func TestHostile(t *testing.T) {
	const head = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n"
	fill := func(head, s string) string { return head + strings.Repeat(s, (200<<10)/len(s)) }
	var steps strings.Builder
	steps.WriteString(head)
	for i := 4; i < 600; i++ {
		steps.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for _, tt := range []struct {
		name, text string
		containers int
		err        string
	}{
		{"huge", strings.Repeat("a", 100<<20), 0, "100 MiB: a file of container definitions has at most"},
		{"a huge document", fill(head, " ") + strings.Repeat("#", 4<<20), 0, "f:1:1: a document of 4 MiB"},
		{"very many documents", strings.Repeat("---\n", 100000), 0, "f:50001:1: more than"},
		{"very many JSON objects", strings.Repeat("{} ", 5<<20), 0, "f:1:150001: more than"},
		{"JSON values that are no objects", "{}" + strings.Repeat("1 ", 40000), 0, "f:1:3: no object"},
		{"JSON that is never closed", strings.Repeat(jsonPod("a", "{}")+"\n", 3000) + strings.Repeat("{\"a\":", 5000) + "\n", 3000, "f:3001:25001: not JSON, behind"},
		{"JSON that is wrong far on", strings.Repeat(jsonPod("a", "{}")+"\n", 3000) + "{\"a\":]}\n{}\n", 3000, "f:3001:6: not JSON, behind"},
		{"brackets", fill(head, "["), 0, "f:5:1:"},
		{"braces", fill(head, "{"), 0, "f:5:1:"},
		{"dashes", fill(head, "- "), 0, "f:5:1:"},
		{"question marks", fill(head, "? "), 0, "max depth"},
		{"steps", steps.String(), 0, "f:203:203: nested more than 200 deep"},
		{"quotes", fill(head, "'"), 0, "f:5:1:"},
		{"anchors", fill(head, "&a "), 0, "f:5:1:"},
		{"nothing", fill(head, "  -\n"), 0, ""},
		{"carriage returns", fill(head, "\r"), 0, ""},
		{"the same key", fill(head, "  a: b\n"), 0, ""},
		{"a mapping", fill(head, "    a: b\n"), 0, "containers: a list is needed"},
		{"aliases of nothing good", fill("x: &x 1\n"+head, "  - *x\n"), 0, "containers: a mapping is needed"},
		{"many of them", fill(head, "  - {name: a, image: b}\n"), (200 << 10) / len("  - {name: a, image: b}\n"), ""},
		{"UTF-16", "\xff\xfea\x00", 0, "UTF-16"},
	} {
		list, err := Parse(manifest.Source{Name: "f", Data: []byte(tt.text)})
		if len(list) != tt.containers || tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %d containers, %.200v", tt.name, len(list), err)
		}
		if n := len(manifest.Errors(err)); n > 2*maxErrors {
			t.Errorf("%s: %d errors", tt.name, n)
		}
	}
}

// An anchor that ties containers together is edited when all of them want the same, and
// not otherwise.
func TestAnchors(t *testing.T) {
	text := "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: x\n    securityContext: &sc\n      runAsUser: 0\n  - name: b\n    image: y\n    securityContext: *sc\n"
	src := manifest.Source{Name: "f", Data: []byte(text)}
	list, _ := Parse(src)
	want := manifest.Want{Exactly: set()}
	for _, one := range list {
		if _, refused, _ := manifest.Rewrite(&Format, src, []manifest.Change{{Container: one, Want: want}}); len(refused) != 1 || !strings.Contains(refused[0].Reason, "anchor sc is used by") {
			t.Errorf("%s alone: %v", one.Name, refused)
		}
	}
	files, refused, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: want}, {Container: list[1], Want: want}})
	if err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	after := strings.Replace(text, "      runAsUser: 0\n", "      runAsUser: 0\n      capabilities:\n        drop:\n        - ALL\n", 1)
	if d := cmp.Diff(after, string(files[0].After)); d != "" {
		t.Error(d)
	}
}

// BenchmarkHuge is a file of many documents.
func BenchmarkHuge(b *testing.B) {
	text := strings.Repeat("---\n"+podOf("image: x\nsecurityContext:\n  capabilities:\n    add: [NET_ADMIN]\n"), 5000)
	src := manifest.Source{Name: "f", Data: []byte(text)}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if list, err := Parse(src); len(list) != 5000 || err != nil {
			b.Fatal(len(list), err)
		}
	}
}
