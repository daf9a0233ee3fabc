#!/bin/bash
# Measures what Go's benchmarks do not: whole programs side by side, as root, in one run.
# Prints medians; the machine should have nothing else to do.
set -eu -o pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-31}

make -s build
work=$(mktemp -d)
# As it is installed: of a file that the linker has just written the kernel maps more than
# is touched (10 MiB of it), in the large pieces that it was written in.
mkdir "$work/bin"
install bin/leastcap "$work/bin"
leastcap=$work/bin/leastcap
trap 'rm -rf "$work"' EXIT
export LEASTCAP_ROOT=$work/state LEASTCAP_IMAGES=$work/images LEASTCAP_PROFILES=$work/profiles
# The directories that every image has; runc makes them in its root file system once,
# at its first run.
mkdir -p "$work/rootfs"/{dev,proc,sys}
cat >"$work/exit.go" <<'GO'
package main

func main() {}
GO
CGO_ENABLED=0 go build -o "$work/rootfs/exit" "$work/exit.go"
# The installed runc may be another version than the one in leastcap, and builds its seccomp
# filter differently.
version=$(go list -m -f '{{.Version}}' github.com/opencontainers/runc)
GOBIN=$work/bin go install -tags seccomp "github.com/opencontainers/runc@$version"
"$leastcap" spec --bundle "$work/bundle" --rootfs "$work/rootfs" /exit

# ms COMMAND... prints how long it takes.
ms() {
  local start
  start=$(date +%s%N)
  "$@" >/dev/null 2>&1
  echo $((($(date +%s%N) - start) / 100000)) | sed 's/.$/.&/; s/^\./0./'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

names=("leastcap run, no network" "leastcap run" "runc $version, the same bundle" "installed runc, the same" "docker run")
measure() {
  case $1 in
  0) ms "$leastcap" run --engine embedded -q --network none --rootfs "$work/rootfs" /exit ;;
  1) ms "$leastcap" run --engine embedded -q --rootfs "$work/rootfs" /exit ;;
  2) ms "$work/bin/runc" run -b "$work/bundle" "leastcap-bench-$$" ;;
  3) ms runc run -b "$work/bundle" "leastcap-bench-$$" ;;
  4) ms docker run --rm leastcap-test/tiny true ;;
  esac
}
echo "start to exit of a static program, $rounds rounds, median ms:"
for ((r = 0; r < rounds; r++)); do
  for i in 0 1 2 3 4; do measure $i >>"$work/times$i"; done
done
for i in 0 1 2 3 4; do printf '  %-32s %s\n' "${names[i]}" "$(median <"$work/times$i")"; done

echo "unpacking leastcap-test/services, 5 rounds, median ms:"
docker save leastcap-test/services -o "$work/image.tar"
skopeo copy -q "docker-archive:$work/image.tar" "oci:$work/oci:latest"
for ((r = 0; r < 5; r++)); do
  rm -rf "$work/images" "$work/umoci"
  ms "$leastcap" run --engine embedded -q --network none "oci:$work/oci:latest" true >>"$work/unpack0"
  ms umoci unpack --image "$work/oci:latest" "$work/umoci" >>"$work/unpack1"
done
printf '  %-32s %s\n' "leastcap, and run true" "$(median <"$work/unpack0")" "umoci unpack" "$(median <"$work/unpack1")"

echo "auditing Kubernetes manifests, $rounds rounds, median ms and most MiB:"
GOBIN=$work/bin GOFLAGS='' go install github.com/zegl/kube-score/cmd/kube-score@v1.20.0
mkdir "$work/one" "$work/many"
for ((i = 0; i < 500; i++)); do
  printf '%s\n' 'apiVersion: apps/v1' 'kind: Deployment' "metadata: {name: web$i}" 'spec:' '  replicas: 3' \
    "  selector: {matchLabels: {app: web$i}}" '  template:' "    metadata: {labels: {app: web$i}}" '    spec:' '      containers:' \
    '      - name: web' '        image: nginx:1.27' '        ports: [{containerPort: 80}]' '        resources:' \
    '          requests: {cpu: 100m, memory: 64Mi}' '        securityContext:' '          capabilities:' \
    '            add: [NET_ADMIN]' >"$work/many/$i.yaml"
done
cp "$work/many/0.yaml" "$work/one"
audits=("leastcap audit --help" "leastcap audit, one" "kube-score, one" "leastcap audit, 500" "leastcap audit --output json, 500" "kube-score, 500")
for ((r = 0; r < rounds; r++)); do
  for i in "${!audits[@]}"; do
    case $i in
    0) set -- "$leastcap" audit --help ;;
    1) set -- "$leastcap" audit --no-store "$work/one" ;;
    2) set -- "$work/bin/kube-score" score "$work/one/0.yaml" ;;
    3) set -- "$leastcap" audit --no-store "$work/many" ;;
    4) set -- "$leastcap" audit --no-store --output json "$work/many" ;;
    5) set -- "$work/bin/kube-score" score "$work"/many/*.yaml ;;
    esac
    python3 - "$@" >>"$work/audit$i" <<'PY'
import os, subprocess, sys, time
start = time.perf_counter()
p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, _, use = os.wait4(p.pid, 0)
print("%.1f %.1f" % ((time.perf_counter() - start) * 1e3, use.ru_maxrss / 1024))
PY
  done
done
for i in "${!audits[@]}"; do
  printf '  %-36s %s ms, %s MiB\n' "${audits[i]}" "$(cut -d' ' -f1 "$work/audit$i" | median)" "$(cut -d' ' -f2 "$work/audit$i" | sort -n | tail -n 1)"
done

echo "learning nginx, 3 rounds, median seconds and runs:"
# shellcheck disable=SC2016 # the check's own variable
check=(--check 'curl -fsS http://$LEASTCAP_IP/' --no-save -q -o json)
for ((r = 0; r < 3; r++)); do
  for engine in embedded docker; do
    args=()
    [ $engine = docker ] || args=(--engine embedded)
    "$leastcap" learn "${check[@]}" "${args[@]}" -- docker run leastcap-test/services nginx -g 'daemon off;' >"$work/p.json"
    python3 -c 'import json, sys; p = json.load(open(sys.argv[1])); print(p["seconds"], len(p["trials"]), p["proven"], ",".join(p["required"]))' "$work/p.json" >>"$work/learn-$engine"
  done
done
for engine in embedded docker; do printf '  %-32s %s\n' "$engine" "$(sort -n "$work/learn-$engine" | sed -n 2p)"; done

scripts/bench-ps.sh
