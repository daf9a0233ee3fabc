#!/bin/bash
# What leastcap top takes beside 60 containers that together make 100,000 capability checks
# a second, as root: its own part of a processor, as the kernel counts it, on a terminal of
# 80x24 and on one of 200x60; and what its BPF programs add.
set -eu -o pipefail
cd "$(dirname "$0")/.."
count=${CONTAINERS:-60}
rate=${RATE:-100000}
seconds=${SECONDS_EACH:-10}

make -s build
work=$(mktemp -d)
chmod 755 "$work"
containers=
stats=$(cat /proc/sys/kernel/bpf_stats_enabled)
top=
# shellcheck disable=SC2317 # the trap calls it
finish() {
  [ -z "$top" ] || kill "$top" 2>/dev/null || true
  # shellcheck disable=SC2086 # one word an id
  [ -z "$containers" ] || docker rm -f $containers >/dev/null 2>&1 || true
  echo "$stats" >/proc/sys/kernel/bpf_stats_enabled
  rm -rf "$work"
}
trap finish EXIT
cp bin/leastcap "$work/leastcap"

# Makes so many checks a second, in bursts every 20 ms, of several kinds; one in fifty is
# denied.
cat >"$work/pace.c" <<'C'
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long burst = atol(argv[1]) / 50, n = 0;
	struct timespec next;

	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		for (long i = 0; i < burst; i++, n++) {
			if (n % 50 == 0)
				syscall(SYS_sethostname, "x", 1);
			else
				syscall(n % 2 ? SYS_setgid : SYS_setuid, 0);
		}
		next.tv_nsec += 20000000;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
	return argc;
}
C
gcc -O2 -static -o "$work/pace" "$work/pace.c"

ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
# bpf prints the nanoseconds that the programs of a process took, and how often they ran.
bpf() { cat "/proc/$1"/fdinfo/* 2>/dev/null | awk '/^run_time_ns:/ { t += $2 } /^run_cnt:/ { n += $2 } END { printf "%d %d\n", t, n }'; }
mkfifo "$work/keys"
exec 9<>"$work/keys" # a keyboard that nobody touches

measure() { # rows columns
  local before after t n t2 n2
  rm -f "$work/pid"
  script -qfc "stty rows $1 cols $2; echo \$\$ >$work/pid; exec $work/leastcap top" /dev/null <"$work/keys" >"$work/screen" 2>&1 &
  for _ in $(seq 100); do
    grep -qs CONTAINER "$work/screen" && break
    sleep 0.1
  done
  top=$(cat "$work/pid")
  sleep 4
  before=$(ticks "$top")
  read -r t n < <(bpf "$top")
  sleep "$seconds"
  after=$(ticks "$top")
  read -r t2 n2 < <(bpf "$top")
  kill "$top"
  wait || true
  top=
  awk -v rows="$1" -v columns="$2" -v cpu="$(((after - before) * 100 / $(getconf CLK_TCK)))" -v s="$seconds" -v t=$((t2 - t)) -v n=$((n2 - n)) \
    'BEGIN { printf "  %dx%d: top itself %.1f %% of a processor; its BPF programs %.1f %%, run %d times a second, %d ns each\n", columns, rows, cpu / s, t / s / 1e7, n / s, n ? t / n : 0 }'
}

for ((i = 0; i < count; i++)); do
  containers+=" $(docker run -d --network none --security-opt seccomp=unconfined -v "$work/pace:/pace:ro" leastcap-test/tiny /pace $((rate / count)))"
done
echo 1 >/proc/sys/kernel/bpf_stats_enabled
echo "leastcap top, $count containers, $rate checks a second, a sample every 2 s:"
measure 24 80
measure 60 200
