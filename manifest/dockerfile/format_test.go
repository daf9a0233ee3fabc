package dockerfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
)

// show is a container in lines, each with its place.
func show(data string, c *manifest.Container) string {
	var b strings.Builder
	text := func(name string, t manifest.Text) {
		place := fmt.Sprintf("%d:%d", t.At.Line, t.At.Column)
		switch t.State {
		case manifest.Known:
			fmt.Fprintf(&b, "\n%s %s %s", place, name, t.V)
		case manifest.Unknown:
			fmt.Fprintf(&b, "\n%s %s ?%s (%s)", place, name, t.Raw, t.Why)
		}
	}
	fmt.Fprintf(&b, "%d:%d %s %s", c.At.Line, c.At.Column, c.Path, c.Name)
	text("image", c.Image)
	text("user", c.User)
	for _, r := range c.Caps {
		text(r.Action.String(), r.Word)
	}
	if c.Privileged.State != manifest.Unset {
		text("privileged", manifest.Of(fmt.Sprint(c.Privileged.V), "", c.Privileged.At))
	}
	for _, p := range c.Ports {
		text("port", manifest.Of(strings.TrimSpace(fmt.Sprint(p.Container, p.Last)+" "+p.Protocol), "", p.At))
	}
	for _, m := range c.Mounts {
		text(m.Type, m.Target)
	}
	for _, l := range c.Labels {
		text("label "+l.Key, l.Value)
	}
	for _, f := range c.Facts {
		text(f.Key, f.Value)
	}
	return b.String()
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "FROM nginx:1\nUSER 101:101\nEXPOSE 80 443/udp 8000-8010\nVOLUME /data\nCMD [\"nginx\", \"-g\", \"x\"]\n", `1:1 image image
1:6 image nginx:1
2:6 user 101:101
3:8 port 80 0
3:11 port 443 0 udp
3:19 port 8000 8010
4:8 volume /data`},
		{"stages and arguments", "ARG V=1\nARG U\nFROM golang:${V} AS build\nUSER 0\nRUN chmod u+s /bin/x\nFROM scratch AS other\nUSER 5\nFROM build AS final\nARG U\nENV W=www-data\nUSER ${W:-x}:$U\n", `8:1 image final
3:6 image golang:1
11:6 user ?${W:-x}:$U (the build argument U has no default)
5:11 set-uid u+s /bin/x`},
		{"defaults", "FROM a\nARG UID\nARG G=7\nUSER ${UID:-1000}:$G\n", "1:1 image image\n1:6 image a\n4:6 user 1000:7"},
		{"file capabilities", "FROM alpine\nRUN --mount=type=cache,target=/x apk add libcap \\\n # why\n && setcap 'cap_net_raw,cap_net_admin+ep' /usr/bin/ping /bin/a && \\\n    setcap -q cap_chown=ep \"$BIN\" ; setcap -r /b\nRUN [\"setcap\", \"cap_kill+ep\", \"/c\"]\n", `1:1 image image
1:6 image alpine
4:12 setcap cap_net_raw,cap_net_admin+ep /usr/bin/ping
5:15 setcap ?cap_chown=ep "$BIN" (the variable BIN has no value here)
6:1 setcap cap_kill+ep /c`},
		{"here documents", "FROM a\nRUN <<EOF\nset -e\nchmod 4755 /x\nEOF\nRUN cat <<E >/f\nchmod 4755 /no\nE\nRUN bash -e <<-'E'\n\tchmod g+s,u-s /y\n\tE\nRUN sudo install -o root -m 6755 a /z\nCOPY --chmod=4711 a /w\nRUN chmod 755 /v && find / -perm /6000 -exec chmod a-s {} +\n", `1:1 image image
1:6 image a
4:7 set-uid 4755 /x
10:8 set-gid g+s,u-s /y
12:29 set-uid 6755 /z
12:29 set-gid 6755 /z
13:1 set-uid 4711 /w`},
		{"from another stage", "FROM a AS b\nRUN setcap cap_kill+ep /x\nFROM scratch\nCOPY --from=b /x /x\nRUN --security=insecure y\n", `3:1 image image
3:6 image scratch
5:1 run --security insecure
2:12 setcap cap_kill+ep /x`},
		{"labels", "FROM a\nLABEL RUN=\"docker run --privileged -u 5 \\${IMAGE}\" x=1\nLABEL x=2\n", `1:1 image image
1:6 image a
2:7 label RUN docker run --privileged -u 5 ${IMAGE}
3:7 label x 2
--
2:7 label RUN label RUN
2:7 image ${IMAGE}
2:7 user 5
2:7 privileged true`},
		{"Windows", "# escape=`\r\nFROM a `\r\n  AS b\r\nUSER x\r\n", "2:1 image b\n2:6 image a\n4:6 user x"},
		{"variables that hold each other", "FROM a\nENV A=aaaaaaaaaaaaaaaa\n" + strings.Repeat("ENV A=$A$A$A$A$A$A$A$A$A$A$A$A$A$A$A$A$A$A$A$A\n", 30) + "USER $A\n",
			"1:1 image image\n1:6 image a\n33:6 user ?$A (the variable A is longer than anybody's)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := Format.Parse(manifest.Source{Name: "Dockerfile", Data: []byte(tt.in)})
			if err != nil {
				t.Error(err)
			}
			var got []string
			for _, c := range list {
				got = append(got, show(tt.in, c))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n--\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFormatErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "f:1:1: not a Dockerfile that can be read: file with no instructions",
		"FROM a\nRUN <<E\nx\n":           "f:2:1: not a Dockerfile that can be read: unterminated heredoc",
		"ARG x\n":                        "no FROM",
		"FROM a\nRUN setcap 'x\n":        "f:2:12: the shell cannot read this",
		"FROM a\nLABEL RUN=\"docker '\"": "f:2:7: the label RUN is no command",
	} {
		if _, err := Format.Parse(manifest.Source{Name: "f", Data: []byte(in)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func TestFormatEdit(t *testing.T) {
	two := caps.Of(caps.Chown, caps.Kill)
	in := "FROM a\r\nLABEL RUN=\"docker run --cap-add=SYS_ADMIN \\${IMAGE}\"\r\nCMD x\r\n"
	src := manifest.Source{Name: "f", Data: []byte(in)}
	list, err := Format.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	var changes []manifest.Change
	for _, c := range list {
		changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: &two}})
	}
	files, refusals, err := manifest.Rewrite(&Format, src, changes)
	if err != nil || len(refusals) > 0 {
		t.Fatal(err, refusals)
	}
	want := "FROM a\r\nLABEL RUN=\"docker run --cap-drop=ALL --cap-add=CHOWN --cap-add=KILL \\${IMAGE}\"\r\nLABEL io.containers.capabilities=\"CHOWN,KILL\"\r\nCMD x\r\n"
	if diff := cmp.Diff(want, string(files[0].After)); diff != "" {
		t.Error(diff)
	}
	_, refusals, _ = manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: manifest.Want{NoNewPrivs: true}}})
	if len(refusals) != 1 || !strings.Contains(refusals[0].Reason, "no_new_privs") {
		t.Error(refusals)
	}
}

// Everything people wrote is read: with every instruction's place, without an error.
func TestCorpus(t *testing.T) {
	chown := caps.Of(caps.Chown)
	for name, data := range testenv.Corpus(t, "dockerfiles/*Dockerfile*") {
		if l := Format.Recognise(name, data); l != manifest.Sure {
			t.Errorf("%s is recognised as %d", name, l)
		}
		if l := Format.Recognise("x", data); l < manifest.Likely {
			t.Errorf("%s is recognised by its content as %d", name, l)
		}
		for _, crlf := range []bool{false, true} {
			if crlf {
				data = []byte(strings.ReplaceAll(string(data), "\n", "\r\n"))
			}
			src := manifest.Source{Name: name, Data: data}
			list, err := Format.Parse(src)
			if err != nil || len(list) != 1 {
				t.Errorf("%s: %d containers, %v", name, len(list), err)
				continue
			}
			if f := list[0].Facts; len(f) > 0 {
				for _, p := range f {
					if p.Key == FactFileCaps || p.Key == FactSetUID || p.Key == FactSetGID {
						t.Errorf("%s: %v", name, p)
					}
				}
			}
			files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[0], Want: manifest.Want{Exactly: &chown}}})
			if err != nil || len(refusals) > 0 || len(files) != 1 {
				t.Errorf("%s: %v %v", name, err, refusals)
				continue
			}
			if lines := strings.Count(string(files[0].After), "\n") - strings.Count(string(data), "\n"); lines != 1 {
				t.Errorf("%s: %d lines more", name, lines)
			}
			if crlf && strings.Count(string(files[0].After), "\n") != strings.Count(string(files[0].After), "\r\n") {
				t.Errorf("%s: line ends are mixed", name)
			}
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{
		"FROM a\nRUN <<E\nchmod 4755 /x\nE\n", "FROM a AS b\nFROM b\nCOPY --from=0 x y\nRUN setcap a b", "# escape=`\nFROM a\nRUN a`\n b",
		"FROM a\nLABEL RUN=\"docker run \\${IMAGE}\"\n", "ARG A=1\nFROM $A\nUSER ${A:-$B}", "FROM a\nONBUILD RUN chmod u+s x\nEXPOSE 1-2/x",
		"FROM a\nRUN --mount=x <<A <<B\nA\nB\n", "FROM a\nRUN [\"chmod\", \"4755\", \"x\"]",
	} {
		f.Add([]byte(s), uint64(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, bits uint64) {
		Format.Recognise("x", data)
		src := manifest.Source{Name: "f", Data: data}
		list, _ := Format.Parse(src)
		set := caps.Set(bits) & caps.All()
		var changes []manifest.Change
		for _, c := range list {
			for _, p := range append(c.Facts, c.Labels...) {
				if a := p.Value.At; a.Start < 0 || a.End > len(data) || a.Start > a.End {
					t.Fatalf("%s: %+v", p.Key, a)
				}
			}
			changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: &set, Unprivileged: true}})
		}
		files, _, err := manifest.Rewrite(&Format, src, changes)
		if err == nil {
			for _, file := range files {
				if string(file.Before) == string(file.After) {
					t.Fatal("an edit that changes nothing")
				}
			}
		} else if !strings.Contains(err.Error(), "is not made") {
			t.Fatal(err)
		}
	})
}
