package kube

import (
	"bytes"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/formattest"
	"github.com/leastcap/leastcap/manifest"
)

var seeds = []string{
	podOf("image: x\nsecurityContext:\n  capabilities:\n    add: [NET_ADMIN, 'CHOWN'] # c\n    drop:\n    - ALL\n"),
	podOf("image: x\nsecurityContext: {capabilities: {add: [A, ], drop: }, privileged: true}"),
	podOf("image: x\nargs: [\"\\\"\", |\n"), podOf("image: |+\n  x\n\n"), podOf("securityContext:\n  capabilities:\n    add:\n    - # c\n      KILL\n    -\n"),
	"apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  spec:\n    template:\n      spec:\n        initContainers:\n        - {image: a, restartPolicy: Always}\n        containers:\n        - &c\n          name: b\n          securityContext: &s {runAsUser: 0}\n        - <<: *c\n          name: d\n        - *c\n",
	"{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\n\t\"containers\": [{\n\t\t\"image\": \"x\",\n\t\t\"securityContext\": {}\n\t}]\n}}\n",
	jsonPod("a", `{}`) + jsonPod("b", `{"capabilities": {"add": ["KILL"]}}`) + "\n" + jsonPod("c", `{"privileged": true}`) + "\n",
	jsonPod("a", `{}`) + " " + podOf("image: x\n") + "---\n" + jsonPod("b", `null`) + "{}",
	"apiVersion: x/v1\nkind: Rollout\nspec:\n  a:\n  - container: {image: x}\n  - steps:\n    - image: y\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: x}]}\n",
	"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - securityContext:\n      capabilities:\n        add:\n        - A\n    image: x\n  - image: y\n    securityContext:",
}

// FuzzEdit: see [formattest.Fuzz].
func FuzzEdit(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(0), false)
		f.Add(bytes.ReplaceAll([]byte(s), []byte("\n"), []byte("\r\n")), uint64(1<<caps.Chown|1<<caps.Kill), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, mask uint64, more bool) {
		formattest.Fuzz(t, &Format, manifest.Source{Name: "f.yaml", Data: data}, mask, more, "containerd")
	})
}
