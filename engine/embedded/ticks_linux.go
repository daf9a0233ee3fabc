//go:build cgo

package embedded

/*
#include <string.h>
#include <sys/prctl.h>

// Go's monitor wakes every 20 µs for the first milliseconds, to see whether a thread waits
// in the kernel while there is other work (runtime/proc.go, sysmon()), and then the other
// processor is interrupted at each page that is written: 0.9 ms of CPU time, an eighth of a
// short command. Timers may be late by the timer slack, 50 µs as a rule, which threads
// inherit, as do programs that are executed: PR_SET_TIMERSLACK(2const). So it is only for
// the verbs that run no workload, whose timers are not leastcap's (looks, in
// cmd/leastcap/root.go).
//
// glibc gives constructors main's arguments (csu/libc-start.c, call_init()).
#ifdef __GLIBC__
__attribute__((constructor)) static void fewer_ticks(int argc, char **argv)
{
	static const char *const looks[] = {"ps", "top", "audit", "convert", "explain", "man"};

	for (unsigned i = 0; argc > 1 && i < sizeof looks / sizeof *looks; i++)
		if (!strcmp(argv[1], looks[i]))
			prctl(PR_SET_TIMERSLACK, 1000000, 0, 0, 0); // ns
}
#endif
*/
import "C"
