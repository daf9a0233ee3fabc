#!/bin/bash
# What a look costs a program that makes many checks, one that forks, and one that maps
# memory, as root, in one run: leastcap learn and watch beside bpftrace. Prints a table; with a
# file as argument writes docs/cost.md's page there. The machine should have nothing else to do.
set -eu -o pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-7}
seconds=${SECONDS_EACH:-0.5}
page=${1:-}
loads=(check fork mmap)

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
gcc -O1 -static -o "$work/load" bench/cost/load.c
mountpoint -q /sys/kernel/tracing || { mount -t tracefs tracefs /sys/kernel/tracing && mounted=1; }

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR % 2) print v[(NR + 1) / 2]; else print (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# Each way in that this kernel has.
hooks=$(bin/leastcap doctor -o json | sed -n '/"ways"/,/\]/p' | tr -d ' ",' | awk -F: '$1 == "name" { n = $2 } $1 == "usable" && $2 == "true" { print n }')
[ -n "$hooks" ] || { echo "no way in to the kernel's checks: leastcap doctor says why" >&2; exit 1; }
kinds=(nothing)
for h in $hooks; do kinds+=("learn $h" "watch $h"); done
kinds+=(count print)

# begin starts a watcher of everything, and waits until it looks.
begin() {
  case $1 in
  watch*) bin/leastcap watch --hook "${1#watch }" -o json >"$work/watch.json" 2>"$work/err" & ;;
  count) bpftrace -e 'tracepoint:capability:cap_capable { @[comm, args->cap, args->ret] = count(); }' >"$work/count" 2>"$work/err" & ;;
  print) bpftrace -e 'tracepoint:capability:cap_capable { printf("%s %d %d\n", comm, args->cap, args->ret); }' >"$work/print" 2>"$work/err" & ;;
  *) return ;;
  esac
  watcher=$!
  local word='Attaching'
  case $1 in watch*) word='Ctrl-C' ;; esac
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

# run makes one load under one kind of look, and keeps what it took.
run() {
  local kind=$1 load=$2 key
  key=$(tr ' /' '__' <<<"$kind")
  case $kind in
  learn*)
    bin/leastcap learn --hook "${kind#learn }" --observe-only --no-save -q -o json -- "$work/load" "$load" "$seconds" "$work/took" >"$work/profile.json" 2>>"$work/err" ||
      { cat "$work/err" >&2; exit 1; }
    grep -q '"complete": true' "$work/profile.json" || { echo "the profile of $load is not complete" >&2; exit 1; }
    if [ "$load" = check ]; then
      awk '/"call": "setgid\(0\)"/ { in_it = 1 } in_it && /"count":/ { n += $2; in_it = 0 } END { print n + 0 }' "$work/profile.json" >>"$work/seen-$key"
    fi
    ;;
  *) "$work/load" "$load" "$seconds" "$work/took" ;;
  esac
  cat "$work/took" >>"$work/t-$key-$load"
}

for ((r = 0; r < rounds; r++)); do
  for kind in "${kinds[@]}"; do
    key=$(tr ' /' '__' <<<"$kind")
    : >"$work/err" && rm -f "$work/count" "$work/print" "$work/watch.json"
    begin "$kind"
    for load in "${loads[@]}"; do run "$kind" "$load"; done
    finish
    # What was seen of the checks that the program made. setgid(2)'s is capability 6.
    case $kind in
    watch*) sed -n 's/.*"event":"summary".*"kind":"host".*"checks":\([0-9]*\).*/\1/p' "$work/watch.json" ;;
    print) grep -c '^load 6 0' "$work/print" || true ;;
    count) sed -n 's/^@\[load, 6, 0\]: //p' "$work/count" ;;
    esac >>"$work/seen-$key"
  done
done

# took prints the median nanoseconds; ratio that of the rounds' ratios to nothing.
took() { awk '{ print $1 }' "$work/t-$1-$2" | median; }
ratio() { paste -d ' ' "$work/t-$1-$2" "$work/t-nothing-$2" | awk '{ print $1 / $3 }' | median; }
added() { paste -d ' ' "$work/t-$1-$2" "$work/t-nothing-$2" | awk '{ print $1 - $3 }' | median; }
percent() { awk -v r="$1" 'BEGIN { printf "%+.1f %%", (r - 1) * 100 }'; }

table() {
  echo "| | ns added to each check | check-heavy | fork-heavy | mmap-heavy | checks lost |"
  echo "|---|---|---|---|---|---|"
  for kind in "${kinds[@]:1}"; do
    key=$(tr ' /' '__' <<<"$kind")
    case $kind in
    learn*) name="leastcap learn, ${kind#learn }" ;;
    watch*) name="leastcap watch, ${kind#watch }" ;;
    count) name="bpftrace, counting by name, capability and verdict" ;;
    print) name="bpftrace, printing each" ;;
    esac
    # Others' checks count with what watch saw.
    lost=$(paste -d ' ' "$work/seen-$key" "$work/t-$key-check" | awk '$3 > $1 { n += $3 - $1 } { all += $3 } END { if (n) printf "%d of %d", n, all; else print 0 }')
    printf '| %s | %.0f | %s | %s | %s | %s |\n' "$name" "$(added "$key" check)" \
      "$(percent "$(ratio "$key" check)")" "$(percent "$(ratio "$key" fork)")" "$(percent "$(ratio "$key" mmap)")" "$lost"
  done
}
table | tee "$work/table"
for load in "${loads[@]}"; do echo "one operation of the $load-heavy program without a look: $(took nothing "$load") ns"; done | tee "$work/base"
[ -z "$page" ] || cat >"$page" <<EOF
# What a look costs

<!-- Generated by "scripts/bench-cost.sh docs/cost.md". Do not edit. -->

Three small programs (bench/cost/load.c) run without a look, under leastcap and under bpftrace
0$(bpftrace --version | tr -dc '0-9. ' | sed 's/^ *0*//'), in $rounds alternating rounds of $seconds s each. What is measured is processor time, children
included, of the cheapest batch of a few milliseconds; the table has the median over the rounds of
the difference from the same round's run without a look. Each stays on the processor that it began on.

- check-heavy: setgid(2) in a loop, which asks the kernel once.
- fork-heavy: fork, exit, wait.
- mmap-heavy: 256 KiB are mapped, written and unmapped. The kernel asks for sys_admin here, as
  at every fork, which is memory accounting.

Linux $(uname -r | cut -d- -f1), $(nproc) CPUs, $(date -u +%F).

$(cat "$work/table")

$(sed 's/^/- /' "$work/base")

leastcap's sets are counted in the kernel: nothing is lost however fast checks come. bpftrace may lose
lines when they come faster than it prints, and slows the program down to its own speed.
EOF
