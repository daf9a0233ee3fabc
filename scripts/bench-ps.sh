#!/bin/bash
# Measures leastcap ps beside pscap as whole programs, at several numbers of processes, as
# root, in one run: medians, the ratio, and the peak memory. A hundred are in a pid namespace
# of their own, where there is nothing else; thousands are on the machine, where the BPF
# iterator can be used. Then leastcap ps and top while processes come and go.
#
#   scripts/bench-ps.sh [ps|churn]...
set -eu -o pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-15}
[ $# -gt 0 ] || set -- ps churn

make -s build
work=$(mktemp -d)
sleepers=
# shellcheck disable=SC2317 # the trap calls it
finish() {
  [ -z "$sleepers" ] || kill -9 "$sleepers" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
cp bin/leastcap "$work/leastcap" # as it is when it is installed: see "peak" below

# Sleepers end with their parent, which waits, or runs a command until that ends; a storm is
# of processes that end at once.
cat >"$work/many.c" <<'C'
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 0;
	double seconds = argc > 3 && argv[1][0] != 's' ? atof(argv[3]) : 0;
	int status;
	struct timespec pause_ = {0, (long)(seconds * 1e9 / (n ? n : 1))};

	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0) {
			perror("fork");
			return 1;
		}
		if (pid == 0) {
			if (argv[1][0] == 's') {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				for (;;)
					pause();
			}
			_exit(0);
		}
		if (argv[1][0] != 's') {
			waitpid(pid, NULL, 0);
			nanosleep(&pause_, NULL);
		}
	}
	if (argv[1][0] == 's' && argc > 3) {
		pid_t pid = fork();
		if (pid == 0) {
			execvp(argv[3], argv + 3);
			_exit(127);
		}
		waitpid(pid, &status, 0);
		return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
	}
	puts("ready");
	fflush(stdout);
	if (argv[1][0] == 's')
		pause();
	return 0;
}
C
gcc -O2 -static -o "$work/many" "$work/many.c"

# The peak includes the pages of the program's file that happen to be mapped.
cat >"$work/compare.py" <<'PY'
import os, statistics, sys, time

rounds, leastcap = int(sys.argv[1]), sys.argv[2]
commands = [["pscap", "-a"], [leastcap, "ps"], [leastcap, "ps", "--format", "pscap", "-a"], [leastcap, "--version"]]
null = os.open(os.devnull, os.O_WRONLY)
times, peak = [[] for _ in commands], [0] * len(commands)
for _ in range(rounds):
    for i, c in enumerate(commands):
        start = time.perf_counter()
        pid = os.posix_spawnp(c[0], c, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
        _, status, usage = os.wait4(pid, 0)
        times[i].append((time.perf_counter() - start) * 1000)
        peak[i] = max(peak[i], usage.ru_maxrss)
        assert status == 0, (c, status)
base = statistics.median(times[0])
for i, c in enumerate(commands):
    m = statistics.median(times[i])
    print(f"  {' '.join(['leastcap'] * bool(i) + c[bool(i):]):34} {m:8.1f} ms  {base / m:5.1f}x  peak {peak[i] / 1024:5.1f} MiB")
PY

measure_ps() {
  local n
  # Of the hundred, one has made the others, one measures, and one is measured.
  echo "100 processes in all ($((2 * rounds)) rounds, medians):"
  unshare --pid --fork --mount-proc "$work/many" sleep 97 "$(python3 -c 'import sys; print(sys.executable)')" "$work/compare.py" $((2 * rounds)) "$work/leastcap"
  for n in 5000 30000; do
    if [ "$n" -gt "$(($(cat /proc/sys/kernel/pid_max) - 2000))" ]; then
      echo "$n processes: pid_max is too small, left out"
      continue
    fi
    mkfifo "$work/ready"
    "$work/many" sleep "$n" >"$work/ready" &
    sleepers=$!
    read -r _ <"$work/ready"
    rm "$work/ready"
    sleep 1
    echo "$n processes more than the machine has ($rounds rounds, medians):"
    python3 "$work/compare.py" "$rounds" "$work/leastcap"
    kill -9 "$sleepers"
    wait "$sleepers" 2>/dev/null || true
    sleepers=
    sleep 2
  done
}

measure_churn() {
  local n=0 failed=0 storm
  "$work/many" run 10000 5 >/dev/null &
  storm=$!
  while kill -0 $storm 2>/dev/null; do
    "$work/leastcap" ps >"$work/ps" 2>"$work/err" || failed=$((failed + 1))
    "$work/leastcap" ps -a --wide >"$work/ps" 2>"$work/err" || failed=$((failed + 1))
    n=$((n + 2))
  done
  wait $storm
  echo "leastcap ps, $n times while 10,000 processes come and go: $failed failed"
  "$work/many" run 10000 5 >/dev/null &
  storm=$!
  "$work/leastcap" top --snapshot --wait 5s --interval 100ms >"$work/top" || echo "leastcap top failed"
  wait $storm
  echo "leastcap top, 5 s of them at 10 samples a second: $(head -1 "$work/top")"
}

for what in "$@"; do "measure_$what"; done
