package devcontainer

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

const cpp = `// For format details, see https://aka.ms/devcontainer.json.
{
	"name": "C++", /* a "comment" */
	"image": "mcr.microsoft.com/devcontainers/cpp:1", // "image": "x"
	// for gdb
	"runArgs": ["--network", "host", "--cap-add=SYS_PTRACE", "--security-opt", "seccomp=unconfined", "-e", "X=${localEnv:X}"],
	"capAdd": [
		"SYS_ADMIN", // fuse
		"NET_ADMIN"
	],
	"privileged": false,
	"mounts": ["source=/var/run/docker.sock,target=/s,type=bind", {"type": "volume", "source": "v", "target": "/v"}],
	"containerUser": "vscode",
	"features": {"ghcr.io/devcontainers/features/docker-in-docker:2": {}},
	"customizations": {"vscode": {"extensions": ["x",]}},
}
`

func TestParse(t *testing.T) {
	src := manifest.Source{Name: ".devcontainer/devcontainer.json", Data: []byte(cpp)}
	if Format.Recognise(src.Name, src.Data) != manifest.Sure || Format.Recognise("x.json", src.Data) != manifest.Likely {
		t.Error("not recognised")
	}
	list, err := Format.Parse(src)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	c := list[0]
	var got []string
	for _, r := range c.Caps {
		got = append(got, r.Word.V+" "+cpp[r.Word.At.Start:r.Word.At.End]+" "+r.Word.At.String())
	}
	want := []string{
		`SYS_ADMIN "SYS_ADMIN" .devcontainer/devcontainer.json:8:3`, `NET_ADMIN "NET_ADMIN" .devcontainer/devcontainer.json:9:3`,
		`SYS_PTRACE SYS_PTRACE .devcontainer/devcontainer.json:6:46`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c.Name != "C++" || c.User.V != "vscode" || !c.Shares("net") || c.Seccomp.V != "unconfined" || !manifest.Is(c.Privileged, false) || len(c.Sensitive()) != 1 || len(c.Mounts) != 2 {
		t.Errorf("%+v", c)
	}
}

func TestEdit(t *testing.T) {
	two := caps.Of(caps.SysPtrace, caps.NetAdmin)
	for _, tt := range []struct {
		name, in, out, no string
		want              manifest.Want
	}{
		{"both lists", cpp, strings.NewReplacer("\t\t\"SYS_ADMIN\", //", "\t\t //", `"X=${localEnv:X}"]`, `"X=${localEnv:X}", "--cap-drop=ALL"]`, "[\"x\",]}},\n", "[\"x\",]}},\n\t\"securityOpt\": [\"no-new-privileges\"]\n").Replace(cpp),
			"", manifest.Want{Exactly: &two, NoNewPrivs: true}},
		{"nothing there", "{\n  \"image\": \"a\"\n}\n", "{\n  \"image\": \"a\",\n  \"runArgs\": [\"--cap-drop=ALL\"],\n  \"capAdd\": [\"NET_ADMIN\", \"SYS_PTRACE\"]\n}\n", "", manifest.Want{Exactly: &two}},
		{"privileged", "{\"image\": \"a\", \"privileged\": true}", "", "it is privileged", manifest.Want{Exactly: &two}},
		{"privileged goes", "{\"image\": \"a\", \"privileged\": true}", "{\"image\": \"a\", \"privileged\": false}", "", manifest.Want{Unprivileged: true}},
		{"Compose", "{\"dockerComposeFile\": \"c.yml\", \"service\": \"a\"}", "", "Compose", manifest.Want{Exactly: &two}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := manifest.Source{Name: "devcontainer.json", Data: []byte(tt.in)}
			list, err := Format.Parse(src)
			if err != nil {
				t.Fatal(err)
			}
			files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: tt.want}})
			if tt.no != "" {
				if len(refusals) != 1 || !strings.Contains(refusals[0].Reason, tt.no) {
					t.Errorf("%v %v, want %q", refusals, err, tt.no)
				}
				return
			}
			if err != nil || len(files) != 1 {
				t.Fatal(err, refusals)
			}
			after, err := Format.Parse(manifest.Source{Data: files[0].After})
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.Exactly != nil {
				if r, err := after[0].Given(""); err != nil || r.Set != two {
					t.Error(r.Set, err)
				}
			}
			if tt.out != string(files[0].After) {
				t.Error(cmp.Diff(tt.out, string(files[0].After)))
			}
			if strings.Count(string(files[0].After), "//") != strings.Count(tt.in, "//") {
				t.Errorf("a comment is lost: %s", files[0].After)
			}
		})
	}
}

func TestStrip(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": "//x" } // y`: `{"a": "//x" }     `, "/* a\n*/{}": "    \n  {}", `"\"//"//`: `"\"//"  `, "/*": "  ", `"\`: `"\`,
	} {
		if got := string(strip([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(cpp), uint64(7))
	f.Add([]byte("{\"image\":\"a\",\"runArgs\":[\"--cap-add\",\"KILL\"],\"capAdd\":[\"KILL\",\"x\"]}"), uint64(32))
	f.Add([]byte("{\"capAdd\":null,\"runArgs\":[]}"), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, bits uint64) {
		Format.Recognise("x", data)
		src := manifest.Source{Name: "f", Data: data}
		list, bad := Format.Parse(src)
		if bad != nil {
			return
		}
		set := caps.Set(bits) & caps.All()
		if _, _, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: &set, NoNewPrivs: bits&1 != 0, Unprivileged: true}}}); err != nil && !strings.Contains(err.Error(), "is not made") {
			t.Fatal(err)
		}
	})
}
