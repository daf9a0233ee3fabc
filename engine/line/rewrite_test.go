package line

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
)

var nginx = caps.Of(0, 1, 6, 7) // chown, dac_override, setgid, setuid

const nginxFlags = "--cap-drop=ALL --cap-add=CHOWN --cap-add=DAC_OVERRIDE --cap-add=SETGID --cap-add=SETUID"

const (
	dockerUnconfined = " --security-opt seccomp=unconfined --security-opt apparmor=unconfined" +
		" --security-opt label=disable --security-opt systempaths=unconfined --device-cgroup-rule 'a *:* rwm'"
	podmanUnconfined = " --security-opt seccomp=unconfined --security-opt apparmor=unconfined" +
		" --security-opt label=disable --security-opt unmask=ALL --device-cgroup-rule 'a *:* rwm'"
	nerdctlUnconfined = " --security-opt seccomp=unconfined --security-opt apparmor=unconfined" +
		" --security-opt systempaths=unconfined"
)

func TestCreate(t *testing.T) {
	trial := Rewrite{Caps: &nginx}
	for _, tc := range []struct {
		line string
		o    Rewrite
		want string
	}{
		{"docker run nginx", Rewrite{}, "docker create nginx"},
		{"docker run -d --rm --restart always --cidfile /c -a stdin --sig-proxy=false --detach-keys x nginx -d", Rewrite{},
			"docker create nginx -d"},
		{"docker run -itd --name web -p 80:80 nginx", Rewrite{Labels: []string{"a=b", "c"}},
			"docker create --label a=b --label c -it --name web -p 80:80 nginx"},
		{"docker run -dp 80:80 -div /a:/a -dp80:80 -itd=false nginx", Rewrite{},
			"docker create -p 80:80 -iv /a:/a -p80:80 -it nginx"},
		{"docker run -idp 80:80 --name web nginx", Rewrite{Drop: []string{"name", "publish"}}, "docker create -i nginx"},
		{"docker run --cap-add NET_ADMIN --cap-drop all nginx", Rewrite{}, "docker create --cap-add NET_ADMIN --cap-drop all nginx"},
		{"docker run --init --cap-drop=all -e A=b --cap-add NET_ADMIN nginx", trial,
			"docker create --init " + nginxFlags + " -e A=b nginx"},
		{"docker run --init nginx", Rewrite{Caps: &nginx, Labels: []string{"a=b"}},
			"docker create --label a=b " + nginxFlags + " --init nginx"},
		{"docker run --privileged -- nginx --privileged", Rewrite{}, "docker create --privileged -- nginx --privileged"},
		{"docker run -t --privileged nginx", trial, "docker create -t " + nginxFlags + " nginx"},
		{"docker run -t --privileged nginx", Rewrite{Caps: &nginx, Unconfined: true},
			"docker create -t " + nginxFlags + dockerUnconfined + " nginx"},
		{"docker run --privileged=false nginx", Rewrite{Caps: &nginx, Unconfined: true}, "docker create " + nginxFlags + " nginx"},
		{"docker run --privileged nginx", Rewrite{Unconfined: true}, "docker create --privileged nginx"},
		{"docker run --privileged nginx", Rewrite{Caps: new(caps.Set)}, "docker create --cap-drop=ALL nginx"},
		{"sudo -E docker -H x container run -d nginx", Rewrite{}, "sudo -E docker -H x container create nginx"},
		{"docker create --rm nginx", Rewrite{}, "docker create nginx"},
		{"podman run --rm --rmi --replace --passwd=false --preserve-fds 2 --log-level=debug -dt x", Rewrite{},
			"podman create --replace --log-level=debug -t x"},
		{"podman run --privileged x", Rewrite{Caps: &nginx, Unconfined: true}, "podman create " + nginxFlags + podmanUnconfined + " x"},
		{"nerdctl -n k8s.io run -d --detach-keys x --privileged x", Rewrite{Caps: &nginx, Unconfined: true},
			"nerdctl -n k8s.io create " + nginxFlags + nerdctlUnconfined + " x"},
	} {
		if diff := cmp.Diff(words(t, tc.want), mustParse(t, tc.line).Create(tc.o)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.line, diff)
		}
	}
}

func TestRecommend(t *testing.T) {
	for _, tc := range []struct {
		line       string
		unconfined bool
		want       string
	}{
		{"docker run -d --rm --name web -p 80:80 nginx", false, "docker run " + nginxFlags + " -d --rm --name web -p 80:80 nginx"},
		{"docker run -d --cap-add X11 --name web nginx", false, ""},
		{"docker run -d --cap-add=sys_admin --name web --cap-drop all nginx", false, "docker run -d " + nginxFlags + " --name web nginx"},
		{"docker run -d --privileged --restart always nginx", false, "docker run -d " + nginxFlags + " --restart always nginx"},
		{"docker run -d --privileged nginx", true, "docker run -d " + nginxFlags + dockerUnconfined + " nginx"},
		{"docker run --security-opt seccomp=x.json --security-opt label:type:t --privileged nginx", true,
			"docker run --security-opt seccomp=x.json --security-opt label:type:t " + nginxFlags +
				" --security-opt apparmor=unconfined --security-opt systempaths=unconfined --device-cgroup-rule 'a *:* rwm' nginx"},
		{"sudo podman container create --cap-drop ALL nginx", false, "sudo podman container create " + nginxFlags + " nginx"},
	} {
		if tc.want == "" {
			if _, err := Parse(words(t, tc.line)); err == nil {
				t.Errorf("%s: no error", tc.line)
			}
			continue
		}
		got := mustParse(t, tc.line).Recommend(nginx, tc.unconfined)
		if diff := cmp.Diff(words(t, tc.want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.line, diff)
		}
	}
}

// Whatever the line, what it is rewritten to is a line with exactly the set,
// and rewriting that again changes nothing.
func TestRewriteHolds(t *testing.T) {
	for _, line := range lines(t) {
		l := mustParse(t, line)
		before := l.Words()
		for what, argv := range map[string][]string{
			"Create":    l.Create(Rewrite{Caps: &nginx, Unconfined: true}),
			"Recommend": l.Recommend(nginx, true),
		} {
			m, err := Parse(argv)
			if err != nil {
				t.Errorf("%s: %s gives %s: %v", line, what, Quote(argv), err)
				continue
			}
			if got := m.BaselineRequest(); got != (Request{Adds: nginx, DropAll: true}) {
				t.Errorf("%s: %s asks for %+v", line, what, got)
			}
			if m.Image != l.Image || !slices.Equal(m.Command, l.Command) || !slices.Equal(m.Prefix, l.Prefix) ||
				!slices.Equal(m.Global, l.Global) {
				t.Errorf("%s: %s gives %s", line, what, Quote(argv))
			}
			if again := m.Recommend(nginx, false); !slices.Equal(again, argv) {
				t.Errorf("%s: %s is not stable: %s", line, what, Quote(again))
			}
		}
		if !slices.Equal(l.Words(), before) {
			t.Errorf("%s: rewriting changed the line itself", line)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, argv := range [][]string{
		{"docker", "run", "--device-cgroup-rule", "a *:* rwm", "nginx"},
		{"x", "", "a'b", `a"b`, "$x", "a\nb", "~", "*", "!", "#a", "A=b", "-x", "ü", `\`},
	} {
		if got := words(t, Quote(argv)); !slices.Equal(got, argv) {
			t.Errorf("%q: %s reads as %q", argv, Quote(argv), got)
		}
	}
	if got := Quote([]string{"docker", "run", "-p", "80:80", "--cap-add=CHOWN"}); got != "docker run -p 80:80 --cap-add=CHOWN" {
		t.Errorf("quotes too much: %s", got)
	}
	if got := Quote([]string{"a\x00b\x01"}); strings.Contains(got, "\x00") {
		t.Errorf("%q holds a NUL", got)
	}
}
