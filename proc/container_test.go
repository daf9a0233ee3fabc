package proc

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

const (
	inner = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
	outer = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"
	podID = "2d4e81f0-6a7c-4f0b-9c7f-1f2a3b4c5d6e"
)

// The shapes of cgroup paths as engines make them, on cgroup v1, v2 and hybrid hosts, with
// cgroupfs and with systemd.
func TestContainerOf(t *testing.T) {
	underscored := strings.ReplaceAll(podID, "-", "_")
	for path, want := range map[string]struct{ engine, pod string }{
		// Docker
		"12:pids:/docker/" + inner:                    {"docker", ""},
		"0::/docker/" + inner + "/init.scope":         {"docker", ""},
		"0::/system.slice/docker-" + inner + ".scope": {"docker", ""},
		"0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + inner + ".scope": {"docker", ""},
		"12:pids:/docker/" + outer + "/docker/" + inner:                                          {"docker", ""},
		"9:memory:/system.slice:docker:" + inner:                                                 {"docker", ""},
		"4:pids:/my/parent/" + inner:                                                             {"", ""},
		"4:pids:/ecs/0c1d2e3f4a5b60718293a4b5c6d7e8f9/" + inner:                                  {"", ""},
		"4:pids:/docker/" + inner + " (deleted)":                                                 {"docker", ""},
		// Podman
		"0::/machine.slice/libpod-" + inner + ".scope/container":                                 {"podman", ""},
		"0::/machine.slice/machine-libpod_pod_" + outer + ".slice/libpod-" + inner + ".scope":    {"podman", ""},
		"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + inner + ".scope": {"podman", ""},
		"8:pids:/libpod_parent/libpod-" + inner:                                                  {"podman", ""},
		"8:pids:/libpod_parent/" + outer + "/libpod-" + inner:                                    {"podman", ""},
		"0::/system.slice/web.service/libpod-payload-" + inner:                                   {"podman", ""},
		// containerd, nerdctl
		"0::/system.slice/nerdctl-" + inner + ".scope": {"containerd", ""},
		"5:devices:/default/" + inner:                  {"", ""},
		"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + underscored + ".slice/cri-containerd-" + inner + ".scope": {"containerd", podID},
		"0::/kubepods.slice/kubepods-pod" + underscored + ".slice/cri-containerd-" + inner + ".scope":                                      {"containerd", podID},
		"1:name=systemd:/system.slice/containerd.service/kubepods-burstable-pod" + underscored + ".slice:cri-containerd:" + inner:          {"containerd", podID},
		"3:cpu:/kubepods/besteffort/pod" + podID + "/" + inner:                                                                             {"", podID},
		"3:cpu:/kubepods/pod" + podID + "/" + inner:                                                                                        {"", podID},
		"3:cpu:/kubepods/burstable/pod3c1f0d5e7a9b4c2d8e6f0a1b2c3d4e5f/" + inner:                                                           {"", "3c1f0d5e7a9b4c2d8e6f0a1b2c3d4e5f"},
		// kind: the node is a container itself
		"0::/docker/" + outer + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + underscored + ".slice/cri-containerd-" + inner + ".scope": {"containerd", podID},
		"11:pids:/docker/" + outer + "/kubelet/kubepods/besteffort/pod" + podID + "/" + inner:                                                                                                       {"", podID},
		// cri-dockerd
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice/docker-" + inner + ".scope": {"docker", podID},
		// CRI-O
		"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + underscored + ".slice/crio-" + inner + ".scope/container": {"crio", podID},
		"3:cpu:/kubepods/besteffort/pod" + podID + "/crio-" + inner:                                                                        {"crio", podID},
		"1:name=systemd:/leastcap-" + inner: {"leastcap", ""},
	} {
		// Other hierarchies may say nothing, as on hybrid hosts.
		if id, engine, pod := containerOf([]byte("13:cpu,cpuacct:/\n" + path + "\n0::/\n")); id != inner || engine != want.engine || pod != want.pod {
			t.Errorf("%s: %s %q %q", path, id, engine, pod)
		}
	}
}

// Monitors, pods themselves, and what only looks like an id are in no container.
func TestNotContainers(t *testing.T) {
	for _, path := range []string{
		"0::/user.slice/session-1.scope",
		"0::/machine.slice/libpod-conmon-" + inner + ".scope",
		"0::/machine.slice/machine-libpod_pod_" + outer + ".slice",
		"0::/machine.slice/machine-libpod_pod_" + outer + ".slice/libpod-conmon-" + inner + ".scope/",
		"0::/kubepods.slice/kubepods-pod2d4e81f0_6a7c_4f0b_9c7f_1f2a3b4c5d6e.slice/crio-conmon-" + inner + ".scope",
		"0::/x/" + inner + "0",
		"0::/x/" + inner[1:],
		"0::/",
		"",
		"0::" + strings.ToUpper(inner),
	} {
		id, _, _ := containerOf([]byte(path + "\n"))
		if strings.Contains(path, "machine-libpod_pod_"+outer+".slice/libpod-conmon-") && id == outer || id == inner {
			t.Errorf("%s: %s", path, id)
		}
		if id != "" {
			t.Errorf("%s: %s", path, id)
		}
	}
	// One in a container is in that.
	if id, engine, _ := containerOf([]byte("0::/docker/" + outer + "/libpod_parent/libpod-conmon-" + inner)); id != outer || engine != "docker" {
		t.Error(id, engine)
	}
}

func TestHidden(t *testing.T) {
	for line, want := range map[string]bool{
		"22 28 0:21 / /proc rw,nosuid - proc proc rw\n":                      false,
		"22 28 0:21 / /proc rw,nosuid - proc proc rw,gid=4,hidepid=2\n":      true,
		"22 28 0:21 / /proc rw - proc proc rw,hidepid=invisible\n":           true,
		"22 28 0:21 / /proc rw shared:5 - proc proc rw,hidepid=off\n":        false,
		"22 28 0:21 / /mnt/proc rw - proc proc rw,hidepid=2\n":               false,
		"22 28 0:21 / /proc/sys/fs/binfmt_misc rw - binfmt_misc x hidepid=2": false,
		"x": false,
	} {
		if hidden(line) != want {
			t.Errorf("%q: %v", line, !want)
		}
	}
}

func TestContains(t *testing.T) {
	h, err := FindHierarchy()
	if err != nil {
		t.Skip(err)
	}
	dir, err := h.PathOf(os.Getpid())
	if err != nil {
		t.Skip(err)
	}
	info, err := os.Stat(h.Mount + dir)
	if err != nil {
		t.Skip(err) // in a cgroup namespace
	}
	ino := inode(info)
	if _, _, _, ok := h.Contains(os.Getpid(), ino); !ok {
		t.Error("this process is not in its own cgroup")
	}
	if _, _, _, ok := h.Contains(os.Getpid(), ino+1); ok {
		t.Error("this process is in another cgroup")
	}
	if _, _, _, ok := h.Contains(-1, ino); ok {
		t.Error("a process that is not there is in a cgroup")
	}
}

func FuzzContainerOf(f *testing.F) {
	f.Add("12:pids:/docker/" + inner + "\n0::/kubepods/pod" + podID + "/crio-" + outer)
	f.Add("0::/machine-libpod_pod_" + outer + ".slice/libpod-conmon-" + inner)
	f.Add("\n\n:::pod")
	f.Fuzz(func(t *testing.T, text string) {
		id, _, pod := containerOf([]byte(text))
		if id != "" && (len(id) != idLen || !strings.Contains(text, id)) || id == "" && pod != "" {
			t.Errorf("%q: %q %q", text, id, pod)
		}
	})
}

func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }
