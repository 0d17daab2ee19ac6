/* SPDX-License-Identifier: MIT */
/*
 * Which process this is, in a family of forks, without asking the kernel:
 * getpid(2) is a system call each time, and a ring looks for every block.
 */
#include "lineage.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* The kernel empties the page in a child (madvise(2), MADV_WIPEONFORK). */
static _Atomic uint64_t *_Atomic page;
static _Atomic uint64_t counter;

static _Atomic uint64_t *
map_page(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	_Atomic uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	_Atomic uint64_t *expected = NULL;

	if (memory == MAP_FAILED)
		return NULL;
	if (madvise(memory, size, MADV_WIPEONFORK) < 0 ||
	    !atomic_compare_exchange_strong(&page, &expected, memory))
		munmap(memory, size);
	return atomic_load(&page);
}

/* A number that is this process's: a fork's is another.  Never 0. */
uint64_t
lineage_here(void)
{
	_Atomic uint64_t *known = atomic_load(&page);
	uint64_t here = 0;

	if (known == NULL)
		known = map_page();
	/* Without the page, dearly. */
	if (known == NULL)
		return (uint64_t)getpid();
	if (atomic_load_explicit(known, memory_order_relaxed) == 0)
		atomic_compare_exchange_strong(
			known, &here, ((uint64_t)1 << 32) + ++counter);
	return atomic_load_explicit(known, memory_order_relaxed);
}
