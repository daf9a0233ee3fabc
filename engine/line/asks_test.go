package line

import (
	"fmt"
	"strings"
	"testing"
)

func TestAsks(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"docker run -d --name web -p 80:80 -e A=b --cap-add chown --user 1 --network web --sysctl a=b nginx sleep 1", ""},
		{"docker run --privileged nginx", "--privileged"},
		{"docker run --privileged=false nginx", ""},
		{"docker run --net=host --pid host --ipc=host --uts=host --userns=host --cgroupns=host nginx",
			"--network=host --pid=host --ipc=host --uts=host --userns=host --cgroupns=host"},
		{"docker run --net host --net host nginx", "--network=host"},
		{"docker run --net container:db --pid=container:db --ipc private nginx", "--network=container:db --pid=container:db"},
		{"docker run -v /:/host -v /var/run/docker.sock:/s:ro -v data:/d -v /anon --device /dev/kvm nginx",
			"--volume=/:/host --volume=/var/run/docker.sock:/s:ro --device=/dev/kvm"},
		{"docker run -v /etc/localtime:/etc/localtime:ro -v /etc/timezone:/etc/timezone:z,ro nginx", ""},
		{"docker run -v /etc/localtime:/etc/localtime nginx", "--volume=/etc/localtime:/etc/localtime"},
		{"docker run -v ./x:/x -v ~/y:/y nginx", "--volume=./x:/x --volume=~/y:/y"},
		{"docker run --mount type=bind,src=/srv,dst=/x --mount src=data,dst=/y --mount type=tmpfs,dst=/z nginx", "--mount=type=bind,src=/srv,dst=/x"},
		{"docker run --mount type=bind,src=/etc/localtime,dst=/etc/localtime,readonly nginx", ""},
		{"docker run --mount type=volume,src=x,dst=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/ nginx",
			"--mount=type=volume,src=x,dst=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/"},
		{"docker run --mount type=cluster,src=x,dst=/x nginx", "--mount=type=cluster,src=x,dst=/x"},
		{"podman run -v x:/x:O,upperdir=/etc,workdir=/w nginx", "--volume=x:/x:O,upperdir=/etc,workdir=/w"},
		{"docker run --security-opt no-new-privileges --security-opt=no-new-privileges:true --security-opt label=disable --security-opt label:disable nginx",
			"--security-opt=label=disable --security-opt=label:disable"},
		{"docker run -e SECRET -e A= --env-file /etc/shadow nginx", "--env=SECRET --env-file=/etc/shadow"},
		{"docker -H tcp://x run nginx", "docker --host=tcp://x"},
		{"podman --hooks-dir /x run --replace --rmi --group-add keep-groups --group-add 4 nginx", "podman --hooks-dir=/x --replace --rmi --group-add=keep-groups"},
		{"docker run --oom-score-adj -5 --cidfile /x --runtime y --annotation a=b nginx", "--oom-score-adj=-5 --cidfile=/x --runtime=y --annotation=a=b"},
		{"docker run --oom-kill-disable=false nginx", ""},
	} {
		l, err := Parse(strings.Fields(c.line))
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if got := flags(t, l.Asks()); got != c.want {
			t.Errorf("%s: asks for %q, want %q", c.line, got, c.want)
		}
	}
}

func flags(t *testing.T, list []Ask) string {
	var words []string
	for _, a := range list {
		words = append(words, a.Flag)
		if a.Why == "" || (a.Variable != "") != strings.HasPrefix(a.Flag, "--env=") {
			t.Errorf("%+v", a)
		}
	}
	return strings.Join(words, " ")
}

// Every name that is looked at is a flag of an engine.
func TestAsksNames(t *testing.T) {
	known := map[string]bool{}
	for _, engine := range Engines() {
		table, err := TableFor(engine)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range table.Run {
			known[f.canonical()] = true
		}
	}
	for name := range plain() {
		if !known[name] {
			t.Errorf("no engine has --%s", name)
		}
		if others()[name] != "" || namespaces()[name] != "" {
			t.Errorf("--%s asks for nothing, and for something", name)
		}
	}
	for name := range others() {
		if !known[name] {
			t.Errorf("no engine has --%s", name)
		}
	}
}

func TestParseOther(t *testing.T) {
	for _, c := range []struct{ line, want, asks string }{
		{"docker stop -t 5 web", "stop [web] []", ""},
		{"docker stop web db", "stop [web db] []", "stop db"},
		{"/usr/bin/docker rm -fv web", "rm [web] []", ""},
		{"podman container rm web -f", "rm [web] []", ""},
		{"docker exec -it --privileged -e A=b -e B web sh -c --privileged", "exec [web] [sh -c --privileged]", "--privileged --env=B"},
		{"docker -H x exec db id", "exec [db] [id]", "docker --host=x exec db"},
		{"docker kill --signal=HUP -- web", "kill [web] []", ""},
	} {
		o, err := ParseOther(strings.Fields(c.line))
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if got := fmt.Sprintf("%s %v %v", o.Verb, o.Containers, o.Command); got != c.want {
			t.Errorf("%s: %s, want %s", c.line, got, c.want)
		}
		if got := flags(t, o.Asks("web")); got != c.asks {
			t.Errorf("%s: asks for %q, want %q", c.line, got, c.asks)
		}
	}
	for line, want := range map[string]string{
		"docker":                "is not understood",
		"docker stop":           "no container",
		"docker stop --foo web": "no flag --foo",
		"docker volume rm x":    `docker "volume" is not understood`,
		"sh -c docker":          "not a container engine",
	} {
		if _, err := ParseOther(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
