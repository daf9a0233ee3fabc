package ecs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

const task = `{
    "family": "web",
    "networkMode": "host", "pidMode": "task",
    "containerDefinitions": [
        {
            "name": "app",
            "image": "nginx:1",
            "user": "33",
            "readonlyRootFilesystem": true,
            "linuxParameters": {
                "initProcessEnabled": true,
                "capabilities": {"add": ["NET_ADMIN", "SYS_PTRACE"], "drop": ["MKNOD"]},
                "devices": [{"hostPath": "/dev/fuse"}]
            },
            "mountPoints": [{"sourceVolume": "s", "containerPath": "/s", "readOnly": true}],
            "portMappings": [{"containerPort": 80, "hostPort": 8080, "protocol": "tcp"}],
            "dockerSecurityOptions": ["label:disable"],
            "systemControls": [{"namespace": "net.core.somaxconn", "value": "5"}]
        },
        {"name": "plain", "image": "a", "privileged": true}
    ],
    "volumes": [{"name": "s", "host": {"sourcePath": "/var/run/docker.sock"}}]
}
`

const cloud = `AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Other: {Type: AWS::S3::Bucket}
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: !Sub "${AWS::StackName}-x"
      RequiresCompatibilities: [FARGATE]
      NetworkMode: awsvpc
      ContainerDefinitions:
        - Name: app
          Image: !Ref Image   # given
          LinuxParameters:
            Capabilities:
              Add:
                - SYS_PTRACE
        - Name: side
          Image: b
          User: !Ref U
`

func show(c *manifest.Container) string {
	var b strings.Builder
	text := func(name string, t manifest.Text) {
		switch t.State {
		case manifest.Known:
			fmt.Fprintf(&b, " %s=%s", name, t.V)
		case manifest.Unknown:
			fmt.Fprintf(&b, " %s=?%s", name, t.Raw)
		}
	}
	fmt.Fprintf(&b, "%d:%d %s (%s of %s)", c.At.Line, c.At.Column, c.Path, c.Name, c.Owner.Name)
	text("image", c.Image)
	text("user", c.User)
	for _, r := range c.Caps {
		text(r.Action.String(), r.Word)
	}
	if c.Privileged.State != manifest.Unset {
		fmt.Fprintf(&b, " privileged=%v", c.Privileged.V)
	}
	for _, n := range c.Namespaces {
		text(n.Kind, n.With)
	}
	for _, m := range c.Mounts {
		text(m.Type, m.Source)
	}
	for _, p := range c.Ports {
		fmt.Fprintf(&b, " port=%d", p.Container)
	}
	text("selinux", c.SELinux)
	fmt.Fprintf(&b, " %d %d %d", len(c.Devices), len(c.Sysctls), len(c.Facts))
	return b.String()
}

func TestParse(t *testing.T) {
	wrapped := `{"taskDefinition": ` + task + "}"
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"a task", task, []string{
			"6:21 containerDefinitions.0 (app of web) image=nginx:1 user=33 add=NET_ADMIN add=SYS_PTRACE drop=MKNOD net=host pid=pod bind=/var/run/docker.sock port=80 selinux=disable 1 1 0",
			"20:18 containerDefinitions.1 (plain of web) image=a privileged=true net=host pid=pod 0 0 0"}},
		{"described", wrapped, []string{
			"6:21 taskDefinition.containerDefinitions.0 (app of web) image=nginx:1 user=33 add=NET_ADMIN add=SYS_PTRACE drop=MKNOD net=host pid=pod bind=/var/run/docker.sock port=80 selinux=disable 1 1 0",
			"20:18 taskDefinition.containerDefinitions.1 (plain of web) image=a privileged=true net=host pid=pod 0 0 0"}},
		{"CloudFormation", cloud, []string{
			"11:17 Resources.Task.Properties.ContainerDefinitions.0 (app of ${AWS::StackName}-x) image=?Image add=SYS_PTRACE 0 0 1",
			"17:17 Resources.Task.Properties.ContainerDefinitions.1 (side of ${AWS::StackName}-x) image=b user=?U 0 0 1"}},
	} {
		list, err := Format.Parse(manifest.Source{Name: "f", Data: []byte(tt.in)})
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, c := range list {
			got = append(got, show(c))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if l := Format.Recognise("x", []byte(tt.in)); l != manifest.Sure {
			t.Errorf("%s: recognised as %d", tt.name, l)
		}
	}
}

func TestEdit(t *testing.T) {
	two, trace, none := caps.Of(caps.NetAdmin, caps.Kill), caps.Of(caps.SysPtrace), caps.Set(0)
	for _, tt := range []struct {
		name, in string
		index    int
		want     manifest.Want
		old, new string // what replaces what
		no       string
	}{
		{"in its lists", task, 0, manifest.Want{Exactly: &two, NoNewPrivs: true}, `{"add": ["NET_ADMIN", "SYS_PTRACE"], "drop": ["MKNOD"]}`, `{"add": ["NET_ADMIN", "KILL"], "drop": ["ALL"]}`, ""},
		{"privileged", task, 1, manifest.Want{Exactly: &two}, "", "", "it is privileged"},
		{"privileged goes", task, 1, manifest.Want{Exactly: &none, Unprivileged: true}, `"privileged": true}`, `"privileged": false, "linuxParameters": {"capabilities": {"drop": ["ALL"]}}}`, ""},
		{"Fargate", cloud, 0, manifest.Want{Exactly: &two}, "", "", "a task on Fargate may add sys_ptrace only"},
		{"Fargate, what it allows", cloud, 0, manifest.Want{Exactly: &trace}, "                - SYS_PTRACE\n", "                - SYS_PTRACE\n              Drop:\n                - ALL\n", ""},
		{"YAML, nothing there", cloud, 1, manifest.Want{Exactly: &none}, "          User: !Ref U\n", "          User: !Ref U\n          LinuxParameters:\n            Capabilities:\n              Drop:\n                - ALL\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := manifest.Source{Name: "f", Data: []byte(tt.in)}
			list, err := Format.Parse(src)
			if err != nil {
				t.Fatal(err)
			}
			files, refusals, err := manifest.Rewrite(&Format, src, []manifest.Change{{Container: list[tt.index], Want: tt.want}})
			if tt.no != "" {
				if len(refusals) != 1 || !strings.Contains(refusals[0].Reason, tt.no) {
					t.Errorf("%v %v, want %q", refusals, err, tt.no)
				}
				return
			}
			if err != nil || len(files) != 1 {
				t.Fatal(err, refusals)
			}
			want := strings.Replace(tt.in, tt.old, tt.new, 1)
			if tt.want.NoNewPrivs {
				want = strings.Replace(want, `["label:disable"]`, `["label:disable", "no-new-privileges"]`, 1)
			}
			if diff := cmp.Diff(want, string(files[0].After)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(task), uint64(1))
	f.Add([]byte(cloud), uint64(1<<19))
	f.Add([]byte("containerDefinitions:\n- linuxParameters: {capabilities: {}}\n- {}\n"), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, bits uint64) {
		Format.Recognise("x", data)
		src := manifest.Source{Name: "f", Data: data}
		list, bad := Format.Parse(src)
		if bad != nil {
			return
		}
		set := caps.Set(bits) & caps.All()
		var changes []manifest.Change
		for _, c := range list {
			changes = append(changes, manifest.Change{Container: c, Want: manifest.Want{Exactly: &set, NoNewPrivs: bits&1 != 0, Unprivileged: true}})
		}
		if _, _, err := manifest.Rewrite(&Format, src, changes); err != nil && !strings.Contains(err.Error(), "is not made") {
			t.Fatal(err)
		}
	})
}
