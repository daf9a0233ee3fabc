package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// benchmarkAudit audits copies of one Deployment, each a file of its own.
func benchmarkAudit(b *testing.B, files int, output string) {
	const manifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: nginx:1.27
        ports:
        - containerPort: 80
        resources:
          requests: {cpu: 100m, memory: 64Mi}
        securityContext:
          capabilities:
            add: [NET_ADMIN]
        volumeMounts:
        - name: data
          mountPath: /var/lib/web
      volumes:
      - name: data
        hostPath: {path: /srv/web}
`
	dir := b.TempDir()
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".yaml"), []byte(manifest), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if code := run(b.Context(), io.Discard, io.Discard, []string{"audit", "--no-store", "--output", output, dir}); code != exitFindings {
			b.Fatal("exit status", code)
		}
	}
}

// What 500 manifests cost over one is the time of a file; issue: at most 60 ms for all.
func BenchmarkAudit(b *testing.B) {
	for _, n := range []int{1, 500} {
		for _, output := range []string{"text", "json"} {
			b.Run(strconv.Itoa(n)+"/"+output, func(b *testing.B) { benchmarkAudit(b, n, output) })
		}
	}
}
