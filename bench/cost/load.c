// SPDX-License-Identifier: Apache-2.0
/*
 * The programs whose cost scripts/bench-cost.sh measures:
 *
 *	load check|fork|mmap SECONDS [FILE]
 *
 * makes short batches of an operation for that long and prints the nanoseconds of
 * processor time that one operation took in the cheapest batch, children included, and how
 * many were made, or writes it to FILE.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* One question for CAP_SETGID and nothing else (kernel/sys.c __sys_setgid()). */
static void check(void)
{
	syscall(SYS_setgid, 0);
}

static void forks(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		exit(2);
}

/* A buffer of 256 KiB, written and given back: malloc() and free() of a large block. */
static void map(void)
{
	const size_t size = 256 << 10;
	char *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		exit(2);
	memset(m, 1, size);
	munmap(m, size);
}

static const struct load {
	const char *name;
	void (*operate)(void);
	int batch;
} loads[] = { { "check", check, 2000 }, { "fork", forks, 30 }, { "mmap", map, 20 } };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* What the kernel spends in this process and in its children. */
static double spent(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return (self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1e9 +
	       (self.ru_utime.tv_usec + self.ru_stime.tv_usec + children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1e3;
}

int main(int argc, char **argv)
{
	cpu_set_t one;

	if (argc < 3)
		return 2;
	/* What a child costs depends on whether it starts beside its parent or elsewhere. */
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		const struct load *l = &loads[i];
		double begin = now(), best = 0;
		long n = 0;
		FILE *out = stdout;

		if (strcmp(argv[1], l->name))
			continue;
		while (now() - begin < atof(argv[2]) * 1e9) {
			double at = spent(), took;

			for (int j = 0; j < l->batch; j++)
				l->operate();
			took = (spent() - at) / l->batch;
			if (!best || took < best)
				best = took;
			n += l->batch;
		}
		if (argc > 3 && !(out = fopen(argv[3], "w")))
			return 2;
		fprintf(out, "%.1f %ld\n", best, n);
		return fclose(out) ? 2 : 0;
	}
	return 2;
}
