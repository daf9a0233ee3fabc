//go:build cgo

package embedded

/*
#define _GNU_SOURCE
#include <link.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

// The first start after a boot leaves the program's file in the page cache for all later
// ones, as it is read: by page faults, 128 KiB at a time in single pages as a rule, and each
// start maps and unmaps thousands of those. A mapping that wants huge pages is read 4 MiB at
// a time, in pages as large as the file system has them (Linux 5.18, mm/filemap.c,
// do_sync_mmap_readahead()): that first start takes fewer reads, and the later ones a
// tenth less CPU time. It changes nothing for what is in the page cache already.
static int want_huge_pages(struct dl_phdr_info *program, size_t size, void *data)
{
	for (int i = 0; i < program->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &program->dlpi_phdr[i];
		ElfW(Addr) start = program->dlpi_addr + p->p_vaddr, page = start & -(ElfW(Addr))getpagesize();

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			madvise((void *)page, start + p->p_memsz - page, MADV_HUGEPAGE);
	}
	return 1; // libraries come after the program
}

// As the first of all constructors: what they touch is read by then.
__attribute__((constructor(101))) static void read_in_large(void)
{
	dl_iterate_phdr(want_huge_pages, NULL);
}
*/
import "C"
