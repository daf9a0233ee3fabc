#!/bin/sh
# Stop the dockerd that docker-up.sh started, and no other.
set -eu

state=${XDG_RUNTIME_DIR:-/run}/leastcap-test
file=$state/dockerd.pid

say() { echo "docker-down: $*" >&2; }

# ours: the recorded process is still there, and is still dockerd.
ours() {
  [ -r "/proc/$pid/stat" ] || return 1
  [ "$(sed 's/.*) //' "/proc/$pid/stat" | cut -d ' ' -f 20)" = "$start" ] || return 1
  [ "$(cat "/proc/$pid/comm")" = dockerd ]
}

[ -e "$file" ] || exit 0
read -r pid start <"$file"
if ours; then
  say "stopping dockerd ($pid)"
  kill "$pid"
  tries=0
  while ours 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -ge 240 ]; then
      say "error: dockerd ($pid) has not ended after 120 s"
      exit 1
    fi
    sleep 0.5
  done
  # Its log and the locks of what was built in it tell nothing any more.
  rm -rf "$state"
fi
rm -f "$file"
