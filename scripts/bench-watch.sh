#!/bin/bash
# What a look at everything costs each capability check: leastcap watch beside bpftrace,
# as root, in one run. Prints the median over the rounds of the best of several floods; the
# machine should have nothing else to do.
set -eu -o pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-7}
checks=${CHECKS:-50000}
floods=${FLOODS:-9}
kinds=${KINDS:-nothing watch count print}

. scripts/bench-lib.sh
gcc -O1 -static -pthread -o "$work/flood" probe/testdata/workload.c

# flood prints nanoseconds for a call that makes one check, at its best.
flood() {
  for ((f = 0; f < floods; f++)); do "$work/flood" flood "$1" 2 "$checks"; done |
    sort -n | awk -v n="$checks" 'NR == 1 { printf "%.1f\n", $1 / n }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for call in ${CALLS:-setgid sethostname}; do
  : >"$work/seen-watch" && : >"$work/seen-print"
  echo "$call, $floods floods of $checks calls by 2 threads, $rounds rounds, ns a call (added):"
  rm -f "$work"/t-*
  for ((r = 0; r < rounds; r++)); do
    for kind in $kinds; do
      rm -f "$work/err" "$work/count" "$work/print"
      begin $kind
      flood $call >>"$work/t-$kind"
      finish
      case $kind in
      watch) sed -n 's/.*"event":"summary".*"kind":"host".*"checks":\([0-9]*\).*/\1/p' "$work/watch.json" >>"$work/seen-watch" ;;
      print)
        grep -c '^flood ' "$work/print" >>"$work/seen-print" || true
        ;;
      esac
    done
  done
  base=$(median <"$work/t-nothing")
  for kind in $kinds; do
    t=$(median <"$work/t-$kind")
    printf '  %-28s %8s  %+8.1f\n' "$(case $kind in nothing) echo 'nothing' ;; watch) echo 'leastcap watch' ;; count) echo 'bpftrace, counting' ;; print) echo 'bpftrace, printing' ;; esac)" "$t" "$(awk -v t="$t" -v b="$base" 'BEGIN { print t - b }')"
  done
  awk -v a="$(median <"$work/t-watch")" -v c="$(median <"$work/t-count")" -v b="$base" 'BEGIN { printf "  leastcap adds %.2f of what counting with bpftrace adds\n", (a - b) / (c - b) }'
  echo "  checks seen of $((floods * checks)) at least: leastcap $(sort -n "$work/seen-watch" | head -1), bpftrace printing $(sort -n "$work/seen-print" | head -1)"
done
