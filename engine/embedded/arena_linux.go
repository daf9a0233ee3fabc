//go:build cgo

package embedded

/*
#include <malloc.h>

// glibc maps 128 MiB for each thread that allocates, and gives half of it back
// (malloc/arena.c, new_heap()): 0.2 ms of every start for the few bytes that starting Go's
// threads takes.
#ifdef __GLIBC__
__attribute__((constructor)) static void one_arena(void)
{
	mallopt(M_ARENA_MAX, 1);
}
#endif
*/
import "C"
