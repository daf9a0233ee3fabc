package kube_test

import (
	"fmt"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/kube"
)

// A container is read, asked what it would be given, and given exactly what it needs.
func Example() {
	src := manifest.Source{Name: "pod.yaml", Data: []byte(`apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: nginx
    image: nginx  # from the mirror
    securityContext:
      capabilities: {add: [CAP_NET_ADMIN]}
`)}
	containers, err := kube.Parse(src)
	if err != nil {
		panic(err)
	}
	c := containers[0]
	for _, r := range c.Caps {
		fmt.Println(r.Word.At, r.Action, r.Word.V)
	}
	given, _ := c.Given("containerd")
	fmt.Println(len(given.Set.Caps()), given.Warnings[0])

	needs := caps.Of(caps.Chown, caps.Setuid)
	files, refused, err := manifest.Rewrite(&kube.Format, src, []manifest.Change{{Container: c, Want: manifest.Want{Exactly: &needs}}})
	if err != nil || len(refused) > 0 {
		panic(fmt.Sprint(err, refused))
	}
	fmt.Printf("%s", files[0].After)

	// Output:
	// pod.yaml:9:28 add CAP_NET_ADMIN
	// 14 CAP_NET_ADMIN is not added: containerd puts CAP_ before it, and the runtime ignores CAP_CAP_NET_ADMIN
	// apiVersion: v1
	// kind: Pod
	// metadata: {name: web}
	// spec:
	//   containers:
	//   - name: nginx
	//     image: nginx  # from the mirror
	//     securityContext:
	//       capabilities: {add: [CHOWN, SETUID], drop: [ALL]}
}
