#!/bin/sh
# Install what leastcap's build and tests need on a bare Debian 12; with the argument
# "build" only what the build needs.
# Does nothing, quickly, when everything is there.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
root=$(cd "$(dirname "$0")/.." && pwd)

say() { echo "setup: $*" >&2; }
hint() { echo "setup: hint: $*" >&2; }
die() {
  echo "setup: error: $*" >&2
  exit 1
}

# What is looked for (a command, or a file when it starts with /) and the
# Debian package that brings it. Commands rather than packages are asked for:
# Docker's own packages do as well as Debian's, and conflict with them.
build_needs='
make make
gcc gcc
/usr/include/stdio.h libc6-dev
/usr/include/seccomp.h libseccomp-dev
/etc/ssl/certs/ca-certificates.crt ca-certificates
'
needs="$build_needs"'
dockerd docker.io
docker docker.io
iptables iptables
clang clang
llvm-strip llvm
/usr/include/bpf/bpf_helpers.h libbpf-dev
/usr/include/linux/bpf.h linux-libc-dev
capsh libcap2-bin
mmdebstrap mmdebstrap
curl curl
podman podman
docker-registry docker-registry
runc runc
crun crun
umoci umoci
skopeo skopeo
ps procps
pscap libcap-ng-utils
bpftrace bpftrace
git git
chromium chromium
flock util-linux
script bsdutils
groff groff-base
col bsdextrautils
/usr/share/bash-completion/bash_completion bash-completion
systemd-analyze systemd
busybox busybox-static
qemu-system-x86_64 qemu-system-x86
cpio cpio
xz xz-utils
'

[ "${1:-}" != build ] || needs=$build_needs

# missing prints the packages of the needs that are not met.
missing() {
  echo "$needs" | while read -r what package; do
    case $what in
    '') ;;
    /*) [ -e "$what" ] || echo "$package" ;;
    *) command -v "$what" >/dev/null || echo "$package" ;;
    esac
  done | sort -u | tr '\n' ' '
}

retry() {
  for pause in 3 10 0; do
    "$@" && return 0
    [ "$pause" = 0 ] && return 1
    say "'$*' failed; again in $pause s"
    sleep "$pause"
  done
}

packages=$(missing)
if [ -n "$packages" ]; then
  if ! command -v apt-get >/dev/null; then
    hint "install by hand what Debian calls: $packages"
    die "this is not Debian (no apt-get)"
  fi
  if [ "$(id -u)" != 0 ]; then
    hint "run as root: apt-get install --no-install-recommends $packages"
    die "not root, and missing: $packages"
  fi
  say "installing: $packages"
  export DEBIAN_FRONTEND=noninteractive
  {
    retry apt-get -qq update
    # A machine of continuous integration need not outlive a crash: dpkg does not wait for
    # its disk there.
    # shellcheck disable=SC2086 # one word a package
    retry apt-get -qq -y ${CI:+-o Dpkg::Options::=--force-unsafe-io} --no-install-recommends install $packages
  } >&2 </dev/null
  packages=$(missing)
  [ -z "$packages" ] || die "still missing after the installation: $packages"
fi

if ! command -v go >/dev/null; then
  hint "see https://go.dev/doc/install"
  die "Go is missing: $(grep '^go ' "$root/go.mod") or later is needed"
fi
# Fails, and says why, when this Go is older than go.mod asks and may not
# fetch a newer one.
(cd "$root" && go version >/dev/null) || die "Go is too old"
