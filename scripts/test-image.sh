#!/bin/bash
# Build the Docker images that the tests use, from Debian packages:
#   leastcap-test/services  real services, as a Debian installation has them
#   leastcap-test/tiny      static busybox and a few users
# An image is kept until its recipe changes.
set -eu -o pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
suite=bookworm

say() { echo "test-image: $*" >&2; }
die() {
  echo "test-image: error: $*" >&2
  exit 1
}
usage() {
  echo "usage: scripts/test-image.sh [leastcap-test/]services|tiny ..." >&2
  exit 2
}

services_packages=nginx-light,apache2,redis-server,iputils-ping,chrony,sudo,curl,libcap2-bin,procps,python3-minimal
# No manuals: half the files, a third of the time.
services_options=(
  --variant=minbase
  --dpkgopt='path-exclude=/usr/share/doc/*'
  --dpkgopt='path-exclude=/usr/share/man/*'
  --dpkgopt='path-exclude=/usr/share/locale/*'
)
tiny_packages=busybox-static
tiny_applets="cat chmod chown dd echo env false grep httpd id kill ls mkdir mknod mount nc ping ps rm sh sleep stat su touch true wget"

# recipe prints all that decides what an image holds: change it, and the image
# is built anew.
recipe() {
  case $1 in
  services) echo "1 $suite $services_packages ${services_options[*]}" ;;
  tiny) echo "1 $suite $tiny_packages $tiny_applets" ;;
  esac
}

# sources prints the lines of sources.list for the suite: this machine's own
# if it runs the same release, so that its mirror is used, else nothing, which
# leaves it to mmdebstrap.
sources() {
  # shellcheck disable=SC2016 # apt's variables, not the shell's
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT) | $(ORIGIN)' \
    'Created-By: Packages' 2>/dev/null |
    sed -n "s/^\(deb [^ ]* ${suite}[a-z-]* main\) | Debian\$/\1/p" | sort -u
}

import() { # tar on stdin
  docker import --change "LABEL leastcap-test.recipe=$2" - "leastcap-test/$1" >/dev/null
}

build_services() {
  local list
  list=$(sources)
  # An apt list with the updates but not the suite itself is of no use.
  grep -q " $suite main\$" <<<"$list" || list=
  # In a mount namespace of its own: a build that is killed leaves a directory, but none
  # of the machine's file systems mounted in it for an rm -r to go through.
  unshare --mount --propagation private mmdebstrap --quiet "${services_options[@]}" --include="$services_packages" \
    "$suite" "$work/services.tar" ${list:+"$list"} >&2 </dev/null
  import services "$1" <"$work/services.tar"
  # An import that loses extended attributes would lose what ping needs at exec.
  local file_caps
  file_caps=$(docker run --rm leastcap-test/services getcap /usr/bin/ping)
  [ "$file_caps" = "/usr/bin/ping cap_net_raw=ep" ] || {
    docker image rm leastcap-test/services >/dev/null
    die "/usr/bin/ping has not cap_net_raw=ep as Debian installs it but '$file_caps'"
  }
}

build_tiny() {
  local tree=$work/tiny applet
  mkdir -p "$work/deb"
  if ! (cd "$work/deb" && apt-get -qq download -o APT::Sandbox::User=root $tiny_packages) >&2; then
    apt-get -qq update >&2
    (cd "$work/deb" && apt-get -qq download -o APT::Sandbox::User=root $tiny_packages) >&2
  fi
  dpkg-deb -x "$work"/deb/*.deb "$work/unpacked"
  mkdir -p "$tree"/{bin,dev,etc,proc,root,sys,tmp,var/tmp,var/www}
  chmod 700 "$tree/root"
  chmod 1777 "$tree/tmp" "$tree/var/tmp"
  install -m 755 "$work/unpacked/bin/busybox" "$tree/bin/busybox"
  for applet in $tiny_applets; do
    "$tree/bin/busybox" --list | grep -qx "$applet" || die "busybox has no applet '$applet'"
    ln -s busybox "$tree/bin/$applet"
  done
  cat >"$tree/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh
END
  cat >"$tree/etc/group" <<'END'
root:x:0:
www-data:x:33:
nogroup:x:65534:
END
  echo hello >"$tree/var/www/index.html"
  tar -C "$tree" --owner=0 --group=0 --numeric-owner --sort=name --mtime=@0 -c . | import tiny "$1"
}

[ $# -gt 0 ] || usage
for name; do
  case ${name#leastcap-test/} in services | tiny) ;; *) usage ;; esac
done

# Two builds of one image at a time would do the work twice.
state=${XDG_RUNTIME_DIR:-/run}/leastcap-test
[ -w "${state%/*}" ] || state=${TMPDIR:-/tmp}/leastcap-test-$(id -u)
mkdir -p "$state"
exec 9>"$state/image.lock"
flock 9

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for name; do
  name=${name#leastcap-test/}
  hash=$(recipe "$name" | sha256sum | cut -c 1-16)
  have=$(docker image inspect -f '{{index .Config.Labels "leastcap-test.recipe"}}' \
    "leastcap-test/$name" 2>/dev/null || true)
  [ "$have" != "$hash" ] || continue
  if [ -z "$work" ]; then
    [ "$(id -u)" = 0 ] || die "leastcap-test/$name is missing, and only root can build it"
    # Not a private directory: mmdebstrap and apt drop root within it.
    work=$(mktemp -d)
    chmod 755 "$work"
  fi
  say "building leastcap-test/$name"
  started=$SECONDS
  old=$(docker image inspect -f '{{.Id}}' "leastcap-test/$name" 2>/dev/null || true)
  "build_$name" "$hash"
  # A container may still be using it; then it stays, untagged.
  [ -z "$old" ] || docker image rm "$old" >/dev/null 2>&1 || true
  say "built leastcap-test/$name in $((SECONDS - started)) s"
done
