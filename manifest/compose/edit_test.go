package compose

import (
	"strings"
	"testing"

	goccy "github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/formattest"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
)

func set(names ...caps.Cap) *caps.Set {
	s := caps.Of(names...)
	return &s
}

// rewrite gives the named services what is wanted ("" is all of them), twice.
func rewrite(t *testing.T, f files, want manifest.Want, services ...string) (files, []*manifest.Refusal) {
	t.Helper()
	src := f.source()
	pick := func(src manifest.Source) []manifest.Change {
		list, err := Parse(src)
		if err != nil {
			t.Logf("%v", err)
		}
		var changes []manifest.Change
		for _, c := range list {
			for _, s := range services {
				if s == "" || s == c.Name {
					changes = append(changes, manifest.Change{Container: c, Want: want})
				}
			}
		}
		return changes
	}
	changed, refused, err := manifest.Rewrite(&Format, src, pick(src))
	if err != nil {
		t.Fatal(err)
	}
	out := files{}
	for name, data := range f {
		out[name] = data
	}
	for _, c := range changed {
		out[c.Name] = string(c.After)
	}
	if again, _, err := manifest.Rewrite(&Format, out.source(), pick(out.source())); err != nil || len(again) > 0 {
		t.Errorf("a second run changes %v, %v", again, err)
	}
	return out, refused
}

func TestEdit(t *testing.T) {
	two := manifest.Want{Exactly: set(caps.Chown, caps.Kill), NoNewPrivs: true}
	none := manifest.Want{Exactly: set(), Unprivileged: true}
	for _, tt := range []struct {
		name          string
		want          manifest.Want
		services      string // those that change, "" for all
		before, after string // after "" is a refusal of all
	}{
		{"nothing there", two, "web",
			"services:\n  web:\n    image: x  # the image\n    ports:\n      - 80:80\n  other: {image: y}\n",
			"services:\n  web:\n    image: x  # the image\n    cap_drop:\n      - ALL\n    cap_add:\n      - CHOWN\n      - KILL\n    security_opt:\n      - no-new-privileges:true\n    ports:\n      - 80:80\n  other: {image: y}\n"},
		{"flow", two, "web",
			"services:\n  web: { image: x } # y\n",
			"services:\n  web: { image: x, cap_drop: [ALL], cap_add: [CHOWN, KILL], security_opt: [\"no-new-privileges:true\"] } # y\n"},
		{"json", two, "web",
			"{\n\t\"services\": {\n\t\t\"web\": {\n\t\t\t\"image\": \"x\"\n\t\t}\n\t}\n}\n",
			"{\n\t\"services\": {\n\t\t\"web\": {\n\t\t\t\"image\": \"x\",\n\t\t\t\"cap_drop\": [\"ALL\"],\n\t\t\t\"cap_add\": [\"CHOWN\", \"KILL\"],\n\t\t\t\"security_opt\": [\"no-new-privileges:true\"]\n\t\t}\n\t}\n}\n"},
		{"lists that are partly right", two, "web",
			"services:\n  web:\n    cap_add:\n    - SYS_TIME # no\n    - chown # files\n    - net_raw\n\n    # more\n    security_opt: [\"label:disable\"]\n    image: x\n",
			"services:\n  web:\n    cap_add:\n    - chown # files\n    - kill\n    cap_drop:\n    - ALL\n\n    # more\n    security_opt: [\"label:disable\", \"no-new-privileges:true\"]\n    image: x\n"},
		{"an own prefix", manifest.Want{Exactly: set(caps.Kill, caps.Chown)}, "web",
			"services:\n  web:\n    image: x\n    cap_drop: [ALL]\n    cap_add: ['CAP_KILL']\n",
			"services:\n  web:\n    image: x\n    cap_drop: [ALL]\n    cap_add: ['CAP_KILL', 'CAP_CHOWN']\n"},
		{"all goes", none, "web",
			"services:\n  web:\n    privileged: true # oh\n    cap_add:\n      - ALL\n    image: x",
			"services:\n  web:\n    privileged: false # oh\n    cap_drop:\n      - ALL\n    image: x"},
		{"privileged, in quotes", none, "web",
			"services:\n  web:\n    image: x\n    cap_drop: [all]\n    privileged: 'yes'\n",
			"services:\n  web:\n    image: x\n    cap_drop: [all]\n    privileged: false\n"},
		{"privileged", two, "web", "services:\n  web:\n    privileged: true\n    image: x\n", ""},
		{"no-new-privileges:false", manifest.Want{NoNewPrivs: true}, "web",
			"services:\n  web:\n    image: x\n    security_opt:\n      - \"no-new-privileges:false\"\n",
			"services:\n  web:\n    image: x\n    security_opt:\n      - \"no-new-privileges:true\"\n"},
		{"merged", two, "web",
			"x-a: &a\n  cap_add: [SYS_ADMIN, CHOWN]\n  security_opt: [label:disable]\nservices:\n  web:\n    <<: *a\n    image: x\n  other:\n    <<: *a\n    image: y\n",
			"x-a: &a\n  cap_add: [SYS_ADMIN, CHOWN]\n  security_opt: [label:disable]\nservices:\n  web:\n    <<: *a\n    image: x\n    cap_drop:\n      - ALL\n    cap_add:\n      - CHOWN\n      - KILL\n    security_opt:\n      - label:disable\n      - no-new-privileges:true\n  other:\n    <<: *a\n    image: y\n"},
		{"merged, and nothing wanted", none, "web",
			"x-a: &a\n  cap_add: [SYS_ADMIN]\n  cap_drop: [ALL]\n  privileged: true\nservices:\n  web:\n    <<: *a\n    image: x\n",
			"x-a: &a\n  cap_add: [SYS_ADMIN]\n  cap_drop: [ALL]\n  privileged: true\nservices:\n  web:\n    <<: *a\n    image: x\n    privileged: false\n    cap_add: []\n"},
		{"own, over merged", none, "web",
			"x-a: &a\n  cap_add: [SYS_ADMIN]\n  cap_drop: [ALL]\nservices:\n  web:\n    <<: *a\n    image: x\n    cap_add:\n    - KILL\n",
			"x-a: &a\n  cap_add: [SYS_ADMIN]\n  cap_drop: [ALL]\nservices:\n  web:\n    <<: *a\n    image: x\n    cap_add: []\n"},
		{"an alias of a list", two, "web",
			"x-caps: &caps [SYS_ADMIN, CHOWN]\nservices:\n  web:\n    image: x\n    cap_add: *caps  # those\n    cap_drop: [ALL]\n    security_opt: [no-new-privileges:true]\n",
			"x-caps: &caps [SYS_ADMIN, CHOWN]\nservices:\n  web:\n    image: x\n    cap_add: [CHOWN, KILL]  # those\n    cap_drop: [ALL]\n    security_opt: [no-new-privileges:true]\n"},
		{"others merge it", two, "web",
			"services:\n  web: &web\n    image: x\n  other:\n    <<: *web\n    image: y\n", ""},
		{"others merge it, and want the same", manifest.Want{Exactly: set()}, "",
			"services:\n  web: &web\n    image: x\n  other:\n    <<: *web\n    image: y\n",
			"services:\n  web: &web\n    image: x\n    cap_drop:\n      - ALL\n  other:\n    <<: *web\n    image: y\n    cap_drop:\n      - ALL\n"},
		{"others merge it, and have their own", manifest.Want{Exactly: set()}, "web",
			"services:\n  web: &web\n    image: x\n  other:\n    <<: *web\n    image: y\n    cap_drop: [KILL]\n",
			"services:\n  web: &web\n    image: x\n    cap_drop:\n      - ALL\n  other:\n    <<: *web\n    image: y\n    cap_drop: [KILL]\n"},
		{"an alias of a service", two, "other", "services:\n  web: &web\n    image: x\n  other: *web\n", ""},
		{"others extend it", two, "web", "services:\n  web:\n    image: x\n  other:\n    extends: web\n", ""},
		{"it extends, and adds", two, "other",
			"services:\n  web:\n    image: x\n    cap_add: [CHOWN]\n  other:\n    extends: {service: web}\n",
			"services:\n  web:\n    image: x\n    cap_add: [CHOWN]\n  other:\n    extends: {service: web}\n    cap_drop:\n      - ALL\n    cap_add:\n      - KILL\n    security_opt:\n      - no-new-privileges:true\n"},
		{"it extends, and takes away", two, "other",
			"services:\n  web:\n    image: x\n    cap_add: [SYS_ADMIN, KILL]\n  other:\n    extends: {service: web}\n",
			"services:\n  web:\n    image: x\n    cap_add: [SYS_ADMIN, KILL]\n  other:\n    extends: {service: web}\n    cap_drop:\n      - ALL\n    cap_add: !override\n      - KILL\n      - CHOWN\n    security_opt:\n      - no-new-privileges:true\n"},
		{"it extends, and takes own away, too", none, "other",
			"services:\n  web:\n    image: x\n    cap_add: [SYS_ADMIN]\n    cap_drop: [ALL]\n  other:\n    extends: {service: web}\n    cap_add: [KILL] # k\n",
			"services:\n  web:\n    image: x\n    cap_add: [SYS_ADMIN]\n    cap_drop: [ALL]\n  other:\n    extends: {service: web}\n    cap_add: !override []\n"},
		{"a variable", two, "web", "services:\n  web:\n    image: x\n    cap_add: [\"${CAP}\"]\n", ""},
		{"null lists", two, "web",
			"services:\n  web:\n    image: x\n    cap_add:   # none yet\n    cap_drop: ~\n    security_opt: []\n",
			"services:\n  web:\n    image: x\n    cap_add:   # none yet\n      - CHOWN\n      - KILL\n    cap_drop: [ALL]\n    security_opt: [\"no-new-privileges:true\"]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, eol := range []string{"\n", "\r\n"} {
				before := files{"compose.yaml": strings.ReplaceAll(tt.before, "\n", eol)}
				after, refused := rewrite(t, before, tt.want, tt.services)
				want := strings.ReplaceAll(tt.after, "\n", eol)
				if tt.after == "" {
					if len(refused) == 0 {
						t.Error("not refused")
					}
					for _, r := range refused {
						t.Log(r)
					}
					want = before["compose.yaml"]
				} else if len(refused) > 0 {
					t.Error(refused[0])
				}
				if d := cmp.Diff(want, after["compose.yaml"]); d != "" {
					t.Error(d)
				}
				if tt.after != "" && !strings.Contains(tt.name, "variable") {
					agree(t, after)
				}
			}
		})
	}
}

// Several files of one project: an edit is where the definition is.
func TestEditFiles(t *testing.T) {
	f := files{
		"compose.yaml":          "include: [lib/db.yaml]\nservices:\n  web:\n    image: x\n    cap_add: [NET_ADMIN, CHOWN]\n",
		"compose.override.yaml": "services:\n  web:\n    cap_add:\n      - SYS_TIME\n",
		"lib/db.yaml":           "services:\n  db:\n    image: y\n",
	}
	after, refused := rewrite(t, f, manifest.Want{Exactly: set(caps.Chown)}, "")
	for _, r := range refused {
		t.Error(r)
	}
	want := files{
		"compose.yaml":          "include: [lib/db.yaml]\nservices:\n  web:\n    image: x\n    cap_add: [CHOWN]\n",
		"compose.override.yaml": "services:\n  web:\n    cap_drop:\n      - ALL\n",
		"lib/db.yaml":           "services:\n  db:\n    image: y\n    cap_drop:\n      - ALL\n    cap_add:\n      - CHOWN\n",
	}
	if d := cmp.Diff(want, after); d != "" {
		t.Error(d)
	}
	agree(t, after)
}

// Services that extend each other, each to have its own: they are made independent.
func TestEditExtends(t *testing.T) {
	src := files{"compose.yaml": "services:\n  a:\n    image: x\n    cap_add: [KILL, NET_RAW]\n  b:\n    extends: a\n    cap_add:\n      - SYS_TIME\n      - CHOWN\n  c: {extends: {service: b}}\n"}
	list, err := Parse(src.source())
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	var changes []manifest.Change
	for i, s := range []*caps.Set{set(caps.Kill), set(caps.Chown), set()} {
		changes = append(changes, manifest.Change{Container: list[i], Want: manifest.Want{Exactly: s}})
	}
	out, refused, err := manifest.Rewrite(&Format, src.source(), changes)
	if err != nil || len(refused) > 0 || len(out) != 1 {
		t.Fatal(refused, err)
	}
	want := "services:\n  a:\n    image: x\n    cap_add: [KILL]\n    cap_drop:\n      - ALL\n  b:\n    extends: a\n    cap_add: !override\n      - CHOWN\n    cap_drop:\n      - ALL\n  c: {extends: {service: b}, cap_drop: [ALL], cap_add: !override []}\n"
	if d := cmp.Diff(want, string(out[0].After)); d != "" {
		t.Error(d)
	}
	agree(t, files{"compose.yaml": string(out[0].After)})
}

func TestCorrectAndRemove(t *testing.T) {
	src := files{"compose.yaml": "services:\n  web:\n    image: x\n    cap_add:\n      - 'NETADMIN' # typo\n      - KILL\n      - KILL # again\n"}.source()
	list, _ := Parse(src)
	c := list[0].Caps
	changes := []manifest.Change{{Container: list[0], Want: manifest.Want{
		Correct: []manifest.Correction{{At: c[0].Word.At, Word: "NET_ADMIN"}}, Remove: []manifest.Pos{c[2].Word.At}}}}
	out, refused, err := manifest.Rewrite(&Format, src, changes)
	if err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	want := "services:\n  web:\n    image: x\n    cap_add:\n      - 'NET_ADMIN' # typo\n      - KILL\n"
	if d := cmp.Diff(want, string(out[0].After)); d != "" {
		t.Error(d)
	}
}

func TestCorpus(t *testing.T) {
	services, edits := 0, 0
	for name, data := range testenv.Corpus(t, "compose/*.y*ml") {
		var v struct{ Services map[string]any }
		if err := goccy.Unmarshal(data, &v); err != nil {
			t.Errorf("%s: the other parser: %v", name, err)
		}
		for _, eol := range []string{"\n", "\r\n"} {
			text := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n", eol)
			src := manifest.Source{Name: name, Data: []byte(text)}
			list, err := Parse(src)
			if err != nil || len(list) != len(v.Services) {
				t.Errorf("%s: %d services, the other parser has %d: %v", name, len(list), len(v.Services), err)
			}
			services += len(list)
			var changes []manifest.Change
			for _, c := range list {
				changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: set(caps.Chown, caps.NetBindService), NoNewPrivs: true, Unprivileged: true}})
			}
			out, refused := formattest.EditAll(t, &Format, src, changes)
			for _, r := range refused {
				t.Error(r)
			}
			if len(out) != 1 {
				t.Errorf("%s: %d files changed", name, len(out))
				continue
			}
			edits += len(out[0].Edits)
		}
	}
	t.Logf("%d services, %d edits", services, edits)
}

// TestVerify: an edit that does more than it was asked for is found out.
func TestVerify(t *testing.T) {
	before := "services:\n  web:\n    image: x\n    environment: [A=b]\n  db:\n    image: y\n"
	good := strings.Replace(before, "image: x\n", "image: x\n    cap_drop: [ALL]\n", 1)
	src := manifest.Source{Name: "f", Data: []byte(before)}
	list, _ := Parse(src)
	changes := []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: set()}}}
	for _, tt := range []struct {
		name, after string
		ok          bool
	}{
		{"as wanted", good, true},
		{"not done", before, false},
		{"another set", strings.Replace(good, "[ALL]", "[ALL]\n    cap_add: [KILL]", 1), false},
		{"something that is no fact", strings.Replace(good, "A=b", "A=c", 1), false},
		{"privileged", strings.Replace(good, "image: x", "image: x\n    privileged: true", 1), false},
		{"the other service", strings.Replace(good, "image: y", "image: y\n    cap_drop: [ALL]", 1), false},
		{"an anchor", strings.Replace(good, "services:", "x-a: 1\nservices:", 1), false},
		{"a comment", "# c\n" + good, true},
	} {
		if err := Verify(src, manifest.Source{Name: "f", Data: []byte(tt.after)}, changes); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
