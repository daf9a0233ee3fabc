#!/bin/sh
# Make sure that a Docker Engine answers: do nothing if one does, else start
# one in the background. docker-down.sh stops what this started.
#
# DOCKERD_ARGS: more arguments for dockerd. DOCKER_HOST: which engine is asked.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
state=${XDG_RUNTIME_DIR:-/run}/leastcap-test
seconds=120

say() { echo "docker-up: $*" >&2; }
die() {
  echo "docker-up: error: $*" >&2
  exit 1
}
answers() { docker info >/dev/null 2>&1; }

command -v docker >/dev/null || die "docker is missing; run scripts/setup.sh"
answers && exit 0
[ "$(id -u)" = 0 ] || die "no Docker Engine answers (docker info), and only root can start one"

if [ -d /run/systemd/system ] && [ -z "${DOCKERD_ARGS:-}" ]; then
  say "systemctl start docker"
  systemctl start docker
  log=
else
  command -v dockerd >/dev/null || die "dockerd is missing; run scripts/setup.sh"
  mkdir -p "$state"
  log=$state/dockerd.log
  say "starting dockerd, log in $log"
  # A script's background job leads no process group, so setsid becomes
  # dockerd without a fork and $! is dockerd's pid.
  # shellcheck disable=SC2086 # one word an argument
  setsid dockerd ${DOCKERD_ARGS:-} </dev/null >"$log" 2>&1 &
  pid=$!
  # The start time tells this process from a later one with the same pid
  # (proc_pid_stat(5), field 22; the name in field 2 may hold blanks).
  start=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d ' ' -f 20)
  echo "$pid $start" >"$state/dockerd.pid"
fi

tries=0
until answers; do
  tries=$((tries + 1))
  if [ -n "$log" ] && ! kill -0 "$pid" 2>/dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$state/dockerd.pid"
    die "dockerd ended by itself (the end of $log is above)"
  fi
  if [ "$tries" -ge $((seconds * 2)) ]; then
    [ -z "$log" ] || tail -n 20 "$log" >&2
    die "no answer from dockerd within $seconds s${log:+ (the end of $log is above)}"
  fi
  sleep 0.5
done
say "Docker Engine answers"
