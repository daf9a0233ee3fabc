package compose

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/manifest"
)

func TestRecognise(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       manifest.Likelihood
	}{
		{"compose.yaml", "services:\n  a: {image: x}\n", manifest.Sure},
		{"stack/my-compose.prod.yml", "version: '3'\nservices:\n  a: {image: x}\n", manifest.Sure},
		{"any.txt", "\ufeffservices:\r\n  a:\r\n    build: .\r\n", manifest.Likely},
		{"a.json", `{"services": {"a": {"image": "x"}}}`, manifest.Likely},
		{"compose.yaml", "include: [a.yaml]\n", manifest.Likely},
		{"a.yaml", "services:\n  x: y\n", manifest.Maybe},
		{"a.yaml", "on: push\njobs:\n  a:\n    services: {db: {image: x}}\n", manifest.No},
		{"compose.yaml", "# services\n", manifest.No},
		{".travis.yml", "services:\n  - docker\nscript: docker build -t image:1 .\n", manifest.No},
		{".gitlab-ci.yml", "services: # of all jobs\n\n  # the first\n- docker:dind\nbuild: {image: x}\n", manifest.No},
		{"a.yaml", "services: [docker]\nbuild: {image: x}\n", manifest.No},
		{"compose.yaml", "services: [docker]\n", manifest.Sure},
		{"nsswitch.conf", "protocols: db files\nservices:       db files\n", manifest.No},
		{"a.yaml", "services: &all # these\n  a: {image: x}\n", manifest.Likely},
		{"", "", manifest.No},
	} {
		if got := Recognise(tt.name, []byte(tt.text)); got != tt.want {
			t.Errorf("%s %q: %v, want %v", tt.name, tt.text, got, tt.want)
		}
	}
}

func TestPlaces(t *testing.T) {
	f := files{
		"compose.yaml":          "name: shop\nx-c: &c [\"KILL\"]\nservices:\n  web:\n    extends: {file: lib/base.yaml, service: base}\n    cap_drop: *c\n    user: '${U:-1:2}'\n",
		"compose.override.yaml": "services:\n  web:\n    cap_add: [cap_chown]\n",
		"lib/base.yaml":         "services:\n  base:\n    image: x\n    cap_add:\n      - NET_RAW # here\n",
	}
	list, err := Parse(f.source())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	c := list[0]
	at := func(p manifest.Pos) string { return fmt.Sprintf("%v %s", p, f[p.File][p.Start:p.End]) }
	for _, tt := range []struct{ what, got, want string }{
		{"service", at(c.At), "compose.yaml:4:3 web"},
		{"owner", c.Owner.Name + " " + at(c.Owner.At), "shop compose.yaml:1:7 shop"},
		{"image", at(c.Image.At), "lib/base.yaml:3:12 x"},
		{"user", c.User.V + " " + c.User.Raw + " " + at(c.User.At), "1:2 ${U:-1:2} compose.yaml:7:11 '${U:-1:2}'"},
		{"drop, where the anchor is", c.Caps[0].Word.V + " " + at(c.Caps[0].Word.At), `KILL compose.yaml:2:10 "KILL"`},
		{"add, extended", at(c.Caps[1].Word.At), "lib/base.yaml:5:9 NET_RAW"},
		{"add, overriding", at(c.Caps[2].Word.At), "compose.override.yaml:3:15 cap_chown"},
		{"path", c.Path, "services.web"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}

	// Files that the user names take the place of the one beside it.
	named := f.source()
	named.Over = []string{"prod/a.yaml", "prod/b.yaml"}
	f["prod/a.yaml"] = "services:\n  web: {cap_add: [SETUID], volumes: [./d:/d]}\n"
	f["prod/b.yaml"] = "services:\n  web: {cap_add: !override [KILL]}\n  more: {image: y}\n"
	if list, err := Parse(named); err != nil || len(list) != 2 || len(list[0].Caps) != 2 || list[0].Caps[1].Word.V != "KILL" || list[0].Mounts[0].Source.V != "d" {
		t.Errorf("named files: %d services, %v", len(list), err)
	}

	// The file that overrides is part of the project, not one of its own.
	over := f.source()
	over.Name, over.Data = "compose.override.yaml", []byte(f["compose.override.yaml"])
	if list, err := Parse(over); len(list) != 0 || err != nil {
		t.Errorf("the override alone: %d services, %v", len(list), err)
	}
}

func TestHooksAndJobs(t *testing.T) {
	list, err := Parse(manifest.Source{Name: "c.yml", Data: []byte("services:\n  web:\n    image: x\n    pre_start:\n      - {command: a, privileged: true}\n      - {command: b, image: y, cap_add: [KILL]}\n    post_start:\n      - {command: c, privileged: true}\n  model: {provider: {type: model}}\n  gone: null\njobs:\n  night: {image: z}\n")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		got = append(got, fmt.Sprint(c.Kind, " ", c.Name, " ", c.Image.V, " ", c.Privileged.V, " ", len(c.Caps)))
	}
	want := "service web x false 0; init container web pre_start 1 x true 0; init container web pre_start 2 y false 1; job night z false 0"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
	if list[0].Facts[0].Key != "post_start.privileged" {
		t.Errorf("%+v", list[0].Facts)
	}
}

func TestBroken(t *testing.T) {
	var chain strings.Builder
	chain.WriteString("services:\n  s0: {image: x}\n")
	for i := range 3000 {
		fmt.Fprintf(&chain, "  s%d: {extends: s%d}\n", i+1, i)
	}
	circle := files{"compose.yaml": "include: [a.yaml]\n", "a.yaml": "include: [b.yaml]\n", "b.yaml": "include: [a.yaml, compose.yaml]\nservices: {x: {image: y}}\n"}
	wide := files{"compose.yaml": "include: [l0.yaml, l0.yaml]\n"}
	for i := range 40 {
		wide[fmt.Sprintf("l%d.yaml", i)] = fmt.Sprintf("include: [l%d.yaml, l%d.yaml]\n", i+1, i+1)
	}
	wide["l40.yaml"] = "services: {a: {image: x}}\n"
	for _, tt := range []struct {
		name string
		files
		services int
		err      string
	}{
		{"services", files{"compose.yaml": "services: [web]\n"}, 0, "compose.yaml:1:11: services: a mapping is needed"},
		{"a service", files{"compose.yaml": "services:\n  web: nginx\n  db: {image: x}\n"}, 1, "compose.yaml:2:8: services.web: a mapping is needed"},
		{"a list", files{"compose.yaml": "services:\n  web: {image: x, cap_add: KILL}\n"}, 1, "compose.yaml:2:28: cap_add: a list is needed"},
		{"extends itself", files{"compose.yaml": "services:\n  a: {extends: b}\n  b: {extends: a}\n"}, 2, "extends itself"},
		{"extends nobody", files{"compose.yaml": "services:\n  a: {extends: b}\n"}, 1, "compose.yaml:2:16: extends: there is no service b in compose.yaml"},
		{"includes nothing", files{"compose.yaml": "include: [x.yaml]\nservices:\n  a: {image: b}\n"}, 1, "compose.yaml:1:11: x.yaml cannot be read"},
		{"a circle of files", circle, 1, "includes itself"},
		{"a tree of files", wide, 0, "include each other"},
		{"a long chain", files{"compose.yaml": chain.String()}, 0, "too many services"},
		{"an included file is broken", files{"compose.yaml": "include: [x.yaml]\nservices:\n  a: {image: b}\n", "x.yaml": "a: [\n"}, 1, "x.yaml:1:5: did not find expected node content"},
		{"two documents", files{"compose.yaml": "services:\n  a: {image: b}\n---\nservices: {c: {image: d}}\n"}, 1, "compose.yaml:3:1: a second document"},
		{"no mapping", files{"compose.yaml": "- services:\n"}, 0, "compose.yaml:1:1: a Compose file is a mapping"},
		{"a bad variable", files{"compose.yaml": "services:\n  a: {image: \"${\"}\n"}, 1, ""},
		{"a bad .env", files{"compose.yaml": "services:\n  a: {image: x}\n", ".env": "A='\n"}, 1, ".env:1:1: a quote is not closed"},
		{"a quote in .env", files{"compose.yaml": "services:\n  a: {image: x}\n", ".env": "# c\r\n\r\nA=1\r\nB='2\r\nC=3\r\n"}, 1, ".env:4:1: a quote is not closed"},
		{"a character in .env", files{"compose.yaml": "services:\n  a: {image: x}\n", ".env": "# c\n\nA='1\n2'\nB!=secret\n"}, 1, `.env:5:1: unexpected character "!" in variable name`},
		{"a blank in .env", files{"compose.yaml": "services:\n  a: {image: x}\n", ".env": "\nA=1\nB C=2\n"}, 1, ".env:3:1: key cannot contain a space"},
	} {
		list, err := Parse(tt.files.source())
		if tt.services > 0 && len(list) != tt.services || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && err != nil {
			t.Errorf("%s: %d services, %.300v", tt.name, len(list), err)
		}
		if n := len(manifest.Errors(err)); n > 2*maxErrors {
			t.Errorf("%s: %d errors", tt.name, n)
		}
		for _, c := range list {
			if _, err := c.Given(""); strings.Contains(tt.name, "extends") && err == nil {
				t.Errorf("%s: %s is known", tt.name, c.Name)
			}
		}
	}
}

func BenchmarkParse(b *testing.B) {
	src := files{"compose.yaml": "x-c: &c\n  cap_drop: [ALL]\nservices:\n"}.source()
	var text strings.Builder
	text.Write(src.Data)
	for i := range 20 {
		fmt.Fprintf(&text, "  s%d:\n    <<: *c\n    image: x:${TAG:-1}\n    cap_add: [CHOWN, KILL]\n    volumes: [\"./d:/d:ro\"]\n    ports: [\"80%02d:80\"]\n", i, i)
	}
	src.Data = []byte(text.String())
	b.SetBytes(int64(len(src.Data)))
	for b.Loop() {
		if list, err := Parse(src); len(list) != 20 || err != nil {
			b.Fatal(err)
		}
	}
}
