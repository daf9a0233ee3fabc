package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/formattest"
	"github.com/leastcap/leastcap/manifest"
)

func set(names ...caps.Cap) *caps.Set {
	s := caps.Of(names...)
	return &s
}

// podOf puts a container's lines into a pod.
func podOf(container string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: c\n")
	for line := range strings.Lines(container) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// jsonPod is a pod as one line of JSON, without its end.
func jsonPod(name, securityContext string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"containers":[{"name":%[1]q,"image":"x","securityContext":%s}]}}`, name, securityContext)
}

// TestEditStream: of JSON objects one behind the other those that are not to change keep every byte.
func TestEditStream(t *testing.T) {
	const edited = `{"capabilities": {"drop": ["ALL"], "add": ["KILL"]}}`
	pretty := func(text string) string {
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(text), "", "    "); err != nil {
			t.Fatal(err)
		}
		return b.String() + "\n"
	}
	for _, tt := range []struct {
		name          string
		before, after string
	}{
		{"on one line", jsonPod("a", "{}") + jsonPod("b", "{}") + jsonPod("c", "{}"), jsonPod("a", "{}") + jsonPod("b", edited) + jsonPod("c", "{}")},
		{"lines", jsonPod("a", "{}") + "\r\n" + jsonPod("b", "{}") + "\r\n\r\n", jsonPod("a", "{}") + "\r\n" + jsonPod("b", edited) + "\r\n\r\n"},
		{"as kubectl prints it", pretty(jsonPod("a", `{"x":"y"}`)) + pretty(jsonPod("b", `{}`)) + pretty(jsonPod("c", `{}`)),
			pretty(jsonPod("a", `{"x":"y"}`)) + strings.Replace(pretty(jsonPod("b", `{}`)), "{}", edited, 1) + pretty(jsonPod("c", `{}`))},
		{"yaml behind json", jsonPod("a", "{}") + " apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: b\n    image: x",
			jsonPod("a", "{}") + " apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: b\n    image: x\n    securityContext:\n      capabilities:\n        drop:\n        - ALL\n        add:\n        - KILL"},
	} {
		src := manifest.Source{Name: "f", Data: []byte(tt.before)}
		list, err := Parse(src)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		i := slices.IndexFunc(list, func(c *manifest.Container) bool { return c.Name == "b" })
		if list[i].Path != "#2 spec.containers.0" {
			t.Errorf("%s: b is at %s", tt.name, list[i].Path)
		}
		files, refused := formattest.EditAll(t, &Format, src, []manifest.Change{{Container: list[i], Want: manifest.Want{Exactly: set(caps.Kill)}}})
		if len(files) != 1 || len(refused) > 0 {
			t.Errorf("%s: %d files, %v", tt.name, len(files), refused)
			continue
		}
		if diff := cmp.Diff(tt.after, string(files[0].After)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestEdit(t *testing.T) {
	two := set(caps.Chown, caps.Kill)
	for _, tt := range []struct {
		name         string
		want         manifest.Want
		before, edit string // of the container; edit "" means a refusal
	}{
		{"nothing there", manifest.Want{Exactly: two, NoNewPrivs: true},
			"image: x # the image\nports: []\n",
			"image: x # the image\nsecurityContext:\n  allowPrivilegeEscalation: false\n  capabilities:\n    drop:\n    - ALL\n    add:\n    - CHOWN\n    - KILL\nports: []\n"},
		{"no end of line", manifest.Want{Exactly: set()},
			"image: x",
			"image: x\nsecurityContext:\n  capabilities:\n    drop:\n    - ALL"},
		{"an empty context", manifest.Want{Exactly: set()},
			"securityContext:   # to do\nimage: x\n",
			"securityContext:   # to do\n  capabilities:\n    drop:\n    - ALL\nimage: x\n"},
		{"empty braces", manifest.Want{Exactly: two},
			"securityContext: {} # c\nimage: x\n",
			"securityContext: {capabilities: {drop: [ALL], add: [CHOWN, KILL]}} # c\nimage: x\n"},
		{"lists that are partly right", manifest.Want{Exactly: two},
			"securityContext:\n  capabilities:\n    add: # why\n    - NET_ADMIN # a\n    - \"CHOWN\" # b\n    - SYS_TIME\n    # c\n  runAsUser: 0\nimage: x\n",
			"securityContext:\n  capabilities:\n    add: # why\n    - \"CHOWN\" # b\n    - KILL\n    drop:\n    - ALL\n    # c\n  runAsUser: 0\nimage: x\n"},
		{"flow lists", manifest.Want{Exactly: two},
			"securityContext: {capabilities: {add: [NET_ADMIN, CHOWN, SYS_TIME], drop: [all]}}\nimage: x\n",
			"securityContext: {capabilities: {add: [CHOWN, KILL], drop: [ALL]}}\nimage: x\n"},
		{"a flow mapping that ends in no value", manifest.Want{Exactly: set()}, // {add:, …} has the key "add:" in YAML 1.1
			"securityContext: {capabilities: {add: }}\nimage: x\n",
			"securityContext: {capabilities: {add: , drop: [ALL] }}\nimage: x\n"},
		{"one that is left with no value", manifest.Want{Exactly: set(), NoNewPrivs: true},
			"securityContext: {capabilities: {drop: [ALL]}, privileged: , allowPrivilegeEscalation: }\nimage: x\n",
			"securityContext: {capabilities: {drop: [ALL]}, privileged: , allowPrivilegeEscalation: false }\nimage: x\n"},
		{"a flow list in a block", manifest.Want{Exactly: two},
			"securityContext:\n  capabilities:\n    add: ['CAP_CHOWN', 'SYS_TIME']  # t\nimage: x\n",
			"securityContext:\n  capabilities:\n    add: ['CHOWN', 'KILL']  # t\n    drop:\n    - 'ALL'\nimage: x\n"},
		{"only an add that goes", manifest.Want{Exactly: set()},
			"securityContext:\n  capabilities:\n    add:\n    - SYS_TIME\n    - KILL # k\nimage: x\n",
			"securityContext:\n  capabilities:\n    drop:\n    - ALL\nimage: x\n"},
		{"an add that goes, beside a drop", manifest.Want{Exactly: set()},
			"securityContext:\n  capabilities:\n    add: [SYS_TIME]\n    drop:\n    - ALL\n    - KILL\nimage: x\n",
			"securityContext:\n  capabilities:\n    drop:\n    - ALL\nimage: x\n"},
		{"right already", manifest.Want{Exactly: two, NoNewPrivs: true, Unprivileged: true},
			"securityContext:\n  allowPrivilegeEscalation: false\n  capabilities: {drop: [ALL], add: [KILL, CHOWN]}\nimage: x\n",
			"securityContext:\n  allowPrivilegeEscalation: false\n  capabilities: {drop: [ALL], add: [KILL, CHOWN]}\nimage: x\n"},
		{"the last thing is text", manifest.Want{Exactly: set()},
			"args:\n- |+\n  text\n\n\nimage: x\ncommand:\n- |\n  more\n\n",
			"args:\n- |+\n  text\n\n\nimage: x\nsecurityContext:\n  capabilities:\n    drop:\n    - ALL\ncommand:\n- |\n  more\n\n"},
		{"privileged, to be not", manifest.Want{Exactly: two, Unprivileged: true},
			"securityContext:\n  privileged: true # !\nimage: x\n",
			"securityContext:\n  privileged: false # !\n  capabilities:\n    drop:\n    - ALL\n    add:\n    - CHOWN\n    - KILL\nimage: x\n"},
		{"privileged", manifest.Want{Exactly: two}, "securityContext:\n  privileged: true\nimage: x\n", ""},
		{"no escalation, and SYS_ADMIN", manifest.Want{NoNewPrivs: true}, "securityContext:\n  capabilities:\n    add: [SYS_ADMIN]\nimage: x\n", ""},
		{"a template", manifest.Want{Exactly: two}, "securityContext:\n  capabilities:\n    add: ['{{ .Values.cap }}']\nimage: x\n", ""},
		{"two keys", manifest.Want{Exactly: two}, "securityContext: {}\nsecurityContext:\n  runAsUser: 0\nimage: y\n", ""},
		{"two keys elsewhere", manifest.Want{Exactly: set()}, "image: x\nimage: y\n",
			"image: x\nimage: y\nsecurityContext:\n  capabilities:\n    drop:\n    - ALL\n"},
		{"inner and outer end at one place", manifest.Want{Exactly: two, NoNewPrivs: true},
			"image: x\nsecurityContext:\n  capabilities:\n    drop: [ALL]\n",
			"image: x\nsecurityContext:\n  capabilities:\n    drop: [ALL]\n    add:\n    - CHOWN\n    - KILL\n  allowPrivilegeEscalation: false\n"},
		{"null lists", manifest.Want{Exactly: two},
			"image: x\nsecurityContext:\n  capabilities:\n    drop:\n    add: ~\n",
			"image: x\nsecurityContext:\n  capabilities:\n    drop:\n    - ALL\n    add: [CHOWN, KILL]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, eol := range []string{"\n", "\r\n"} {
				before := strings.ReplaceAll(podOf(tt.before), "\n", eol)
				src := manifest.Source{Name: "f.yaml", Data: []byte(before)}
				list, err := Parse(src)
				if !strings.HasPrefix(tt.name, "two keys") && err != nil || len(list) != 1 {
					t.Fatal(list, err)
				}
				files, refused, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: tt.want}})
				if err != nil {
					t.Fatal(err)
				}
				if tt.edit == "" {
					if len(refused) != 1 || len(files) != 0 {
						t.Fatalf("not refused: %v", files)
					}
					t.Log(refused[0])
					continue
				}
				if len(refused) > 0 {
					t.Fatal(refused[0])
				}
				after := before
				if len(files) > 0 {
					after = string(files[0].After)
				}
				if d := cmp.Diff(strings.ReplaceAll(podOf(tt.edit), "\n", eol), after); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// TestVerify: an edit that does more than it was asked for is found out.
func TestVerify(t *testing.T) {
	before := podOf("image: x\nsecurityContext:\n  runAsUser: 1\n") + "  - name: d\n    image: y\n"
	good := strings.Replace(before, "      runAsUser: 1\n", "      runAsUser: 1\n      capabilities: {drop: [ALL]}\n", 1)
	src := manifest.Source{Name: "f", Data: []byte(before)}
	list, _ := Parse(src)
	changes := []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: set()}}}
	for _, tt := range []struct {
		name, after string
		ok          bool
	}{
		{"as wanted", good, true},
		{"not done", before, false},
		{"another set", strings.Replace(good, "drop: [ALL]", "drop: [ALL], add: [KILL]", 1), false},
		{"the user, too", strings.Replace(good, "runAsUser: 1", "runAsUser: 0", 1), false},
		{"something that is no fact", strings.Replace(good, "metadata:", "metadata:\n  finalizers: [x]", 1), false},
		{"something else in the securityContext", strings.Replace(good, "runAsUser: 1", "runAsUser: 1\n      privileged: true", 1), false},
		{"the other container", strings.Replace(good, "image: y", "image: y\n    securityContext: {capabilities: {drop: [ALL]}}", 1), false},
		{"a container more", good + "  - name: e\n    image: z\n", false},
		{"a comment", "# c\n" + good, true},
	} {
		if err := Verify(src, manifest.Source{Name: "f", Data: []byte(tt.after)}, changes); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// What is left behind a colon without a value must not become a part of the key for
// Kubernetes' parser, which is of YAML 1.1.
func TestNothingBehindColon(t *testing.T) {
	src := manifest.Source{Name: "p.yaml", Data: []byte(podOf("image: x\nsecurityContext: {capabilities: {add: , drop: [KILL]}}\n"))}
	list, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	files, refused, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: manifest.Want{Remove: []manifest.Pos{list[0].Caps[0].Word.At}}}})
	if err != nil || len(refused) > 0 || len(files) != 1 {
		t.Fatal(files, refused, err)
	}
	data, err := k8syaml.YAMLToJSON(files[0].After)
	if err != nil || !strings.Contains(string(data), `{"add":null}`) {
		t.Errorf("%s\n%s, %v", files[0].After, data, err)
	}
}
