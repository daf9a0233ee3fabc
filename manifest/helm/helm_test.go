package helm_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"text/template"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/helm"
)

// chart has one template, and values; more are files.
func chart(template, values string, more ...string) fstest.MapFS {
	files := fstest.MapFS{
		"Chart.yaml":            {Data: []byte("apiVersion: v2\nname: web\nversion: 0.1.0\n")},
		"templates/d.yaml":      {Data: []byte(template)},
		"templates/NOTES.txt":   {Data: []byte("{{ .Values.x }} is not YAML: {{- if")},
		"templates/tests/a.txt": {Data: []byte("x")},
	}
	if values != "" {
		files["values.yaml"] = &fstest.MapFile{Data: []byte(values)}
	}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	return files
}

// show is KEY@PLACE, + if it is not written yet, and the template's place.
func show(o *manifest.Origin) string {
	var parts []string
	for _, k := range o.Keys {
		at := fmt.Sprintf("%s:%d:%d", strings.TrimPrefix(k.At.File, "c/"), k.At.Line, k.At.Column)
		if k.At.IsZero() {
			at = "nowhere"
		}
		if !k.Written {
			at += "+"
		}
		parts = append(parts, k.Key+"@"+at)
	}
	if o.Why != "" {
		parts = append(parts, o.Why)
	}
	return fmt.Sprintf("%s <- %s:%d", strings.Join(parts, " or "), strings.TrimPrefix(o.Template.File, "c/"), o.Template.Line)
}

const head = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include \"web.name\" . }}\nspec:\n  template:\n    spec:\n      containers:\n"

const helpers = `{{- define "web.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- define "web.security" -}}
{{- $adapted := .secContext -}}
{{- if .secContext.legacy }}
{{- $adapted = omit $adapted "legacy" -}}
{{- end }}
{{- omit $adapted "enabled" | toYaml -}}
{{- end -}}
{{- define "web.container" -}}
name: web
securityContext:
  {{- toYaml .Values.main.securityContext | nindent 2 }}
{{- end }}
`

func TestOrigin(t *testing.T) {
	capabilities := []string{"spec", "template", "spec", "containers", "0", "securityContext", "capabilities"}
	add := append(capabilities[:7:7], "add")
	for _, tt := range []struct {
		name   string
		files  fstest.MapFS
		source string
		path   []string
		want   string
	}{
		{"as helm create writes it", chart(head+"        - name: {{ .Chart.Name }}\n          {{- with .Values.securityContext }}\n          securityContext:\n            {{- toYaml . | nindent 12 }}\n          {{- end }}\n          image: \"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\"\n",
			"image: {}\nsecurityContext:\n  # why\n  capabilities:\n    drop: [ALL]\n"), "", capabilities, "securityContext.capabilities@values.yaml:4:3 <- templates/d.yaml:12"},
		{"the list in it", chart(head+"        - name: web\n          securityContext: {{ toYaml .Values.securityContext | nindent 12 }}\n", "securityContext: {capabilities: {add: [X]}}\n"), "", add,
			"securityContext.capabilities.add@values.yaml:1:34 <- templates/d.yaml:10"},
		{"not written yet", chart(head+"        - name: web\n          securityContext:\n{{ toYaml .Values.a.security | indent 12 }}\n", "a:\n  b: 1\n"), "", capabilities,
			"a.security.capabilities@values.yaml:1:1+ <- templates/d.yaml:11"},
		{"without values", chart(head+"        - name: web\n          securityContext:\n            capabilities:\n              add: {{ .Values.add }}\n", ""), "", add, "add@nowhere+ <- templates/d.yaml:12"},
		{"a range over a list", chart(head+"        - name: web\n          securityContext:\n            capabilities:\n              add:\n              {{- range $i, $c := .Values.caps }}\n              - {{ $c | quote }}\n              {{- end }}\n", "caps: [A]\n"), "", add,
			"caps[]@values.yaml:1:1+ <- templates/d.yaml:14"},
		{"by a named template and a dict", chart(head+"        - name: web\n          {{- if .Values.web.containerSecurityContext.enabled }}\n          securityContext: {{- include \"web.security\" (dict \"secContext\" .Values.web.containerSecurityContext \"context\" $) | nindent 12 }}\n          {{- end }}\n",
			"web:\n  containerSecurityContext:\n    enabled: true\n    capabilities: {drop: [ALL]}\n"), "", capabilities, "web.containerSecurityContext.capabilities@values.yaml:4:5 <- templates/_helpers.tpl:9"},
		{"a whole container by a named template", chart(head+"        - {{- include \"web.container\" . | nindent 10 }}\n", "main: {securityContext: {}}\n"), "", capabilities,
			"main.securityContext.capabilities@values.yaml:1:8+ <- templates/_helpers.tpl:14"},
		{"of several values", chart(head+"        - name: web\n          securityContext:\n            {{- toYaml (default .Values.global.sec .Values.sec) | nindent 12 }}\n", "sec: {}\n"), "", capabilities,
			"sec.capabilities@values.yaml:1:1+ or global.sec.capabilities@nowhere+ <- templates/d.yaml:11"},
		{"by a variable", chart(head+"        {{- $v := .Values.web -}}\n        {{- with $v.security }}\n        - name: web\n          securityContext: {{ $v.security | toJson }}\n        {{- end }}\n", "web: {security: {}}\n"), "", capabilities,
			"web.security.capabilities@values.yaml:1:7+ <- templates/d.yaml:12"},
		{"index", chart(head+"        - name: web\n          securityContext: {{ index .Values \"a.b\" \"c\" | toYaml | nindent 12 }}\n", "a.b: {c: {}}\n"), "", capabilities,
			`a\.b.c.capabilities@values.yaml:1:7+ <- templates/d.yaml:10`},
		{"two branches", chart(head+"        - name: web\n          {{- if .Values.strict }}\n          securityContext:\n            capabilities: {drop: [ALL]}\n          {{- else }}\n          securityContext:\n            capabilities: {{ toYaml .Values.caps | nindent 14 }}\n          {{- end }}\n", "caps: {}\n"), "", capabilities,
			"caps@values.yaml:1:1 <- templates/d.yaml:15"},
		{"the right one of two containers", chart(head+"        - name: proxy\n          securityContext: {{ toYaml .Values.proxy | nindent 12 }}\n        - name: {{ .Chart.Name }}\n          securityContext: {{ toYaml .Values.own | nindent 12 }}\n", "own: {}\nproxy: {}\n"), "", capabilities,
			"own.capabilities@values.yaml:1:1+ <- templates/d.yaml:12"},
		{"two that cannot be told apart", chart(head+"        - name: {{ .Values.a }}\n          securityContext: {{ toYaml .Values.x | nindent 12 }}\n        - name: {{ .Values.b }}\n          securityContext: {{ toYaml .Values.y | nindent 12 }}\n", "x: {}\n"), "", capabilities,
			"the template has no container web of a Deployment that could be told <- templates/d.yaml:1"},
		{"the list is a value", chart(head+"{{ toYaml .Values.containers | indent 8 }}\n", "containers: []\n"), "", capabilities,
			"containers.0.securityContext.capabilities@values.yaml:1:1+ <- templates/d.yaml:9"},
		{"a range over containers", chart(head+"      {{- range .Values.all }}\n      - name: {{ .name }}\n        securityContext: {{- toYaml .security | nindent 10 }}\n      {{- end }}\n", "all: []\n"), "", capabilities,
			"all[].security.capabilities@values.yaml:1:1+ <- templates/d.yaml:11"},
		{"in the template itself", chart(head+"        - name: web\n          securityContext:\n            capabilities:\n              add: [NET_ADMIN]\n", "x: 1\n"), "", add, "it is written in the template itself <- templates/d.yaml:12"},
		{"nothing for it", chart(head+"        - name: web\n          securityContext:\n            runAsUser: 5\n", "x: 1\n"), "", capabilities,
			"the template has no value for it: capabilities would be put in there <- templates/d.yaml:10"},
		{"worked out", chart(head+"        - name: web\n          securityContext: {{ .Files.Get \"x\" | nindent 12 }}\n", "x: 1\n"), "", capabilities,
			"the template works it out, and not from a value alone <- templates/d.yaml:10"},
		{"several documents", chart("kind: Service\nspec: {{ .Values.s }}\n---\n"+head+"        - name: web\n          securityContext: {{ toYaml .Values.d | nindent 12 }}\n---\nkind: CronJob\nspec:\n  template:\n    spec:\n      containers:\n        - name: web\n          securityContext: {{ .Values.no }}\n", "d: {}\n"), "", capabilities,
			"d.capabilities@values.yaml:1:1+ <- templates/d.yaml:13"},
		{"a block scalar before it", chart("metadata:\n  annotations:\n    x: |\n      spec:\n        containers: {{ .Values.no }}\n"+strings.Replace(head, "metadata:\n", "labels:\n", 1)+"        - name: web\n          securityContext: {{ toJson .Values.d }}\n", "d: {}\n"), "", capabilities,
			"d.capabilities@values.yaml:1:1+ <- templates/d.yaml:15"},
		{"a template that is not there", chart("", ""), "web/templates/gone.yaml", capabilities, "templates/gone.yaml is not in c <- :0"},
		{"a template that cannot be read", chart("{{ if }", ""), "", capabilities, "the template cannot be read: template: templates/d.yaml:1: unexpected \"}\" in if <- templates/d.yaml:0"},
		{"a named template of another chart", chart(head+"        - name: web\n          securityContext: {{ include \"common.x\" . | nindent 12 }}\n", ""), "", capabilities,
			"the template includes common.x, which is not in the chart <- templates/d.yaml:0"},
		{"one that includes itself", chart("{{- define \"a\" }}{{ include \"a\" . }}{{ end }}{{ include \"a\" . }}"+head, ""), "", capabilities,
			"the template includes too much to be followed <- templates/d.yaml:0"},
		{"one that includes itself twice, and writes nothing", chart("{{- define \"a\" }}{{ if include \"a\" . }}{{ end }}{{ if include \"a\" . }}{{ end }}{{ end }}{{ include \"a\" . }}"+head, ""), "", capabilities,
			"the template includes too much to be followed <- templates/d.yaml:0"},
		{"a chart in it", chart("", "db:\n  security: {capabilities: {}}\n", "charts/db/Chart.yaml", "name: db\n", "charts/db/values.yaml", "security: {}\nglobal: {}\n",
			"charts/db/templates/s.yaml", "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        securityContext: {{ toYaml .Values.security | nindent 10 }}\n"), "web/charts/db/templates/s.yaml", capabilities,
			"db.security.capabilities@values.yaml:2:14 <- charts/db/templates/s.yaml:7"},
		{"the default of a chart in it", chart("", "x: 1\n", "charts/db/Chart.yaml", "name: db\n", "charts/db/values.yaml", "security: {capabilities: {}}\n",
			"charts/db/templates/s.yaml", "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        securityContext: {{ toYaml .Values.security | nindent 10 }}\n"), "web/charts/db/templates/s.yaml", capabilities,
			"db.security.capabilities@charts/db/values.yaml:1:12+ <- charts/db/templates/s.yaml:7"},
		{"a chart in it that is packed", chart("", ""), "web/charts/db/templates/s.yaml", capabilities, "charts/db/templates/s.yaml is not in c: the chart in it is packed, or not fetched <- :0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.files["templates/_helpers.tpl"] = &fstest.MapFile{Data: []byte(helpers)}
			c, err := helm.Read(tt.files, "c")
			if err != nil {
				t.Fatal(err)
			}
			if tt.source == "" {
				tt.source = "web/templates/d.yaml"
			}
			o := c.Origin(helm.Asked{Source: tt.source, Kind: "Deployment", Path: tt.path, Container: "web"})
			if len(o.Keys) == 1 && !strings.Contains(o.Keys[0].Key, "[]") && !strings.Contains(tt.source, "charts/") {
				prove(t, tt.files, o.Keys[0].Key, tt.path)
			}
			if !c.Has(tt.source) || c.Has("other/templates/d.yaml") {
				t.Error("whose is it?")
			}
			for range 2 { // the second is of what was kept
				got := show(c.Origin(helm.Asked{Source: tt.source, Kind: "Deployment", Path: tt.path, Container: "web"}))
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// prove renders the template with text/template itself, and with a mark under the key: the
// place must have it then.
func prove(t *testing.T, files fstest.MapFS, key string, path []string) {
	t.Helper()
	values := map[string]any{}
	if f := files["values.yaml"]; f != nil {
		if err := yaml.Unmarshal(f.Data, &values); err != nil {
			t.Fatal(err)
		}
	}
	names := strings.Split(strings.ReplaceAll(key, `\.`, "\x00"), ".")
	at := values
	for i, name := range names {
		name = strings.ReplaceAll(name, "\x00", ".")
		if i == len(names)-1 {
			at[name] = []any{"MARK"}
			break
		}
		if i+1 < len(names) && names[i+1] == "0" { // a list of containers is the value
			at[name] = []any{map[string]any{"name": "web", "securityContext": map[string]any{"capabilities": []any{"MARK"}}}}
			break
		}
		next, ok := at[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[name] = next
		}
		at = next
	}
	out := render(t, files, map[string]any{"Values": values, "Chart": map[string]any{"Name": "web", "AppVersion": "1"}})
	d := yaml.NewDecoder(strings.NewReader(out))
	for {
		var doc map[string]any
		if err := d.Decode(&doc); err != nil {
			t.Errorf("%s: the place does not have what is set: %v\n%s", key, err, out)
			return
		}
		var n any = doc
		for _, name := range path {
			switch x := n.(type) {
			case map[string]any:
				n = x[name]
			case []any:
				n = nil
				for _, item := range x {
					if m, ok := item.(map[string]any); ok && m["name"] == "web" {
						n = m
					}
				}
			}
		}
		if doc["kind"] == "Deployment" && fmt.Sprint(n) == "[MARK]" {
			return
		}
	}
}

// render is what helm makes of the template, with the few functions that the tests use.
func render(t *testing.T, files fstest.MapFS, data map[string]any) string {
	t.Helper()
	all := template.New("").Option("missingkey=zero")
	toYaml := func(v any) string {
		out, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	indent := func(n int, s string) string {
		space := strings.Repeat(" ", n)
		return space + strings.ReplaceAll(s, "\n", "\n"+space)
	}
	all.Funcs(template.FuncMap{
		"toYaml": toYaml, "indent": indent, "nindent": func(n int, s string) string { return "\n" + indent(n, s) },
		"toJson": func(v any) (string, error) { out, err := json.Marshal(v); return string(out), err },
		"quote":  strconv.Quote, "trunc": func(n int, s string) string { return s[:min(n, len(s))] },
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
		"default": func(d, v any) any {
			if v == nil || v == "" {
				return d
			}
			return v
		},
		"dict": func(list ...any) map[string]any {
			m := map[string]any{}
			for i := 0; i+1 < len(list); i += 2 {
				m[list[i].(string)] = list[i+1]
			}
			return m
		},
		"omit": func(m map[string]any, keys ...string) map[string]any {
			m = maps.Clone(m)
			for _, k := range keys {
				delete(m, k)
			}
			return m
		},
		"include": func(name string, data any) (string, error) {
			var b strings.Builder
			err := all.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
	})
	for _, name := range []string{"templates/_helpers.tpl", "templates/d.yaml"} {
		if _, err := all.New(name).Parse(string(files[name].Data)); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	if err := all.ExecuteTemplate(&b, "templates/d.yaml", data); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNoChart(t *testing.T) {
	for text, want := range map[string]string{"": "names no chart", "name: [": "Chart.yaml"} {
		if _, err := helm.Read(fstest.MapFS{"Chart.yaml": {Data: []byte(text)}}, "c"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	pipe := fstest.MapFS{"Chart.yaml": {Mode: fs.ModeNamedPipe}}
	if _, err := helm.Read(pipe, "c"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Error(err)
	}
	if _, err := helm.Read(fstest.MapFS{}, "c"); err == nil || !strings.Contains(err.Error(), "c is no chart") {
		t.Error(err)
	}
}

// Whatever a template is, an answer comes.
func FuzzOrigin(f *testing.F) {
	f.Add(head+"        - name: web\n          securityContext: {{ toYaml .Values.s | nindent 12 }}\n", "s: {}\n")
	f.Add("{{ range $a, $b := .x }}{{ $a = $b }}- - a: {{ end }}", "")
	f.Add("{{ include (dict \"a\" 1) | nindent 999999999999 }}{{ template \"x\" }}\x02"+"9\x02", "a: &a [*a]")
	f.Add(helpers+"- name: web\n- {{ include \"web.container\" $ | indent 2 }}", "main: 1")
	f.Fuzz(func(t *testing.T, template, values string) {
		c, err := helm.Read(chart(template, values), "c")
		if err != nil {
			return
		}
		o := c.Origin(helm.Asked{Source: "web/templates/d.yaml", Kind: "Deployment", Container: "web",
			Path: []string{"spec", "template", "spec", "containers", "0", "securityContext", "capabilities"}})
		if (len(o.Keys) == 0) == (o.Why == "") {
			t.Fatalf("neither a key nor a reason, or both: %+v", o)
		}
		if p := o.Template; p.Line > 0 && (p.Start > p.End || p.End > len(template)) {
			t.Fatalf("%+v is outside", p)
		}
	})
}

// A stranger's chart costs neither time nor the program.
func TestHostile(t *testing.T) {
	bomb := "a: &a [x, x]\n"
	for c := 'b'; c <= 'z'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	item := head + "        - name: web\n          securityContext: {{ toYaml .Values.z.s | nindent 12 }}\n"
	for name, files := range map[string]fstest.MapFS{
		"an alias bomb":       chart(item, bomb),
		"values of 20 MB":     chart(item, "a: 1\n#"+strings.Repeat("x", 20<<20)),
		"values nested deep":  chart(item, "z: "+strings.Repeat("{a: ", 5000)),
		"a template of 2 MB":  chart(item+strings.Repeat("# x\n", 1<<19), "z: 1\n"),
		"branches in one":     chart(strings.Repeat("{{ if .Values.a }}", 20000)+strings.Repeat("{{ end }}", 20000)+item, "z: 1\n"),
		"parentheses":         chart("{{ "+strings.Repeat("(", 20000)+".x"+strings.Repeat(")", 20000)+" }}"+item, "z: 1\n"),
		"many variables":      chart("{{ $a := .Values }}"+strings.Repeat("{{ $a = $a.b }}", 20000)+item, "z: 1\n"),
		"much that it writes": chart("{{ define \"a\" }}"+strings.Repeat("x: 1\n", 2000)+"{{ end }}"+strings.Repeat("{{ include \"a\" . | nindent 900 }}", 2000)+item, "z: 1\n"),
	} {
		t.Run(name, func(t *testing.T) {
			files["templates/_helpers.tpl"] = &fstest.MapFile{Data: []byte(helpers)}
			c, err := helm.Read(files, "c")
			if err != nil {
				t.Fatal(err)
			}
			o := c.Origin(helm.Asked{Source: "web/templates/d.yaml", Kind: "Deployment", Container: "web",
				Path: []string{"spec", "template", "spec", "containers", "0", "securityContext", "capabilities"}})
			if (len(o.Keys) == 0) == (o.Why == "") {
				t.Errorf("neither a key nor a reason, or both: %+v", o)
			}
		})
	}
}
