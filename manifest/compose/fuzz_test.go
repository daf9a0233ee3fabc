package compose

import (
	"bytes"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/internal/formattest"
	"github.com/leastcap/leastcap/manifest"
)

var seeds = []string{
	"services:\n  web:\n    image: x\n    cap_add: [NET_ADMIN, 'chown'] # c\n    cap_drop:\n    - ALL\n",
	"x-a: &a {cap_add: [A], security_opt: [label:disable]}\nservices:\n  web: &w\n    <<: *a\n    build: .\n  b: {<<: [*w, *a], cap_drop: }\n  c: *w\n",
	"services:\n  a: {image: x, extends: b, cap_add: !override [KILL]}\n  b: {image: y, cap_add: &l [A, B], privileged: \"yes\"}\n  c: {extends: {service: a}, cap_drop: *l}\n",
	"{\n\t\"services\": {\"web\": {\"image\": \"${X:-y}$$\", \"ports\": [\"1-2:3-4/udp\", {\"target\": 1}]}}\n}\n",
	"include: [a.yml]\nservices:\n  web:\n    volumes: [\"${A}:/b:ro\", 'c:\\d:/e']\n    devices: [/dev/x]\n    pre_start: [{image: x, privileged: true}]\n    labels: [a=b]",
	"services:\n  web:\n    cap_add:\n    - A\n",
	"{services: {web: {image: x, cap_add: [A, a]}}} {services: {}}\n",
}

// FuzzEdit: see [formattest.Fuzz].
func FuzzEdit(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), uint64(0), false)
		f.Add(bytes.ReplaceAll([]byte(s), []byte("\n"), []byte("\r\n")), uint64(1<<caps.Chown|1<<caps.Kill), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, mask uint64, more bool) {
		formattest.Fuzz(t, &Format, manifest.Source{Name: "compose.yaml", Data: data}, mask, more, "docker")
	})
}
