# Sourced by the benches that hold leastcap beside bpftrace: a directory for their files in
# $work, and a watcher of everything that is started and stopped.
# shellcheck shell=bash

make -s build
work=$(mktemp -d)
watcher=
mounted=
cleanup() {
  [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
  [ -z "$mounted" ] || umount /sys/kernel/tracing
  rm -rf "$work"
}
trap cleanup EXIT
mountpoint -q /sys/kernel/tracing || { mount -t tracefs tracefs /sys/kernel/tracing && mounted=1; }

# begin starts a watcher of everything, and waits until it looks: "watch" (by a way in,
# "watch HOOK"), "why", bpftrace as "count" or "print"; others start none.
begin() {
  local word='Ctrl-C'
  case $1 in
  watch) bin/leastcap watch -o json >"$work/watch.json" 2>"$work/err" & ;;
  "watch "*) bin/leastcap watch --hook "${1#watch }" -o json >"$work/watch.json" 2>"$work/err" & ;;
  why) bin/leastcap why -o json >"$work/why.json" 2>"$work/err" & ;;
  count) bpftrace -e 'tracepoint:capability:cap_capable { @[comm, args->cap, args->ret] = count(); }' >"$work/count" 2>"$work/err" & ;;
  print) bpftrace -e 'tracepoint:capability:cap_capable { printf("%s %d %d\n", comm, args->cap, args->ret); }' >"$work/print" 2>"$work/err" & ;;
  *) return ;;
  esac
  watcher=$!
  case $1 in count | print) word='Attaching' ;; esac
  for ((i = 0; i < 200; i++)); do
    grep -qs "$word" "$work/err" "$work/count" "$work/print" && break
    sleep 0.1
  done
  sleep 1
}
finish() {
  [ -n "$watcher" ] || return 0
  kill -INT "$watcher"
  wait "$watcher" || true
  watcher=
}
